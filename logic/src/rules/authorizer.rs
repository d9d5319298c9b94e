//! `authorizer` in CEL: what whoever asks, or some ServiceAccount, may do.

use std::fmt;
use std::sync::Arc;

use cel::extractors::This;
use cel::objects::Opaque;
use cel::{Context, ExecutionError, Value};

use crate::rbac::{Asker, Decision, Deed, MASTERS, Policy};

type Result<T> = std::result::Result<T, ExecutionError>;
type Text = Arc<String>;

/// Somebody, and all roles at one moment.
#[derive(Clone, Default)]
pub struct Authorizer {
    policy: Arc<Policy>,
    user: String,
    groups: Arc<[String]>,
}

/// What it is asked about, step by step.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Question {
    Anything(Authorizer),
    Path(Authorizer, String),
    Resource(Authorizer, Target),
    Answered(Decision),
}

/// A resource that something may be done to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// The API group.
    pub group: String,
    /// The plural.
    pub resource: String,
    /// What follows the name in the path; empty for nothing.
    pub subresource: String,
    /// The namespace; empty for none, or all.
    pub namespace: String,
    /// The object's name; empty for none.
    pub name: String,
}

impl Authorizer {
    /// What a user may do by the roles of `policy`.
    pub fn new(policy: Arc<Policy>, user: &str, groups: &[String]) -> Self {
        Self { policy, user: user.to_owned(), groups: groups.into() }
    }

    /// As the expressions see it.
    pub fn value(&self) -> Value {
        Question::Anything(self.clone()).into()
    }

    /// The question about one resource, which needs no more than its verb.
    pub fn about(&self, target: Target) -> Value {
        Question::Resource(self.clone(), target).into()
    }

    fn service_account(&self, namespace: &str, name: &str) -> Self {
        let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}"), "system:authenticated"];
        let user = format!("system:serviceaccount:{namespace}:{name}");
        Self { policy: Arc::clone(&self.policy), user, groups: groups.map(str::to_owned).into() }
    }

    fn decide(&self, deed: Deed<'_>) -> Decision {
        if self.groups.iter().any(|group| group == MASTERS) {
            return Decision { allowed: Some(String::new()), missing: Vec::new() };
        }
        self.policy.decide(Asker { name: &self.user, groups: &self.groups }, deed)
    }
}

impl PartialEq for Authorizer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.policy, &other.policy) && self.user == other.user && self.groups == other.groups
    }
}

impl Eq for Authorizer {}

impl fmt::Debug for Authorizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Authorizer").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Opaque for Question {
    fn runtime_type_name(&self) -> &str {
        match self {
            Self::Anything(_) => "kubernetes.authorization.Authorizer",
            Self::Path(..) => "kubernetes.authorization.PathCheck",
            Self::Resource(..) => "kubernetes.authorization.ResourceCheck",
            Self::Answered(_) => "kubernetes.authorization.Decision",
        }
    }
}

impl From<Question> for Value {
    fn from(question: Question) -> Self {
        Self::Opaque(Arc::new(question))
    }
}

/// Adds the functions to a context.
pub(super) fn add(context: &mut Context<'_, '_>) {
    let added = [
        context.add_function("path", |This(of): This<Value>, path: Text| match question("path", &of)? {
            Question::Anything(who) if !path.is_empty() => Ok(Value::from(Question::Path(who.clone(), path.to_string()))),
            Question::Anything(_) => Err(refuse("path", "path must not be empty")),
            other => Err(no_such("path", other)),
        }),
        context.add_function("group", |This(of): This<Value>, group: Text| match question("group", &of)? {
            Question::Anything(who) => Ok(who.about(Target { group: group.to_string(), ..Target::default() })),
            other => Err(no_such("group", other)),
        }),
        context.add_function("serviceAccount", |This(of): This<Value>, namespace: Text, name: Text| {
            match question("serviceAccount", &of)? {
                Question::Anything(who) => Ok(who.service_account(&namespace, &name).value()),
                other => Err(no_such("serviceAccount", other)),
            }
        }),
        context
            .add_function("resource", |This(of): This<Value>, text: Text| aimed("resource", &of, |target| target.resource = owned(&text))),
        context.add_function("subresource", |This(of): This<Value>, text: Text| {
            aimed("subresource", &of, |target| target.subresource = owned(&text))
        }),
        context.add_function("namespace", |This(of): This<Value>, text: Text| {
            aimed("namespace", &of, |target| target.namespace = owned(&text))
        }),
        context.add_function("name", |This(of): This<Value>, text: Text| aimed("name", &of, |target| target.name = owned(&text))),
        // Roles know no selectors: they narrow what is asked for, and what may be done to all may be done to some.
        context.add_function("fieldSelector", |This(of): This<Value>, _: Text| aimed("fieldSelector", &of, |_| ())),
        context.add_function("labelSelector", |This(of): This<Value>, _: Text| aimed("labelSelector", &of, |_| ())),
        context.add_function("check", |This(of): This<Value>, verb: Text| check(&of, &verb)),
        context.add_function("allowed", |This(of): This<Value>| answer("allowed", &of, |decision| decision.allowed.is_some().into())),
        context.add_function("reason", |This(of): This<Value>| answer("reason", &of, |decision| Value::from(reason(decision).as_str()))),
        context.add_function("errored", |This(of): This<Value>| answer("errored", &of, |_| Value::Bool(false))),
        context.add_function("error", |This(of): This<Value>| answer("error", &of, |_| Value::from(""))),
    ];
    debug_assert!(added.iter().all(|result| result.is_ok()), "no function is there twice");
}

fn owned(text: &Text) -> String {
    text.to_string()
}

fn refuse(function: &str, message: impl Into<String>) -> ExecutionError {
    ExecutionError::FunctionError { function: function.into(), message: message.into() }
}

fn no_such(function: &str, of: &Question) -> ExecutionError {
    refuse(function, format!("no such function of {}", of.runtime_type_name()))
}

fn question<'a>(function: &str, value: &'a Value) -> Result<&'a Question> {
    let found = match value {
        Value::Opaque(opaque) => opaque.downcast_ref::<Question>(),
        _ => None,
    };
    found.ok_or_else(|| refuse(function, "expected the authorizer, or what it was asked"))
}

fn aimed(function: &str, of: &Value, aim: impl FnOnce(&mut Target)) -> Result<Value> {
    let Question::Resource(who, target) = question(function, of)? else { return Err(no_such(function, question(function, of)?)) };
    let mut target = target.clone();
    aim(&mut target);
    Ok(who.about(target))
}

fn check(of: &Value, verb: &str) -> Result<Value> {
    let decision = match question("check", of)? {
        Question::Path(who, path) => who.decide(Deed::Path { verb, path }),
        Question::Resource(who, Target { group, resource, subresource, namespace, name }) => {
            let resource = if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
            who.decide(Deed::Resource { verb, group, resource: &resource, namespace, name })
        }
        other => return Err(no_such("check", other)),
    };
    Ok(Question::Answered(decision).into())
}

fn answer(function: &str, of: &Value, say: impl FnOnce(&Decision) -> Value) -> Result<Value> {
    match question(function, of)? {
        Question::Answered(decision) => Ok(say(decision)),
        other => Err(no_such(function, other)),
    }
}

fn reason(decision: &Decision) -> String {
    decision.allowed.clone().unwrap_or_else(|| decision.missing.iter().map(|role| format!("RBAC: {role}")).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Budget, Program, Variables};
    use super::*;

    /// Jane may read ConfigMaps in `n` and `/metrics`; the ServiceAccount `n/bot` may scale.
    fn policy() -> Arc<Policy> {
        let mut policy = Policy::default();
        let rules = json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"]}]});
        policy.set("roles", "n", "reader", Some(&rules));
        let rules = json!({"rules": [{"verbs": ["update"], "apiGroups": ["apps"], "resources": ["deployments/scale"]}]});
        policy.set("roles", "n", "scaler", Some(&rules));
        let rules = json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]});
        policy.set("clusterroles", "", "meter", Some(&rules));
        let binding = |kind: &str, role: &str, subject: serde_json::Value| json!({"metadata": {"name": role}, "roleRef": {"kind": kind, "name": role, "apiGroup": "rbac.authorization.k8s.io"}, "subjects": [subject]});
        policy.set("rolebindings", "n", "reader", Some(&binding("Role", "reader", json!({"kind": "User", "name": "jane"}))));
        let bot = json!({"kind": "ServiceAccount", "name": "bot", "namespace": "n"});
        policy.set("rolebindings", "n", "scaler", Some(&binding("Role", "scaler", bot)));
        policy.set("clusterrolebindings", "", "meter", Some(&binding("ClusterRole", "meter", json!({"kind": "User", "name": "jane"}))));
        Arc::new(policy)
    }

    fn said(groups: &[String], source: &str) -> std::result::Result<Value, String> {
        let who = Authorizer::new(policy(), "jane", groups);
        let of_request = who.about(Target { resource: "configmaps".into(), namespace: "n".into(), name: "a".into(), ..Target::default() });
        let variables = Variables::from([("authorizer", who.value()), ("authorizer.requestResource", of_request)]);
        Program::parse(source)?.evaluate(&variables, &mut Budget::new([]))
    }

    #[test]
    fn roles_say_what_may_be_done() {
        for (source, expected) in [
            ("authorizer.group('').resource('configmaps').namespace('n').check('get').allowed()", true),
            ("authorizer.group('').resource('configmaps').namespace('n').name('a').check('get').allowed()", true),
            ("authorizer.group('').resource('configmaps').namespace('n').check('delete').allowed()", false),
            ("authorizer.group('').resource('configmaps').check('get').allowed()", false),
            ("authorizer.group('').resource('configmaps').namespace('n').labelSelector('a=b').check('get').allowed()", true),
            ("authorizer.path('/metrics').check('get').allowed()", true),
            ("authorizer.path('/version').check('get').allowed()", false),
            ("authorizer.requestResource.check('get').allowed()", true),
            ("authorizer.requestResource.subresource('status').check('get').allowed()", false),
            ("authorizer.requestResource.check('get').reason().contains('reader')", true),
            ("authorizer.requestResource.check('get').errored() || authorizer.requestResource.check('get').error() != ''", false),
            (
                "authorizer.serviceAccount('n', 'bot').group('apps').resource('deployments').subresource('scale').namespace('n').check('update').allowed()",
                true,
            ),
            (
                "authorizer.serviceAccount('n', 'other').group('apps').resource('deployments').subresource('scale').namespace('n').check('update').allowed()",
                false,
            ),
            ("['get', 'delete'].exists(verb, !authorizer.requestResource.check(verb).allowed())", true),
        ] {
            assert_eq!(said(&[], source), Ok(Value::Bool(expected)), "{source}");
        }
        let master = [MASTERS.to_owned()];
        assert_eq!(said(&master, "authorizer.requestResource.check('delete').allowed()"), Ok(Value::Bool(true)));
    }

    #[test]
    fn what_cannot_be_asked_has_no_value() {
        for (source, expected) in [
            ("authorizer.path('')", "path must not be empty"),
            ("authorizer.check('get')", "no such function of kubernetes.authorization.Authorizer"),
            ("authorizer.path('/x').allowed()", "no such function of kubernetes.authorization.PathCheck"),
            ("authorizer.requestResource.path('/x')", "no such function of kubernetes.authorization.ResourceCheck"),
            ("'text'.check('get')", "expected the authorizer"),
        ] {
            let why = said(&[], source).unwrap_err();
            assert!(why.contains(expected), "{source}: {why}");
        }
    }
}
