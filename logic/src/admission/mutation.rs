//! What a policy changes: configurations that are applied, and JSON patches, made by expressions.

use model::Problem;
use serde_json::Value;

use super::policy::{Params, Policy, evaluated, text};
use super::{Request, Resource};
use crate::patch::shape::Shape;
use crate::patch::{Undone, apply, carry_out};
use crate::rules::{CelValue, Program, to_json};

/// One change, made by an expression.
#[derive(Debug, Clone)]
pub(super) struct Mutation {
    how: How,
    source: String,
    program: Option<Program>,
}

/// How what the expression makes changes an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// It is laid over the object, as server-side apply does.
    Apply,
    /// It is a list of the operations of a JSON patch.
    Patch,
}

/// Where the expression of a mutation is, by how it changes.
const PARTS: [(How, &str, &str); 2] = [(How::Apply, "ApplyConfiguration", "applyConfiguration"), (How::Patch, "JSONPatch", "jsonPatch")];

/// What a policy made of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// The object; as it was where a condition does not hold.
    pub object: Value,
    /// Why some of it could not be made, unless the policy has that ignored.
    pub failures: Vec<String>,
}

/// The mutations of a policy.
pub(super) fn read(spec: &Value) -> Vec<Mutation> {
    let one = |mutation: &Value| {
        let (how, _, part) = PARTS.into_iter().find(|(_, name, _)| mutation["patchType"] == *name)?;
        let source = text(&mutation[part]["expression"]);
        Some(Mutation { how, program: Program::parse_making(&source, how == How::Apply).ok(), source: source.trim().to_owned() })
    };
    spec["mutations"].as_array().into_iter().flatten().filter_map(one).collect()
}

impl Policy {
    /// Whether it is to be asked once more when something changed an object after it.
    pub fn is_repeated(&self) -> bool {
        self.is_repeated
    }

    /// Changes the object of a request that it concerns as `matched`. Each mutation sees what those before it made; `finish` checks
    /// what each made and puts in what that leaves out.
    pub fn change(
        &self,
        request: &Request,
        matched: &Resource,
        params: Params<'_>,
        shape: &Shape,
        finish: impl Fn(&mut Value) -> Result<(), String>,
    ) -> Changed {
        let mut changed = Changed { object: request.object.clone(), failures: Vec::new() };
        match self.begin(request, matched, params) {
            Ok(Some(_)) => {}
            Ok(None) => return changed,
            Err(why) => {
                changed.failures.extend(Some(why).filter(|_| !self.ignores_errors));
                return changed;
            }
        }
        let mut now = request.clone();
        for mutation in &self.mutations {
            let made = self.mutated(mutation, &now, matched, params, shape);
            match made.and_then(|mut object| finish(&mut object).map(|()| object)) {
                Ok(object) => now.object = object,
                Err(why) => changed.failures.extend(Some(why).filter(|_| !self.ignores_errors)),
            }
        }
        changed.object = now.object;
        changed
    }

    fn mutated(
        &self,
        mutation: &Mutation,
        request: &Request,
        matched: &Resource,
        params: Params<'_>,
        shape: &Shape,
    ) -> Result<Value, String> {
        let (mut variables, mut budget) = self.bound(request, matched, params);
        self.bind_variables(&mut variables, &mut budget);
        let made = evaluated(mutation.program.as_ref(), &mutation.source, &variables, &mut budget)?;
        let object = request.shown(&request.object, matched);
        let mut object = match mutation.how {
            How::Apply => applied(&made, &object, shape)?,
            How::Patch => patched(&made, object)?,
        };
        for field in ["apiVersion", "kind"] {
            object[field] = request.object[field].clone();
        }
        Ok(object)
    }
}

fn applied(made: &CelValue, object: &Value, shape: &Shape) -> Result<Value, String> {
    let mut wanted = to_json(made)?;
    if !wanted.is_object() {
        return Err("unsupported return type from ApplyConfiguration expression: must evaluate to Object".to_owned());
    }
    for field in ["apiVersion", "kind"] {
        wanted[field] = object[field].clone();
    }
    apply::lay_over(shape, object, &wanted).map_err(|why| format!("error applying patch: {why}"))
}

/// An object with a list of operations carried out; without any where a `test` among them fails.
fn patched(made: &CelValue, object: Value) -> Result<Value, String> {
    let failed = |why: String| format!("JSONPath: {why}");
    let operations = to_json(made)?;
    let operations = serde_json::from_value::<json_patch::Patch>(operations).map_err(|error| failed(error.to_string()))?;
    let mut changed = object.clone();
    match carry_out(&mut changed, &operations) {
        Ok(()) if changed.is_object() => Ok(changed),
        Ok(()) => Err(failed("what is left is no object".to_owned())),
        Err(Undone::TestFailed) => Ok(object),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Problems of the expressions of mutations; `look` says what is wrong with one.
pub(super) fn problems(spec: &Value, mut look: impl FnMut(&Program) -> Option<String>) -> Vec<Problem> {
    let mut found = Vec::new();
    for (at, mutation) in spec["mutations"].as_array().into_iter().flatten().enumerate() {
        for (how, _, part) in PARTS {
            let Some(source) = mutation[part]["expression"].as_str().filter(|source| !source.trim().is_empty()) else { continue };
            let why = Program::parse_making(source, how == How::Apply).map_or_else(Some, |program| look(&program));
            found.extend(why.map(|why| {
                Problem::invalid(format!("spec.mutations[{at}].{part}.expression"), format!("{source:?}: compilation failed: {why}"))
            }));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::matching::tests::request;
    use super::*;
    use crate::patch::shape::tests::sample;

    /// What a policy makes of the ConfigMap of `request`.
    fn change(spec: &Value, params: Params<'_>) -> Changed {
        let policy = Policy::read(&json!({"kind": "MutatingAdmissionPolicy", "metadata": {"name": "p"}, "spec": spec}));
        let request = request();
        policy.change(&request, &request.resource, params, &sample(), |_| Ok(()))
    }

    fn applied(expression: &str) -> Value {
        json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
    }

    fn patched(expression: &str) -> Value {
        json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
    }

    fn one(mutation: Value) -> Changed {
        change(&json!({"mutations": [mutation]}), None)
    }

    #[test]
    fn what_is_applied_is_laid_over_and_what_is_patched_is_carried_out() {
        for (mutation, at, expected) in [
            (
                applied("Object{metadata: Object.metadata{labels: {'a': object.metadata.name}}}"),
                "/metadata/labels",
                json!({"app": "y", "a": "a"}),
            ),
            (applied("has(object.none) ? Object{} : Object{data: {'x': 'y'}}"), "/data", json!({"k": "v", "x": "y"})),
            (applied("Object{metadata: Object.metadata{?labels: optional.none()}}"), "/metadata/labels", json!({"app": "y"})),
            (patched("[JSONPatch{op: 'add', path: '/data/x', value: string(1 + 1)}]"), "/data", json!({"k": "v", "x": "2"})),
            (
                patched("[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b~c'), value: 'z'}]"),
                "/metadata/labels",
                json!({"app": "y", "a/b~c": "z"}),
            ),
            (
                patched("[JSONPatch{op: 'test', path: '/data/k', value: 'other'}, JSONPatch{op: 'remove', path: '/data'}]"),
                "/data",
                json!({"k": "v"}),
            ),
            (patched("[JSONPatch{op: 'replace', path: '/data', value: Object.data{z: 'y'}}]"), "/data", json!({"z": "y"})),
            (
                patched("['a', 'b'].map(key, JSONPatch{op: 'add', path: '/data/' + key, value: key})"),
                "/data",
                json!({"k": "v", "a": "a", "b": "b"}),
            ),
        ] {
            let changed = one(mutation.clone());
            assert_eq!((changed.object.pointer(at), changed.failures.as_slice()), (Some(&expected), [].as_slice()), "{mutation}");
        }
    }

    #[test]
    fn each_mutation_sees_what_those_before_it_made() {
        let spec = json!({"variables": [{"name": "n", "expression": "size(object.data)"}], "mutations": [
            applied("Object{data: {'x': string(variables.n)}}"), patched("[JSONPatch{op: 'add', path: '/data/y', value: string(variables.n)}]")]});
        assert_eq!(change(&spec, None).object["data"], json!({"k": "v", "x": "1", "y": "2"}));
        let spec = json!({"paramKind": {"kind": "X"}, "matchConditions": [{"name": "c", "expression": "params.on"}],
            "mutations": [applied("Object{data: {'x': params.name}}")]});
        assert_eq!(change(&spec, Some(&json!({"on": true, "name": "n"}))).object["data"]["x"], "n");
        assert_eq!(change(&spec, Some(&json!({"on": false, "name": "n"}))).object, request().object);
    }

    #[test]
    fn what_cannot_be_made_is_a_failure_unless_that_is_to_be_ignored() {
        for (mutation, expected) in [
            (applied("Object{data: {'x': object.none}}"), "no such key: none"),
            (applied("variables.none"), "resulted in error"),
            (patched("[JSONPatch{op: 'remove', path: '/none'}]"), "JSONPath: "),
            (patched("[JSONPatch{op: 'juggle', path: '/data'}]"), "JSONPath: "),
            (patched("[JSONPatch{op: 'replace', path: '', value: 1}]"), "what is left is no object"),
            (patched("'x'"), "JSONPath: "),
            (applied("dyn([1])"), "must evaluate to Object"),
            (patched("[JSONPatch{op: 'add', path: '/data/x', value: quantity('1')}]"), "has no form in JSON"),
        ] {
            let changed = one(mutation.clone());
            assert!(changed.failures.len() == 1 && changed.failures[0].contains(expected), "{mutation}: {:?}", changed.failures);
            assert_eq!(changed.object, request().object);
            let ignored = change(&json!({"failurePolicy": "Ignore", "mutations": [mutation]}), None);
            assert_eq!(ignored, Changed { object: request().object, failures: Vec::new() });
        }
    }

    #[test]
    fn what_is_written_out_has_types_by_the_names_of_its_fields() {
        for (mutation, expected) in [
            (applied("Object{spec: Object.spec{a: Object.spec.a{}}}"), None),
            (applied("Object{spec: Object.other{}}"), Some("unexpected type name \"Object.other\", expected \"Object.spec\"")),
            (applied("Object{spec: true ? Object.spec{} : Object{}}"), Some("unexpected type name \"Object\"")),
            (applied("Object{list: [Object.spec{}]}"), Some("unexpected type name \"Object.spec\", expected \"Object.list\"")),
            (patched("[Patch{op: 'remove'}]"), Some("undeclared reference to 'Patch'")),
            (applied("Object.spec{}"), Some("must evaluate to Object but got Object.spec")),
            (applied("{'spec': 1}"), Some("must evaluate to Object but got map")),
            (applied("Object{spec: none}"), Some("undeclared reference to 'none'")),
            (patched("[JSONPatch{op: 'remove', at: '/data'}]"), Some("undefined field 'at'")),
            (patched("[JSONPatch{op: 'add', path: '/spec', value: Object.spec{}}]"), None),
        ] {
            let found = super::super::problems(&json!({"kind": "MutatingAdmissionPolicy", "spec": {"mutations": [mutation]}}));
            match expected {
                None => assert_eq!(found, [], "{mutation}"),
                Some(expected) => assert!(found.len() == 1 && found[0].detail.contains(expected), "{mutation}: {found:?}"),
            }
        }
    }
}
