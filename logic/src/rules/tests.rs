//! What expressions mean, and how they are bounded.

use serde_json::{Value, json};

use super::{Budget, Program, Variables, to_cel};

fn evaluate(source: &str, value: &Value) -> Result<bool, String> {
    let variables = Variables::from([("self", to_cel(value))]);
    Program::parse(source)?.holds(&variables, &mut Budget::new([value]))
}

#[test]
fn the_functions_that_rules_use_are_there() {
    let value = json!({"n": 3, "names": ["a", "b"], "map": {"k": "v"}, "namespace": "x", "a-b": 1, "text": "abc-12"});
    for rule in [
        "size(self.names) == 2 && 'a' in self.names",
        "self.names.all(name, name.size() == 1)",
        "self.names.exists_one(name, name == 'a')",
        "self.names.isSorted() && [1, 2].sum() == 3 && [1, 5, 2].max() == 5",
        "has(self.map.k) && !has(self.map.none)",
        "self.map.exists(key, key == 'k')",
        "self.__namespace__ == 'x' && self.a__dash__b == 1",
        "self.text.matches('^[a-c]+-[0-9]+$') && self.text.find('[0-9]+') == '12'",
        "self.text.split('-')[0].upperAscii() == 'ABC'",
        "self.?none.orValue(4) == 4",
        "isQuantity('100m') && !isQuantity('1x') && isURL('https://a.b/c') && isIP('10.0.0.1')",
        "type(self.n) == int && string(self.n) == '3'",
    ] {
        assert_eq!(evaluate(rule, &value), Ok(true), "{rule}");
    }
    assert_eq!(evaluate("self.none > 1", &value), Err("no such key: none".into()));
    assert_eq!(evaluate("self.n", &value), Err("expected true or false".into()));
}

#[test]
fn kubernetes_own_types_are_there() {
    for rule in [
        "quantity('1.5Gi').isGreaterThan(quantity('1500Mi')) && quantity('100m').add(quantity('400m')) == quantity('0.5')",
        "quantity('2').sub(1).compareTo(quantity('1')) == 0 && quantity('3k').asInteger() == 3000 && !quantity('50m').isInteger()",
        "quantity('-1').sign() == -1 && quantity('250m').asApproximateFloat() == 0.25 && quantity('1').isLessThan(quantity('2'))",
        "url('https://a.dev:8080/x/y?k=v&k=w').getHost() == 'a.dev:8080' && url('https://[::1]:80/').getHostname() == '::1'",
        "url('https://a.dev:8080/x?k=v&k=w').getPort() == '8080' && url('https://a.dev/x?k=v&k=w').getQuery()['k'] == ['v', 'w']",
        "ip('10.0.0.1').family() == 4 && ip('127.0.0.1').isLoopback() && ip('::1') == ip('::1') && ip('8.8.8.8').isGlobalUnicast()",
        "cidr('10.0.0.0/8').containsIP('10.9.9.9') && cidr('10.0.0.0/8').containsIP(ip('10.1.1.1')) && !isCIDR('10.0.0.0/40')",
        "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')",
        "cidr('10.1.2.3/8').prefixLength() == 8 && cidr('10.1.2.3/8').ip() == ip('10.1.2.3') && isIP('::1')",
        "semver('1.2.3').major() == 1 && semver('1.10.0').isGreaterThan(semver('1.9.0')) && semver('1.0.0-rc.1').isLessThan(semver('1.0.0'))",
        "isSemver('1.2.3') && !isSemver('1.2') && !isSemver('01.2.3')",
        "duration('1h30m') > duration('5s') && duration('60s') == duration('1m')",
        "timestamp('2001-01-01T00:00:00Z') + duration('1h') == timestamp('2001-01-01T01:00:00Z')",
        "timestamp(timestamp('2001-01-01T00:00:00Z')) < timestamp('2002-01-01T00:00:00Z')",
        "timestamp('2001-02-03T04:05:06Z').getFullYear() == 2001 && duration('90m').getHours() == 1",
    ] {
        assert_eq!(evaluate(rule, &json!({})), Ok(true), "{rule}");
    }
    for rule in [
        "quantity('x') == quantity('1')",
        "quantity('1').compareTo(1) == 0",
        "ip('a').family() == 4",
        "quantity('1') < quantity('2')",
        "quantity('1') + 1 == 2",
        "duration('x') == duration('1s')",
        "semver('1').major() == 1",
        "cidr('10.0.0.0/8').family() == 4",
        "timestamp('9999-12-31T23:59:59Z') + duration('1h') > timestamp('2001-01-01T00:00:00Z')",
    ] {
        assert!(evaluate(rule, &json!({})).is_err(), "{rule}");
    }
    // Whatever these come to, they come to it without a panic.
    for rule in [
        "type(quantity('1')) == type(quantity('2'))",
        "[quantity('1')] == [quantity('1')] || quantity('1') in [quantity('2')]",
        "{'a': ip('::1')}.a == ip('::1') && string(quantity('1')) == '1'",
        "quantity('1') == 1 || dyn(quantity('1')) == 'a'",
        "[ip('::1')].isSorted() && [quantity('1')].sum() == 1",
        "[quantity('2'), quantity('1')].min() == quantity('1')",
        "[duration('1s')].sum() == duration('1s')",
        "duration('9223372036854775807ns') + duration('9223372036854775807ns') > duration('0s')",
        "timestamp('0001-01-01T00:00:00Z') - duration('100000h') < timestamp('2001-01-01T00:00:00Z')",
        "timestamp('2001-01-01T00:00:00Z').getHours('Nowhere/None') == 1",
        "optional.of(quantity('1')).orValue(quantity('2')) == quantity('1')",
        "'%s'.format([quantity('1')]) == '1' || [quantity('1')].sort() == []",
        "quantity('99999999999999999999E').add(quantity('99999999999999999999E')).sign() == 1",
        "-quantity('1') == quantity('-1') || !ip('::1')",
        "quantity('1') ? true : false",
        "[quantity('1')].all(q, q.isInteger()) && has(ip('::1').x)",
    ] {
        let _ = evaluate(rule, &json!({}));
    }
}

#[test]
fn no_expression_can_hold_up_the_server_or_bring_it_down() {
    let long = "x".repeat(20_000);
    let sums = vec!["1"; 500].join("+");
    let sources = [
        format!("{}1{}", "(".repeat(4_000), ")".repeat(4_000)),
        "[".repeat(4_000),
        format!("{}true", "!".repeat(4_001)),
        format!("{sums} > 1"),
        format!("self{}", ".a".repeat(500)),
        format!("self{}", "[0]".repeat(500)),
        format!("{}1{}", "[1].map(x, ".repeat(60), ")".repeat(60)),
        long,
    ];
    for source in sources {
        let kept: String = source.chars().take(40).collect();
        let small_stack = std::thread::Builder::new().stack_size(1024 * 1024);
        let found = small_stack.spawn(move || evaluate(&source, &json!({}))).unwrap().join().unwrap();
        assert!(found.is_err() || kept.starts_with('!'), "{kept}");
    }
}

#[test]
fn loops_within_loops_are_bounded_by_the_lists_at_hand() {
    let rule = "self.all(a, self.all(b, self.all(c, self.all(d, a + b + c + d >= 0))))";
    let three = "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))";
    assert_eq!(evaluate(three, &json!([1, 2, 3])), Ok(true));
    let text = json!("a".repeat(100_000));
    assert!(evaluate("self.replace('a', self).replace('a', self) == ''", &text).unwrap_err().contains("costs too much"));
    let long: Vec<i64> = (0..1_000).collect();
    assert!(evaluate(rule, &json!(long)).unwrap_err().contains("costs too much"));
}

#[test]
fn what_a_schema_calls_a_time_is_compared_as_one() {
    let of = |text: &str| Variables::from([("self", super::time(text))]);
    let rule = Program::parse("self > timestamp('2001-01-01T00:00:00Z')").unwrap();
    for (text, later) in [("2001-01-01T01:00:00+02:00", false), ("2001-01-01T00:00:01Z", true), ("2001-01-02", true)] {
        assert_eq!(rule.holds(&of(text), &mut Budget::new([])), Ok(later), "{text}");
    }
    assert_eq!(super::time("soon"), to_cel(&json!("soon")));
}
