//! The paths of printer columns: keys, indexes, `[*]`, and filters such as `[?(@.type=="Ready")]`.

use serde_json::Value;

/// A path, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Key(String),
    Index(i64),
    All,
    /// Items whose value at these keys is, or is not, this one.
    Where(Vec<String>, bool, Value),
    /// Items that have a value at these keys.
    Has(Vec<String>),
}

impl Path {
    /// Takes a path apart. Errors: what cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        let mut rest = text.trim_start_matches('{').trim_end_matches('}');
        while let Some(first) = rest.chars().next() {
            rest = match first {
                '.' => key(&rest[1..], &mut steps)?,
                '[' => {
                    let end = closing(rest).ok_or_else(|| format!("expected ']' in {rest:?}"))?;
                    steps.push(bracket(&rest[1..end])?);
                    &rest[end + 1..]
                }
                _ => return Err(format!("expected '.' or '[' before {rest:?}")),
            };
        }
        Ok(Self(steps))
    }

    /// The values at the path, in order.
    pub fn find<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        self.0.iter().fold(vec![object], |values, step| values.into_iter().flat_map(|value| step.take(value)).collect())
    }
}

fn key<'a>(rest: &'a str, steps: &mut Vec<Step>) -> Result<&'a str, String> {
    if rest.starts_with('.') {
        return Err("recursive descent is not supported".into());
    }
    let (mut name, mut characters) = (String::new(), rest.char_indices());
    let mut end = rest.len();
    while let Some((at, found)) = characters.next() {
        match found {
            '\\' => name.extend(characters.next().map(|(_, next)| next)),
            '.' | '[' => {
                end = at;
                break;
            }
            other => name.push(other),
        }
    }
    match name.as_str() {
        "" if end == rest.len() || rest.starts_with('[') => {}
        "" => return Err("expected a name after '.'".into()),
        "*" => steps.push(Step::All),
        _ => steps.push(Step::Key(name)),
    }
    Ok(&rest[end..])
}

/// Where the bracket at the start of a text closes; brackets in quotes do not count.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    for (at, found) in text.char_indices() {
        match (quote, found) {
            (Some(open), found) if found == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(found),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Result<Step, String> {
    let text = text.trim();
    if text == "*" {
        return Ok(Step::All);
    }
    if let Ok(index) = text.parse() {
        return Ok(Step::Index(index));
    }
    if let Some(name) = quoted(text) {
        return Ok(Step::Key(name));
    }
    let filter = text.strip_prefix("?(").and_then(|text| text.strip_suffix(')'));
    let filter = filter.ok_or_else(|| format!("expected an index, '*', a quoted name or a filter, found {text:?}"))?;
    for (mark, equal) in [("==", true), ("!=", false)] {
        if let Some((path, value)) = filter.split_once(mark) {
            let value = value.trim();
            let value = quoted(value).map(Value::from).or_else(|| serde_json::from_str(value).ok());
            let value = value.ok_or_else(|| format!("expected a quoted text or a number after {mark:?}"))?;
            return Ok(Step::Where(keys(path)?, equal, value));
        }
    }
    Ok(Step::Has(keys(filter)?))
}

fn keys(text: &str) -> Result<Vec<String>, String> {
    let path = text.trim().strip_prefix('@').ok_or_else(|| format!("expected a path that begins with '@', found {text:?}"))?;
    let keys: Vec<String> = path.split('.').skip(1).map(str::to_owned).collect();
    if keys.iter().any(|key| key.is_empty() || key.contains(['[', ' ', '=', '<', '>'])) {
        return Err(format!("expected plain keys in {text:?}"));
    }
    Ok(keys)
}

fn quoted(text: &str) -> Option<String> {
    ['"', '\''].iter().find_map(|mark| text.strip_prefix(*mark)?.strip_suffix(*mark).map(str::to_owned))
}

impl Step {
    fn take<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let at = |item: &'a Value, keys: &[String]| keys.iter().try_fold(item, |item, key| item.get(key));
        let items = || -> Vec<&'a Value> {
            match value {
                Value::Array(items) => items.iter().collect(),
                Value::Object(fields) => fields.values().collect(),
                _ => Vec::new(),
            }
        };
        match self {
            Self::Key(name) => value.get(name).into_iter().collect(),
            Self::Index(index) => {
                let list = value.as_array().map_or(&[][..], Vec::as_slice);
                let index = if *index < 0 { list.len() as i64 + index } else { *index };
                usize::try_from(index).ok().and_then(|index| list.get(index)).into_iter().collect()
            }
            Self::All => items(),
            Self::Where(keys, equal, wanted) => {
                items().into_iter().filter(|item| at(item, keys).is_some_and(|found| (found == wanted) == *equal)).collect()
            }
            Self::Has(keys) => items().into_iter().filter(|item| at(item, keys).is_some()).collect(),
        }
    }
}
