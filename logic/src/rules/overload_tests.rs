//! Every overload that a definition may use has a value; every other is refused with the definition.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::overloads::lines;
use super::{Authorizer, Budget, Known, Program, Variables, rule_problem, to_cel, type_problem};

/// A value of each type, as an expression makes it.
fn sample(of: &str) -> &'static str {
    match of {
        "int" | "dyn" => "1",
        "uint" => "1u",
        "double" => "1.5",
        "bool" => "true",
        "string" => "'1'",
        "bytes" => "b'1'",
        "list" => "[1, 2]",
        "map" => "{1: 2}",
        "timestamp" => "timestamp('2001-02-03T04:05:06Z')",
        "duration" => "duration('1s')",
        "optional" => "optional.of([1, 2])",
        "quantity" => "quantity('1')",
        "url" => "url('https://a.dev/x')",
        "ip" => "ip('10.0.0.1')",
        "cidr" => "cidr('10.0.0.0/8')",
        "semver" => "semver('1.0.0')",
        "format" => "format.dns1123Label()",
        "authorizer" => "authorizer",
        "path" => "authorizer.path('/x')",
        "resource" => "authorizer.group('').resource('pods')",
        "decision" => "authorizer.path('/x').check('get')",
        other => panic!("no sample of {other}"),
    }
}

/// Arguments that make sense to the functions that do not take just any.
fn special(line: &str) -> Option<&'static str> {
    Some(match line {
        "g timestamp string timestamp" => "timestamp('2001-02-03T04:05:06Z')",
        "g duration string duration" => "duration('1h30m')",
        "g bool string bool" => "bool('true')",
        "g quantity string quantity" => "quantity('1')",
        "g url string url" => "url('https://a.dev/x')",
        "g ip string ip" => "ip('::1')",
        "g ip.isCanonical string bool" => "ip.isCanonical('::1')",
        "g cidr string cidr" => "cidr('10.0.0.0/8')",
        "g semver string semver" => "semver('1.0.0')",
        "g semver string bool semver" => "semver('v1.0', true)",
        "m cidr containsIP string bool" => "cidr('10.0.0.0/8').containsIP('10.1.1.1')",
        "m cidr containsCIDR string bool" => "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')",
        "m string format list string" => "'%d %s'.format([1, 'a'])",
        "m list join string" => "['a', 'b'].join()",
        "m list join string string" => "['a', 'b'].join(', ')",
        "m string charAt int string" => "'ab'.charAt(1)",
        "m list flatten list" => "[[1], [2]].flatten()",
        "m list flatten int list" => "[[[1]], [2]].flatten(2)",
        "m list slice int int list" => "[1, 2].slice(0, 1)",
        "g _[_] map dyn dyn" => "{1: 2}[1]",
        "g _?._ map string optional" => "{'a': 2}.?a",
        "g _?._ optional string optional" => "optional.of({'a': 2}).?a",
        "g _[?_] map dyn optional" => "{1: 2}[?1]",
        "g @in dyn map bool" => "1 in {1: 2}",
        "g string bytes string" => "string(b'1')",
        "m string substring int int string" => "'abc'.substring(0, 2)",
        "m string substring int string" => "'abc'.substring(1)",
        "m string indexOf string int int" => "'abc'.indexOf('b', 0)",
        "m string lastIndexOf string int int" => "'abc'.lastIndexOf('b', 2)",
        _ => return None,
    })
}

/// An expression that calls an overload; none for what cannot be written.
fn expression(line: &str) -> Option<String> {
    if let Some(special) = special(line) {
        return Some(special.to_owned());
    }
    let words: Vec<&str> = line.split(' ').collect();
    let (on, name, arguments) = match words.as_slice() {
        ["g", name, arguments @ .., _] => (None, *name, arguments),
        ["m", on, name, arguments @ .., _] => (Some(sample(on)), *name, arguments),
        other => panic!("{other:?}"),
    };
    let arguments: Vec<&str> = arguments.iter().map(|argument| sample(argument)).collect();
    if name.starts_with("get") && on == Some(sample("timestamp")) && !arguments.is_empty() {
        return Some(format!("{}.{name}('UTC')", on?));
    }
    Some(match (name, on, arguments.as_slice()) {
        ("@matches", ..) => "'a'.matches('a') && matches('a', 'a')".into(),
        ("@in", _, [one, other]) => format!("{one} in {other}"),
        ("_[_]", _, [one, other]) => format!("{one}[{other}]"),
        ("_[?_]", _, [one, other]) => format!("{one}[?{other}]"),
        ("_?_:_", _, [one, other, third]) => format!("{one} ? {other} : {third}"),
        ("-_" | "!_", _, [one]) => format!("{}({one})", &name[..1]),
        (operator, None, [one, other]) if operator.starts_with('_') => format!("{one} {} {other}", operator.trim_matches('_')),
        ("@indexOf" | "@lastIndexOf", Some(on), [item]) => format!("{on}.{}({item})", &name[1..]),
        (name, ..) if name.starts_with('@') || name == "jsonpatch.escapeKey" => return None,
        (name, None, arguments) => format!("{name}({})", arguments.join(", ")),
        (name, Some(on), arguments) => format!("{on}.{name}({})", arguments.join(", ")),
    })
}

#[test]
fn every_overload_that_is_known_has_a_value() {
    let authorizer = Authorizer::new(std::sync::Arc::default(), "jane", &[]);
    let variables = Variables::from([("authorizer", authorizer.value())]);
    let known: Known<'_> = HashMap::from([("authorizer".to_owned(), None)]);
    let mut faults = Vec::new();
    for line in lines() {
        let Some(source) = expression(line) else { continue };
        let program = Program::parse(&source).unwrap_or_else(|why| panic!("{source}: {why}"));
        if let Some(why) = type_problem(program.expression(), &known) {
            faults.push(format!("{line}: {source}: refused: {why}"));
        }
        if let Err(why) = program.evaluate(&variables, &mut Budget::new([])) {
            faults.push(format!("{line}: {source}: {why}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn schema() -> Value {
    json!({"type": "object", "properties": {
        "s": {"type": "string"}, "n": {"type": "integer"}, "b": {"type": "boolean"}, "l": {"type": "array", "items": {"type": "string"}},
        "m": {"type": "object", "additionalProperties": {"type": "string"}}, "t": {"type": "string", "format": "date-time"},
        "either": {"x-kubernetes-int-or-string": true}, "any": {"x-kubernetes-preserve-unknown-fields": true}}})
}

#[test]
fn rules_hold_over_an_object() {
    let value = json!({"s": "abc", "n": 2, "b": true, "l": ["a", "b"], "m": {"k": "v"}, "either": 1});
    let schema = schema();
    let known: Known<'_> = HashMap::from([("self".to_owned(), Some(&schema))]);
    for rule in [
        "!format.dns1123Label().validate(self.s).hasValue()",
        "format.dns1123Label().validate('A_').value().size() > 0",
        "!format.named('dns1123Subdomain').value().validate(self.s).hasValue() && !format.named('none').hasValue()",
        "format.uuid().validate(self.s).hasValue() && format.dns1035Label().validate('1a').hasValue()",
        "!format.dns1123LabelPrefix().validate('a-').hasValue() && format.qualifiedName().validate('a/b/c').hasValue()",
        "sets.contains(self.l, ['a']) && !sets.contains(self.l, ['z']) && sets.contains(self.l, [])",
        "sets.equivalent(self.l, ['b', 'a', 'a']) && sets.intersects(self.l, ['a', 'z']) && !sets.intersects(self.l, [])",
        "self.l.indexOf('b') == 1 && self.l.lastIndexOf('a') == 0 && self.l.indexOf('z') == -1",
        "self.l.all(i, v, i < 2 && v != '') && !self.l.all(i, v, i < 1)",
        "self.m.exists(k, v, k == 'k' && v == 'v') && !self.m.exists(k, v, v == 'k')",
        "self.l.existsOne(i, v, i == 1) && !self.l.existsOne(i, v, i < 2)",
        "self.l.transformList(i, v, v + string(i)) == ['a0', 'b1']",
        "self.l.transformList(i, v, i > 0, v) == ['b']",
        "self.m.transformList(k, v, k + v) == ['kv']",
        "self.m.transformMap(k, v, v + '!') == {'k': 'v!'} && self.l.transformMap(i, v, i > 0, v) == {1: 'b'}",
        "self.l.transformMapEntry(i, v, {v: i}) == {'a': 0, 'b': 1} && self.m.transformMapEntry(k, v, k == '', {v: k}) == {}",
        "self.l.all(i, v, self.l.exists(j, w, i == j && v == w))",
        "self.?s.optMap(x, x.size()).orValue(0) == 3 && self.?none.optMap(x, x.size()).orValue(7) == 7",
        "self.?m.optFlatMap(m, m.?k).orValue('') == 'v' && !self.?m.optFlatMap(m, m.?z).hasValue()",
        "['bb', 'a'].sortBy(x, x.size()) == ['a', 'bb']",
        "string(ip('192.0.2.1')) == '192.0.2.1' && ip.isCanonical('192.0.2.1') && !ip.isCanonical('::0')",
        "semver('v1.0', true).major() == 1 && isSemver('v01.2', true) && !isSemver('v1.0', false) && semver('1', true).patch() == 0",
        "self.s.find('[b-z]+') == 'bc' && self.s.findAll('[a-z]', 2) == ['a', 'b'] && self.s.findAll('[a-z]', -1).size() == 3",
        r"self.s.matches('^\\w+$') && !self.s.matches('^\\d') && matches(self.s, '^[^[]+$')",
        "self.l.first().value() == 'a' && self.l.last().orValue('') == 'b' && ![].first().hasValue()",
        "self.t == null || self.either == 1 || self.any.whatever > 3",
        "has(self.s) && self.n + 1 == 3 && (self.b ? self.s : 'x') == 'abc' && self.l[0] == 'a' && self.m['k'] == 'v'",
    ] {
        let program = Program::parse(rule).unwrap_or_else(|why| panic!("{rule}: {why}"));
        assert_eq!(rule_problem(program.expression(), &known), None, "{rule}");
        if rule.contains("self.t ") {
            continue;
        }
        let variables = Variables::from([("self", to_cel(&value))]);
        assert_eq!(program.holds(&variables, &mut Budget::new([&value])), Ok(true), "{rule}");
    }
}

#[test]
fn what_no_object_could_satisfy_is_refused_with_the_definition() {
    let schema = schema();
    let known: Known<'_> = HashMap::from([("self".to_owned(), Some(&schema))]);
    for (rule, why) in [
        ("self.s.nothing()", "undeclared reference to 'nothing'"),
        ("nothing(self.s)", "undeclared reference to 'nothing'"),
        ("self.nothing == 1", "undefined field 'nothing'"),
        ("sets.nothing(self.l)", "undeclared reference"),
        ("self.s.abs() > 1", "undeclared reference to 'abs'"),
        ("self.s.indexOf(1) == 1", "found no matching overload for 'indexOf' applied to 'string.(int)'"),
        ("self.s.indexOf('a', 1, 2) == 1", "found no matching overload for 'indexOf'"),
        ("self.n.startsWith('a')", "found no matching overload for 'startsWith' applied to 'int.(string)'"),
        ("startsWith(self.s, 'a')", "found no matching overload for 'startsWith'"),
        ("self.l.matches('a')", "found no matching overload"),
        ("sets.contains(self.l)", "found no matching overload for 'sets.contains'"),
        ("sets.contains(self.l, 'a')", "found no matching overload"),
        ("format.dns1123Label('a').validate(self.s).hasValue()", "found no matching overload"),
        ("format.dns1123Label().validate(self.n).hasValue()", "found no matching overload"),
        ("self.s + 1 == 'a'", "found no matching overload for '_+_' applied to '(string, int)'"),
        ("self.s && self.b", "found no matching overload for '_&&_'"),
        ("!self.n", "found no matching overload for '!_'"),
        ("self.s < 1", "found no matching overload for '_<_'"),
        ("self.s == self.l", "found no matching overload for '_==_'"),
        ("self.n.all(i, v, true)", "found no matching overload"),
        ("self.s.all(c, c == 'a')", "cannot be range of a comprehension"),
        ("self.l.all(1, v, true)", "argument must be a simple name"),
        ("self.l.all(v, v, true)", "overlapping variable name"),
        ("self.l.all(i, v, w)", "undeclared reference to 'w'"),
        ("self.l.transformList(i, v)", "undeclared reference"),
        ("self.n + 1", "must evaluate to a bool"),
        ("self.s", "must evaluate to a bool"),
        ("self.s.matches('a**')", "error parsing regexp: invalid nested repetition operator"),
        (r"self.s.matches('(?=a)')", "error parsing regexp"),
        ("self.s.find('(') == ''", "error parsing regexp: missing closing )"),
        ("self.s.findAll('[z-a]').size() == 0", "error parsing regexp: invalid character class range"),
        ("semver(self.s, 'x').major() == 1", "found no matching overload for 'semver'"),
        ("quantity(self.n).sign() == 1", "found no matching overload for 'quantity'"),
        ("ip(self.s).prefixLength() == 1", "found no matching overload for 'prefixLength' applied to 'ip.()'"),
        ("quantity(self.s) < quantity('1')", "found no matching overload for '_<_'"),
        ("url(self.s).getHost(1) == ''", "found no matching overload"),
    ] {
        let found = match Program::parse(rule) {
            Ok(program) => rule_problem(program.expression(), &known),
            Err(why) => Some(why),
        };
        assert!(found.as_ref().is_some_and(|found| found.contains(why)), "{rule}: {found:?}");
    }
}
