//! What can be said of an expression before it runs: names that are not there, fields that a schema does not have.

use std::collections::HashMap;

use cel::common::ast::{Expr, IdedExpr};
use serde_json::Value;

use super::program::children;
use super::{authorizer, functions, library};

/// What is known of the variables of an expression: their schema, where they have one.
pub type Known<'a> = HashMap<String, Option<&'a Value>>;

/// The names of types, which are values too.
const TYPES: [&str; 10] = ["int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"];

/// The first thing that cannot be right in an expression.
pub fn problem(expression: &IdedExpr, known: &Known<'_>) -> Option<String> {
    match &expression.expr {
        Expr::Ident(name) if !known.contains_key(name) && !TYPES.contains(&name.as_str()) => {
            Some(format!("undeclared reference to '{name}'"))
        }
        Expr::Select(select) => problem(&select.operand, known).or_else(|| {
            let of = schema_of(&select.operand, known)?;
            (is_closed(of) && field(of, &select.field).is_none()).then(|| format!("undefined field '{}'", select.field))
        }),
        Expr::Call(call) => {
            let is_operator = call.func_name.contains('_') || call.func_name.starts_with('@');
            let is_function =
                [functions::NAMES, library::NAMES, authorizer::NAMES].iter().any(|names| names.contains(&call.func_name.as_str()));
            if !is_operator && !is_function {
                return Some(format!("undeclared reference to '{}' (a function that there is not here)", call.func_name));
            }
            let is_namespace =
                |part: &&IdedExpr| matches!(&part.expr, Expr::Ident(name) if ["optional", "lists", "strings"].contains(&name.as_str()));
            children(expression).into_iter().filter(|part| !is_namespace(part)).find_map(|part| problem(part, known))
        }
        Expr::Comprehension(of) => problem(&of.iter_range, known).or_else(|| {
            let items = schema_of(&of.iter_range, known).and_then(|schema| schema.get("items"));
            let mut inner = known.clone();
            inner.insert(of.iter_var.clone(), items);
            inner.insert(of.accu_var.clone(), None);
            if let Some(second) = &of.iter_var2 {
                inner.insert(of.iter_var.clone(), None);
                inner.insert(second.clone(), None);
            }
            [&of.accu_init, &of.loop_cond, &of.loop_step, &of.result].into_iter().find_map(|part| problem(part, &inner))
        }),
        _ => children(expression).into_iter().find_map(|part| problem(part, known)),
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
