//! What Kubernetes' own types leave out: lists and maps without items, zeros that mean nothing.

use serde_json::{Map, Value};

use super::core_types::{Field, Many, Type, fields};

/// Takes out of an object of a type of the table what its JSON would not carry. Fields that the table lacks stay.
pub fn tidy(message: &str, object: &mut Value) {
    if let (Value::Object(object), Some(fields)) = (object, fields(message)) {
        tidy_fields(fields, object);
    }
}

fn tidy_fields(of: &[Field], object: &mut Map<String, Value>) {
    for field in of {
        if let (true, Type::Message(inner)) = (field.name.is_empty(), field.holds) {
            tidy_fields(fields(inner).unwrap_or_default(), object);
        }
        let Some(value) = object.get_mut(field.name) else { continue };
        if let Type::Message(inner) = field.holds {
            match (field.many, &mut *value) {
                (Many::One, value) => tidy(inner, value),
                (Many::List, Value::Array(items)) => items.iter_mut().for_each(|item| tidy(inner, item)),
                (Many::Map, Value::Object(entries)) => entries.values_mut().for_each(|entry| tidy(inner, entry)),
                _ => {}
            }
        }
        if is_left_out(field, value) {
            object.shift_remove(field.name);
        }
    }
}

fn is_left_out(field: &Field, value: &Value) -> bool {
    match (field.many, value) {
        (_, Value::Null) => true,
        (Many::List, Value::Array(items)) => items.is_empty(),
        (Many::Map, Value::Object(entries)) => entries.is_empty(),
        (Many::One, Value::String(text)) => !field.keeps_zero && field.holds == Type::Text && text.is_empty(),
        (Many::One, Value::Number(number)) => !field.keeps_zero && number.as_i64() == Some(0),
        (Many::One, Value::Bool(yes)) => !field.keeps_zero && !yes,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_means_nothing_goes_and_what_means_something_stays() {
        let mut pod = json!({
            "metadata": {"name": "p", "labels": {}, "finalizers": [], "generateName": ""},
            "spec": {"hostNetwork": false, "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0, "volumes": [{"name": "v", "emptyDir": {}}],
                "containers": [{"name": "", "args": [], "stdin": false, "env": [{"name": "X", "value": ""}], "resources": {"limits": {}}}], "ours": []},
        });
        tidy("core.Pod", &mut pod);
        let expected = json!({
            "metadata": {"name": "p"},
            "spec": {"automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0, "volumes": [{"name": "v", "emptyDir": {}}],
                "containers": [{"name": "", "env": [{"name": "X"}], "resources": {}}], "ours": []},
        });
        assert_eq!(pod, expected);
    }
}
