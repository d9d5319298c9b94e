//! Macros beside CEL's own: loops with two variables, and what is done with an optional value.
//!
//! A loop with two variables becomes one over pairs: positions and items of a list, keys and values of a map. Names that begin
//! with `@` cannot be written in an expression, so they meet nobody's.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, operators};

use super::program::children_mut;

/// Makes pairs of a list or a map.
pub(super) const PAIRS: &str = "@pairs";
/// Makes a map of pairs.
pub(super) const MAP: &str = "@map";
/// Makes one map of many, none of which has a key of another.
pub(super) const MERGED: &str = "@merged";
/// Sorts a list by keys at the same positions.
pub(super) const SORTED_BY: &str = "@sortedBy";
/// `matches`, as RE2 means it.
pub(super) const MATCHES: &str = "@matches";

/// Whether a value is of a type that the evaluator does not know.
pub(super) const IS_SPECIAL: &str = "@isSpecial";
/// Such a value as text.
pub(super) const SPECIAL_TEXT: &str = "@text";

const PAIR: &str = "@pair";
const RESULT: &str = "@result";
const TARGET: &str = "@target";

/// Replaces the calls that are macros. Errors: a variable that is no name.
pub(super) fn expand(expression: &mut IdedExpr) -> Result<(), String> {
    for child in children_mut(expression) {
        expand(child)?;
    }
    let Expr::Call(call) = &mut expression.expr else { return Ok(()) };
    if call.func_name == "matches" {
        call.func_name = MATCHES.to_owned();
        let target = call.target.take();
        call.args.splice(0..0, target.map(|target| *target));
        return Ok(());
    }
    // Those of the evaluator take texts alone.
    if let ("indexOf" | "lastIndexOf", true, 1) = (call.func_name.as_str(), call.target.is_some(), call.args.len()) {
        call.func_name.insert(0, '@');
        return Ok(());
    }
    if call.func_name == "string" && call.target.is_none() && call.args.len() == 1 {
        let make = Make { id: expression.id };
        let of = call.args.swap_remove(0);
        let with = |function: &str| make.call(function, vec![make.name(TARGET)]);
        let choice = make.call(operators::CONDITIONAL, vec![with(IS_SPECIAL), with(SPECIAL_TEXT), with("string")]);
        expression.expr = make.bind(TARGET, of, choice).expr;
        return Ok(());
    }
    let is_macro = match (call.func_name.as_str(), call.args.len()) {
        ("all" | "exists" | "existsOne" | "exists_one" | "transformList" | "transformMap" | "transformMapEntry", 3)
        | ("transformList" | "transformMap" | "transformMapEntry", 4)
        | ("optMap" | "optFlatMap" | "sortBy", 2) => call.target.is_some(),
        _ => false,
    };
    let Some(target) = call.target.take_if(|_| is_macro) else { return Ok(()) };
    let name = std::mem::take(&mut call.func_name);
    let mut arguments = std::mem::take(&mut call.args).into_iter();
    let mut next = || arguments.next().unwrap_or_default();
    let make = Make { id: expression.id };
    expression.expr = match name.as_str() {
        "optMap" | "optFlatMap" => make.optional(*target, &variable(next())?, next(), name == "optMap"),
        "sortBy" => make.sorted(*target, variable(next())?, next()),
        _ => {
            let (key, value) = (variable(next())?, variable(next())?);
            if key == value {
                return Err(format!("overlapping variable name: {value}"));
            }
            make.loop_of_two(&name, *target, [&key, &value], next(), arguments.next())
        }
    }
    .expr;
    Ok(())
}

fn variable(expression: IdedExpr) -> Result<String, String> {
    match expression.expr {
        Expr::Ident(name) => Ok(name),
        _ => Err("argument must be a simple name".to_owned()),
    }
}

/// Makes expressions in the place of another.
struct Make {
    id: u64,
}

impl Make {
    fn node(&self, expr: Expr) -> IdedExpr {
        IdedExpr { id: self.id, expr }
    }

    fn name(&self, name: &str) -> IdedExpr {
        self.node(Expr::Ident(name.to_owned()))
    }

    fn call(&self, function: &str, args: Vec<IdedExpr>) -> IdedExpr {
        self.node(Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args }))
    }

    fn member(&self, target: IdedExpr, function: &str, args: Vec<IdedExpr>) -> IdedExpr {
        self.node(Expr::Call(CallExpr { func_name: function.to_owned(), target: Some(Box::new(target)), args }))
    }

    fn truth(&self, value: bool) -> IdedExpr {
        self.node(Expr::Literal(LiteralValue::Boolean(value.into())))
    }

    fn number(&self, value: i64) -> IdedExpr {
        self.node(Expr::Literal(LiteralValue::Int(value.into())))
    }

    fn list(&self, items: Vec<IdedExpr>) -> IdedExpr {
        self.node(Expr::List(ListExpr::new(items)))
    }

    /// `result`, in which `name` is `value`: a loop over nothing.
    fn bind(&self, name: &str, value: IdedExpr, result: IdedExpr) -> IdedExpr {
        self.node(Expr::Comprehension(Box::new(ComprehensionExpr {
            iter_range: self.list(Vec::new()),
            iter_var: "#unused".to_owned(),
            iter_var2: None,
            accu_var: name.to_owned(),
            accu_init: value,
            loop_cond: self.truth(false),
            loop_step: self.name(name),
            result,
        })))
    }

    fn optional(&self, target: IdedExpr, name: &str, mapping: IdedExpr, wrap: bool) -> IdedExpr {
        let of_optional = |function: &str, args: Vec<IdedExpr>| self.member(self.name("optional"), function, args);
        let value = self.member(self.name(TARGET), "value", Vec::new());
        let mapped = self.bind(name, value, mapping);
        let some = if wrap { of_optional("of", vec![mapped]) } else { mapped };
        let has_value = self.member(self.name(TARGET), "hasValue", Vec::new());
        let choice = self.call(operators::CONDITIONAL, vec![has_value, some, of_optional("none", Vec::new())]);
        self.bind(TARGET, target, choice)
    }

    fn sorted(&self, target: IdedExpr, name: String, key: IdedExpr) -> IdedExpr {
        let step = self.call(operators::ADD, vec![self.name(RESULT), self.list(vec![key])]);
        let keys = self.repeat(self.name(TARGET), name, self.list(Vec::new()), self.truth(true), step, self.name(RESULT));
        self.bind(TARGET, target, self.call(SORTED_BY, vec![self.name(TARGET), keys]))
    }

    fn repeat(&self, range: IdedExpr, name: String, init: IdedExpr, goes_on: IdedExpr, step: IdedExpr, result: IdedExpr) -> IdedExpr {
        self.node(Expr::Comprehension(Box::new(ComprehensionExpr {
            iter_range: range,
            iter_var: name,
            iter_var2: None,
            accu_var: RESULT.to_owned(),
            accu_init: init,
            loop_cond: goes_on,
            loop_step: step,
            result,
        })))
    }

    fn loop_of_two(&self, name: &str, target: IdedExpr, variables: [&str; 2], third: IdedExpr, fourth: Option<IdedExpr>) -> IdedExpr {
        let result = || self.name(RESULT);
        let step = |step: IdedExpr| {
            let part = |at: i64| self.call(operators::INDEX, vec![self.name(PAIR), self.number(at)]);
            self.bind(variables[0], part(0), self.bind(variables[1], part(1), step))
        };
        let range = self.call(PAIRS, vec![target]);
        let over = |init, goes_on, body, result| self.repeat(range, PAIR.to_owned(), init, goes_on, step(body), result);
        let not_false = |of: IdedExpr| self.call(operators::NOT_STRICTLY_FALSE, vec![of]);
        let add = |item: IdedExpr| self.call(operators::ADD, vec![result(), item]);
        match name {
            "all" => over(self.truth(true), not_false(result()), self.call(operators::LOGICAL_AND, vec![result(), third]), result()),
            "exists" => {
                let goes_on = not_false(self.call(operators::LOGICAL_NOT, vec![result()]));
                over(self.truth(false), goes_on, self.call(operators::LOGICAL_OR, vec![result(), third]), result())
            }
            "existsOne" | "exists_one" => {
                let body = self.call(operators::CONDITIONAL, vec![third, add(self.number(1)), result()]);
                over(self.number(0), self.truth(true), body, self.call(operators::EQUALS, vec![result(), self.number(1)]))
            }
            _ => {
                let (filter, made) = match fourth {
                    Some(made) => (Some(third), made),
                    None => (None, third),
                };
                let item = if name == "transformMap" { self.list(vec![self.name(variables[0]), made]) } else { made };
                let added = add(self.list(vec![item]));
                let body = match filter {
                    Some(filter) => self.call(operators::CONDITIONAL, vec![filter, added, result()]),
                    None => added,
                };
                let end = match name {
                    "transformMap" => self.call(MAP, vec![result()]),
                    "transformMapEntry" => self.call(MERGED, vec![result()]),
                    _ => result(),
                };
                over(self.list(Vec::new()), self.truth(true), body, end)
            }
        }
    }
}
