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
