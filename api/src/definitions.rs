//! From the definitions in the store to the kinds that are served.
//!
//! [`settle`] does all of it, whenever a definition was written and when the server starts: names are accepted, kinds come
//! into being and change, and of a definition that is being deleted first the objects go, then the definition itself.
//! It derives everything from what is stored, so that a crash between two steps leaves nothing to repair.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use logic::definition::{check, names};
use model::{Kind, custom_resource_definition as definition};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::{Compare, Entry, Error, ListOptions, Transaction};
use tokio::sync::{Mutex, OnceCell};

use crate::registry::{self, Registry, Served};
use crate::status::Result;
use crate::{Server, admit, custom, object};

const TRIES_MAX: usize = 32;

/// The kinds that are served just now.
pub struct Kinds {
    built_in: Registry,
    all: ArcSwap<Registry>,
    loaded: OnceCell<()>,
    /// What was made of each definition, by its key; held while the definitions are brought into force.
    settling: Mutex<HashMap<String, Ready>>,
}

/// The kinds of one definition in force, ready to be served.
struct Ready {
    /// The revision of the definition that this is true of.
    modified: u64,
    /// What the kinds were made from.
    mark: Vec<u8>,
    names: Value,
    served: Vec<Arc<Served>>,
}

impl Kinds {
    /// Those of the program; the ones that people defined come with the first request.
    pub fn new(kinds: impl Iterator<Item = Kind>) -> Self {
        let built_in = Registry::new(kinds);
        let all = ArcSwap::from_pointee(built_in.with(Vec::new()));
        Self { built_in, all, loaded: OnceCell::new(), settling: Mutex::default() }
    }

    /// All kinds.
    pub fn now(&self) -> Arc<Registry> {
        self.all.load_full()
    }
}

impl Server {
    /// All kinds that are served. Errors: the definitions could not be read.
    pub async fn kinds(self: &Arc<Self>) -> Result<Arc<Registry>> {
        self.kinds.loaded.get_or_try_init(|| settle(self)).await?;
        Ok(self.kinds.now())
    }
}

/// Brings the served kinds in line with the definitions. Errors: the store failed.
pub async fn settle(server: &Server) -> Result<()> {
    let mut ready = server.kinds.settling.lock().await;
    let kind = definition::kind();
    let prefix = object::prefix(&kind, None);
    let mut entries = server.store.list(ListOptions { prefix, ..ListOptions::default() }).await?.entries;
    entries.sort_by_key(|entry| entry.created);
    let mut accepted: Vec<Value> = server.kinds.built_in.all().iter().map(|served| names_of(&served.kind)).collect();
    // Groups of which a definition was looked at anew: the names of those that come after it may be taken.
    let mut moved: Vec<Value> = Vec::new();
    let mut still_ready: Vec<(String, Ready)> = Vec::new();
    for entry in entries {
        let last = ready.remove(&entry.key);
        let made = match last {
            Some(made) if made.modified == entry.modified && !moved.contains(&made.names["group"]) => made,
            last => {
                let settled = settle_one(server, &entry, &accepted).await?;
                let Some((definition, modified)) = settled else { continue };
                moved.push(definition["spec"]["group"].clone());
                let names = with_group(&definition["status"]["acceptedNames"], &definition);
                if !check::is_established(&definition) {
                    accepted.push(names);
                    continue;
                }
                make_ready(server, &definition, modified, names, last).await?
            }
        };
        accepted.push(made.names.clone());
        still_ready.push((entry.key, made));
    }
    let mut served: Vec<Arc<Served>> = still_ready.iter().flat_map(|(_, made)| made.served.iter().cloned()).collect();
    served.sort_by(|one, other| one.kind.group.cmp(&other.kind.group));
    *ready = still_ready.into_iter().collect();
    server.kinds.all.store(Arc::new(server.kinds.built_in.with_served(served)));
    Ok(())
}

/// Makes the kinds of a definition, unless they were made from the same before. One that is going is looked at each time.
async fn make_ready(server: &Server, definition: &Value, modified: u64, names: Value, last: Option<Ready>) -> Result<Ready> {
    let mark = mark(definition);
    let modified = if definition["metadata"]["deletionTimestamp"].is_string() { 0 } else { modified };
    if let Some(last) = last.filter(|last| last.mark == mark) {
        return Ok(Ready { modified, names, ..last });
    }
    let since = mark_schemas(server, definition).await?;
    Ok(Ready { modified, mark, names, served: registry::compile(custom::kinds(definition, since)) })
}

fn names_of(kind: &Kind) -> Value {
    json!({
        "group": kind.group, "plural": kind.plural, "singular": kind.singular, "shortNames": kind.short_names, "kind": kind.kind,
        "listKind": kind.list_kind,
    })
}

fn with_group(names: &Value, definition: &Value) -> Value {
    let mut names = names.clone();
    names["group"] = definition["spec"]["group"].clone();
    names
}

/// Brings one definition on its way; what is left of it and at which revision, or nothing when it is gone.
async fn settle_one(server: &Server, entry: &Entry, accepted: &[Value]) -> Result<Option<(Value, u64)>> {
    let mut entry = entry.clone();
    for _ in 0..TRIES_MAX {
        let before = object::decode(&entry);
        let gone = before["metadata"]["deletionTimestamp"].is_string() && empty(server, &before).await?;
        let after = settled(&before, accepted, &admit::timestamp(server.clock.now()), gone);
        let condition = Transaction::new().when(Compare::Modified(entry.key.clone(), entry.modified));
        let transaction = match &after {
            Some(after) if *after == before => return Ok(Some((before, entry.modified))),
            Some(after) => condition.put(&entry.key, object::encode(&definition::kind(), after.clone())),
            None => {
                let name = before["metadata"]["name"].as_str().unwrap_or_default();
                condition.delete(&entry.key).delete(custom::schema_key(name))
            }
        };
        match server.store.commit(transaction).await {
            Ok(committed) => return Ok(after.map(|after| (after, committed.revision))),
            Err(Error::Conflict { .. }) => match server.store.get(&entry.key, None).await? {
                Some(newer) => entry = newer,
                None => return Ok(None),
            },
            Err(other) => return Err(other.into()),
        }
    }
    Err(crate::Status::unavailable("a definition is being changed too often; try again"))
}

/// What becomes of a definition: its status and finalizer, or nothing once its objects are gone and nobody else holds it.
fn settled(before: &Value, accepted: &[Value], now: &str, gone: bool) -> Option<Value> {
    let mut after = before.clone();
    let same_group: Vec<Value> =
        accepted.iter().filter(|names| names["group"] == before["spec"]["group"] && names["plural"] != "").cloned().collect();
    let deleting = before["metadata"]["deletionTimestamp"].is_string();
    if !deleting {
        after["status"] = names::accept(before, &same_group, now);
    }
    let mut finalizers = before["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    if gone {
        finalizers.retain(|finalizer| finalizer != definition::FINALIZER);
    } else if !deleting && check::is_established(&after) && !finalizers.contains(&json!(definition::FINALIZER)) {
        finalizers.push(json!(definition::FINALIZER));
    }
    after["metadata"]["finalizers"] = if finalizers.is_empty() { Value::Null } else { json!(finalizers) };
    model::drop_nulls(&mut after["metadata"]);
    let finished = deleting && finalizers.is_empty();
    (!finished).then_some(after)
}

/// Deletes the objects of a definition; whether none is left. One that somebody holds stays until it is let go.
async fn empty(server: &Server, definition: &Value) -> Result<bool> {
    let Some((kind, _)) = custom::kinds(definition, 0).into_iter().next() else { return Ok(true) };
    let page = server.store.list(ListOptions { prefix: object::prefix(&kind, None), ..ListOptions::default() }).await?;
    let mut left = 0_usize;
    for entry in page.entries {
        let mut object = object::decode(&entry);
        let held = object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
        left += usize::from(held);
        let condition = Transaction::new().when(Compare::Modified(entry.key.clone(), entry.modified));
        let transaction = match (held, object["metadata"]["deletionTimestamp"].is_string()) {
            (true, true) => continue,
            (true, false) => {
                object["metadata"]["deletionTimestamp"] = json!(admit::timestamp(server.clock.now()));
                object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
                let stored_in = object["apiVersion"].as_str().unwrap_or_default().to_owned();
                condition.put(&entry.key, object::encode_in(&kind, &stored_in, object))
            }
            (false, _) => condition.delete(&entry.key),
        };
        match server.store.commit(transaction).await {
            Ok(_) => {}
            Err(Error::Conflict { .. }) => left += 1,
            Err(other) => return Err(other.into()),
        }
    }
    Ok(left == 0)
}

/// What the kinds of a definition follow from.
fn mark(definition: &Value) -> Vec<u8> {
    let going = definition["metadata"]["deletionTimestamp"].is_string();
    let uid = &definition["metadata"]["uid"];
    Sha256::digest(format!("{uid}{going}{}", definition["spec"])).to_vec()
}

/// Writes down what the schemas of a definition are; the revision at which they last changed.
async fn mark_schemas(server: &Server, definition: &Value) -> Result<u64> {
    let name = definition["metadata"]["name"].as_str().unwrap_or_default();
    let key = custom::schema_key(name);
    let digest = Sha256::digest(definition["spec"]["versions"].to_string());
    let uid = definition["metadata"]["uid"].as_str().unwrap_or_default();
    let mut mark = uid.as_bytes().to_vec();
    mark.extend_from_slice(&digest);
    server.store.commit(Transaction::new().put(&key, mark)).await?;
    Ok(server.store.get(&key, None).await?.map_or(0, |entry| entry.modified))
}
