//! Objects that an expression writes out, `Object.spec{replicas: 1}` and `JSONPatch{op: "remove", path: "/spec"}`: they are read as
//! maps, and the names of their types are checked against the fields they are in.

use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, MapEntryExpr, MapExpr, StructExpr};
use cel::objects::Key;
use serde_json::{Map, Number, Value};

use super::program::children_mut;

/// The type of the whole object.
const OBJECT: &str = "Object";
/// The type of an operation of a JSON patch.
const JSON_PATCH: &str = "JSONPatch";
const JSON_PATCH_FIELDS: [&str; 4] = ["op", "path", "from", "value"];
/// Escapes a key for a path of a JSON patch.
pub(super) const ESCAPE_KEY: &str = "jsonpatch.escapeKey";

/// Turns what an expression writes out into maps. Errors: a type that there is not, or one in a field of another name.
pub(super) fn as_maps(expression: &mut IdedExpr) -> Result<(), String> {
    if let Expr::Call(call) = &mut expression.expr
        && call.func_name == "escapeKey"
        && call.target.as_ref().is_some_and(|target| matches!(&target.expr, Expr::Ident(name) if name == "jsonpatch"))
    {
        call.target = None;
        call.func_name = ESCAPE_KEY.to_owned();
    }
    if let Expr::Struct(of) = &mut expression.expr {
        check(of)?;
        let entries = std::mem::take(&mut of.entries).into_iter().map(entry).collect();
        expression.expr = Expr::Map(MapExpr { entries });
    }
    children_mut(expression).into_iter().try_for_each(as_maps)
}

fn entry(entry: IdedEntryExpr) -> IdedEntryExpr {
    let EntryExpr::StructField(field) = entry.expr else { return entry };
    let key = IdedExpr { id: entry.id, expr: Expr::Literal(LiteralValue::String(field.field.into())) };
    IdedEntryExpr { id: entry.id, expr: EntryExpr::MapEntry(MapEntryExpr { key, value: field.value, optional: field.optional }) }
}

fn check(of: &StructExpr) -> Result<(), String> {
    let name = of.type_name.as_str();
    let is_object = name == OBJECT || name.strip_prefix(OBJECT).is_some_and(|path| path.starts_with('.'));
    if !is_object && name != JSON_PATCH {
        return Err(format!("undeclared reference to '{name}'"));
    }
    for entry in &of.entries {
        let EntryExpr::StructField(field) = &entry.expr else { continue };
        if name == JSON_PATCH {
            if !JSON_PATCH_FIELDS.contains(&field.field.as_str()) {
                return Err(format!("undefined field '{}'", field.field));
            }
            continue;
        }
        let expected = format!("{name}.{}", field.field);
        if let Some(found) = types(&field.value).into_iter().find(|found| *found != expected) {
            return Err(format!(
                "unexpected type name {found:?}, expected {expected:?}, which matches field name path from root Object type"
            ));
        }
    }
    Ok(())
}

/// The types of the objects that an expression stands for, where that is plain.
fn types(expression: &IdedExpr) -> Vec<&str> {
    match &expression.expr {
        Expr::Struct(of) => vec![&of.type_name],
        Expr::List(list) => list.elements.iter().flat_map(types).collect(),
        Expr::Call(call) if call.func_name == "_?_:_" => call.args.iter().skip(1).flat_map(types).collect(),
        _ => Vec::new(),
    }
}

/// Why an expression cannot make a whole object, where that is plain.
pub(super) fn no_object(expression: &IdedExpr) -> Option<String> {
    match &expression.expr {
        Expr::Struct(of) if of.type_name == OBJECT => None,
        Expr::Struct(of) => Some(format!("must evaluate to Object but got {}", of.type_name)),
        Expr::List(_) => Some("must evaluate to Object but got list".to_owned()),
        Expr::Map(_) => Some("must evaluate to Object but got map".to_owned()),
        Expr::Literal(_) => Some("must evaluate to Object but got a plain value".to_owned()),
        Expr::Call(call) if call.func_name == "_?_:_" => call.args.iter().skip(1).find_map(no_object),
        _ => None,
    }
}

/// The value of an expression as JSON. Errors: it has no such form.
pub fn to_json(value: &cel::Value) -> Result<Value, String> {
    Ok(match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(value) => Value::Bool(*value),
        cel::Value::Int(number) => Value::from(*number),
        cel::Value::UInt(number) => Value::from(*number),
        cel::Value::Float(number) => Value::Number(Number::from_f64(*number).ok_or("a number that is none has no form in JSON")?),
        cel::Value::String(text) => Value::String(text.to_string()),
        cel::Value::Timestamp(time) => Value::String(time.to_rfc3339()),
        cel::Value::List(items) => Value::Array(items.iter().map(to_json).collect::<Result<_, _>>()?),
        cel::Value::Map(map) => {
            let mut entries: Vec<_> = map.map.iter().collect();
            entries.sort_by(|one, other| one.0.cmp(other.0));
            let mut fields = Map::new();
            for (key, value) in entries {
                let Key::String(name) = key else { return Err("a map whose keys are no texts has no form in JSON".to_owned()) };
                fields.insert(name.to_string(), to_json(value)?);
            }
            Value::Object(fields)
        }
        other => return Err(format!("a value of the type {} has no form in JSON", other.type_of())),
    })
}
