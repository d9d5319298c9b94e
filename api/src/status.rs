//! Refusals, as Kubernetes' clients read them.

use std::borrow::Cow;

use model::{Kind, Problem};
use serde_json::{Value, json};

/// The result of serving a request.
pub type Result<T, E = Status> = std::result::Result<T, E>;

/// The media types of answers.
const FORMATS: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The HTTP status code.
    pub code: u16,
    /// The machine-readable reason; empty where Kubernetes gives none.
    pub reason: Cow<'static, str>,
    /// What a person reads.
    pub message: String,
    /// What it is about.
    pub details: Option<Value>,
    /// Seconds after which to try again.
    pub retry_after: Option<u32>,
}

impl Status {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason: Cow::Borrowed(reason), message: message.into(), details: None, retry_after: None }
    }

    fn about(mut self, kind: &Kind, name: &str) -> Self {
        let mut details = json!({"name": name, "group": kind.kept_group(), "kind": kind.plural});
        if let Some(fields) = details.as_object_mut() {
            fields.retain(|_, value| value != "");
        }
        self.details = Some(details);
        self
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401: the bearer token or certificate is none of ours.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403: the caller may not do this.
    pub fn forbidden(details: Value, message: impl Into<String>) -> Self {
        Self { details: Some(details), ..Self::new(403, "Forbidden", message) }
    }

    /// A refusal by a policy, with its reason and the code that belongs to it.
    pub fn denied(kind: &Kind, name: &str, reason: &str, why: &str) -> Self {
        let code = match reason {
            "Forbidden" => 403,
            "Unauthorized" => 401,
            "RequestEntityTooLarge" => 413,
            _ => 422,
        };
        let message = format!("{} {name:?} is forbidden: {why}", kind.qualified_plural());
        let mut refused = Self { reason: Cow::Owned(reason.to_owned()), ..Self::new(code, "", message) }.about(kind, name);
        if let Some(details) = &mut refused.details {
            details["causes"] = json!([{"message": why}]);
        }
        refused
    }

    /// 403: a policy could not change what is to be stored; Kubernetes calls that invalid and forbidden at a time.
    pub fn refused_by_policy(kind: &Kind, name: &str, message: String) -> Self {
        let causes = json!([{"message": message}]);
        let mut refused = Self { reason: Cow::Borrowed("Invalid"), ..Self::new(403, "", message) }.about(kind, name);
        if let Some(details) = &mut refused.details {
            details["causes"] = causes;
        }
        refused
    }

    /// A refusal in somebody else's words.
    pub fn refused_by(code: u16, reason: String, message: String) -> Self {
        Self { reason: Cow::Owned(reason), ..Self::new(code, "", message) }
    }

    /// 404: there is no such object.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", kind.qualified_plural())).about(kind, name)
    }

    /// 404: there is no such resource at this path.
    pub fn no_such_resource() -> Self {
        Self { details: Some(json!({})), ..Self::new(404, "NotFound", "the server could not find the requested resource") }
    }

    /// 405: the resource does not take this method.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self { details: Some(json!({})), ..Self::new(405, "MethodNotAllowed", message) }
    }

    /// 405: a part of a defined kind does not take this verb.
    pub fn verb_not_supported(kind: &Kind, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind {:?}", kind.qualified_plural());
        let details = json!({"group": kind.kept_group(), "kind": kind.plural});
        Self { details: Some(details), ..Self::new(405, "MethodNotAllowed", message) }
    }

    /// 405: nothing new of a kind whose definition is going.
    pub fn kind_is_going() -> Self {
        Self::new(405, "MethodNotAllowed", "create not allowed while custom resource definition is terminating")
    }

    /// 406: no encoding that the caller takes can be given.
    pub fn not_acceptable() -> Self {
        Self::new(406, "NotAcceptable", format!("only the following media types are accepted: {FORMATS}"))
    }

    /// 406: no route gives what the caller takes.
    pub fn no_such_representation(produced: &[&str]) -> Self {
        let message = format!("406: Not Acceptable\n\nAvailable representations: {}", produced.join(", "));
        Self { details: Some(json!({})), ..Self::new(406, "NotAcceptable", message) }
    }

    /// 406: one object was asked for as a list, or a list as one object; `found` names the type in Kubernetes' code.
    pub fn of_other_number(wanted: &str, found: &str, is_list: bool) -> Self {
        let is = if is_list { "is a list" } else { "is not a list" };
        Self::new(406, "NotAcceptable", format!("you requested {wanted}, but the requested object {is} (*{found})"))
    }

    /// 415: no route takes a body of this type.
    pub fn no_such_consumption() -> Self {
        Self { details: Some(json!({})), ..Self::new(415, "UnsupportedMediaType", "415: Unsupported Media Type") }
    }

    /// 409: the name is taken.
    pub fn already_exists(kind: &Kind, name: &str, terminating: bool) -> Self {
        let prefix = if terminating { "object is being deleted: " } else { "" };
        Self::new(409, "AlreadyExists", format!("{prefix}{} {name:?} already exists", kind.qualified_plural())).about(kind, name)
    }

    /// 409: the object changed meanwhile.
    pub fn conflict(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict_because(kind, name, why)
    }

    /// 409, for a reason of its own.
    pub fn conflict_because(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.qualified_plural());
        Self::new(409, "Conflict", message).about(kind, name)
    }

    /// 409: what is applied meets fields of others.
    pub fn conflict_with(causes: Vec<Value>, message: String) -> Self {
        Self { details: Some(json!({"causes": causes})), ..Self::new(409, "Conflict", message) }
    }

    /// 409: a precondition of a deletion does not hold.
    pub fn precondition(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.kind);
        Self { details: Some(json!({"name": name, "kind": kind.kind})), ..Self::new(409, "Conflict", message) }
    }

    /// 410: the version asked for is no longer kept.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 413: a patch with more operations than are carried out at a time.
    pub fn too_many_operations(limit: usize, found: usize) -> Self {
        let message = format!("The allowed maximum operations in a JSON patch is {limit}, got {found}");
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: {message}"))
    }

    /// 413: the body is too large.
    pub fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// 415: the body's content type is not taken here.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let accepted = accepted.join(", ");
        let message = format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 422: the object has problems; each becomes a cause.
    pub fn invalid(group: &str, kind: &str, name: &str, problems: &[Problem]) -> Self {
        let mut texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        texts.dedup();
        let all = if let [only] = texts.as_slice() { only.clone() } else { format!("[{}]", texts.join(", ")) };
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let causes: Vec<Value> = problems.iter().map(cause).collect();
        let mut details = json!({"name": name, "group": group, "kind": kind, "causes": causes});
        if let Some(fields) = details.as_object_mut() {
            fields.retain(|_, value| value != "");
        }
        Self { details: Some(details), ..Self::new(422, "Invalid", format!("{qualified} {name:?} is invalid: {all}")) }
    }

    /// 422 for options of a request, such as `CreateOptions`.
    pub fn invalid_options(options: &str, problems: &[Problem]) -> Self {
        Self::invalid("meta.k8s.io", options, "", problems)
    }

    /// 422: a field that never changes would.
    pub fn immutable(kind: &Kind, name: &str, field: &str, value: &str) -> Self {
        // Kubernetes finds it twice: as metadata, and as the kind's.
        let problem = Problem::invalid(field, format!("{value:?}: field is immutable"));
        Self::invalid(kind.kept_group(), &kind.kind, name, &[problem.clone(), problem])
    }

    /// 422: a patch that cannot be carried out.
    pub fn patch_rejected() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self { details: Some(json!({})), ..Self::new(422, "Invalid", message) }
    }

    /// 422: what a patch makes cannot be read as an object of the kind.
    pub fn patch_unreadable(shown: &str, why: &str) -> Self {
        Self::invalid("", "", "", &[Problem::invalid("patch", format!("{shown:?}: {why}"))])
    }

    /// 422 with one sentence.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(422, "Invalid", message)
    }

    /// 408: the body did not come in time.
    pub fn request_timeout(message: impl Into<String>) -> Self {
        Self::new(408, "Timeout", message)
    }

    /// 429: the client asks too much at a time.
    pub fn too_many_requests() -> Self {
        let details = json!({"retryAfterSeconds": 1});
        let message = "too many requests, please try again later";
        Self { details: Some(details), retry_after: Some(1), ..Self::new(429, "TooManyRequests", message) }
    }

    /// 500: something of ours failed.
    pub fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        let details = json!({"causes": [{"message": message}]});
        Self { details: Some(details), ..Self::new(500, "InternalError", format!("Internal error occurred: {message}")) }
    }

    /// 500 with the bare words and no reason, as Kubernetes answers some malformed requests.
    pub fn unexplained(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// 503: the store cannot be written, or the node cannot be reached, just now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { retry_after: Some(1), ..Self::new(503, "ServiceUnavailable", message) }
    }

    /// 503: the kind was defined anew while the request was served.
    pub fn redefined() -> Self {
        Self::unavailable("the definition of this kind is changing; try again")
    }

    /// 504: the version asked for has not been reached.
    pub fn version_too_large(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let causes = json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
        let details = json!({"causes": causes, "retryAfterSeconds": 1});
        Self { details: Some(details), retry_after: Some(1), ..Self::new(504, "Timeout", message) }
    }

    /// The object that is sent.
    pub fn to_value(&self) -> Value {
        let mut body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message});
        if !self.reason.is_empty() {
            body["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            body["details"] = details.clone();
        }
        body["code"] = json!(self.code);
        body
    }
}

fn cause(problem: &Problem) -> Value {
    let words = problem.kind.words();
    let message = if problem.detail.is_empty() { words.to_owned() } else { format!("{words}: {}", problem.detail) };
    json!({"reason": problem.kind.reason(), "message": message, "field": problem.field})
}

impl From<store::Error> for Status {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Compacted { .. } | store::Error::Lagged => Self::expired(format!("too old resource version: {error}")),
            store::Error::Future { asked, current } => Self::version_too_large(asked, current),
            store::Error::Conflict { ref key, .. } if crate::custom::is_schema_key(key) => Self::redefined(),
            store::Error::Unavailable(_) => Self::unavailable(error.to_string()),
            other => Self::internal(other.to_string()),
        }
    }
}
