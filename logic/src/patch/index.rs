//! Indexes of a JSON patch that count from the end: Kubernetes takes `-1` for the last item of a list.

use json_patch::PatchOperation;
use json_patch::jsonptr::PointerBuf;
use serde_json::Value;

/// An operation with its indexes counted from the start; none where it has no others.
pub(super) fn from_the_end(object: &Value, operation: &PatchOperation) -> Option<PatchOperation> {
    let from = match operation {
        PatchOperation::Move(moved) => moved.from.as_str(),
        PatchOperation::Copy(copy) => copy.from.as_str(),
        _ => "",
    };
    if !operation.path().as_str().contains("/-") && !from.contains("/-") {
        return None;
    }
    let mut operation = operation.clone();
    let counted = match &mut operation {
        // What is added may also stand behind the last.
        PatchOperation::Add(add) => count(object, &mut add.path, 1),
        PatchOperation::Remove(remove) => count(object, &mut remove.path, 0),
        PatchOperation::Replace(replace) => count(object, &mut replace.path, 0),
        PatchOperation::Test(test) => count(object, &mut test.path, 0),
        PatchOperation::Move(moved) => {
            let from = count(object, &mut moved.from, 0);
            // The list that something leaves is one shorter by then.
            let taken = json_patch::Patch(vec![PatchOperation::Remove(json_patch::RemoveOperation { path: moved.from.clone() })]);
            let mut rest = object.clone();
            let rest = json_patch::patch(&mut rest, &taken).map(|()| rest);
            count(rest.as_ref().unwrap_or(object), &mut moved.path, 1) || from
        }
        PatchOperation::Copy(copy) => {
            let from = count(object, &mut copy.from, 0);
            count(object, &mut copy.path, 1) || from
        }
    };
    counted.then_some(operation)
}

/// Counts the negative indexes of a path from the start; `more` is how far the last may lie behind the end. Says whether it had any
/// that lie in their lists.
fn count(object: &Value, path: &mut PointerBuf, more: usize) -> bool {
    if !path.as_str().contains("/-") {
        return false;
    }
    let tokens: Vec<String> = path.as_str().split('/').skip(1).map(str::to_owned).collect();
    let (mut at, mut counted, mut found) = (Some(object), String::new(), false);
    for (depth, token) in tokens.iter().enumerate() {
        let list = at.and_then(Value::as_array);
        let more = if depth + 1 == tokens.len() { more } else { 0 };
        let index = list.and_then(|list| index(token, list.len() + more));
        found |= index.is_some();
        let token = index.map_or_else(|| token.clone(), |index| index.to_string());
        counted.push('/');
        counted.push_str(&token);
        at = at.and_then(|value| match value {
            Value::Array(list) => list.get(token.parse::<usize>().ok()?),
            value => value.get(token.replace("~1", "/").replace("~0", "~")),
        });
    }
    if let Some(parsed) = PointerBuf::parse(counted).ok().filter(|_| found) {
        *path = parsed;
    }
    found
}

/// A negative number as an index of a list of this length.
fn index(token: &str, length: usize) -> Option<usize> {
    length.checked_sub(token.strip_prefix('-')?.parse::<usize>().ok().filter(|back| *back > 0)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::carry_out;

    #[test]
    fn negative_indexes_count_from_the_end() {
        let list = || json!({"l": ["a", "b", "c"], "-1": {"x": 1}, "n": [{"l": [1, 2]}]});
        for (operation, expected) in [
            (json!({"op": "remove", "path": "/l/-1"}), Some(json!({"l": ["a", "b"]}))),
            (json!({"op": "remove", "path": "/l/-3"}), Some(json!({"l": ["b", "c"]}))),
            (json!({"op": "remove", "path": "/l/-4"}), None),
            (json!({"op": "replace", "path": "/l/-2", "value": "z"}), Some(json!({"l": ["a", "z", "c"]}))),
            (json!({"op": "add", "path": "/l/-1", "value": "z"}), Some(json!({"l": ["a", "b", "c", "z"]}))),
            (json!({"op": "add", "path": "/l/-4", "value": "z"}), Some(json!({"l": ["z", "a", "b", "c"]}))),
            (json!({"op": "add", "path": "/l/-5", "value": "z"}), None),
            (json!({"op": "test", "path": "/l/-1", "value": "c"}), Some(json!({}))),
            (json!({"op": "test", "path": "/l/-1", "value": "a"}), None),
            (json!({"op": "copy", "from": "/l/-1", "path": "/l/-1"}), Some(json!({"l": ["a", "b", "c", "c"]}))),
            (json!({"op": "move", "from": "/l/0", "path": "/l/-1"}), Some(json!({"l": ["b", "c", "a"]}))),
            (json!({"op": "remove", "path": "/-1/x"}), Some(json!({"-1": {}}))),
            (json!({"op": "replace", "path": "/n/-1/l/-1", "value": 9}), Some(json!({"n": [{"l": [1, 9]}]}))),
        ] {
            let mut object = list();
            let patch = serde_json::from_value(json!([operation])).unwrap();
            let done = carry_out(&mut object, &patch);
            let Some(expected) = expected else {
                assert!(done.is_err(), "{operation}");
                continue;
            };
            assert_eq!(done, Ok(()), "{operation}");
            let mut wanted = list();
            for (name, value) in expected.as_object().unwrap() {
                wanted[name] = value.clone();
            }
            assert_eq!(object, wanted, "{operation}");
        }
    }
}
