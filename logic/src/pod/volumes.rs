//! What the files of a pod's volumes hold: from the pod and from the ConfigMaps, Secrets and tokens that it names.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, PodSpec, Secret, ServiceAccountTokenProjection, Volume, VolumeProjection,
};

use super::resource::{Allocatable, resource_value};

/// How a file may be used where nothing is said.
const MODE_DEFAULT: i32 = 0o644;
/// What the group of a pod may do with each file.
const GROUP_READS: u32 = 0o440;
/// How a token may be used where the pod has a group: by that and its owner alone.
const MODE_OF_TOKEN: u32 = 0o600;
const TOKEN_SECONDS: i64 = 3_600;
/// No token is kept longer than this before it is renewed, in seconds.
const TOKEN_KEPT_MAX: i64 = 24 * 60 * 60;

/// A file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it is within the volume.
    pub path: String,
    /// What its owner, its group and others may do with it.
    pub mode: u32,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// The objects that a pod's volumes and variables are filled from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// Names of ConfigMaps.
    pub config_maps: BTreeSet<String>,
    /// Names of Secrets.
    pub secrets: BTreeSet<String>,
    /// Tokens of its ServiceAccount.
    pub tokens: BTreeSet<Token>,
}

/// A token that a pod asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    /// For whom it is; empty for the API itself.
    pub audience: String,
    /// How long it holds.
    pub seconds: i64,
}

impl Token {
    fn of(source: &ServiceAccountTokenProjection) -> Self {
        Self { audience: source.audience.clone().unwrap_or_default(), seconds: source.expiration_seconds.unwrap_or(TOKEN_SECONDS) }
    }

    /// How long after it was made it is made anew: at four fifths of its time, and at least every day.
    pub fn renewed_after_seconds(&self) -> i64 {
        (self.seconds * 4 / 5).min(TOKEN_KEPT_MAX)
    }
}

/// All that files are made from.
#[derive(Debug)]
pub struct Sources<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// What its node has to give.
    pub node: Allocatable,
    /// The ConfigMaps that are there, of those that it names.
    pub config_maps: &'a BTreeMap<String, ConfigMap>,
    /// The Secrets that are there, of those that it names.
    pub secrets: &'a BTreeMap<String, Secret>,
    /// The tokens that it asks for.
    pub tokens: &'a BTreeMap<Token, String>,
}

/// The objects that the volumes of a pod are filled from, those of its volumes that containers mount.
pub fn references(spec: &PodSpec) -> References {
    let mut found = References::default();
    for volume in mounted(spec) {
        found.config_maps.extend(volume.config_map.as_ref().map(|source| source.name.clone()));
        found.secrets.extend(volume.secret.as_ref().and_then(|source| source.secret_name.clone()));
        for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            found.config_maps.extend(source.config_map.as_ref().map(|source| source.name.clone()));
            found.secrets.extend(source.secret.as_ref().map(|source| source.name.clone()));
            found.tokens.extend(source.service_account_token.as_ref().map(Token::of));
        }
    }
    found
}

/// The objects that variables of a pod are filled from; they count only when a container is started.
pub fn references_of_variables(spec: &PodSpec) -> References {
    let mut found = References::default();
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        for source in container.env_from.iter().flatten() {
            found.config_maps.extend(source.config_map_ref.as_ref().map(|of| of.name.clone()));
            found.secrets.extend(source.secret_ref.as_ref().map(|of| of.name.clone()));
        }
        for from in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
            found.config_maps.extend(from.config_map_key_ref.as_ref().map(|of| of.name.clone()));
            found.secrets.extend(from.secret_key_ref.as_ref().map(|of| of.name.clone()));
        }
    }
    found
}

/// The volumes of a pod that some container mounts: the others do nothing anywhere.
pub fn mounted(spec: &PodSpec) -> impl Iterator<Item = &Volume> {
    let containers = || spec.init_containers.iter().flatten().chain(&spec.containers);
    let is_mounted =
        move |name: &str| containers().flat_map(|container| container.volume_mounts.iter().flatten()).any(|mount| mount.name == name);
    spec.volumes.iter().flatten().filter(move |volume| is_mounted(&volume.name))
}

/// The files of a volume, sorted by their paths; `None` for one whose files are its programs' own.
/// Errors: what it waits for, in a sentence.
pub fn files(volume: &Volume, sources: &Sources) -> Result<Option<Vec<File>>, String> {
    let mut made = Made { sources, group_reads: group(sources.pod).is_some(), mode: MODE_DEFAULT, files: BTreeMap::new() };
    if let Some(source) = &volume.config_map {
        made.mode = source.default_mode.unwrap_or(MODE_DEFAULT);
        made.config_map(&source.name, source.items.as_deref(), source.optional)?;
    } else if let Some(source) = &volume.secret {
        made.mode = source.default_mode.unwrap_or(MODE_DEFAULT);
        made.secret(source.secret_name.as_deref().unwrap_or_default(), source.items.as_deref(), source.optional)?;
    } else if let Some(source) = &volume.downward_api {
        made.mode = source.default_mode.unwrap_or(MODE_DEFAULT);
        made.fields(source.items.as_deref())?;
    } else if let Some(source) = &volume.projected {
        made.mode = source.default_mode.unwrap_or(MODE_DEFAULT);
        for source in source.sources.iter().flatten() {
            made.projection(source)?;
        }
    } else {
        return Ok(None);
    }
    Ok(Some(made.files.into_values().collect()))
}

/// The group that the files of a pod's volumes belong to.
pub fn group(pod: &Pod) -> Option<i64> {
    pod.spec.as_ref()?.security_context.as_ref()?.fs_group
}

struct Made<'a> {
    sources: &'a Sources<'a>,
    group_reads: bool,
    mode: i32,
    files: BTreeMap<String, File>,
}

impl Made<'_> {
    fn projection(&mut self, source: &VolumeProjection) -> Result<(), String> {
        if let Some(source) = &source.config_map {
            self.config_map(&source.name, source.items.as_deref(), source.optional)?;
        }
        if let Some(source) = &source.secret {
            self.secret(&source.name, source.items.as_deref(), source.optional)?;
        }
        if let Some(source) = &source.downward_api {
            self.fields(source.items.as_deref())?;
        }
        if let Some(source) = &source.service_account_token {
            let token = self.sources.tokens.get(&Token::of(source)).ok_or("no token could be had for its ServiceAccount")?;
            let mode = if self.group_reads { MODE_OF_TOKEN } else { u32::try_from(self.mode).unwrap_or(0) };
            self.add(&source.path, mode, token.clone().into_bytes());
        }
        Ok(())
    }

    fn config_map(&mut self, name: &str, items: Option<&[KeyToPath]>, optional: Option<bool>) -> Result<(), String> {
        let Some(map) = self.sources.config_maps.get(name) else {
            return if optional == Some(true) { Ok(()) } else { Err(format!("configmap {name:?} not found")) };
        };
        let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
        let bytes = map.binary_data.iter().flatten().map(|(key, ByteString(value))| (key.clone(), value.clone()));
        self.keys(&text.chain(bytes).collect(), items, optional)
            .map_err(|key| format!("configmap {name:?} references non-existent config key: {key}"))
    }

    fn secret(&mut self, name: &str, items: Option<&[KeyToPath]>, optional: Option<bool>) -> Result<(), String> {
        let Some(secret) = self.sources.secrets.get(name) else {
            return if optional == Some(true) { Ok(()) } else { Err(format!("secret {name:?} not found")) };
        };
        let bytes = secret.data.iter().flatten().map(|(key, ByteString(value))| (key.clone(), value.clone()));
        self.keys(&bytes.collect(), items, optional).map_err(|key| format!("secret {name:?} references non-existent secret key: {key}"))
    }

    /// Errors: the key that is not there.
    fn keys(&mut self, all: &BTreeMap<String, Vec<u8>>, items: Option<&[KeyToPath]>, optional: Option<bool>) -> Result<(), String> {
        let Some(items) = items.filter(|items| !items.is_empty()) else {
            for (key, bytes) in all {
                self.add_with(key, None, bytes.clone());
            }
            return Ok(());
        };
        for item in items {
            match all.get(&item.key) {
                Some(bytes) => self.add_with(&item.path, item.mode, bytes.clone()),
                None if optional == Some(true) => {}
                None => return Err(item.key.clone()),
            }
        }
        Ok(())
    }

    fn fields(&mut self, items: Option<&[DownwardAPIVolumeFile]>) -> Result<(), String> {
        for item in items.unwrap_or_default() {
            let text = match (&item.field_ref, &item.resource_field_ref) {
                (Some(of), _) => {
                    field(self.sources.pod, &of.field_path).ok_or_else(|| format!("fieldRef {:?} is not available", of.field_path))?
                }
                (None, Some(of)) => {
                    resource_value(self.sources.pod, "", of, self.sources.node).map_err(|why| format!("resourceFieldRef: {why}"))?
                }
                (None, None) => return Err(format!("{}: one of fieldRef and resourceFieldRef is required", item.path)),
            };
            self.add_with(&item.path, item.mode, text.into_bytes());
        }
        Ok(())
    }

    fn add_with(&mut self, path: &str, mode: Option<i32>, bytes: Vec<u8>) {
        let mode = u32::try_from(mode.unwrap_or(self.mode)).unwrap_or(0);
        self.add(path, mode, bytes);
    }

    /// Of two files of one path the later counts, as in Kubernetes.
    fn add(&mut self, path: &str, mode: u32, bytes: Vec<u8>) {
        let path = path.split('/').filter(|step| !step.is_empty() && *step != ".").collect::<Vec<_>>().join("/");
        let mode = (mode & 0o777) | if self.group_reads { GROUP_READS } else { 0 };
        self.files.insert(path.clone(), File { path, mode, bytes });
    }
}

/// A field of a pod's metadata, as files tell it.
fn field(pod: &Pod, path: &str) -> Option<String> {
    let metadata = &pod.metadata;
    let none = BTreeMap::new();
    let (labels, annotations) = (metadata.labels.as_ref().unwrap_or(&none), metadata.annotations.as_ref().unwrap_or(&none));
    let keyed = |of: &str| path.strip_prefix(of).and_then(|rest| rest.strip_suffix("']"));
    if let Some(key) = keyed("metadata.labels['") {
        return Some(labels.get(key).cloned().unwrap_or_default());
    }
    if let Some(key) = keyed("metadata.annotations['") {
        return Some(annotations.get(key).cloned().unwrap_or_default());
    }
    let lines =
        |all: &BTreeMap<String, String>| all.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect::<Vec<_>>().join("\n");
    match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "metadata.labels" => Some(lines(labels)),
        "metadata.annotations" => Some(lines(annotations)),
        _ => None,
    }
}

/// A text as Go quotes it, which is how Kubernetes writes labels and annotations.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' | '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(letter))),
            '\u{80}'..='\u{9f}' => out.push_str(&format!("\\u{:04x}", u32::from(letter))),
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The files of a pod's only volume, a line each, or what it waits for.
    fn check(source: Value, more: Value, expected: Result<&[&str], &str>) {
        let mut volume = json!({"name": "v"});
        source.as_object().unwrap().iter().for_each(|(field, value)| volume[field] = value.clone());
        let mut spec = json!({"containers": [{"name": "c", "resources": {"limits": {"memory": "64Mi"}}, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}], "volumes": [volume]});
        more.as_object().unwrap().iter().for_each(|(field, value)| spec[field] = value.clone());
        let metadata =
            json!({"name": "p", "namespace": "n", "uid": "u", "labels": {"b": "2", "a": "say \"hi\"\n"}, "annotations": {"x": "ä"}});
        let pod: Pod = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
        let config_maps =
            [("app".into(), serde_json::from_value(json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AP8="}})).unwrap())].into();
        let secrets = [("key".into(), serde_json::from_value(json!({"data": {"k": "c2VjcmV0"}})).unwrap())].into();
        let tokens = [(Token { audience: "db".into(), seconds: 600 }, "signed".to_owned())].into();
        let node = Allocatable { processors: 1, memory_bytes: 1 };
        let sources = Sources { pod: &pod, node, config_maps: &config_maps, secrets: &secrets, tokens: &tokens };
        let volume = &pod.spec.as_ref().unwrap().volumes.as_ref().unwrap()[0];
        let found = files(volume, &sources).map(Option::unwrap);
        let told = |file: &File| format!("{} {:03o} {}", file.path, file.mode, String::from_utf8_lossy(&file.bytes));
        match expected {
            Ok(expected) => assert_eq!(found.unwrap().iter().map(told).collect::<Vec<_>>(), expected, "{source}"),
            Err(words) => assert_eq!(found.unwrap_err(), words, "{source}"),
        }
    }

    #[test]
    fn keys_become_files_with_the_modes_that_are_said() {
        let none = || json!({});
        check(json!({"configMap": {"name": "app"}}), none(), Ok(&["a 644 1", "b 644 2", "c 644 \0\u{fffd}"]));
        let items = json!([{"key": "b", "path": "x/./y//b.txt", "mode": 0o400}, {"key": "a", "path": "a"}]);
        check(json!({"configMap": {"name": "app", "defaultMode": 0o755, "items": items}}), none(), Ok(&["a 755 1", "x/y/b.txt 400 2"]));
        check(json!({"secret": {"secretName": "key", "defaultMode": 0o400}}), none(), Ok(&["k 400 secret"]));
        let group = json!({"securityContext": {"fsGroup": 7}});
        check(json!({"secret": {"secretName": "key", "defaultMode": 0o400}}), group, Ok(&["k 440 secret"]));
    }

    #[test]
    fn what_is_not_there_is_waited_for_unless_it_is_optional() {
        let none = || json!({});
        let items = json!([{"key": "z", "path": "z"}]);
        check(json!({"configMap": {"name": "no"}}), none(), Err("configmap \"no\" not found"));
        check(json!({"configMap": {"name": "no", "optional": true}}), none(), Ok(&[]));
        check(
            json!({"configMap": {"name": "app", "items": items}}),
            none(),
            Err("configmap \"app\" references non-existent config key: z"),
        );
        check(json!({"configMap": {"name": "app", "items": items, "optional": true}}), none(), Ok(&[]));
        check(json!({"secret": {"secretName": "no"}}), none(), Err("secret \"no\" not found"));
        check(
            json!({"secret": {"secretName": "key", "items": items}}),
            none(),
            Err("secret \"key\" references non-existent secret key: z"),
        );
        check(json!({"projected": {"sources": [{"secret": {"name": "no"}}]}}), none(), Err("secret \"no\" not found"));
        check(
            json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}),
            none(),
            Err("no token could be had for its ServiceAccount"),
        );
    }

    #[test]
    fn a_pod_is_told_of_in_files() {
        let of = |path: &str| json!({"path": path.replace(['[', ']', '\''], "-"), "fieldRef": {"fieldPath": path}});
        let items = json!([of("metadata.labels"), of("metadata.annotations"), of("metadata.name"), of("metadata.labels['b']"),
            {"path": "memory", "resourceFieldRef": {"containerName": "c", "resource": "limits.memory", "divisor": "1Mi"}}]);
        let expected = [
            "memory 644 64",
            "metadata.annotations 644 x=\"ä\"",
            "metadata.labels 644 a=\"say \\\"hi\\\"\\n\"\nb=\"2\"",
            "metadata.labels-b- 644 2".replace("-b-", "--b--").leak() as &str,
            "metadata.name 644 p",
        ];
        check(json!({"downwardAPI": {"items": items}}), json!({}), Ok(&expected));
        check(json!({"downwardAPI": {"items": [of("spec.nodeName")]}}), json!({}), Err("fieldRef \"spec.nodeName\" is not available"));
    }

    #[test]
    fn what_is_projected_lies_side_by_side() {
        let sources = json!([{"configMap": {"name": "app", "items": [{"key": "a", "path": "one"}]}}, {"secret": {"name": "key"}},
            {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"serviceAccountToken": {"path": "token", "audience": "db", "expirationSeconds": 600}}]);
        let plain = ["k 644 secret", "name 644 p", "one 644 1", "token 644 signed"];
        check(json!({"projected": {"sources": sources}}), json!({}), Ok(&plain));
        let shared = ["k 640 secret", "name 640 p", "one 640 1", "token 640 signed"];
        let group = json!({"securityContext": {"fsGroup": 7}});
        check(json!({"projected": {"sources": sources, "defaultMode": 0o600}}), group, Ok(&shared));
    }

    #[test]
    fn a_pod_refers_to_what_it_mounts() {
        let spec: PodSpec = serde_json::from_value(json!({
            "initContainers": [{"name": "i", "volumeMounts": [{"name": "a", "mountPath": "/a"}], "envFrom": [{"secretRef": {"name": "e"}}]}],
            "containers": [{"name": "c", "volumeMounts": [{"name": "p", "mountPath": "/p"}]}],
            "volumes": [{"name": "a", "configMap": {"name": "one"}}, {"name": "unused", "secret": {"secretName": "two"}},
                {"name": "p", "projected": {"sources": [{"secret": {"name": "three"}}, {"serviceAccountToken": {"path": "t"}}]}}]}))
        .unwrap();
        let found = references(&spec);
        assert_eq!((found.config_maps, found.secrets), (["one".into()].into(), ["three".into()].into()));
        let token = found.tokens.first().cloned().unwrap();
        assert_eq!((token.audience.as_str(), token.seconds, token.renewed_after_seconds()), ("", 3_600, 2_880));
        assert_eq!(references_of_variables(&spec).secrets, ["e".into()].into());
    }
}
