//! Strategic merge patch: a merge patch that knows which lists have keys, with directives for the rest.
//!
//! `$patch: replace | delete | merge` in an object or as an item of a list, `$deleteFromPrimitiveList/FIELD`,
//! `$setElementOrder/FIELD` and `$retainKeys`.

use serde_json::{Map, Value};

use super::shape::{Place, Shape};

const DIRECTIVE: &str = "$patch";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";
const RETAIN: &str = "$retainKeys";

/// Why a patch cannot be applied, in the words that Kubernetes uses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

type Result<T> = std::result::Result<T, Refused>;

/// Applies a patch to an object of a kind. Errors: an unknown directive, an item without its key, orders that contradict.
pub fn apply(shape: &Shape, object: &mut Value, patch: &Map<String, Value>) -> Result<()> {
    let original = object.as_object().cloned().unwrap_or_default();
    *object = Value::Object(merge_map(shape.root(), original, patch)?);
    Ok(())
}

fn merge_map(place: Place<'_>, mut object: Map<String, Value>, patch: &Map<String, Value>) -> Result<Map<String, Value>> {
    match patch.get(DIRECTIVE).map(|directive| (directive, directive.as_str())) {
        Some((_, Some("replace"))) => return Ok(without_directives(patch)),
        Some((_, Some("delete"))) => return Ok(Map::new()),
        Some((_, Some("merge"))) | None => {}
        Some((other, _)) => {
            let text = format!("unknown patch type: {} in map: {}", plain(other), plain(&Value::Object(patch.clone())));
            return Err(Refused(text));
        }
    }
    retain(&mut object, patch)?;
    for (name, change) in patch {
        if name == DIRECTIVE || name == RETAIN {
            continue;
        }
        if let Some(name) = name.strip_prefix(DELETE_FROM) {
            let gone = change.as_array().ok_or_else(|| Refused(format!("{DELETE_FROM}{name}: expected a list")))?;
            if let Some(Value::Array(items)) = object.get_mut(name) {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if let Some(name) = name.strip_prefix(ORDER) {
            if !patch.contains_key(name) {
                reorder(place.field(name), &mut object, name, &[], change)?;
            }
            continue;
        }
        merge_field(place.field(name), &mut object, name, change)?;
        if let (Some(order), Some(items)) = (patch.get(&format!("{ORDER}{name}")), change.as_array()) {
            reorder(place.field(name), &mut object, name, items, order)?;
        }
    }
    Ok(object)
}

fn merge_field(place: Place<'_>, object: &mut Map<String, Value>, name: &str, change: &Value) -> Result<()> {
    let merged = match (object.get_mut(name).map(Value::take), change) {
        (_, Value::Null) => {
            object.shift_remove(name);
            return Ok(());
        }
        (Some(Value::Object(fields)), Value::Object(change)) => Value::Object(merge_map(place, fields, change)?),
        (None | Some(Value::Null), Value::Object(change)) => {
            let fresh = merge_map(place, Map::new(), change)?;
            if fresh.is_empty() && !change.is_empty() {
                object.shift_remove(name);
                return Ok(());
            }
            Value::Object(fresh)
        }
        (before, Value::Array(change)) if place.patch().merges => {
            let before = if let Some(Value::Array(items)) = before { items } else { Vec::new() };
            Value::Array(merge_list(place, &before, change)?)
        }
        (_, other) => cleaned(other),
    };
    object.insert(name.to_owned(), merged);
    Ok(())
}

/// Items of the patch come first, in its order; items that were there keep their places among each other.
fn merge_list(place: Place<'_>, before: &[Value], patch: &[Value]) -> Result<Vec<Value>> {
    let key = place.patch().merge_key.as_str();
    let mut merged = before.to_vec();
    let changes: Vec<&Value> = if key.is_empty() { patch.iter().collect() } else { directives(key, &mut merged, patch)? };
    for change in &changes {
        if key.is_empty() {
            if !merged.contains(change) {
                merged.push((*change).clone());
            }
            continue;
        }
        let value = key_of(change, key)?;
        let change = change.as_object().ok_or_else(|| missing_key(change, key))?;
        match merged.iter_mut().find(|item| item.get(key) == Some(value)) {
            Some(item) => {
                let fields = item.as_object().cloned().unwrap_or_default();
                *item = Value::Object(merge_map(place.items(), fields, change)?);
            }
            None => merged.push(Value::Object(merge_map(place.items(), Map::new(), change)?)),
        }
    }
    let order: Vec<&Value> = changes.into_iter().map(|change| identity(change, key)).collect();
    Ok(interleave(merged, &order, before, key))
}

/// Carries out the directives among the items of a patch and returns its other items.
fn directives<'a>(key: &str, merged: &mut Vec<Value>, patch: &'a [Value]) -> Result<Vec<&'a Value>> {
    let (mut changes, mut replaces) = (Vec::new(), false);
    for item in patch {
        match item.get(DIRECTIVE).map(|directive| (directive, directive.as_str())) {
            None => changes.push(item),
            Some((_, Some("replace"))) => replaces = true,
            Some((_, Some("delete"))) => {
                let value = key_of(item, key)?;
                merged.retain(|other| other.get(key) != Some(value));
            }
            Some((_, Some("merge"))) => return Err(Refused("merging lists cannot yet be specified in the patch".into())),
            Some((other, _)) => return Err(Refused(format!("unknown patch type: {} in map: {}", plain(other), plain(item)))),
        }
    }
    if replaces {
        merged.clear();
    }
    Ok(changes)
}

/// Puts a merged list into the order that a patch asks for. Errors when the patch's own items are in another.
fn reorder(place: Place<'_>, object: &mut Map<String, Value>, name: &str, items: &[Value], order: &Value) -> Result<()> {
    let key = place.patch().merge_key.as_str();
    let order = order.as_array().ok_or_else(|| Refused(format!("{ORDER}{name}: expected a list")))?;
    let wanted: Vec<&Value> = order.iter().map(|item| identity(item, key)).collect();
    let changed: Vec<&Value> = items.iter().filter(|item| item.get(DIRECTIVE).is_none()).collect();
    let mut rest = wanted.iter();
    if !changed.iter().all(|item| rest.any(|wanted| *wanted == identity(item, key))) {
        let changed = Value::Array(changed.into_iter().cloned().collect());
        let (changed, order) = (plain(&changed), plain(&Value::Array(order.clone())));
        let directive = ORDER.trim_end_matches('/');
        return Err(Refused(format!("The order in patch list:\n{changed}\n doesn't match {directive} list:\n{order}\n")));
    }
    if let Some(Value::Array(list)) = object.get_mut(name) {
        let before = list.clone();
        *list = interleave(std::mem::take(list), &wanted, &before, key);
    }
    Ok(())
}

/// Merges the items named by `order`, in that order, with the others in the order they had: an item of the one comes before
/// an item of the other only where both were there and it did.
fn interleave(items: Vec<Value>, order: &[&Value], before: &[Value], key: &str) -> Vec<Value> {
    let position = |item: &Value| order.iter().position(|wanted| *wanted == identity(item, key));
    let (mut named, others): (Vec<Value>, Vec<Value>) = items.into_iter().partition(|item| position(item).is_some());
    named.sort_by_key(|item| position(item));
    let place = |item: &Value| before.iter().position(|other| identity(other, key) == identity(item, key));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut merged = Vec::new();
    loop {
        let other_first = match (others.peek(), named.peek()) {
            (None, None) => return merged,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(named)) => place(other).zip(place(named)).is_some_and(|(other, named)| other < named),
        };
        merged.extend(if other_first { others.next() } else { named.next() });
    }
}

fn identity<'a>(item: &'a Value, key: &str) -> &'a Value {
    if key.is_empty() { item } else { item.get(key).unwrap_or(&Value::Null) }
}

fn key_of<'a>(item: &'a Value, key: &str) -> Result<&'a Value> {
    item.get(key).filter(|value| !value.is_null()).ok_or_else(|| missing_key(item, key))
}

fn missing_key(item: &Value, key: &str) -> Refused {
    Refused(format!("map: {} does not contain declared merge key: {key}", plain(item)))
}

fn retain(object: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<()> {
    let Some(names) = patch.get(RETAIN) else { return Ok(()) };
    let names: Vec<&str> = names.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let is_named = |name: &str| names.contains(&name);
    if let Some(name) =
        patch.iter().find(|(name, value)| !name.starts_with('$') && !value.is_null() && !is_named(name)).map(|(name, _)| name)
    {
        return Err(Refused(format!("{RETAIN} does not name {name}, which the patch sets")));
    }
    object.retain(|name, _| is_named(name));
    Ok(())
}

/// A value of a patch as it is stored: without directives and nulls.
fn cleaned(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(without_directives(fields)),
        Value::Array(items) => Value::Array(items.iter().filter(|item| item.get(DIRECTIVE).is_none()).map(cleaned).collect()),
        plain => plain.clone(),
    }
}

fn without_directives(fields: &Map<String, Value>) -> Map<String, Value> {
    let is_directive = |name: &str| name == DIRECTIVE || name == RETAIN || name.starts_with(DELETE_FROM) || name.starts_with(ORDER);
    let kept = fields.iter().filter(|(name, value)| !value.is_null() && !is_directive(name));
    kept.map(|(name, value)| (name.clone(), cleaned(value))).collect()
}

/// A value as Kubernetes' messages show it: `map[a:1 b:[x y]]`.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}:{}", plain(value))).collect();
            fields.sort();
            format!("map[{}]", fields.join(" "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::patch::shape::tests::sample;

    fn check(object: &Value, patch: &Value, expected: &Value) {
        let mut object = object.clone();
        apply(&sample(), &mut object, patch.as_object().unwrap()).unwrap();
        assert_eq!(object.to_string(), expected.to_string(), "{patch}");
    }

    fn refused(object: &Value, patch: &Value) -> String {
        apply(&sample(), &mut object.clone(), patch.as_object().unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn maps_are_merged_replaced_and_deleted() {
        let object = json!({"data": {"a": "1", "b": "2"}});
        check(&object, &json!({"data": {"a": null, "c": "3"}}), &json!({"data": {"b": "2", "c": "3"}}));
        check(&object, &json!({"data": {"$patch": "replace", "only": "1"}}), &json!({"data": {"only": "1"}}));
        check(&object, &json!({"data": {"$patch": "delete"}}), &json!({"data": {}}));
        check(&object, &json!({"data": null}), &json!({}));
        check(&json!({}), &json!({"data": {"a": null, "b": "1"}}), &json!({"data": {"b": "1"}}));
        assert_eq!(refused(&object, &json!({"data": {"$patch": "juggle"}})), "unknown patch type: juggle in map: map[$patch:juggle]");
    }

    #[test]
    fn plain_lists_are_merged_where_the_schema_says_so() {
        let object = json!({"metadata": {"finalizers": ["x/a"]}});
        check(&object, &json!({"metadata": {"finalizers": ["x/b"]}}), &json!({"metadata": {"finalizers": ["x/b", "x/a"]}}));
        check(&object, &json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x/a"]}}), &json!({"metadata": {"finalizers": []}}));
        let object = json!({"spec": {"template": {"args": ["a", "b"]}}});
        check(&object, &json!({"spec": {"template": {"args": ["c"]}}}), &json!({"spec": {"template": {"args": ["c"]}}}));
    }

    #[test]
    fn keyed_lists_are_merged_by_key_with_new_items_first() {
        let object = json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1", "env": [{"name": "X", "value": "1"}]}]}});
        let patch = |containers: Value| json!({"spec": {"containers": containers}});
        let b = json!({"name": "b", "image": "1", "env": [{"name": "X", "value": "1"}]});
        check(&object, &patch(json!([{"name": "a", "image": "2"}])), &patch(json!([{"name": "a", "image": "2"}, b])));
        check(
            &object,
            &patch(json!([{"name": "c", "image": "2"}])),
            &patch(json!([{"name": "c", "image": "2"}, {"name": "a", "image": "1"}, b])),
        );
        check(&object, &patch(json!([{"$patch": "delete", "name": "a"}])), &patch(json!([b])));
        check(&object, &patch(json!([{"$patch": "replace"}, {"name": "d"}])), &patch(json!([{"name": "d"}])));
        let env = json!([{"name": "b", "env": [{"name": "Y", "value": "2"}]}]);
        let merged = json!({"name": "b", "image": "1", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]});
        check(&object, &patch(env), &patch(json!([{"name": "a", "image": "1"}, merged])));
        assert_eq!(refused(&object, &patch(json!([{"image": "c:1"}]))), "map: map[image:c:1] does not contain declared merge key: name");
    }

    #[test]
    fn a_patch_may_set_the_order_of_items() {
        let object = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        let patch =
            json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "a", "image": "2"}]}});
        check(&object, &patch, &json!({"spec": {"containers": [{"name": "b"}, {"name": "a", "image": "2"}]}}));
        let patch = json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}});
        check(&object, &patch, &json!({"spec": {"containers": [{"name": "b"}, {"name": "a"}]}}));
        let patch = json!({"spec": {"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a", "image": "a:4"}]}});
        let text = "The order in patch list:\n[map[image:a:4 name:a]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n";
        assert_eq!(refused(&object, &patch), text);
    }

    #[test]
    fn only_retained_keys_stay() {
        let object = json!({"spec": {"containers": [{"name": "v", "image": "x"}]}});
        let patch = json!({"spec": {"containers": [{"$retainKeys": ["name", "args"], "name": "v", "args": ["a"]}]}});
        check(&object, &patch, &json!({"spec": {"containers": [{"name": "v", "args": ["a"]}]}}));
        let patch = json!({"spec": {"containers": [{"$retainKeys": ["name"], "name": "v", "args": ["a"]}]}});
        assert!(refused(&object, &patch).contains("args"));
    }
}
