//! Label and field selectors: which objects a list or watch asks for.

use std::fmt;

use serde_json::{Map, Value};

/// A list of requirements on labels, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

/// A list of requirements on fields, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<(String, bool, String)>);

/// The text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotASelector(String);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Mark(&'static str),
    End,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Mark(mark) => f.write_str(mark),
            Self::End => Ok(()),
        }
    }
}

impl LabelSelector {
    /// Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`. Errors say what was found and what was expected.
    pub fn parse(text: &str) -> Result<Self, NotASelector> {
        let tokens = tokens(text);
        let mut parser = Parser { tokens: &tokens, at: 0 };
        let mut requirements = Vec::new();
        while *parser.peek() != Token::End {
            if !matches!(parser.peek(), Token::Word(_) | Token::Mark("!")) {
                return Err(NotASelector(format!("found '{}', expected: !, identifier, or 'end of string'", parser.peek())));
            }
            requirements.push(parser.requirement().map_err(|why| NotASelector(format!("unable to parse requirement: {why}")))?);
            match parser.next() {
                Token::End => break,
                Token::Mark(",") => {
                    if !matches!(parser.peek(), Token::Word(_) | Token::Mark("!")) {
                        return Err(NotASelector(format!("found '{}', expected: identifier after ','", parser.peek())));
                    }
                }
                other => return Err(NotASelector(format!("found '{other}', expected: ',' or 'end of string'"))),
            }
        }
        Ok(Self(requirements))
    }

    /// A selector as objects hold it, with `matchLabels` and `matchExpressions`; `None` for an operator that there is not.
    pub fn from_object(selector: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let labels = selector["matchLabels"].as_object().into_iter().flatten();
        let mut requirements: Vec<Requirement> =
            labels.map(|(key, value)| Requirement { key: key.clone(), rule: Rule::In(vec![text(value)]) }).collect();
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let values = || expression["values"].as_array().into_iter().flatten().map(text).collect();
            let rule = match expression["operator"].as_str()? {
                "In" => Rule::In(values()),
                "NotIn" => Rule::NotIn(values()),
                "Exists" => Rule::Exists,
                "DoesNotExist" => Rule::Absent,
                _ => return None,
            };
            requirements.push(Requirement { key: text(&expression["key"]), rule });
        }
        Some(Self(requirements))
    }

    /// Whether it asks for everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object's labels satisfy it.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = object["metadata"]["labels"].as_object();
        self.0.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: Option<&Map<String, Value>>) -> bool {
        let value = labels.and_then(|labels| labels.get(&self.key)).and_then(Value::as_str);
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.rule {
            Rule::In(values) => value.is_some_and(|value| values.iter().any(|other| other == value)),
            Rule::NotIn(values) => value.is_none_or(|value| values.iter().all(|other| other != value)),
            Rule::Exists => value.is_some(),
            Rule::Absent => value.is_none(),
            Rule::Greater(bound) => number().is_some_and(|number| number > *bound),
            Rule::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let mark = ["==", "!=", "=", "!", ",", "(", ")", ">", "<"].into_iter().find(|mark| rest.starts_with(mark));
        let length = match mark {
            Some(mark) => {
                found.push(Token::Mark(mark));
                mark.len()
            }
            None => {
                let end = rest.find(|c: char| c.is_whitespace() || "=!,()<>".contains(c)).unwrap_or(rest.len());
                let end = end.max(first.len_utf8());
                found.push(Token::Word(rest[..end].to_owned()));
                end
            }
        };
        rest = rest[length..].trim_start();
    }
    found.push(Token::End);
    found
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, NotASelector> {
        let absent = *self.peek() == Token::Mark("!");
        if absent {
            self.next();
        }
        let key = match self.next() {
            Token::Word(word) => word,
            other => return Err(NotASelector(format!("found '{other}', expected: identifier"))),
        };
        check_key(&key)?;
        if absent {
            return Ok(Requirement { key, rule: Rule::Absent });
        }
        if matches!(self.peek(), Token::End | Token::Mark(",")) {
            return Ok(Requirement { key, rule: Rule::Exists });
        }
        let rule = match self.next() {
            Token::Mark("=" | "==") => Rule::In(vec![self.value()?]),
            Token::Mark("!=") => Rule::NotIn(vec![self.value()?]),
            Token::Mark(">") => Rule::Greater(self.number()?),
            Token::Mark("<") => Rule::Less(self.number()?),
            Token::Word(word) if word == "in" => Rule::In(self.values()?),
            Token::Word(word) if word == "notin" => Rule::NotIn(self.values()?),
            other => return Err(NotASelector(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt"))),
        };
        if let Rule::In(values) | Rule::NotIn(values) = &rule {
            check_values(&key, values)?;
        }
        Ok(Requirement { key, rule })
    }

    fn value(&mut self) -> Result<String, NotASelector> {
        match self.peek().clone() {
            Token::Word(word) => {
                self.next();
                Ok(word)
            }
            Token::End | Token::Mark(",") => Ok(String::new()),
            other => Err(NotASelector(format!("found '{other}', expected: identifier"))),
        }
    }

    fn number(&mut self) -> Result<i64, NotASelector> {
        let value = self.value()?;
        let text = format!("values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer");
        value.parse().map_err(|_| NotASelector(text))
    }

    /// `(a,b)`; nothing before or after a comma, or between the brackets, is an empty value.
    fn values(&mut self) -> Result<Vec<String>, NotASelector> {
        let open = self.next();
        if open != Token::Mark("(") {
            return Err(NotASelector(format!("found '{open}' expected: '('")));
        }
        if !matches!(self.peek(), Token::Word(_) | Token::Mark("," | ")")) {
            return Err(NotASelector(format!("found '{}', expected: ',', ')' or identifier", self.peek())));
        }
        let mut values = Vec::new();
        loop {
            let value = match self.peek().clone() {
                Token::Word(word) => {
                    self.next();
                    word
                }
                Token::Mark("," | ")") => String::new(),
                other => return Err(NotASelector(format!("found '{other}', expected: ',', or identifier"))),
            };
            values.push(value);
            match self.next() {
                Token::Mark(",") => {}
                Token::Mark(")") => return Ok(values),
                other => return Err(NotASelector(format!("found '{other}', expected: ',' or ')'"))),
            }
        }
    }
}

fn check_key(key: &str) -> Result<(), NotASelector> {
    match crate::metadata::qualified_name_problem(key) {
        Some(problem) => Err(NotASelector(format!("<nil>: Invalid value: {key:?}: {problem}"))),
        None => Ok(()),
    }
}

fn check_values(key: &str, values: &[String]) -> Result<(), NotASelector> {
    for (at, value) in values.iter().enumerate() {
        if let Some(problem) = crate::metadata::label_value_problem(value) {
            return Err(NotASelector(format!("values[{at}][{key}]: Invalid value: {value:?}: {problem}")));
        }
    }
    Ok(())
}

impl FieldSelector {
    /// Parses `metadata.name=a,status.phase!=Running`. Errors say what was expected.
    pub fn parse(text: &str) -> Result<Self, NotASelector> {
        let mut requirements = Vec::new();
        for term in text.split(',').filter(|term| !term.is_empty()) {
            let invalid = || NotASelector(format!("invalid selector: '{text}'; can't understand '{term}'"));
            let (field, equal, value) = if let Some((field, value)) = term.split_once("!=") {
                (field, false, value)
            } else {
                let (field, value) = term.split_once("==").or_else(|| term.split_once('=')).ok_or_else(invalid)?;
                (field, true, value)
            };
            requirements.push((field.to_owned(), equal, value.to_owned()));
        }
        Ok(Self(requirements))
    }

    /// The fields it speaks of.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(field, _, _)| field.as_str())
    }

    /// The one name that it asks for, when it asks for one.
    pub fn name(&self) -> Option<&str> {
        self.0.iter().find(|(field, equal, _)| field == "metadata.name" && *equal).map(|(_, _, value)| value.as_str())
    }

    /// Whether it asks for everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object's fields satisfy it.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(field, equal, value)| {
            let found = field.split('.').try_fold(object, |value, key| value.get(key)).unwrap_or(&Value::Null);
            let text = match found {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            (text == *value) == *equal
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn label_selectors_choose() {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "front", "n": "5"}}});
        for (text, matches) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app in (web, api)", true),
            ("app notin (web)", false),
            ("missing notin (a)", true),
            ("app", true),
            ("!app", false),
            ("!missing", true),
            ("n>4", true),
            ("n<5", false),
            ("missing!=x", true),
            ("missing=", false),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap().matches(&object), matches, "{text}");
        }
    }

    #[test]
    fn what_is_no_label_selector_is_refused() {
        for text in ["a b", "a=b,", "a in b", "a in (b", "=", "a=b=c", "a>x", "(a)", "é=1", "a in (b c)"] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
        let error = LabelSelector::parse("a b").unwrap_err().to_string();
        assert_eq!(error, "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt");
        for (text, expected) in [
            ("!", "unable to parse requirement: found '', expected: identifier"),
            ("=a", "found '=', expected: !, identifier, or 'end of string'"),
            ("a,,b", "found ',', expected: identifier after ','"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a in (=)", "unable to parse requirement: found '=', expected: ',', ')' or identifier"),
            ("a,b=c d", "found 'd', expected: ',' or 'end of string'"),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap_err().to_string(), expected, "{text}");
        }
        for text in ["a in ()", "a in (,)", "a in (b,)", "!a,b"] {
            assert!(LabelSelector::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn field_selectors_choose() {
        let object = json!({"metadata": {"name": "a"}, "status": {"phase": "Running"}, "spec": {"unschedulable": true}});
        for (text, matches) in [
            ("metadata.name=a", true),
            ("metadata.name!=a", false),
            ("status.phase==Running,metadata.name=a", true),
            ("spec.unschedulable=true", true),
            ("spec.nodeName=", true),
        ] {
            assert_eq!(FieldSelector::parse(text).unwrap().matches(&object), matches, "{text}");
        }
        assert!(FieldSelector::parse("name").is_err());
        assert_eq!(FieldSelector::parse("metadata.name=a").unwrap().name(), Some("a"));
    }
}
