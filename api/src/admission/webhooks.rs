//! Webhooks that are asked before something is stored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use logic::admission::{Request, Resource, conditions, matching, review};
use serde_json::Value;

use crate::serve::Call;
use crate::status::{Result, Status};
use crate::{conversion, webhook};

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
    let Some((mut object, patch)) = ask(call, webhook, request, true).await? else { return Ok(false) };
    if patch.is_null() || !request.object.is_object() {
        return Ok(true);
    }
    let patched = serde_json::from_value::<json_patch::Patch>(patch).map_err(|error| error.to_string());
    let patched = patched.and_then(|patch| logic::patch::carry_out(&mut object, &patch).map_err(|error| error.to_string()));
    match patched {
        Ok(()) if object.is_object() => {
            request.object = conversion::in_version(call, &request.resource.api_version(), object).await?;
        }
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

/// Asks a webhook about a request that it concerns; the object as it saw it, and how it changes that. `None` when it was not asked or
/// failed in vain.
async fn ask(call: &Call, webhook: &Value, request: &Request, may_change: bool) -> Result<Option<(Value, Value)>> {
    let Some(matched) = matching::matched(webhook, "rules", false, request) else { return Ok(None) };
    let request = conversion::seen(call, request, &matched).await?;
    match conditions(&webhook["matchConditions"], &request, &matched) {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(why) => return failed(webhook, &why).map(|()| None),
    }
    let answer = match answer(call, webhook, &request, &matched, may_change).await {
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
    Ok(Some((request.into_owned().object, answer.patch)))
}

async fn answer(
    call: &Call,
    webhook: &Value,
    request: &Request,
    matched: &Resource,
    may_change: bool,
) -> std::result::Result<review::Answer, String> {
    let uid = uuid::Uuid::new_v4().to_string();
    let timeout = Duration::from_secs(webhook["timeoutSeconds"].as_u64().unwrap_or(10));
    let bytes = webhook::post(&call.server, &webhook["clientConfig"], timeout, &review::question(request, matched, &uid)).await?;
    review::answer(&bytes, &uid, may_change)
}
