//! Policies in CEL: compiled once, held against each request that they concern.

use std::collections::HashMap;

use model::Problem;
use serde_json::{Value, json};

use super::mutation::{self, Mutation};
use super::{Request, Resource};
use crate::rules::{Budget, CelValue, Known, Program, Variables, to_cel, type_problem};

/// The longest message that an expression may make, in bytes.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;
const MUTATING: &str = "MutatingAdmissionPolicy";
const NAMES: [&str; 5] = ["object", "oldObject", "request", "params", "namespaceObject"];
/// Who may do what; not seen by what makes messages.
const AUTHORIZERS: [&str; 2] = ["authorizer", "authorizer.requestResource"];

/// A policy that can be held against requests.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// What it concerns.
    pub constraints: Value,
    /// The kind of its parameters, null when it has none.
    pub param_kind: Value,
    conditions: Vec<Named>,
    variables: Vec<Named>,
    validations: Vec<Validation>,
    annotations: Vec<Named>,
    pub(super) mutations: Vec<Mutation>,
    pub(super) is_repeated: bool,
    pub(super) ignores_errors: bool,
}

/// An expression with a name: a condition, a variable, an annotation.
#[derive(Debug, Clone)]
struct Named {
    name: String,
    source: String,
    program: Option<Program>,
}

#[derive(Debug, Clone)]
struct Validation {
    source: String,
    program: Option<Program>,
    message: String,
    message_program: Option<Program>,
    reason: String,
}

/// What a policy is evaluated with beside the request.
pub type Params<'a> = Option<&'a Value>;

/// What a policy found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong, each with the reason for the refusal: `Forbidden`, `Invalid`.
    pub failures: Vec<(String, String)>,
    /// What is to be noted beside the request.
    pub annotations: Vec<(String, String)>,
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn named(list: &Value, name: &str, expression: &str) -> Vec<Named> {
    named_by(list, name, expression, Program::parse)
}

fn named_by(list: &Value, name: &str, expression: &str, parse: impl Fn(&str) -> Result<Program, String>) -> Vec<Named> {
    let one = |item: &Value| {
        let source = text(&item[expression]);
        Named { name: text(&item[name]), program: parse(&source).ok(), source }
    };
    list.as_array().into_iter().flatten().map(one).collect()
}

impl Policy {
    /// Reads a stored ValidatingAdmissionPolicy or MutatingAdmissionPolicy. Expressions that cannot be read were refused; they
    /// count as failed.
    pub fn read(object: &Value) -> Self {
        let spec = &object["spec"];
        let validation = |validation: &Value| {
            let source = text(&validation["expression"]);
            Validation {
                program: Program::parse(&source).ok(),
                source: source.trim().to_owned(),
                message: text(&validation["message"]).trim().to_owned(),
                message_program: validation["messageExpression"].as_str().and_then(|source| Program::parse(source).ok()),
                reason: validation["reason"].as_str().unwrap_or("Invalid").to_owned(),
            }
        };
        Self {
            name: text(&object["metadata"]["name"]),
            constraints: spec["matchConstraints"].clone(),
            param_kind: spec["paramKind"].clone(),
            conditions: named(&spec["matchConditions"], "name", "expression"),
            variables: named_by(&spec["variables"], "name", "expression", |source| parsed(object, source)),
            validations: spec["validations"].as_array().into_iter().flatten().map(validation).collect(),
            annotations: named(&spec["auditAnnotations"], "key", "valueExpression"),
            mutations: mutation::read(spec),
            is_repeated: spec["reinvocationPolicy"] == "IfNeeded",
            ignores_errors: spec["failurePolicy"] == "Ignore",
        }
    }

    /// A failure of the policy itself, such as parameters that are not there.
    pub fn failed(&self, why: &str) -> Finding {
        let failures = if self.ignores_errors { Vec::new() } else { vec![(why.to_owned(), "Invalid".to_owned())] };
        Finding { failures, annotations: Vec::new() }
    }

    /// Holds it against a request that it concerns as `matched`.
    pub fn evaluate(&self, request: &Request, matched: &Resource, params: Params<'_>) -> Finding {
        let (mut variables, mut budget) = match self.begin(request, matched, params) {
            Ok(Some(begun)) => begun,
            Ok(None) => return Finding::default(),
            Err(why) => return self.failed(&why),
        };
        self.bind_variables(&mut variables, &mut budget);
        let mut finding = Finding::default();
        for validation in &self.validations {
            match evaluated(validation.program.as_ref(), &validation.source, &variables, &mut budget) {
                Ok(CelValue::Bool(true)) => {}
                Ok(_) => finding.failures.push((validation.words(&variables, &mut budget), validation.reason.clone())),
                Err(why) => finding.failures.append(&mut self.failed(&why).failures),
            }
        }
        for annotation in &self.annotations {
            match evaluated(annotation.program.as_ref(), &annotation.source, &variables, &mut budget) {
                Ok(CelValue::String(text)) if !text.trim().is_empty() => {
                    finding.annotations.push((format!("{}/{}", self.name, annotation.name), text.trim().to_owned()));
                }
                Ok(_) => {}
                Err(why) => finding.failures.append(&mut self.failed(&why).failures),
            }
        }
        finding
    }

    /// What its expressions see but for its variables, where its conditions hold. Errors: why that cannot be said.
    pub(super) fn begin(&self, request: &Request, matched: &Resource, params: Params<'_>) -> Result<Option<(Variables, Budget)>, String> {
        let (variables, mut budget) = self.bound(request, matched, params);
        Ok(hold(&self.conditions, &variables, &mut budget)?.then_some((variables, budget)))
    }

    pub(super) fn bound(&self, request: &Request, matched: &Resource, params: Params<'_>) -> (Variables, Budget) {
        let (mut variables, mut budget) = bound(request, matched);
        variables.insert("params", params.map_or(CelValue::Null, to_cel));
        if let Some(params) = params {
            budget.measure(params);
        }
        (variables, budget)
    }

    /// Variables see those before them. One that has no value is missed only by who asks for it.
    pub(super) fn bind_variables(&self, variables: &mut Variables, budget: &mut Budget) {
        let mut values: HashMap<String, CelValue> = HashMap::new();
        variables.insert("variables", CelValue::from(values.clone()));
        for variable in &self.variables {
            if let Ok(value) = evaluated(variable.program.as_ref(), &variable.source, variables, budget) {
                values.insert(variable.name.clone(), value);
                variables.insert("variables", CelValue::from(values.clone()));
            }
        }
    }
}

impl Validation {
    fn words(&self, variables: &Variables, budget: &mut Budget) -> String {
        let made = self.message_program.as_ref().and_then(|program| program.text(variables, budget).ok());
        let made = made.map(|text| text.trim().to_owned());
        let made = made.filter(|text| !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n'));
        let written = Some(self.message.clone()).filter(|message| !message.is_empty());
        made.or(written).unwrap_or_else(|| format!("failed expression: {}", self.source))
    }
}

/// The variables of a request, and what expressions over them may cost.
fn bound(request: &Request, matched: &Resource) -> (Variables, Budget) {
    let (object, old) = (request.shown(&request.object, matched), request.shown(&request.old_object, matched));
    let told = request.told(matched);
    let budget = Budget::new([&object, &old, &told, &request.namespace_object]);
    let values = [("object", &object), ("oldObject", &old), ("request", &told), ("namespaceObject", &request.namespace_object)];
    let mut variables: Variables = values.into_iter().map(|(name, value)| (name, to_cel(value))).collect();
    let may = [request.authorizer.value(), request.authorizer.about(request.target())];
    variables.extend(AUTHORIZERS.into_iter().zip(may));
    (variables, budget)
}

pub(super) fn evaluated(program: Option<&Program>, source: &str, variables: &Variables, budget: &mut Budget) -> Result<CelValue, String> {
    let failed = |why: String| format!("expression '{source}' resulted in error: {why}");
    program.ok_or_else(|| failed("it cannot be read".into()))?.evaluate(variables, budget).map_err(failed)
}

/// Whether all conditions hold: one that does not outweighs those that have no value.
fn hold(list: &[Named], variables: &Variables, budget: &mut Budget) -> Result<bool, String> {
    let mut failed = None;
    for condition in list {
        match evaluated(condition.program.as_ref(), &condition.source, variables, budget) {
            Ok(CelValue::Bool(true)) => {}
            Ok(_) => return Ok(false),
            Err(why) => failed = failed.or(Some(why)),
        }
    }
    failed.map_or(Ok(true), Err)
}

/// Whether the `matchConditions` of a webhook hold. Errors: why that cannot be said.
pub fn conditions(list: &Value, request: &Request, matched: &Resource) -> Result<bool, String> {
    let list = named(list, "name", "expression");
    if list.is_empty() {
        return Ok(true);
    }
    let (variables, mut budget) = bound(request, matched);
    hold(&list, &variables, &mut budget)
}

/// An expression of a policy's variables: where the policy changes objects, it may write some out.
fn parsed(policy: &Value, source: &str) -> Result<Program, String> {
    if policy["kind"] == MUTATING { Program::parse_making(source, false) } else { Program::parse(source) }
}

/// Problems of the expressions of a policy or of webhooks: each is read, and what it refers to must be there.
pub fn problems(object: &Value) -> Vec<Problem> {
    let mut found = Vec::new();
    let spec = &object["spec"];
    let has_params = spec["paramKind"].is_object();
    let base: Vec<&str> = NAMES.into_iter().filter(|name| *name != "params").chain(AUTHORIZERS).collect();
    let mut all: Vec<&str> = NAMES.into_iter().filter(|name| *name != "params" || has_params).chain(AUTHORIZERS).collect();
    all.push("variables");
    let mut fields = serde_json::Map::new();
    let mut look = |list: &Value, at: &str, names: &[&str], parts: &[&str], fields: &mut serde_json::Map<String, Value>| {
        for (index, item) in list.as_array().into_iter().flatten().enumerate() {
            let variables = json!({"type": "object", "properties": fields});
            for part in parts {
                let Some(source) = item[part].as_str().filter(|source| !source.trim().is_empty()) else { continue };
                let seen = names.iter().filter(|name| *part != "messageExpression" || !AUTHORIZERS.contains(name));
                let known: Known<'_> = seen.map(|name| ((*name).to_owned(), (*name == "variables").then_some(&variables))).collect();
                if let Some(why) = parsed(object, source).map_or_else(Some, |program| type_problem(program.expression(), &known)) {
                    found.push(Problem::invalid(format!("{at}[{index}].{part}"), format!("{source:?}: compilation failed: {why}")));
                }
            }
            if at.ends_with(".variables") {
                fields.insert(text(&item["name"]), json!({}));
            }
        }
    };
    let with_params: Vec<&str> = all.iter().copied().filter(|name| *name != "variables").collect();
    look(&spec["matchConditions"], "spec.matchConditions", &with_params, &["expression"], &mut fields);
    look(&spec["variables"], "spec.variables", &all, &["expression"], &mut fields);
    look(&spec["validations"], "spec.validations", &all, &["expression", "messageExpression"], &mut fields);
    look(&spec["auditAnnotations"], "spec.auditAnnotations", &all, &["valueExpression"], &mut fields);
    for (at, webhook) in object["webhooks"].as_array().into_iter().flatten().enumerate() {
        look(&webhook["matchConditions"], &format!("webhooks[{at}].matchConditions"), &base, &["expression"], &mut fields);
    }
    let variables = json!({"type": "object", "properties": fields});
    let known: Known<'_> = all.iter().map(|name| ((*name).to_owned(), (*name == "variables").then_some(&variables))).collect();
    found.extend(mutation::problems(spec, |program| type_problem(program.expression(), &known)));
    found
}

#[cfg(test)]
mod tests {
    use super::super::matching::tests::request;
    use super::*;

    fn finding(spec: Value, params: Params<'_>) -> Finding {
        let policy = Policy::read(&json!({"metadata": {"name": "p"}, "spec": spec}));
        let request = request();
        policy.evaluate(&request, &request.resource, params)
    }

    fn failures(spec: Value) -> Vec<(String, String)> {
        finding(spec, None).failures
    }

    #[test]
    fn what_fails_is_told_in_the_words_that_were_given() {
        let of = |text: &str, reason: &str| vec![(text.to_owned(), reason.to_owned())];
        assert_eq!(failures(json!({"validations": [{"expression": "size(object.data) == 1"}]})), []);
        let plain = json!({"validations": [{"expression": "size(object.data) > 1"}]});
        assert_eq!(failures(plain), of("failed expression: size(object.data) > 1", "Invalid"));
        let made = json!({"validations": [{"expression": "false", "message": "m", "messageExpression": "'no ' + object.metadata.name", "reason": "Forbidden"}]});
        assert_eq!(failures(made), of("no a", "Forbidden"));
        let broken = json!({"validations": [{"expression": "false", "message": "m", "messageExpression": "object.none"}]});
        assert_eq!(failures(broken), of("m", "Invalid"));
        let seen = "request.operation == 'CREATE' && request.userInfo.username == 'jane' && oldObject == null && \
            namespaceObject.metadata.labels.team == 'x' && request.resource.resource == 'configmaps'";
        assert_eq!(failures(json!({"validations": [{"expression": seen}]})), []);
    }

    #[test]
    fn conditions_variables_parameters_and_annotations_are_evaluated() {
        let skipped = json!({"matchConditions": [{"name": "c", "expression": "request.operation == 'DELETE'"}], "validations": [{"expression": "false"}]});
        assert_eq!(failures(skipped), []);
        let variables = json!({"variables": [{"name": "n", "expression": "size(object.data)"}, {"name": "m", "expression": "variables.n + 1"},
            {"name": "broken", "expression": "object.none"}], "validations": [{"expression": "variables.m == 2"}]});
        assert_eq!(failures(variables), []);
        let params = json!({"spec": {"max": 0}});
        let spec = json!({"paramKind": {"kind": "X"}, "validations": [{"expression": "size(object.data) <= params.spec.max"}],
            "auditAnnotations": [{"key": "count", "valueExpression": "string(size(object.data))"}]});
        let found = finding(spec, Some(&params));
        assert_eq!((found.failures.len(), found.annotations), (1, vec![("p/count".to_owned(), "1".to_owned())]));
    }

    #[test]
    fn an_expression_without_a_value_fails_unless_that_is_to_be_ignored() {
        let mut spec = json!({"validations": [{"expression": "object.none == 1"}]});
        let expected = "expression 'object.none == 1' resulted in error: no such key: none";
        assert_eq!(failures(spec.clone()), [(expected.to_owned(), "Invalid".to_owned())]);
        spec["failurePolicy"] = json!("Ignore");
        assert_eq!(failures(spec), []);
    }

    #[test]
    fn expressions_are_refused_that_refer_to_nothing() {
        let fields = |spec: Value| problems(&json!({"spec": spec})).into_iter().map(|problem| problem.field).collect::<Vec<_>>();
        assert_eq!(fields(json!({"validations": [{"expression": "object.("}]})), ["spec.validations[0].expression"]);
        assert_eq!(fields(json!({"validations": [{"expression": "params.x"}]})), ["spec.validations[0].expression"]);
        assert_eq!(fields(json!({"paramKind": {"kind": "X"}, "validations": [{"expression": "params.x"}]})), [""; 0]);
        let variables = json!([{"name": "a", "expression": "1"}]);
        assert_eq!(fields(json!({"variables": variables, "validations": [{"expression": "variables.a == 1"}]})), [""; 0]);
        assert_eq!(
            fields(json!({"variables": variables, "validations": [{"expression": "variables.b == 1"}]})),
            ["spec.validations[0].expression"]
        );
        let webhook = json!({"webhooks": [{"matchConditions": [{"name": "c", "expression": "variables.x"}]}]});
        assert_eq!(problems(&webhook)[0].field, "webhooks[0].matchConditions[0].expression");
        let may = "authorizer.requestResource.check('delete').allowed()";
        assert_eq!(fields(json!({"validations": [{"expression": may, "message": "m"}]})), [""; 0]);
        let told = json!({"validations": [{"expression": "true", "messageExpression": format!("string({may})")}]});
        assert_eq!(fields(told), ["spec.validations[0].messageExpression"]);
    }
}
