//! The scale of a defined kind: where in its objects the numbers are.

use model::{Copies, Problem};
use serde_json::{Value, json};

/// The paths of a scale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    wanted: Vec<String>,
    actual: Vec<String>,
    selector: Option<Vec<String>>,
}

impl ScalePaths {
    /// Those of a version of a definition, where it has a scale.
    pub fn of(version: &Value) -> Option<Self> {
        let scale = version["subresources"].get("scale").filter(|scale| scale.is_object())?;
        let keys = |field: &str| scale[field].as_str().map(|path| path.split('.').skip(1).map(str::to_owned).collect::<Vec<_>>());
        Some(Self { wanted: keys("specReplicasPath")?, actual: keys("statusReplicasPath")?, selector: keys("labelSelectorPath") })
    }

    /// Wanted and actual number, and the selector. Errors: what is there in place of a number.
    pub fn read(&self, object: &Value) -> Result<Copies, String> {
        let actual = at(object, &self.actual).and_then(Value::as_i64).unwrap_or(0);
        let selector = self.selector.as_ref().and_then(|keys| at(object, keys)).and_then(Value::as_str).unwrap_or_default();
        match at(object, &self.wanted) {
            None => Err(format!("the spec replicas field {:?} does not exist", self.path())),
            Some(value) => match value.as_i64() {
                Some(wanted) => Ok((wanted, actual, selector.to_owned())),
                None => Err(format!("the spec replicas field {:?} is no integer: {value}", self.path())),
            },
        }
    }

    /// Sets the wanted number.
    pub fn write(&self, object: &mut Value, wanted: i64) {
        let mut place = object;
        for key in &self.wanted {
            if !place.is_object() {
                *place = json!({});
            }
            place = &mut place[key.as_str()];
        }
        *place = json!(wanted);
    }

    /// Problems of the number in an object, beside what its schema says.
    pub fn problems(&self, object: &Value) -> Vec<Problem> {
        let path = self.path();
        let mut place = object;
        for (depth, key) in self.wanted.iter().enumerate() {
            match place {
                Value::Object(fields) => match fields.get(key) {
                    Some(inner) => place = inner,
                    None => return Vec::new(),
                },
                _ if depth == 0 => return Vec::new(),
                other => {
                    let detail = format!(
                        "0: {path} accessor error: {} is of the type {}, expected map[string]interface{{}}",
                        plain(other),
                        go_type(other)
                    );
                    return vec![Problem::invalid(&path, detail)];
                }
            }
        }
        match place.as_i64() {
            None if place.is_null() => Vec::new(),
            None => {
                let detail = format!("0: {path} accessor error: {} is of the type {}, expected int64", plain(place), go_type(place));
                vec![Problem::invalid(&path, detail)]
            }
            Some(number) if number < 0 => vec![Problem::invalid(&path, format!("{number}: should be a non-negative integer"))],
            Some(number) if number > i64::from(i32::MAX) => {
                vec![Problem::invalid(&path, format!("{number}: should be less than or equal to {}", i32::MAX))]
            }
            Some(_) => Vec::new(),
        }
    }

    fn path(&self) -> String {
        self.wanted.iter().fold(String::new(), |path, key| format!("{path}.{key}"))
    }
}

fn at<'a>(object: &'a Value, keys: &[String]) -> Option<&'a Value> {
    keys.iter().try_fold(object, |value, key| value.get(key))
}

/// A value as Go prints it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => {
            number.as_f64().filter(|number| number.fract() == 0.0).map_or(number.to_string(), |number| format!("{number:.0}"))
        }
        other => other.to_string(),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
