//! Webhooks: programs of others that are asked over HTTPS.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use model::route_table;
use serde_json::Value;

use crate::{Server, object};

/// Who is asked, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookTarget {
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
    async fn post(&self, target: &WebhookTarget, body: Bytes) -> Result<Bytes, String>;
}

/// Posts a body of JSON to where `client`, a `clientConfig`, says; the answer's. Errors: why there is none, in a sentence.
pub async fn post(server: &Server, client: &Value, timeout: Duration, body: &Value) -> Result<Bytes, String> {
    let caller = Arc::clone(server.webhooks.get().ok_or("this server can call no webhooks")?);
    let target = target(server, client, timeout).await?;
    let answered = tokio::time::timeout(timeout, caller.post(&target, body.to_string().into())).await;
    answered.map_err(|_| format!("no answer from {} within {} seconds", target.url, timeout.as_secs()))?
}

async fn target(server: &Server, client: &Value, timeout: Duration) -> Result<WebhookTarget, String> {
    let authorities = STANDARD.decode(client["caBundle"].as_str().unwrap_or_default()).map_err(|error| format!("caBundle: {error}"))?;
    if let Some(url) = client["url"].as_str() {
        return Ok(WebhookTarget { url: url.to_owned(), address: None, authorities, timeout });
    }
    let service = &client["service"];
    let (namespace, name) = (service["namespace"].as_str().unwrap_or_default(), service["name"].as_str().unwrap_or_default());
    let key = object::key(&route_table::kind(), Some(namespace), name);
    let entry = server.store.get(&key, None).await.map_err(|error| error.to_string())?;
    let table = entry.as_ref().map(object::decode).unwrap_or_default();
    let mut endpoints =
        table["spec"]["routes"].as_array().into_iter().flatten().flat_map(|route| route["endpoints"].as_array().into_iter().flatten());
    let Some(address) = endpoints.find_map(|endpoint| endpoint["address"].as_str()) else {
        let why = "no Service of that name routes to a copy; a Service of Kubernetes' is not known here, use clientConfig.url for others";
        return Err(format!("service {namespace}/{name}: {why}"));
    };
    let (port, path) = (service["port"].as_i64().unwrap_or(443), service["path"].as_str().unwrap_or("/"));
    let url = format!("https://{name}.{namespace}.svc:{port}{path}");
    Ok(WebhookTarget { url, address: Some(address.to_owned()), authorities, timeout })
}
