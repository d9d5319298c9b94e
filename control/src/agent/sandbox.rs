//! From a Pod's spec to what a runtime is asked for: environment resolved, ports named.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Objects, Result};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVar, ExecAction, HTTPGetAction, LifecycleHandler, Namespace, Pod, Probe, Secret, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;
use logic::pod::{Allocatable, Trouble, expand};
use logic::pod_security::{Bar, Level, Mode};
use runtime::volumes::Volume;
use runtime::{Check, Limits, PullPolicy, RunsAs, Runtime, Stdin};

use super::{Shared, confinement, volumes};

/// What a runtime is asked to hold, or why it cannot be told.
pub async fn wanted(
    shared: &Shared,
    pod: &Pod,
    runtime: &Arc<dyn Runtime>,
    volumes: &[Volume],
) -> Result<std::result::Result<runtime::Pod, Trouble>> {
    let config = |message: String| Trouble { reason: "CreateContainerConfigError".into(), message };
    let spec = pod.spec.clone().unwrap_or_default();
    // Admission judges by the runtime that a pod asks for; one that was stored before, or is here without an engine, is judged now.
    if let Some(field) = runtime.capabilities().lacking(&serde_json::to_value(&spec).unwrap_or_default()) {
        let message = format!("{field}: the runtime {} of this node cannot do this", runtime.name());
        return Ok(Err(config(message)));
    }
    let mut containers = Vec::new();
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        let env = match environment(shared, pod, container).await? {
            Ok(env) => env,
            Err(message) => return Ok(Err(config(message))),
        };
        let known: BTreeMap<String, String> = env.iter().cloned().collect();
        let limits = match limits(container) {
            Ok(limits) => limits,
            Err(message) => return Ok(Err(config(message))),
        };
        let mounts = match volumes::mounts(container, volumes, &known) {
            Ok(mounts) => mounts.iter().map(|mounted| mounted.mount(shared.volumes.as_ref())).collect(),
            Err(message) => return Ok(Err(config(message))),
        };
        let expanded = |words: &Option<Vec<String>>| words.iter().flatten().map(|word| expand(word, &known)).collect();
        containers.push(runtime::Container {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            command: expanded(&container.command),
            args: expanded(&container.args),
            working_dir: container.working_dir.clone(),
            ports: ports(container),
            limits,
            pull: pull_policy(container),
            confinement: confinement::confinement(&spec, container),
            names: confinement::names(&spec),
            has_terminal: container.tty == Some(true),
            stdin: stdin(container),
            mounts,
            stop_signal: container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.clone()),
            env,
        });
    }
    let (uid, namespace, name) = (pod.uid().unwrap_or_default(), pod.namespace().unwrap_or_default(), pod.name_any());
    let runs_as = runs_as(shared, &namespace).await?;
    Ok(Ok(runtime::Pod { uid, namespace, name, containers, runs_as }))
}

/// As whom programs of a namespace run: as the server only where that is the administrator's or says so.
pub async fn runs_as(shared: &Shared, name: &str) -> Result<RunsAs> {
    let found = Objects::<Namespace>::all(&shared.client).get(name).await?;
    let namespace = found.and_then(|namespace| serde_json::to_value(namespace).ok());
    let namespace = namespace.unwrap_or_else(|| serde_json::json!({"metadata": {"name": name}}));
    Ok(match Bar::of(&namespace, Mode::Enforce).level {
        Level::Privileged => RunsAs::Server,
        Level::Baseline | Level::Restricted => RunsAs::Namespace,
    })
}

/// When the image is fetched. A word that is none is taken as none.
fn pull_policy(container: &Container) -> PullPolicy {
    match container.image_pull_policy.as_deref() {
        Some("Always") => PullPolicy::Always,
        Some("Never") => PullPolicy::Never,
        _ => PullPolicy::IfNotPresent,
    }
}

/// What the program reads; `stdinOnce` means nothing without `stdin`.
fn stdin(container: &Container) -> Stdin {
    match (container.stdin, container.stdin_once) {
        (Some(true), Some(true)) => Stdin::Once,
        (Some(true), _) => Stdin::Open,
        _ => Stdin::Empty,
    }
}

fn limits(container: &Container) -> std::result::Result<Limits, String> {
    let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let thousandths = |name: &str| match limits.and_then(|limits| limits.get(name)) {
        None => Ok(None),
        Some(quantity) => match logic::quantity::thousandths(&quantity.0) {
            Some(amount) if amount > 0 => Ok(Some(amount)),
            _ => Err(format!(
                "{}: resources.limits.{name}: {:?}: expected a number above 0, such as 500m or 256Mi",
                container.name, quantity.0
            )),
        },
    };
    Ok(Limits { memory_bytes: thousandths("memory")?.map(|amount| amount.div_ceil(1000)), cpu_millis: thousandths("cpu")? })
}

fn ports(container: &Container) -> Vec<runtime::Port> {
    let port = |number: i32| u16::try_from(number).unwrap_or(0);
    let of = |declared: &k8s_openapi::api::core::v1::ContainerPort| runtime::Port {
        name: declared.name.clone().unwrap_or_else(|| unnamed(declared.container_port)),
        container_port: port(declared.container_port),
        host_port: declared.host_port.map(port).filter(|port| *port > 0),
    };
    container.ports.iter().flatten().map(of).collect()
}

/// What a port without a name is called.
fn unnamed(number: i32) -> String {
    format!("p{number}")
}

/// The variables of a container, in their order, or why one of them cannot be told.
pub async fn environment(shared: &Shared, pod: &Pod, container: &Container) -> Result<std::result::Result<Vec<(String, String)>, String>> {
    let mut env: Vec<(String, String)> = Vec::new();
    let namespace = pod.namespace().unwrap_or_default();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.clone().unwrap_or_default();
        let (name, optional, values) = match (&source.config_map_ref, &source.secret_ref) {
            (Some(of), _) => (format!("ConfigMap {}", of.name), of.optional, config_map(shared, &namespace, &of.name).await?),
            (None, Some(of)) => (format!("Secret {}", of.name), of.optional, secret(shared, &namespace, &of.name).await?),
            (None, None) => continue,
        };
        match values {
            Some(values) => env.extend(values.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value))),
            None if optional == Some(true) => {}
            None => return Ok(Err(format!("{}: envFrom: {name} is not there", container.name))),
        }
    }
    for variable in container.env.iter().flatten() {
        match value(shared, pod, &container.name, variable).await? {
            Ok(Some(value)) => {
                let known: BTreeMap<String, String> = env.iter().cloned().collect();
                env.retain(|(name, _)| *name != variable.name);
                env.push((variable.name.clone(), if variable.value.is_some() { expand(&value, &known) } else { value }));
            }
            Ok(None) => {}
            Err(why) => return Ok(Err(format!("{}: {}: {why}", container.name, variable.name))),
        }
    }
    Ok(Ok(env))
}

async fn value(shared: &Shared, pod: &Pod, container: &str, variable: &EnvVar) -> Result<std::result::Result<Option<String>, String>> {
    let namespace = pod.namespace().unwrap_or_default();
    let Some(from) = &variable.value_from else { return Ok(Ok(Some(variable.value.clone().unwrap_or_default()))) };
    let (what, key, optional, values) = if let Some(of) = &from.secret_key_ref {
        (format!("Secret {}", of.name), &of.key, of.optional, secret(shared, &namespace, &of.name).await?)
    } else if let Some(of) = &from.config_map_key_ref {
        (format!("ConfigMap {}", of.name), &of.key, of.optional, config_map(shared, &namespace, &of.name).await?)
    } else if let Some(of) = &from.field_ref {
        let found = field(shared, pod, &of.field_path);
        return Ok(found.map(Some).ok_or_else(|| format!("fieldRef {:?} is not available", of.field_path)));
    } else if let Some(of) = &from.resource_field_ref {
        let node = Allocatable { processors: shared.facts.processors, memory_bytes: shared.facts.memory_bytes };
        let found = logic::pod::resource_value(pod, container, of, node);
        return Ok(found.map(Some).map_err(|why| format!("resourceFieldRef: {why}")));
    } else {
        return Ok(Err("expected one of secretKeyRef, configMapKeyRef, fieldRef and resourceFieldRef".into()));
    };
    Ok(match values.map(|values| values.get(key).cloned()) {
        Some(Some(value)) => Ok(Some(value)),
        _ if optional == Some(true) => Ok(None),
        Some(None) => Err(format!("{what} has no key {key}")),
        None => Err(format!("{what} is not there")),
    })
}

async fn config_map(shared: &Shared, namespace: &str, name: &str) -> Result<Option<BTreeMap<String, String>>> {
    let found = Objects::<ConfigMap>::namespaced(&shared.client, namespace).get(name).await?;
    Ok(found.map(|map| map.data.unwrap_or_default()))
}

async fn secret(shared: &Shared, namespace: &str, name: &str) -> Result<Option<BTreeMap<String, String>>> {
    let found = Objects::<Secret>::namespaced(&shared.client, namespace).get(name).await?;
    let text = |(key, value): (String, k8s_openapi::ByteString)| (key, String::from_utf8_lossy(&value.0).into_owned());
    Ok(found.map(|secret| secret.data.unwrap_or_default().into_iter().map(text).collect()))
}

fn field(shared: &Shared, pod: &Pod, path: &str) -> Option<String> {
    let keyed = |prefix: &str| path.strip_prefix(prefix).and_then(|rest| rest.strip_suffix("']"));
    if let Some(key) = keyed("metadata.labels['") {
        return Some(pod.labels().get(key).cloned().unwrap_or_default());
    }
    if let Some(key) = keyed("metadata.annotations['") {
        return Some(pod.annotations().get(key).cloned().unwrap_or_default());
    }
    match path {
        "metadata.name" => Some(pod.name_any()),
        "metadata.namespace" => pod.namespace(),
        "metadata.uid" => pod.uid(),
        "spec.nodeName" => Some(shared.facts.name.clone()),
        "spec.serviceAccountName" => Some(pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone()).unwrap_or_default()),
        "status.podIP" | "status.hostIP" | "status.podIPs" | "status.hostIPs" => Some(shared.facts.address.clone()),
        _ => None,
    }
}

/// A probe as a check of the runtime; `None` for one that asks for nothing.
pub fn check(probe: &Probe, container: &Container) -> Option<Check> {
    action(probe.http_get.as_ref(), probe.tcp_socket.as_ref(), probe.exec.as_ref(), container)
}

/// A lifecycle hook as a check of the runtime, and how long it sleeps where it only sleeps.
pub fn hook(hook: &LifecycleHandler, container: &Container) -> (Option<Check>, Duration) {
    let sleep = hook.sleep.as_ref().and_then(|sleep| u64::try_from(sleep.seconds).ok()).unwrap_or(0);
    (action(hook.http_get.as_ref(), hook.tcp_socket.as_ref(), hook.exec.as_ref(), container), Duration::from_secs(sleep))
}

fn action(http: Option<&HTTPGetAction>, tcp: Option<&TCPSocketAction>, exec: Option<&ExecAction>, container: &Container) -> Option<Check> {
    if let Some(http) = http {
        let headers = http.http_headers.iter().flatten().map(|header| (header.name.clone(), header.value.clone())).collect();
        let path = http.path.clone().unwrap_or_else(|| "/".into());
        return Some(Check::Http { port: port_name(&http.port, container), path, headers });
    }
    if let Some(tcp) = tcp {
        return Some(Check::Tcp { port: port_name(&tcp.port, container) });
    }
    exec.map(|exec| Check::Exec { command: exec.command.clone().unwrap_or_default() })
}

fn port_name(port: &IntOrString, container: &Container) -> String {
    match port {
        IntOrString::String(name) => name.clone(),
        IntOrString::Int(number) => {
            let declared = container.ports.iter().flatten().find(|port| port.container_port == *number);
            declared.and_then(|port| port.name.clone()).unwrap_or_else(|| unnamed(*number))
        }
    }
}
