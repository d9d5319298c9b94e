//! ConversionReview: what a webhook is sent that brings objects of a kind from one version to another, and what its answer means.

use model::{Problem, ProblemKind};
use serde_json::{Value, json};

/// The versions of the question that are known. They differ in name only.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];

/// Problems of what a definition says of the conversion between its versions.
pub fn problems(spec: &Value) -> Vec<Problem> {
    let (conversion, field) = (&spec["conversion"], "spec.conversion");
    let (client, reviews) = (&conversion["webhook"]["clientConfig"], &conversion["webhook"]["conversionReviewVersions"]);
    let (client_at, reviews_at) = (format!("{field}.webhookClientConfig"), format!("{field}.conversionReviewVersions"));
    let listed = reviews.as_array().map_or(&[][..], Vec::as_slice);
    let mut found = Vec::new();
    match conversion["strategy"].as_str() {
        Some("Webhook") => {
            if client.is_object() {
                model::admission::client_problems(client, &client_at, &mut found);
            } else {
                found.push(Problem::required(client_at, "required when strategy is set to \"Webhook\""));
            }
            if listed.is_empty() {
                found.push(Problem::required(reviews_at, ""));
            } else if review_version(conversion).is_none() {
                found.push(Problem::invalid(reviews_at, format!("{reviews}: must include at least one of {}", REVIEWS.join(", "))));
            }
        }
        None | Some("None") => {
            let forbid = |at| Problem::new(ProblemKind::Forbidden, at, "should not be set when strategy is not set to \"Webhook\"");
            found.extend(client.is_object().then(|| forbid(client_at)));
            found.extend((!listed.is_empty()).then(|| forbid(reviews_at)));
        }
        Some(other) => {
            let detail = format!("{other:?}: supported values: \"None\", \"Webhook\"");
            found.push(Problem::new(ProblemKind::NotSupported, format!("{field}.strategy"), detail));
        }
    }
    found
}

/// The version of the question that a webhook understands: the first on its list that is known here.
pub fn review_version(conversion: &Value) -> Option<&str> {
    let listed = conversion["webhook"]["conversionReviewVersions"].as_array()?;
    listed.iter().filter_map(Value::as_str).find(|version| REVIEWS.contains(version))
}

/// The body that asks for `objects` in the version `wanted`, such as `example.dev/v1`; `uid` names this one question.
pub fn question(review: &str, uid: &str, wanted: &str, objects: &[Value]) -> Value {
    let request = json!({"uid": uid, "desiredAPIVersion": wanted, "objects": objects});
    json!({"kind": "ConversionReview", "apiVersion": format!("apiextensions.k8s.io/{review}"), "request": request})
}

/// Reads the answer to a question: the objects in the version `wanted`, in the order of the `originals`. A webhook may change their
/// labels and annotations; all other metadata stays as it was. Errors: what is wrong with the answer, or why there are none.
pub fn answer(bytes: &[u8], review: &str, uid: &str, wanted: &str, originals: Vec<Value>) -> Result<Vec<Value>, String> {
    let mut said: Value = serde_json::from_slice(bytes).map_err(|error| format!("the answer is no JSON: {error}"))?;
    let expected = format!("apiextensions.k8s.io/{review}");
    if said["kind"] != "ConversionReview" || said["apiVersion"] != expected.as_str() {
        let (kind, version) = (&said["kind"], &said["apiVersion"]);
        return Err(format!("expected webhook response of {expected}, Kind=ConversionReview, got {version}, Kind={kind}"));
    }
    let response = &mut said["response"];
    if !response.is_object() {
        return Err("no response provided".to_owned());
    }
    if response["uid"] != uid {
        return Err(format!("expected response.uid={uid:?}, got {}", response["uid"]));
    }
    let result = &response["result"];
    if result["status"] != "Success" {
        let status = result["status"].as_str().unwrap_or_default();
        let words = result["message"].as_str().filter(|words| !words.is_empty()).map(str::to_owned);
        return Err(words.unwrap_or_else(|| format!("response.result.status was '{status}', not 'Success'")));
    }
    let Value::Array(converted) = response["convertedObjects"].take() else {
        return Err(format!("webhook returned 0 objects, expected {}", originals.len()));
    };
    if converted.len() != originals.len() {
        return Err(format!("webhook returned {} objects, expected {}", converted.len(), originals.len()));
    }
    let each = converted.into_iter().zip(originals).enumerate();
    each.map(|(at, (converted, original))| {
        accepted(converted, original, wanted).map_err(|why| format!("webhook returned invalid converted object at index {at}: {why}"))
    })
    .collect()
}

/// A converted object, with the metadata that no conversion may change.
fn accepted(mut converted: Value, mut original: Value, wanted: &str) -> Result<Value, String> {
    if converted["apiVersion"] != wanted {
        return Err(format!("invalid groupVersion (expected {wanted}, received {})", bare(&converted["apiVersion"])));
    }
    if converted["kind"] != original["kind"] {
        return Err(format!("invalid kind (expected {}, received {})", bare(&original["kind"]), bare(&converted["kind"])));
    }
    let (made, kept) = (converted["metadata"].take(), original["metadata"].take());
    if !made.is_object() {
        return Err(format!("invalid metadata (expected an object, received {made})"));
    }
    for field in ["name", "namespace", "uid"] {
        if made[field] != kept[field] {
            return Err(format!("must have the same {field}: {} != {}", bare(&made[field]), bare(&kept[field])));
        }
    }
    let mut metadata = kept;
    for field in ["labels", "annotations"] {
        let texts = made[field].as_object().is_none_or(|texts| texts.values().all(Value::is_string));
        if !texts || !(made[field].is_object() || made[field].is_null()) {
            return Err(format!("metadata.{field}: expected an object of texts, received {}", made[field]));
        }
        metadata[field] = made[field].clone();
    }
    model::drop_nulls(&mut metadata);
    converted["metadata"] = metadata;
    Ok(converted)
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gear(version: &str, more: &Value) -> Value {
        let mut gear = json!({"apiVersion": format!("a.dev/{version}"), "kind": "Gear",
            "metadata": {"name": "g", "namespace": "n", "uid": "u", "generation": 3, "labels": {"a": "b"}, "finalizers": ["f"]}});
        for (name, value) in more.as_object().unwrap() {
            gear[name] = value.clone();
        }
        gear
    }

    fn said(response: &Value) -> Result<Vec<Value>, String> {
        let review = json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "response": response});
        answer(review.to_string().as_bytes(), "v1", "q", "a.dev/v2", vec![gear("v1", &json!({"spec": 1}))])
    }

    #[test]
    fn labels_and_annotations_are_the_webhooks_and_other_metadata_is_kept() {
        let mut made = gear("v2", &json!({"spec": 2}));
        made["metadata"] = json!({"name": "g", "namespace": "n", "uid": "u", "annotations": {"c": "d"}, "generation": 9, "finalizers": []});
        let found = said(&json!({"uid": "q", "result": {"status": "Success"}, "convertedObjects": [made]})).unwrap();
        let metadata = json!({"name": "g", "namespace": "n", "uid": "u", "generation": 3, "finalizers": ["f"], "annotations": {"c": "d"}});
        assert_eq!(found, [json!({"apiVersion": "a.dev/v2", "kind": "Gear", "spec": 2, "metadata": metadata})]);
    }

    #[test]
    fn what_is_wrong_with_an_answer_is_said() {
        let made = |change: &dyn Fn(&mut Value)| {
            let mut made = gear("v2", &json!({}));
            change(&mut made);
            json!({"uid": "q", "result": {"status": "Success"}, "convertedObjects": [made]})
        };
        let at = "webhook returned invalid converted object at index 0";
        for (response, expected) in [
            (Value::Null, "no response provided".to_owned()),
            (json!({"uid": "x"}), "expected response.uid=\"q\", got \"x\"".into()),
            (json!({"uid": "q", "result": {"status": "Failed", "message": "no such size"}}), "no such size".into()),
            (json!({"uid": "q", "result": {"status": "Failed"}}), "response.result.status was 'Failed', not 'Success'".into()),
            (json!({"uid": "q", "result": {"status": "Success"}}), "webhook returned 0 objects, expected 1".into()),
            (
                made(&|gear| gear["apiVersion"] = json!("a.dev/v3")),
                format!("{at}: invalid groupVersion (expected a.dev/v2, received a.dev/v3)"),
            ),
            (made(&|gear| gear["kind"] = json!("Cog")), format!("{at}: invalid kind (expected Gear, received Cog)")),
            (made(&|gear| gear["metadata"]["name"] = json!("h")), format!("{at}: must have the same name: h != g")),
            (made(&|gear| gear["metadata"]["uid"] = Value::Null), format!("{at}: must have the same uid: null != u")),
            (
                made(&|gear| gear["metadata"]["labels"] = json!({"a": 1})),
                format!("{at}: metadata.labels: expected an object of texts, received {{\"a\":1}}"),
            ),
            (made(&|gear| gear["metadata"] = json!(5)), format!("{at}: invalid metadata (expected an object, received 5)")),
        ] {
            assert_eq!(said(&response), Err(expected), "{response}");
        }
        assert!(answer(b"{", "v1", "q", "a.dev/v2", Vec::new()).unwrap_err().starts_with("the answer is no JSON"));
        assert!(answer(b"[]", "v1", "q", "a.dev/v2", Vec::new()).unwrap_err().contains("Kind=ConversionReview"));
    }

    #[test]
    fn a_definition_says_whom_to_ask() {
        let client = json!({"url": "https://a.dev/convert"});
        for (conversion, expected) in [
            (json!({"strategy": "None"}), vec![]),
            (json!({"strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": ["v9", "v1beta1"]}}), vec![]),
            (
                json!({"strategy": "Both"}),
                vec!["spec.conversion.strategy: Unsupported value: \"Both\": supported values: \"None\", \"Webhook\""],
            ),
            (
                json!({"strategy": "Webhook"}),
                vec![
                    "spec.conversion.webhookClientConfig: Required value: required when strategy is set to \"Webhook\"",
                    "spec.conversion.conversionReviewVersions: Required value",
                ],
            ),
            (
                json!({"strategy": "Webhook", "webhook": {"clientConfig": {}, "conversionReviewVersions": ["v9"]}}),
                vec![
                    "spec.conversion.webhookClientConfig: Required value: exactly one of url or service is required",
                    "spec.conversion.conversionReviewVersions: Invalid value: [\"v9\"]: must include at least one of v1, v1beta1",
                ],
            ),
            (
                json!({"strategy": "None", "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]}}),
                vec![
                    "spec.conversion.webhookClientConfig: Forbidden: should not be set when strategy is not set to \"Webhook\"",
                    "spec.conversion.conversionReviewVersions: Forbidden: should not be set when strategy is not set to \"Webhook\"",
                ],
            ),
        ] {
            let found: Vec<String> = problems(&json!({"conversion": conversion})).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{conversion}");
        }
    }
}
