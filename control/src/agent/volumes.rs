//! The volumes of a Pod: what they are filled with, and what its containers see of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Objects, Result};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Container, HostPathVolumeSource, Pod, Secret, ServiceAccount};
use kube::ResourceExt as _;
use kube::api::PostParams;
use logic::pod::volumes::{Sources, Token, files, group, mounted, references};
use logic::pod::{Allocatable, expand};
use runtime::volumes::{File, NodePath, Source, SubPath, Volume};
use runtime::{Mount, Runtime, Volumes};

use super::{Shared, sandbox};

type Told<T> = std::result::Result<T, String>;

/// What the volumes of one Pod are filled with.
#[derive(Default)]
pub struct Filling {
    /// Something that they are filled from may have changed.
    pub is_old: bool,
    /// What was last told to be wrong with them.
    pub problem: String,
    /// Whether they were filled since this process began.
    is_known: bool,
    /// The tokens in them, and when they are made anew.
    tokens: BTreeMap<Token, (String, Timestamp)>,
}

impl Filling {
    /// Whether the files may differ from what they are made from.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.is_old || !self.is_known || self.tokens.values().any(|(_, renewed)| *renewed <= now)
    }

    /// When a token must be made anew.
    pub fn due_after(&self, now: Timestamp) -> Option<Duration> {
        let next = self.tokens.values().map(|(_, renewed)| *renewed).min()?;
        Some(Duration::try_from(next.duration_since(now)).unwrap_or_default().max(Duration::from_secs(1)))
    }

    /// Sets up all volumes of a Pod that its containers mount. The inner error says what they wait for.
    pub async fn fill(&mut self, shared: &Shared, pod: &Pod, runtime: &Arc<dyn Runtime>) -> Result<Told<Vec<Volume>>> {
        let filled = self.filled(shared, pod, runtime).await?;
        (self.is_old, self.is_known) = (false, true);
        Ok(filled)
    }

    async fn filled(&mut self, shared: &Shared, pod: &Pod, runtime: &Arc<dyn Runtime>) -> Result<Told<Vec<Volume>>> {
        let Some(spec) = pod.spec.as_ref().filter(|spec| mounted(spec).next().is_some()) else { return Ok(Ok(Vec::new())) };
        let namespace = pod.namespace().unwrap_or_default();
        let named = references(spec);
        let mut config_maps = BTreeMap::new();
        for name in named.config_maps {
            let found = Objects::<ConfigMap>::namespaced(&shared.client, &namespace).get(&name).await?;
            config_maps.extend(found.map(|found| (name, found)));
        }
        let mut secrets = BTreeMap::new();
        for name in named.secrets {
            let found = Objects::<Secret>::namespaced(&shared.client, &namespace).get(&name).await?;
            secrets.extend(found.map(|found| (name, found)));
        }
        if let Err(message) = self.renew(shared, pod, named.tokens.into_iter().collect()).await {
            return Ok(Err(message));
        }
        let owner = match runtime.owner_of_files(&namespace, sandbox::runs_as(shared, &namespace).await?).await {
            Ok(owner) => owner,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let tokens = self.tokens.iter().map(|(token, (text, _))| (token.clone(), text.clone())).collect();
        let node = Allocatable { processors: shared.facts.processors, memory_bytes: shared.facts.memory_bytes };
        let sources = Sources { pod, node, config_maps: &config_maps, secrets: &secrets, tokens: &tokens };
        let mut made = Vec::new();
        for volume in mounted(spec) {
            let wanted = match wanted(volume, &sources, owner) {
                Ok(wanted) => wanted,
                Err(why) => return Ok(Err(not_set_up(&volume.name, &why))),
            };
            if let Err(error) = shared.volumes.set_up(&wanted).await {
                return Ok(Err(not_set_up(&volume.name, &said(&error))));
            }
            made.push(wanted);
        }
        self.problem.clear();
        Ok(Ok(made))
    }

    /// Has the tokens that are asked for, those that are old made anew.
    async fn renew(&mut self, shared: &Shared, pod: &Pod, wanted: Vec<Token>) -> Told<()> {
        let now = shared.clock.now();
        for token in wanted {
            if self.tokens.get(&token).is_some_and(|(_, renewed)| *renewed > now) {
                continue;
            }
            let text = request(shared, pod, &token).await?;
            let renewed = now.checked_add(SignedDuration::from_secs(token.renewed_after_seconds())).unwrap_or(Timestamp::MAX);
            self.tokens.insert(token, (text, renewed));
        }
        Ok(())
    }
}

/// A token of the Pod's ServiceAccount, which holds no longer than the Pod is there.
async fn request(shared: &Shared, pod: &Pod, token: &Token) -> Told<String> {
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone()).filter(|name| !name.is_empty());
    let account = account.unwrap_or_else(|| "default".to_owned());
    let bound = BoundObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(pod.name_any()),
        uid: pod.uid(),
    };
    let spec = TokenRequestSpec {
        audiences: Some(vec![token.audience.clone()]).filter(|_| !token.audience.is_empty()),
        bound_object_ref: Some(bound),
        expiration_seconds: Some(token.seconds),
        ..TokenRequestSpec::default()
    };
    let asked = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let accounts = Objects::<ServiceAccount>::namespaced(&shared.client, &pod.namespace().unwrap_or_default()).api();
    let answer = accounts.create_token_request(&account, &PostParams::default(), &asked).await;
    let answer = answer.map_err(|error| format!("no token of serviceaccount {account:?} could be had: {error}"))?;
    answer.status.and_then(|status| status.token).ok_or_else(|| format!("no token of serviceaccount {account:?} was given"))
}

/// As Kubernetes begins the message of such an event.
fn not_set_up(name: &str, why: &str) -> String {
    format!("MountVolume.SetUp failed for volume {name:?} : {why}")
}

fn said(error: &runtime::Error) -> String {
    match error {
        runtime::Error::Failed { reason, .. } => reason.clone(),
        error => error.to_string(),
    }
}

/// A volume as it is wanted, filled; or what it waits for.
fn wanted(volume: &k8s_openapi::api::core::v1::Volume, sources: &Sources<'_>, owner: Option<u32>) -> Told<Volume> {
    let source = if let Some(files) = files(volume, sources)? {
        let files = files.into_iter().map(|file| File { path: file.path, mode: file.mode, bytes: file.bytes }).collect();
        Source::Files { files, is_private: volume.config_map.is_none() }
    } else if let Some(path) = &volume.host_path {
        Source::Node { path: path.path.clone().into(), kind: kind(path) }
    } else if let Some(empty) = &volume.empty_dir {
        let bytes = |text: &str| logic::quantity::thousandths(text).map(|amount| amount.div_ceil(1_000));
        let bytes_max =
            empty.size_limit.as_ref().map(|limit| bytes(&limit.0).ok_or_else(|| format!("sizeLimit: {:?} is no amount", limit.0)));
        let is_memory = empty.medium.as_deref() == Some("Memory");
        Source::Empty { is_memory, bytes_max: bytes_max.transpose()?.filter(|_| is_memory) }
    } else {
        return Err("this node has no driver for it".to_owned());
    };
    let group = group(sources.pod).and_then(|group| u32::try_from(group).ok());
    Ok(Volume { uid: sources.pod.uid().unwrap_or_default(), name: volume.name.clone(), source, owner, group })
}

fn kind(source: &HostPathVolumeSource) -> NodePath {
    match source.type_.as_deref() {
        Some("DirectoryOrCreate") => NodePath::DirectoryOrCreate,
        Some("Directory") => NodePath::Directory,
        Some("FileOrCreate") => NodePath::FileOrCreate,
        Some("File") => NodePath::File,
        Some("Socket") => NodePath::Socket,
        Some("CharDevice") => NodePath::CharDevice,
        Some("BlockDevice") => NodePath::BlockDevice,
        _ => NodePath::Any,
    }
}

/// What a container sees of a volume.
pub struct Mounted<'a> {
    volume: &'a Volume,
    part: Option<SubPath>,
    target: String,
    is_read_only: bool,
}

impl Mounted<'_> {
    /// As a runtime is asked for it.
    pub fn mount(&self, volumes: &dyn Volumes) -> Mount {
        Mount { source: volumes.place(self.volume, self.part.as_ref()), target: self.target.clone(), is_read_only: self.is_read_only }
    }
}

/// What a container sees of these volumes; `known` are its variables. Errors: why that cannot be told.
pub fn mounts<'a>(container: &Container, volumes: &'a [Volume], known: &BTreeMap<String, String>) -> Told<Vec<Mounted<'a>>> {
    let mut found = Vec::new();
    for (number, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let Some(volume) = volumes.iter().find(|volume| volume.name == mount.name) else { continue };
        let plain = mount.sub_path.clone().filter(|path| !path.is_empty());
        let path = match mount.sub_path_expr.as_ref().filter(|path| !path.is_empty()) {
            Some(expression) => Some(expanded(container, expression, known)?),
            None => plain,
        };
        let part = path.map(|path| SubPath { container: container.name.clone(), number, path });
        let is_read_only = mount.read_only == Some(true) || matches!(volume.source, Source::Files { .. });
        found.push(Mounted { volume, part, target: mount.mount_path.clone(), is_read_only });
    }
    Ok(found)
}

fn expanded(container: &Container, expression: &str, known: &BTreeMap<String, String>) -> Told<String> {
    let path = expand(expression, known);
    let is_within = !path.starts_with('/') && !path.split('/').any(|step| step == "..") && !path.contains("$(");
    if is_within {
        Ok(path)
    } else {
        Err(format!("{}: subPathExpr {expression:?} became {path:?}, which is no path within a volume", container.name))
    }
}

/// Makes the parts of volumes ready that a container sees, for its next start. The inner error says why that cannot be.
pub async fn set_up_parts(shared: &Shared, pod: &Pod, container: &Container, volumes: &[Volume]) -> Result<Told<()>> {
    let has_expressions = container.volume_mounts.iter().flatten().any(|mount| mount.sub_path_expr.is_some());
    let known = match has_expressions {
        true => match sandbox::environment(shared, pod, container).await? {
            Ok(env) => env.into_iter().collect(),
            Err(message) => return Ok(Err(message)),
        },
        false => BTreeMap::new(),
    };
    let mounted = match mounts(container, volumes, &known) {
        Ok(mounted) => mounted,
        Err(message) => return Ok(Err(message)),
    };
    for mounted in mounted {
        let Some(part) = &mounted.part else { continue };
        if let Err(error) = shared.volumes.set_up_part(mounted.volume, part).await {
            let why = format!("failed to prepare subPath {:?} for volumeMount {:?}: {}", part.path, mounted.volume.name, said(&error));
            return Ok(Err(format!("{}: {why}", container.name)));
        }
    }
    Ok(Ok(()))
}

/// Whether files would tell of a Pod otherwise than before.
pub fn is_told_otherwise(before: &Pod, after: &Pod) -> bool {
    before.metadata.labels != after.metadata.labels || told(before) != told(after)
}

/// The annotations that are not our own notes.
fn told(pod: &Pod) -> Vec<(&String, &String)> {
    pod.metadata.annotations.iter().flatten().filter(|(key, _)| !key.starts_with("conductor.dev/")).collect()
}
