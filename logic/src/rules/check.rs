//! The rules of a schema, held against the values that they are about.

use std::collections::HashMap;

use model::{Problem, ProblemKind};
use serde_json::Value;

use super::program::{Budget, Program, Variables};

/// One entry of `x-kubernetes-validations`.
#[derive(Debug)]
pub struct Rule {
    source: String,
    program: Program,
    message: Option<String>,
    message_program: Option<Program>,
    kind: ProblemKind,
    field: String,
    transition: bool,
    optional_old: bool,
}

/// What holding rules against one object has found so far, and may still cost.
pub struct Rules {
    budget: Budget,
    problems: Vec<Problem>,
}

impl Rules {
    /// For rules over parts of `object`.
    pub fn new(object: &Value) -> Self {
        Self { budget: Budget::new([object]), problems: Vec::new() }
    }

    /// What was found.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}

/// Compiles `x-kubernetes-validations`; what cannot be read was refused with the definition and is left out.
pub fn compile(rules: &Value) -> Vec<Rule> {
    let rule = |rule: &Value| {
        let source = rule["rule"].as_str()?.to_owned();
        let program = Program::parse(&source).ok()?;
        Some(Rule {
            transition: program.mentions("oldSelf"),
            message: rule["message"].as_str().map(str::to_owned),
            message_program: rule["messageExpression"].as_str().and_then(|source| Program::parse(source).ok()),
            kind: match rule["reason"].as_str() {
                Some("FieldValueForbidden") => ProblemKind::Forbidden,
                Some("FieldValueRequired") => ProblemKind::Required,
                Some("FieldValueDuplicate") => ProblemKind::Duplicate,
                _ => ProblemKind::Invalid,
            },
            field: rule["fieldPath"].as_str().unwrap_or_default().to_owned(),
            optional_old: rule["optionalOldSelf"] == true,
            program,
            source,
        })
    };
    rules.as_array().into_iter().flatten().filter_map(rule).collect()
}

/// Holds the rules of one place against its value; `convert` makes of a value what rules see.
pub fn check(list: &[Rule], value: &Value, before: Option<&Value>, path: &str, found: &mut Rules, convert: impl Fn(&Value) -> cel::Value) {
    let mut variables: Option<Variables> = None;
    for rule in list {
        let skipped = if rule.transition { before.is_none() && !rule.optional_old } else { before == Some(value) };
        if skipped {
            continue;
        }
        let variables = variables.get_or_insert_with(|| {
            let mut variables: Variables = HashMap::from([("self", convert(value))]);
            if let Some(before) = before {
                found.budget.measure(before);
                variables.insert("oldSelf", convert(before));
            }
            variables
        });
        let optional;
        let variables = if rule.optional_old {
            optional = with_optional(variables);
            &optional
        } else {
            &*variables
        };
        match rule.program.holds(variables, &mut found.budget) {
            Ok(true) => {}
            Ok(false) => {
                let problem = rule.broken(value, path, variables, &mut found.budget);
                found.problems.push(problem);
            }
            Err(why) => found.problems.push(Problem::invalid(path, format!("{}{why} evaluating rule: {}", shown(value), rule.source))),
        }
    }
}

/// `oldSelf` as an optional value, as `optionalOldSelf` has it.
fn with_optional(variables: &Variables) -> Variables {
    use std::sync::Arc;

    use cel::objects::OptionalValue;
    let mut variables = variables.clone();
    let old = variables.remove("oldSelf").map_or_else(OptionalValue::none, OptionalValue::of);
    variables.insert("oldSelf", cel::Value::Opaque(Arc::new(old)));
    variables
}

impl Rule {
    fn broken(&self, value: &Value, path: &str, variables: &Variables, budget: &mut Budget) -> Problem {
        let made = self.message_program.as_ref().and_then(|program| program.text(variables, budget).ok());
        let made = made.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty() && !text.contains('\n'));
        let message = made.or_else(|| self.message.clone()).unwrap_or_else(|| format!("failed rule: {}", self.source));
        let mut field = path.to_owned();
        field.push_str(&self.field);
        let field = field.trim_start_matches('.').to_owned();
        match self.kind {
            ProblemKind::Invalid => Problem::invalid(field, format!("{}{message}", shown(value))),
            ProblemKind::Duplicate => Problem::new(ProblemKind::Duplicate, field, value.to_string()),
            kind => Problem::new(kind, field, message),
        }
    }
}

fn shown(value: &Value) -> String {
    if value.is_object() || value.is_array() { String::new() } else { format!("{value}: ") }
}
