//! Webhooks: programs of others that are asked over HTTPS.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::future::join_all;
use logic::admission::{Request, Resource, conditions, matching, review};
use model::route_table;
use serde_json::Value;

use crate::object;
use crate::serve::Call;
use crate::status::{Result, Status};

/// Who is asked, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// An https URL; its host is the name that the certificate must have.
    pub url: String,
    /// Where to connect instead of the URL's host: `address:port`.
    pub address: Option<String>,
    /// The certificates to trust, as PEM; those of the system when there are none.
    pub authorities: Vec<u8>,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// Sends questions to webhooks. The API knows no sockets: whoever wires it gives it one of these.
#[async_trait::async_trait]
pub trait WebhookCaller: Send + Sync + 'static {
    /// Posts a body of JSON and returns the answer's. Errors: why there is none, in a sentence.
    async fn post(&self, target: &Target, body: Bytes) -> std::result::Result<Bytes, String>;
}

type Configurations = BTreeMap<String, Arc<Value>>;

/// Every webhook, in the order of its configuration's name.
pub fn each(configurations: &Configurations) -> impl Iterator<Item = &Value> {
    configurations.values().flat_map(|configuration| configuration["webhooks"].as_array().into_iter().flatten())
}

/// Asks validating webhooks, all at a time. Errors: the first refusal in the order of their names.
pub async fn validate(call: &Call, configurations: &Configurations, request: &Request) -> Result<()> {
    let asked = each(configurations).map(|webhook| ask(call, webhook, request, false));
    join_all(asked).await.into_iter().try_for_each(|answer| answer.map(|_| ()))
}

/// Asks one mutating webhook and does as it says; whether it was asked.
pub async fn apply(call: &Call, webhook: &Value, request: &mut Request) -> Result<bool> {
    let Some(patch) = ask(call, webhook, request, true).await? else { return Ok(false) };
    if patch.is_null() || !request.object.is_object() {
        return Ok(true);
    }
    let mut object = request.object.clone();
    let patched = serde_json::from_value::<json_patch::Patch>(patch).map_err(|error| error.to_string());
    let patched = patched.and_then(|patch| logic::patch::carry_out(&mut object, &patch).map_err(|error| error.to_string()));
    match patched {
        Ok(()) if object.is_object() => request.object = object,
        Ok(()) => failed(webhook, "the patch cannot be applied: what is left is no object")?,
        Err(why) => failed(webhook, &format!("the patch cannot be applied: {why}"))?,
    }
    Ok(true)
}

/// A webhook that failed: as its failure policy has it.
fn failed(webhook: &Value, why: &str) -> Result<()> {
    let name = webhook["name"].as_str().unwrap_or_default();
    if webhook["failurePolicy"] == "Ignore" {
        tracing::warn!(webhook = name, why, "a webhook failed, and that is to be ignored");
        return Ok(());
    }
    Err(Status::internal(format!("failed calling webhook {name:?}: {why}")))
}

/// Asks a webhook about a request that it concerns; how it changes the object. `None` when it was not asked or failed in vain.
async fn ask(call: &Call, webhook: &Value, request: &Request, may_change: bool) -> Result<Option<Value>> {
    let Some(matched) = matching::matched(webhook, "rules", false, request) else { return Ok(None) };
    match conditions(&webhook["matchConditions"], request, &matched) {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(why) => return failed(webhook, &why).map(|()| None),
    }
    let answer = match answer(call, webhook, request, &matched, may_change).await {
        Ok(answer) => answer,
        Err(why) => return failed(webhook, &format!("failed to call webhook: {why}")).map(|()| None),
    };
    let name = webhook["name"].as_str().unwrap_or_default();
    call.tell(|told| {
        told.warnings.extend(answer.warnings);
        told.notes.extend(answer.annotations.into_iter().map(|(key, value)| (format!("{name}/{key}"), value)));
    });
    if !answer.allowed {
        let (code, reason, message) = review::refusal(name, &answer.status);
        return Err(Status::refused_by(code, reason, message));
    }
    Ok(Some(answer.patch))
}

async fn answer(
    call: &Call,
    webhook: &Value,
    request: &Request,
    matched: &Resource,
    may_change: bool,
) -> std::result::Result<review::Answer, String> {
    let caller = call.server.webhooks.get().ok_or("this server can call no webhooks")?;
    let target = target(call, webhook).await?;
    let uid = uuid::Uuid::new_v4().to_string();
    let body = review::question(request, matched, &uid).to_string();
    let answered = tokio::time::timeout(target.timeout, caller.post(&target, body.into())).await;
    let bytes = answered.map_err(|_| format!("no answer from {} within {} seconds", target.url, target.timeout.as_secs()))??;
    review::answer(&bytes, &uid, may_change)
}

async fn target(call: &Call, webhook: &Value) -> std::result::Result<Target, String> {
    let client = &webhook["clientConfig"];
    let authorities = STANDARD.decode(client["caBundle"].as_str().unwrap_or_default()).map_err(|error| format!("caBundle: {error}"))?;
    let timeout = Duration::from_secs(webhook["timeoutSeconds"].as_u64().unwrap_or(10));
    if let Some(url) = client["url"].as_str() {
        return Ok(Target { url: url.to_owned(), address: None, authorities, timeout });
    }
    let service = &client["service"];
    let (namespace, name) = (service["namespace"].as_str().unwrap_or_default(), service["name"].as_str().unwrap_or_default());
    let key = object::key(&route_table::kind(), Some(namespace), name);
    let entry = call.server.store.get(&key, None).await.map_err(|error| error.to_string())?;
    let table = entry.as_ref().map(object::decode).unwrap_or_default();
    let mut endpoints =
        table["spec"]["routes"].as_array().into_iter().flatten().flat_map(|route| route["endpoints"].as_array().into_iter().flatten());
    let Some(address) = endpoints.find_map(|endpoint| endpoint["address"].as_str()) else {
        let why = "no Service of that name routes to a copy; a Service of Kubernetes' is not known here, use clientConfig.url for others";
        return Err(format!("service {namespace}/{name}: {why}"));
    };
    let (port, path) = (service["port"].as_i64().unwrap_or(443), service["path"].as_str().unwrap_or("/"));
    Ok(Target { url: format!("https://{name}.{namespace}.svc:{port}{path}"), address: Some(address.to_owned()), authorities, timeout })
}
