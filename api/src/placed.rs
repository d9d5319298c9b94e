//! What a new Pod refers to: its priority class, of which it gets its number, and the account that it acts as.

use model::{Kind, priority_class, service_account};
use serde_json::{Value, json};
use store::{Compare, Error, ListOptions, Transaction};

use crate::serve::Call;
use crate::status::{Result, Status};
use crate::{Server, admit, object};

/// Makes the classes that are there from the start, where they are not. Errors: those of the store.
pub async fn make_default_classes(server: &Server) -> store::Result<()> {
    let kind = priority_class::kind();
    for mut class in priority_class::defaults() {
        let key = object::key(&kind, None, class["metadata"]["name"].as_str().unwrap_or_default());
        class["metadata"]["uid"] = json!(uuid::Uuid::new_v4().to_string());
        class["metadata"]["creationTimestamp"] = json!(admit::timestamp(server.clock.now()));
        let made = Transaction::new().when(Compare::Absent(key.clone())).put(key, object::encode(&kind, class));
        match server.store.commit(made).await {
            Ok(_) | Err(Error::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Gives a new Pod the number of its class. Errors: 403 for a class or an account that is not there, and for another number.
pub async fn resolve(call: &Call, pod: &mut Value) -> Result<()> {
    let kind = call.kind();
    if !(kind.group.is_empty() && kind.kind == "Pod" && pod["spec"].is_object()) {
        return if is_class(kind) { check_default(call, pod).await } else { Ok(()) };
    }
    check_account(call, pod).await?;
    let named = pod["spec"]["priorityClassName"].as_str().unwrap_or_default().to_owned();
    let class = if named.is_empty() {
        global_default(call).await?
    } else {
        let key = object::key(&priority_class::kind(), None, &named);
        let found = call.server.store.get(&key, None).await?.map(|entry| object::decode(&entry));
        Some(found.ok_or_else(|| forbidden(kind, pod, &format!("no PriorityClass with name {named} was found")))?)
    };
    let Some(class) = class else { return Ok(()) };
    let value = class["value"].as_i64().unwrap_or_default();
    if let Some(asked) = pod["spec"]["priority"].as_i64().filter(|asked| *asked != value) {
        let why = format!(
            "the integer value of priority ({asked}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
        );
        return Err(forbidden(kind, pod, &why));
    }
    pod["spec"]["priorityClassName"] = class["metadata"]["name"].clone();
    pod["spec"]["priority"] = json!(value);
    if pod["spec"]["preemptionPolicy"].is_null() {
        pod["spec"]["preemptionPolicy"] = class["preemptionPolicy"].clone();
    }
    Ok(())
}

/// Errors: 403 for a class that a change makes everybody's beside another.
pub async fn check_change(call: &Call, before: &Value, after: &Value) -> Result<()> {
    let is_made_default = before["globalDefault"] != true && after["globalDefault"] == true;
    if is_class(call.kind()) && is_made_default { check_default(call, after).await } else { Ok(()) }
}

fn is_class(kind: &Kind) -> bool {
    kind.group == priority_class::GROUP && kind.kind == "PriorityClass"
}

async fn classes(call: &Call) -> Result<Vec<Value>> {
    let prefix = object::prefix(&priority_class::kind(), None);
    let page = call.server.store.list(ListOptions { prefix, ..ListOptions::default() }).await?;
    Ok(page.entries.iter().map(object::decode).collect())
}

/// The class of Pods that name none. Of several the lowest is taken.
async fn global_default(call: &Call) -> Result<Option<Value>> {
    let classes = classes(call).await?.into_iter().filter(|class| class["globalDefault"] == true);
    Ok(classes.min_by_key(|class| class["value"].as_i64().unwrap_or_default()))
}

/// Errors: 403 for a second class that is everybody's.
async fn check_default(call: &Call, class: &Value) -> Result<()> {
    let name = &class["metadata"]["name"];
    if class["globalDefault"] != true {
        return Ok(());
    }
    match classes(call).await?.into_iter().find(|other| other["globalDefault"] == true && other["metadata"]["name"] != *name) {
        None => Ok(()),
        Some(other) => {
            let other = other["metadata"]["name"].as_str().unwrap_or_default();
            Err(forbidden(call.kind(), class, &format!("PriorityClass {other} is already marked as default. Only one default can exist")))
        }
    }
}

/// Errors: 403 for an account that is not there. The default one is made with its namespace, so it may come a moment later.
async fn check_account(call: &Call, pod: &Value) -> Result<()> {
    let text = |field: &str| pod["spec"][field].as_str().filter(|name| !name.is_empty());
    let Some(name) = text("serviceAccountName").or_else(|| text("serviceAccount")).filter(|name| *name != service_account::DEFAULT) else {
        return Ok(());
    };
    let namespace = call.place.namespace.as_deref().unwrap_or_default();
    let key = object::key(&service_account::kind(), Some(namespace), name);
    if call.server.store.get(&key, None).await?.is_some() {
        return Ok(());
    }
    let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
    Err(forbidden(call.kind(), pod, &why))
}

/// The refusal of an object that may not be as it is, in the words of Kubernetes' admission.
pub fn forbidden(kind: &Kind, object: &Value, why: &str) -> Status {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let mut details = json!({"name": name, "kind": kind.plural});
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    Status::forbidden(details, format!("{} {name:?} is forbidden: {why}", kind.qualified_plural()))
}
