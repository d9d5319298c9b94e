//! The Node object of this machine.

use std::collections::BTreeMap;

use client::{Because, Objects, Result};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;
use logic::placement;
use model::labels;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::controllers::BackOff;
use crate::status::difference_of;

/// What is so of this machine.
#[derive(Debug, Clone)]
pub struct NodeFacts {
    /// The Node's name.
    pub name: String,
    /// The address at which its Pods are reached.
    pub address: String,
    /// Processors.
    pub processors: usize,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// The version of this program.
    pub version: String,
    /// The operating system's name, for people.
    pub system: String,
    /// The kernel's version.
    pub kernel: String,
    /// What the whole machine has used since it began; `None` where it does not tell.
    pub usage: fn() -> Option<runtime::Usage>,
}

/// Writes the Node of this machine, until it is written or `stop` is cancelled.
pub async fn join(shared: &Shared, stop: &CancellationToken) {
    let back_off = BackOff::default();
    loop {
        let written = write(shared).await;
        crate::controllers::looked("node", &written);
        let Err(error) = written else { return };
        tracing::warn!(%error, "this node could not join");
        let mut node = Node::default();
        node.metadata.name = Some(shared.facts.name.clone());
        shared.events.warning_once(&node, "FailedJoin", error.to_string()).await;
        if stop.run_until_cancelled(tokio::time::sleep(back_off.failed(""))).await.is_none() {
            return;
        }
    }
}

async fn write(shared: &Shared) -> Result<()> {
    let nodes = Objects::<Node>::all(&shared.client);
    let name = &shared.facts.name;
    let cause = Because::circumstance("agent", "Node", name).reason("the agent started");
    let metadata = json!({"labels": node_labels(shared), "annotations": annotations(shared)});
    let node = match nodes.get(name).await? {
        Some(node) => {
            let is_said = |said: &BTreeMap<String, String>, wanted: &Value| {
                wanted.as_object().into_iter().flatten().all(|(key, value)| said.get(key).map(String::as_str) == value.as_str())
            };
            let same = is_said(node.labels(), &metadata["labels"]) && is_said(node.annotations(), &metadata["annotations"]);
            if same { node } else { nodes.merge(name, &json!({"metadata": metadata}), &cause).await? }
        }
        None => {
            let mut node = Node::default();
            node.metadata.name = Some(name.clone());
            node.metadata.labels = serde_json::from_value(metadata["labels"].clone()).unwrap_or_default();
            node.metadata.annotations = serde_json::from_value(metadata["annotations"].clone()).unwrap_or_default();
            nodes.create(&node, &cause).await?
        }
    };
    let old = node.status.clone().unwrap_or_default();
    if let Some(patch) = difference_of("core.NodeStatus", &old, &status(shared, &node)) {
        nodes.merge_status(name, &patch, None, &cause).await?;
    }
    Ok(())
}

fn node_labels(shared: &Shared) -> Value {
    let mut labels = json!({
        "kubernetes.io/hostname": shared.facts.name,
        "kubernetes.io/os": std::env::consts::OS,
        "kubernetes.io/arch": if std::env::consts::ARCH == "x86_64" { "amd64" } else { std::env::consts::ARCH },
    });
    for runtime in &shared.runtimes {
        let value = if runtime.runs_images() { placement::RUNS_IMAGES } else { "" };
        labels[format!("{}{}", placement::RUNTIME, runtime.name())] = json!(value);
    }
    labels
}

/// What each runtime can do.
fn annotations(shared: &Shared) -> Value {
    let of = |runtime: &std::sync::Arc<dyn runtime::Runtime>| {
        (format!("{}{}", labels::CAPABILITIES, runtime.name()), json!(runtime.capabilities().to_annotation()))
    };
    Value::Object(shared.runtimes.iter().map(of).collect())
}

fn status(shared: &Shared, node: &Node) -> Value {
    let facts = &shared.facts;
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let since = conditions.into_iter().find(|condition| condition.type_ == "Ready" && condition.status == "True");
    let now = shared.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let since = since.and_then(|condition| serde_json::to_value(&condition.last_transition_time).ok()).unwrap_or(json!(now));
    let resources = json!({"cpu": facts.processors.to_string(), "memory": format!("{}Ki", facts.memory_bytes / 1024), "pods": "1000"});
    json!({
        "conditions": [{"type": "Ready", "status": "True", "reason": "AgentReady", "message": "the agent is running", "lastTransitionTime": since}],
        "addresses": [{"type": "InternalIP", "address": facts.address}, {"type": "Hostname", "address": facts.name}],
        "capacity": resources,
        "allocatable": resources,
        "nodeInfo": {
            "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": facts.kernel, "osImage": facts.system,
            "containerRuntimeVersion": format!("{}://", shared.runtimes.first().map_or("none", |runtime| runtime.name())),
            "kubeletVersion": format!("v{}", facts.version), "kubeProxyVersion": "",
            "operatingSystem": std::env::consts::OS, "architecture": if std::env::consts::ARCH == "x86_64" { "amd64" } else { std::env::consts::ARCH },
        },
    })
}
