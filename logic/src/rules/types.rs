//! What can be said of an expression before it runs: names that are not there, fields that a schema does not have,
//! functions that are not there for what they are called on, patterns that are none.

use std::collections::HashMap;

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue};
use serde_json::Value;

use super::macros::MATCHES;
use super::overloads::{self, DYN, Type};
use super::program::children;

/// What is known of the variables of an expression: their schema, where they have one.
pub type Known<'a> = HashMap<String, Option<&'a Value>>;

/// The names of types, which are values too.
const TYPES: [&str; 10] = ["int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"];
/// The types of which no value is equal to one of another.
const APART: [Type; 7] = ["string", "bool", "bytes", "list", "map", "duration", "timestamp"];

/// The first thing that cannot be right in an expression.
pub fn problem(expression: &IdedExpr, known: &Known<'_>) -> Option<String> {
    type_of(expression, known).err()
}

/// As `problem`, for an expression that must say yes or no.
pub fn rule_problem(expression: &IdedExpr, known: &Known<'_>) -> Option<String> {
    match type_of(expression, known) {
        Ok("bool" | DYN) => None,
        Ok(_) => Some("must evaluate to a bool".to_owned()),
        Err(why) => Some(why),
    }
}

/// As `problem`, for an expression that must make a text.
pub fn text_problem(expression: &IdedExpr, known: &Known<'_>) -> Option<String> {
    match type_of(expression, known) {
        Ok("string" | DYN) => None,
        Ok(_) => Some("must evaluate to a string".to_owned()),
        Err(why) => Some(why),
    }
}

/// The type of an expression, as far as it is plain. Errors: what cannot be right in it.
fn type_of(expression: &IdedExpr, known: &Known<'_>) -> Result<Type, String> {
    match &expression.expr {
        Expr::Ident(name) => match known.get(name) {
            Some(schema) => Ok(schema.map_or(DYN, type_of_schema)),
            None if TYPES.contains(&name.as_str()) => Ok("type"),
            None => Err(format!("undeclared reference to '{name}'")),
        },
        Expr::Select(select) => {
            type_of(&select.operand, known)?;
            let Some(of) = schema_of(&select.operand, known) else { return Ok(if select.test { "bool" } else { DYN }) };
            let found = field(of, &select.field);
            if is_closed(of) && found.is_none() {
                return Err(format!("undefined field '{}'", select.field));
            }
            Ok(if select.test { "bool" } else { found.map_or(DYN, type_of_schema) })
        }
        Expr::Call(call) => type_of_call(call, known),
        Expr::Comprehension(of) => type_of_loop(of, known),
        Expr::Literal(literal) => Ok(match literal {
            LiteralValue::Boolean(_) => "bool",
            LiteralValue::Bytes(_) => "bytes",
            LiteralValue::Double(_) => "double",
            LiteralValue::Int(_) => "int",
            LiteralValue::String(_) => "string",
            LiteralValue::UInt(_) => "uint",
            LiteralValue::Null => DYN,
        }),
        other => {
            for part in children(expression) {
                type_of(part, known)?;
            }
            Ok(match other {
                Expr::List(_) => "list",
                Expr::Map(_) => "map",
                _ => DYN,
            })
        }
    }
}

fn type_of_call(call: &CallExpr, known: &Known<'_>) -> Result<Type, String> {
    let arguments: Vec<Type> = call.args.iter().map(|argument| type_of(argument, known)).collect::<Result<_, _>>()?;
    check_patterns(call)?;
    if let Some(target) = &call.target
        && let Expr::Ident(namespace) = &target.expr
        && !known.contains_key(namespace)
        && overloads::stands_alone(&format!("{namespace}.{}", call.func_name))
    {
        return overloads::value_of(&format!("{namespace}.{}", call.func_name), None, &arguments);
    }
    let on = call.target.as_ref().map(|target| type_of(target, known)).transpose()?;
    match (call.func_name.as_str(), arguments.as_slice()) {
        ("_==_" | "_!=_", [one, other]) if one != other && APART.contains(one) && APART.contains(other) => {
            Err(format!("found no matching overload for '{}' applied to '({one}, {other})'", call.func_name))
        }
        ("_?_:_", ["bool" | DYN, one, other]) => Ok(if one == other { one } else { DYN }),
        (name, arguments) => overloads::value_of(name, on, arguments),
    }
}

/// Errors: a pattern that is written out is none.
fn check_patterns(call: &CallExpr) -> Result<(), String> {
    let pattern = match call.func_name.as_str() {
        MATCHES => call.args.get(1),
        "find" | "findAll" => call.args.first(),
        _ => None,
    };
    match pattern.map(|pattern| &pattern.expr) {
        Some(Expr::Literal(LiteralValue::String(text))) => crate::pattern::compile(text.inner()).map(drop),
        _ => Ok(()),
    }
}

fn type_of_loop(of: &ComprehensionExpr, known: &Known<'_>) -> Result<Type, String> {
    let over = type_of(&of.iter_range, known)?;
    if !["list", "map", DYN].contains(&over) {
        return Err(format!("expression of type '{over}' cannot be range of a comprehension (must be list, map, or dynamic)"));
    }
    let items = schema_of(&of.iter_range, known).and_then(|schema| schema.get("items"));
    let made = type_of(&of.accu_init, known)?;
    let mut inner = known.clone();
    inner.insert(of.iter_var.clone(), items);
    inner.insert(of.accu_var.clone(), schema_of(&of.accu_init, known));
    for part in [&of.loop_cond, &of.loop_step] {
        type_of(part, &inner)?;
    }
    let value = type_of(&of.result, &inner)?;
    Ok(if matches!(&of.result.expr, Expr::Ident(name) if *name == of.accu_var) { made } else { value })
}

/// The type that the values of a schema have in expressions, where that is plain.
fn type_of_schema(schema: &Value) -> Type {
    let is_plain = schema["nullable"] != true && schema["x-kubernetes-int-or-string"] != true;
    match schema["type"].as_str().filter(|_| is_plain) {
        // Some formats make texts something else: times, lengths of time, bytes.
        Some("string") if schema.get("format").is_none() => "string",
        Some("boolean") => "bool",
        Some("integer") => "int",
        Some("array") => "list",
        Some("object") => "map",
        _ => DYN,
    }
}

/// The schema of what an expression stands for, where that is plain.
fn schema_of<'a>(expression: &IdedExpr, known: &Known<'a>) -> Option<&'a Value> {
    match &expression.expr {
        Expr::Ident(name) => known.get(name).copied().flatten(),
        Expr::Select(select) if !select.test => field(schema_of(&select.operand, known)?, &select.field),
        Expr::Call(call) if call.func_name == "_[_]" => {
            let of = schema_of(call.args.first()?, known)?;
            of.get("items").or_else(|| of.get("additionalProperties").filter(|inner| inner.is_object()))
        }
        _ => None,
    }
}

fn field<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema["properties"].get(name).or_else(|| schema.get("additionalProperties").filter(|inner| inner.is_object()))
}

fn is_closed(schema: &Value) -> bool {
    schema["type"] == "object"
        && schema["properties"].is_object()
        && schema.get("additionalProperties").is_none()
        && schema["x-kubernetes-preserve-unknown-fields"] != true
        && schema["x-kubernetes-embedded-resource"] != true
}
