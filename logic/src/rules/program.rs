//! One expression: read, bounded, evaluated.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::parser::PrattParser;
use cel::{Context, Env};
use serde_json::Value;

use super::{functions, macros, objects};

/// The longest expression, in bytes.
const SOURCE_BYTES_MAX: usize = 10_000;
/// The most nodes of an expression.
const NODES_MAX: usize = 2_000;
/// How deep an expression may be nested; evaluation goes as deep on the stack.
const DEPTH_MAX: usize = 48;

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib();
    let added = [environment.add_extension(cel::extensions::strings), environment.add_extension(cel::extensions::lists)];
    debug_assert!(added.iter().all(Result::is_ok), "the extensions do not overlap");
    Arc::new(environment)
});

/// An expression that can be evaluated.
#[derive(Debug, Clone)]
pub struct Program {
    expression: Arc<IdedExpr>,
    measure: Measure,
}

/// What an expression may refer to, by name.
pub type Variables = HashMap<&'static str, cel::Value>;

/// What evaluating may still cost, in nodes of expressions.
#[derive(Debug, Clone)]
pub struct Budget {
    left: u64,
    items_max: u64,
    text_max: u64,
}

impl Program {
    /// Reads an expression. Errors: what is wrong with it.
    pub fn parse(source: &str) -> Result<Self, String> {
        Self::parsed(source, |_| Ok(()))
    }

    /// Reads an expression that may write out objects; `whole` for one that must make a whole one. Errors: what is wrong with it.
    pub fn parse_making(source: &str, whole: bool) -> Result<Self, String> {
        Self::parsed(source, |expression| {
            let refused = if whole { objects::no_object(expression) } else { None };
            refused.map_or_else(|| objects::as_maps(expression), Err)
        })
    }

    fn parsed(source: &str, rewrite: impl FnOnce(&mut IdedExpr) -> Result<(), String>) -> Result<Self, String> {
        if source.len() > SOURCE_BYTES_MAX {
            return Err(format!("the expression is longer than {SOURCE_BYTES_MAX} bytes"));
        }
        let parser = PrattParser::new().enable_optional_syntax(true).max_recursion_depth(48).max_expression_node_count(NODES_MAX);
        let mut expression = guarded(|| parser.parse(source))?.map_err(|errors| {
            let first = errors.to_string();
            first.lines().next().unwrap_or_default().to_owned()
        })?;
        if measure(&expression).depth > DEPTH_MAX {
            return Err(format!("the expression is nested more than {DEPTH_MAX} deep"));
        }
        macros::expand(&mut expression)?;
        if measure(&expression).depth > DEPTH_MAX {
            return Err(format!("the expression is nested more than {DEPTH_MAX} deep"));
        }
        unescape(&mut expression);
        name_request_resource(&mut expression);
        rewrite(&mut expression)?;
        let measure = measure(&expression);
        Ok(Self { expression: Arc::new(expression), measure })
    }

    /// The expression.
    pub fn expression(&self) -> &IdedExpr {
        &self.expression
    }

    /// Whether the expression refers to a variable.
    pub fn mentions(&self, name: &str) -> bool {
        mentions(&self.expression, name)
    }

    /// The value of the expression. Errors: why it has none.
    pub fn evaluate(&self, variables: &Variables, budget: &mut Budget) -> Result<cel::Value, String> {
        budget.spend(self)?;
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        functions::add(&mut context);
        for (name, value) in variables {
            context.add_variable_from_value(*name, value.clone());
        }
        guarded(|| context.resolve(&self.expression))?.map_err(|error| match error {
            cel::ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
            other => other.to_string(),
        })
    }

    /// As `evaluate`, for an expression that must say yes or no.
    pub fn holds(&self, variables: &Variables, budget: &mut Budget) -> Result<bool, String> {
        match self.evaluate(variables, budget)? {
            cel::Value::Bool(holds) => Ok(holds),
            _ => Err("expected true or false".into()),
        }
    }

    /// As `evaluate`, for an expression that must make a text.
    pub fn text(&self, variables: &Variables, budget: &mut Budget) -> Result<String, String> {
        match self.evaluate(variables, budget)? {
            cel::Value::String(text) => Ok(text.to_string()),
            _ => Err("expected a text".into()),
        }
    }
}

/// Why an expression has no value that the evaluator panicked at.
pub const BROKEN: &str = "the evaluator is broken: it does not take this expression";

/// The evaluator is other people's code, which can panic; then the expression failed, not the server.
fn guarded<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).map_err(|_| BROKEN.to_owned())
}

impl Budget {
    /// What one request may cost in all.
    pub const TOTAL: u64 = 10_000_000;

    /// A budget for expressions over `values`.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut budget = Self { left: Self::TOTAL, items_max: 8, text_max: 0 };
        values.into_iter().for_each(|value| budget.measure(value));
        budget
    }

    /// Takes note of a further value that expressions will see.
    pub fn measure(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.text_max = self.text_max.max(text.len() as u64),
            Value::Array(items) => {
                self.items_max = self.items_max.max(items.len() as u64);
                items.iter().for_each(|item| self.measure(item));
            }
            Value::Object(fields) => {
                self.items_max = self.items_max.max(fields.len() as u64);
                fields.values().for_each(|value| self.measure(value));
            }
            _ => {}
        }
    }

    /// A list in an expression is made of those at hand and of what the expression itself writes out; a text too, but for
    /// what puts one text into another again and again.
    fn spend(&mut self, program: &Program) -> Result<(), String> {
        let of = &program.measure;
        let text = self.text_max.max(of.written);
        let items = self.items_max.saturating_mul(1 + of.sums).max(of.written).max(if of.splits { text } else { 0 });
        let turns = if of.loops == 0 { 1 } else { items.saturating_pow(of.loops) };
        let grown = if of.grows == 0 { 0 } else { text.max(items).saturating_pow(of.grows + 1) / 16 };
        let cost = of.nodes.saturating_mul(turns).saturating_mul(1 + text / 256).saturating_add(grown.saturating_mul(turns));
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err("the expression costs too much over this object; bound its lists with maxItems or nest fewer loops".into()),
        }
    }
}

/// A JSON value as an expression sees it.
pub fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => cel::Value::Int(number),
            (None, Some(number)) => cel::Value::UInt(number),
            _ => cel::Value::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => cel::Value::from(text.as_str()),
        Value::Array(items) => cel::Value::from(items.iter().map(to_cel).collect::<Vec<_>>()),
        Value::Object(fields) => {
            cel::Value::from(fields.iter().map(|(name, value)| (name.clone(), to_cel(value))).collect::<HashMap<_, _>>())
        }
    }
}

/// A text that a schema calls a time or a day, as an expression sees it; one that is none stays a text.
pub fn time(text: &str) -> cel::Value {
    let whole = if text.contains(['T', 't']) { text.to_owned() } else { format!("{text}T00:00:00Z") };
    chrono::DateTime::parse_from_rfc3339(&whole).map_or_else(|_| cel::Value::from(text), cel::Value::Timestamp)
}

/// A length of time of so many nanoseconds, as an expression sees it.
pub fn duration(nanoseconds: i64) -> cel::Value {
    cel::Value::Duration(chrono::Duration::nanoseconds(nanoseconds))
}

/// What an expression may cost, whatever it is evaluated over.
#[derive(Debug, Clone, Default)]
struct Measure {
    nodes: u64,
    depth: usize,
    /// How many loops are within one another.
    loops: u32,
    /// How often something is added to something.
    sums: u64,
    /// How often a text may multiply.
    grows: u32,
    /// Whether a text becomes a list.
    splits: bool,
    /// The longest list or text that is written out.
    written: u64,
}

fn measure(expression: &IdedExpr) -> Measure {
    let mut whole = Measure { nodes: 1, ..Measure::default() };
    for child in children(expression) {
        let part = measure(child);
        whole.nodes = whole.nodes.saturating_add(part.nodes);
        whole.depth = whole.depth.max(part.depth);
        whole.loops = whole.loops.max(part.loops);
        whole.sums += part.sums;
        whole.grows += part.grows;
        whole.splits |= part.splits;
        whole.written = whole.written.max(part.written);
    }
    whole.depth += 1;
    match &expression.expr {
        // A loop over nothing gives something a name.
        Expr::Comprehension(of) if matches!(&of.iter_range.expr, Expr::List(list) if list.elements.is_empty()) => {}
        Expr::Comprehension(_) => whole.loops += 1,
        Expr::List(list) => whole.written = whole.written.max(list.elements.len() as u64),
        Expr::Map(map) => whole.written = whole.written.max(map.entries.len() as u64),
        Expr::Literal(cel::common::ast::LiteralValue::String(text)) => whole.written = whole.written.max(text.inner().len() as u64),
        Expr::Call(call) => match call.func_name.as_str() {
            "_+_" => whole.sums += 1,
            "replace" | "join" | "format" => whole.grows += 1,
            "split" | "findAll" => whole.splits = true,
            // Each looks through the roles of somebody.
            "check" => whole.nodes += 500,
            _ => {}
        },
        _ => {}
    }
    whole
}

fn mentions(expression: &IdedExpr, name: &str) -> bool {
    matches!(&expression.expr, Expr::Ident(found) if found == name) || children(expression).into_iter().any(|child| mentions(child, name))
}

/// The parts of an expression, those of a loop included.
pub(super) fn children(expression: &IdedExpr) -> Vec<&IdedExpr> {
    match &expression.expr {
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Comprehension(of) => vec![&of.iter_range, &of.accu_init, &of.loop_cond, &of.loop_step, &of.result],
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect(),
        Expr::Struct(of) => of.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
    }
}

fn entry_parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

/// The parts of an expression, those of a loop included, to be changed.
pub(super) fn children_mut(expression: &mut IdedExpr) -> Vec<&mut IdedExpr> {
    match &mut expression.expr {
        Expr::Call(call) => call.target.as_deref_mut().into_iter().chain(&mut call.args).collect(),
        Expr::Comprehension(of) => vec![&mut of.iter_range, &mut of.accu_init, &mut of.loop_cond, &mut of.loop_step, &mut of.result],
        Expr::List(list) => list.elements.iter_mut().collect(),
        Expr::Map(map) => map.entries.iter_mut().flat_map(|entry| entry_parts_mut(&mut entry.expr)).collect(),
        Expr::Struct(of) => of.entries.iter_mut().flat_map(|entry| entry_parts_mut(&mut entry.expr)).collect(),
        Expr::Select(select) => vec![&mut select.operand],
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
    }
}

fn entry_parts_mut(entry: &mut EntryExpr) -> Vec<&mut IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&mut field.value],
        EntryExpr::MapEntry(entry) => vec![&mut entry.key, &mut entry.value],
    }
}

/// Field names that are no identifiers are written escaped: `__namespace__`, `a__dot__b`.
fn unescape(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Expr::Select(select) if select.field.contains("__") => select.field = unescaped(&select.field),
        Expr::Struct(of) => {
            for entry in &mut of.entries {
                if let EntryExpr::StructField(field) = &mut entry.expr {
                    field.field = unescaped(&field.field);
                }
            }
        }
        _ => {}
    }
    children_mut(expression).into_iter().for_each(unescape);
}

/// `authorizer.requestResource` is a variable of its own, with a dot in its name.
fn name_request_resource(expression: &mut IdedExpr) {
    if let Expr::Select(select) = &expression.expr
        && select.field == "requestResource"
        && matches!(&select.operand.expr, Expr::Ident(name) if name == "authorizer")
    {
        expression.expr = Expr::Ident("authorizer.requestResource".to_owned());
    }
    children_mut(expression).into_iter().for_each(name_request_resource);
}

fn unescaped(name: &str) -> String {
    let keyword = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__")).filter(|word| !word.contains("__"));
    if let Some(word) = keyword.filter(|word| !["dot", "dash", "slash", "underscores"].contains(word)) {
        return word.to_owned();
    }
    let marks = [("__dot__", "."), ("__dash__", "-"), ("__slash__", "/"), ("__underscores__", "__")];
    let mut rest = name;
    let mut found = String::new();
    while let Some(first) = rest.chars().next() {
        match marks.iter().find(|(mark, _)| rest.starts_with(mark)) {
            Some((mark, text)) => {
                found.push_str(text);
                rest = &rest[mark.len()..];
            }
            None => {
                found.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    found
}
