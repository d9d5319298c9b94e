//! AdmissionReview: what a webhook is sent, and what its answer means.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Request, Resource};

/// What a webhook said.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Whether the request may go on.
    pub allowed: bool,
    /// Why not, as the webhook put it: a Status.
    pub status: Value,
    /// How it changes the object: a JSON patch, null for not at all.
    pub patch: Value,
    /// What whoever asked is told.
    pub warnings: Vec<String>,
    /// What is noted beside the request.
    pub annotations: Vec<(String, String)>,
}

/// The body that is sent about a request; `uid` names this one question.
pub fn question(request: &Request, matched: &Resource, uid: &str) -> Value {
    let mut told = request.told(matched);
    told["uid"] = json!(uid);
    told["object"] = request.shown(&request.object, matched);
    told["oldObject"] = request.shown(&request.old_object, matched);
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": told})
}

/// Reads an answer to the question `uid`. Errors: what is wrong with it.
pub fn answer(bytes: &[u8], uid: &str, may_change: bool) -> Result<Answer, String> {
    let review: Value = serde_json::from_slice(bytes).map_err(|error| format!("the answer is no JSON: {error}"))?;
    if review["kind"] != "AdmissionReview" || review["apiVersion"] != "admission.k8s.io/v1" {
        let (kind, version) = (&review["kind"], &review["apiVersion"]);
        return Err(format!("expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {version}, Kind={kind}"));
    }
    let response = &review["response"];
    if !response.is_object() {
        return Err("webhook response was absent".into());
    }
    if response["uid"] != uid {
        return Err(format!("expected response.uid={uid:?}, got {}", response["uid"]));
    }
    let patch = match response["patch"].as_str().filter(|patch| !patch.is_empty()) {
        None => Value::Null,
        Some(_) if !may_change => return Err("a validating webhook may not change the object: patch must be empty".into()),
        Some(_) if response["patchType"] != "JSONPatch" => {
            return Err(format!("expected response.patchType=JSONPatch, got {}", response["patchType"]));
        }
        Some(patch) => {
            let decoded = STANDARD.decode(patch).map_err(|error| format!("response.patch is no base64: {error}"))?;
            serde_json::from_slice(&decoded).map_err(|error| format!("response.patch is no JSON: {error}"))?
        }
    };
    let warnings = response["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let notes = response["auditAnnotations"].as_object().into_iter().flatten();
    Ok(Answer {
        allowed: response["allowed"] == true,
        status: response["status"].clone(),
        patch,
        warnings: warnings.collect(),
        annotations: notes.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect(),
    })
}

/// How a refusal of a webhook is told: code, reason and words.
pub fn refusal(webhook: &str, status: &Value) -> (u16, String, String) {
    let denied = format!("admission webhook {webhook:?} denied the request");
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code)).unwrap_or(400);
    let text = |field: &str| status[field].as_str().unwrap_or_default();
    let words = match (text("message"), text("reason")) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    (code, text("reason").to_owned(), words)
}

#[cfg(test)]
mod tests {
    use super::super::matching::tests::request;
    use super::*;

    #[test]
    fn a_question_tells_all_and_its_answer_must_name_it() {
        let request = request();
        let asked = question(&request, &request.resource, "u1");
        assert_eq!(asked["request"]["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
        assert_eq!((&asked["request"]["object"]["data"]["k"], &asked["request"]["oldObject"]), (&json!("v"), &Value::Null));
        let patch = STANDARD.encode(r#"[{"op": "remove", "path": "/data"}]"#);
        let said = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "response": {"uid": "u1", "allowed": true, "patchType": "JSONPatch", "patch": patch, "warnings": ["w"]}});
        let read = answer(said.to_string().as_bytes(), "u1", true).unwrap();
        assert_eq!((read.allowed, &read.patch[0]["op"], read.warnings.len()), (true, &json!("remove"), 1));
        assert!(answer(said.to_string().as_bytes(), "u1", false).unwrap_err().contains("may not change"));
        assert!(answer(said.to_string().as_bytes(), "u2", true).unwrap_err().contains("expected response.uid=\"u2\""));
        assert!(answer(b"{}", "u1", true).unwrap_err().contains("Kind=AdmissionReview"));
    }

    #[test]
    fn a_refusal_has_a_code_and_words() {
        let status = json!({"code": 403, "reason": "Forbidden", "message": "no"});
        assert_eq!(refusal("a.b.c", &status), (403, "Forbidden".into(), "admission webhook \"a.b.c\" denied the request: no".into()));
        let bare = (400, String::new(), "admission webhook \"a.b.c\" denied the request without explanation".into());
        assert_eq!(refusal("a.b.c", &Value::Null), bare);
    }
}
