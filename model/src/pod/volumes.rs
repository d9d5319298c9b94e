//! Volumes of a pod: their defaults, and what is wrong with them and with where they are mounted.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, HostPathVolumeSource, KeyToPath, PodSpec, ProjectedVolumeSource, ServiceAccountTokenProjection,
    Volume, VolumeMount, VolumeProjection,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::problems::not_supported;
use crate::filling::default_to;
use crate::{Problem, ProblemKind, check_label};

/// The sources of volumes in the order in which they are looked at: of two, the later is one too many.
const SOURCES: [&str; 8] = ["emptyDir", "hostPath", "secret", "nfs", "persistentVolumeClaim", "configMap", "downwardAPI", "projected"];
/// What a path of the node may be.
const NODE_PATHS: [&str; 8] = ["", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];
/// The fields of a pod that a file may tell of, beside single labels and annotations.
const FIELDS: [&str; 5] = ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const MODE_RULE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

/// Fills in what is not said, as Kubernetes does.
pub(super) fn fill_in(spec: &mut Value) {
    for volume in spec["volumes"].as_array_mut().into_iter().flatten().filter(|volume| volume.is_object()) {
        let fields = volume.as_object().into_iter().flatten();
        if fields.filter(|(_, value)| value.is_object()).count() == 0 {
            volume["emptyDir"] = json!({});
        }
        for source in ["configMap", "secret", "downwardAPI", "projected"] {
            if let Some(source) = volume.get_mut(source).filter(|source| source.is_object()) {
                default_to(source, "defaultMode", json!(420));
            }
        }
        if let Some(source) = volume.get_mut("hostPath").filter(|source| source.is_object()) {
            default_to(source, "type", json!(""));
        }
        if let Some(source) = volume.get_mut("downwardAPI") {
            fill_in_fields(source);
        }
        for source in volume.get_mut("projected").and_then(|projected| projected["sources"].as_array_mut()).into_iter().flatten() {
            if let Some(token) = source.get_mut("serviceAccountToken").filter(|token| token.is_object()) {
                default_to(token, "expirationSeconds", json!(3_600));
            }
            if let Some(source) = source.get_mut("downwardAPI") {
                fill_in_fields(source);
            }
        }
    }
}

fn fill_in_fields(source: &mut Value) {
    for item in source.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(field) = item.get_mut("fieldRef").filter(|field| field.is_object()) {
            default_to(field, "apiVersion", json!("v1"));
        }
    }
}

/// Every volume has a name of its own and one source, which makes sense.
pub(super) fn problems(spec: &PodSpec, field: &str, found: &mut Vec<Problem>) {
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    for (at, volume) in volumes.iter().enumerate() {
        let field = format!("{field}.volumes[{at}]");
        let name = format!("{field}.name");
        found.extend(check_label(&volume.name).into_iter().map(|why| Problem::invalid(&name, format!("{:?}: {why}", volume.name))));
        if volumes.iter().take(at).any(|other| other.name == volume.name) {
            found.push(Problem::duplicate(name, &volume.name));
        }
        too_many(volume, &field, found);
        source_problems(volume, &field, found);
    }
}

/// All sources but the first are one too many.
fn too_many(of: &impl Serialize, field: &str, found: &mut Vec<Problem>) -> usize {
    let told = serde_json::to_value(of).unwrap_or_default();
    let mut sources: Vec<&String> = told.as_object().into_iter().flatten().map(|(name, _)| name).filter(|name| *name != "name").collect();
    sources.sort_by_key(|name| SOURCES.iter().position(|known| known == name));
    for source in sources.iter().skip(1) {
        let detail = "may not specify more than 1 volume type";
        found.push(Problem::new(ProblemKind::Forbidden, format!("{field}.{source}"), detail));
    }
    sources.len()
}

fn source_problems(volume: &Volume, field: &str, found: &mut Vec<Problem>) {
    let required = |name: &str, value: &str, found: &mut Vec<Problem>| {
        if value.is_empty() {
            found.push(Problem::required(format!("{field}.{name}"), ""));
        }
    };
    if let Some(source) = &volume.host_path {
        node_path_problems(source, &format!("{field}.hostPath"), found);
    }
    if let Some(source) = &volume.secret {
        required("secret.secretName", source.secret_name.as_deref().unwrap_or_default(), found);
        mode_problem(source.default_mode, &format!("{field}.secret.defaultMode"), found);
        key_problems(source.items.as_deref(), &format!("{field}.secret.items"), found);
    }
    if let Some(source) = &volume.config_map {
        required("configMap.name", &source.name, found);
        mode_problem(source.default_mode, &format!("{field}.configMap.defaultMode"), found);
        key_problems(source.items.as_deref(), &format!("{field}.configMap.items"), found);
    }
    if let Some(source) = &volume.downward_api {
        mode_problem(source.default_mode, &format!("{field}.downwardAPI.defaultMode"), found);
        field_problems(source.items.as_deref(), &format!("{field}.downwardAPI"), found);
    }
    if let Some(source) = &volume.persistent_volume_claim {
        required("persistentVolumeClaim.claimName", &source.claim_name, found);
    }
    if let Some(source) = &volume.projected {
        projected_problems(source, &format!("{field}.projected"), found);
    }
    if let Some(limit) = volume.empty_dir.as_ref().and_then(|source| source.size_limit.as_ref()).filter(|limit| limit.0.starts_with('-')) {
        let detail = format!("SizeLimit field must be a valid resource quantity, not {}", limit.0);
        found.push(Problem::new(ProblemKind::Forbidden, format!("{field}.emptyDir.sizeLimit"), detail));
    }
}

fn node_path_problems(source: &HostPathVolumeSource, field: &str, found: &mut Vec<Problem>) {
    let path = format!("{field}.path");
    if source.path.is_empty() {
        found.push(Problem::required(path, ""));
    } else if has_backsteps(&source.path) {
        found.push(Problem::invalid(path, format!("{:?}: must not contain '..'", source.path)));
    } else if !source.path.starts_with('/') {
        found.push(Problem::invalid(path, format!("{:?}: must be an absolute path", source.path)));
    }
    found.extend(not_supported(format!("{field}.type"), source.type_.as_deref(), &NODE_PATHS));
}

fn projected_problems(source: &ProjectedVolumeSource, field: &str, found: &mut Vec<Problem>) {
    mode_problem(source.default_mode, &format!("{field}.defaultMode"), found);
    let mut paths = BTreeSet::new();
    for (at, source) in source.sources.iter().flatten().enumerate() {
        let field = format!("{field}.sources[{at}]");
        if too_many(source, &field, found) == 0 {
            found.push(Problem::required(&field, "must specify a volume type"));
        }
        for path in projection_problems(source, &field, found) {
            if !path.is_empty() && !paths.insert(path.clone()) {
                found.push(Problem::invalid(&field, format!("{path:?}: conflicting duplicate paths")));
            }
        }
    }
}

/// Problems of one source of a projected volume; the paths that it names.
fn projection_problems(source: &VolumeProjection, field: &str, found: &mut Vec<Problem>) -> Vec<String> {
    let mut paths = Vec::new();
    let named = [
        ("configMap", source.config_map.as_ref().map(|source| (&source.name, source.items.as_deref()))),
        ("secret", source.secret.as_ref().map(|source| (&source.name, source.items.as_deref()))),
    ];
    for (kind, named) in named {
        let Some((name, items)) = named else { continue };
        if name.is_empty() {
            found.push(Problem::required(format!("{field}.{kind}.name"), ""));
        }
        key_problems(items, &format!("{field}.{kind}.items"), found);
        paths.extend(items.unwrap_or_default().iter().map(|item| item.path.clone()));
    }
    if let Some(source) = &source.downward_api {
        field_problems(source.items.as_deref(), &format!("{field}.downwardAPI"), found);
        paths.extend(source.items.iter().flatten().map(|item| item.path.clone()));
    }
    if let Some(token) = &source.service_account_token {
        token_problems(token, &format!("{field}.serviceAccountToken"), found);
        paths.push(token.path.clone());
    }
    paths
}

fn token_problems(token: &ServiceAccountTokenProjection, field: &str, found: &mut Vec<Problem>) {
    let seconds = token.expiration_seconds.unwrap_or(3_600);
    let detail = match seconds {
        ..TOKEN_SECONDS_MIN => Some("may not specify a duration less than 10 minutes"),
        TOKEN_SECONDS_MIN..=TOKEN_SECONDS_MAX => None,
        _ => Some("may not specify a duration larger than 2^32 seconds"),
    };
    found.extend(detail.map(|detail| Problem::invalid(format!("{field}.expirationSeconds"), format!("{seconds}: {detail}"))));
    file_problems(&token.path, &format!("{field}.path"), found);
}

fn mode_problem(mode: Option<i32>, field: &str, found: &mut Vec<Problem>) {
    if let Some(mode) = mode.filter(|mode| !(0..=0o777).contains(mode)) {
        found.push(Problem::invalid(field, format!("{mode}: {MODE_RULE}")));
    }
}

fn key_problems(items: Option<&[KeyToPath]>, field: &str, found: &mut Vec<Problem>) {
    for (at, item) in items.unwrap_or_default().iter().enumerate() {
        let field = format!("{field}[{at}]");
        if item.key.is_empty() {
            found.push(Problem::required(format!("{field}.key"), ""));
        }
        file_problems(&item.path, &format!("{field}.path"), found);
        mode_problem(item.mode, &format!("{field}.mode"), found);
    }
}

fn field_problems(items: Option<&[DownwardAPIVolumeFile]>, field: &str, found: &mut Vec<Problem>) {
    for (at, item) in items.unwrap_or_default().iter().enumerate() {
        let field = format!("{field}.items[{at}]");
        file_problems(&item.path, &format!("{field}.path"), found);
        mode_problem(item.mode, &format!("{field}.mode"), found);
        match (&item.field_ref, &item.resource_field_ref) {
            (None, None) => found.push(Problem::required(field, "one of fieldRef and resourceFieldRef is required")),
            (Some(_), Some(_)) => {
                let detail = "\"resource\": fieldRef and resourceFieldRef can not be specified simultaneously";
                found.push(Problem::invalid(field, detail));
            }
            (Some(of), None) if of.field_path.is_empty() => found.push(Problem::required(format!("{field}.fieldRef.fieldPath"), "")),
            (Some(of), None) if !is_field(&of.field_path) => {
                let supported = FIELDS.map(|name| format!("{name:?}")).join(", ");
                let detail = format!("{:?}: supported values: {supported}", of.field_path);
                found.push(Problem::new(ProblemKind::NotSupported, format!("{field}.fieldRef.fieldPath"), detail));
            }
            (None, Some(of)) if of.container_name.as_deref().unwrap_or_default().is_empty() => {
                found.push(Problem::required(format!("{field}.resourceFieldRef.containerName"), ""));
            }
            _ => {}
        }
    }
}

fn is_field(path: &str) -> bool {
    let is_keyed = |of: &str| path.strip_prefix(of).and_then(|rest| rest.strip_suffix("']")).is_some_and(|key| !key.is_empty());
    FIELDS.contains(&path) || is_keyed("metadata.labels['") || is_keyed("metadata.annotations['")
}

fn has_backsteps(path: &str) -> bool {
    path.split('/').any(|step| step == "..")
}

/// A file within a volume has a path of its own there, and no name that the volume needs for itself.
fn file_problems(path: &str, field: &str, found: &mut Vec<Problem>) {
    if path.is_empty() {
        found.push(Problem::required(field, ""));
        return;
    }
    descending_problems(path, field, found);
    if path.starts_with("..") && !has_backsteps(path) {
        found.push(Problem::invalid(field, format!("{path:?}: must not start with '..'")));
    }
}

fn descending_problems(path: &str, field: &str, found: &mut Vec<Problem>) {
    if path.starts_with('/') {
        found.push(Problem::invalid(field, format!("{path:?}: must be a relative path")));
    }
    if has_backsteps(path) {
        found.push(Problem::invalid(field, format!("{path:?}: must not contain '..'")));
    }
}

/// What a container mounts is there, at a place of its own.
pub(super) fn mount_problems(container: &Container, spec: &PodSpec, field: &str, found: &mut Vec<Problem>) {
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    for (at, mount) in mounts.iter().enumerate() {
        let field = format!("{field}.volumeMounts[{at}]");
        if mount.name.is_empty() {
            found.push(Problem::required(format!("{field}.name"), ""));
        } else if !spec.volumes.iter().flatten().any(|volume| volume.name == mount.name) {
            found.push(Problem::new(ProblemKind::NotFound, format!("{field}.name"), format!("{:?}", mount.name)));
        }
        let path = format!("{field}.mountPath");
        let detail = match mount.mount_path.as_str() {
            "" => {
                found.push(Problem::required(&path, ""));
                None
            }
            place if mounts.iter().take(at).any(|other| other.mount_path == place) => Some("must be unique"),
            place if !place.starts_with('/') => Some("must be an absolute path"),
            place if has_backsteps(place) => Some("must not contain '..'"),
            _ => None,
        };
        found.extend(detail.map(|detail| Problem::invalid(&path, format!("{:?}: {detail}", mount.mount_path))));
        sub_path_problems(mount, &field, found);
    }
}

fn sub_path_problems(mount: &VolumeMount, field: &str, found: &mut Vec<Problem>) {
    let said = |path: &Option<String>| path.clone().filter(|path| !path.is_empty());
    let (plain, expression) = (said(&mount.sub_path), said(&mount.sub_path_expr));
    if let Some(path) = &plain {
        descending_problems(path, &format!("{field}.subPath"), found);
    }
    if let Some(path) = &expression {
        let field = format!("{field}.subPathExpr");
        if plain.is_some() {
            found.push(Problem::invalid(&field, format!("{path:?}: subPathExpr and subPath are mutually exclusive")));
        }
        descending_problems(path, &field, found);
    }
}

#[cfg(test)]
mod tests {
    use super::super::problems::spec_problems;
    use super::*;

    fn check(volumes: Value, mounts: Value, expected: &[&str]) {
        let spec = json!({"containers": [{"name": "c", "volumeMounts": mounts}], "volumes": volumes});
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        let mut found = Vec::new();
        spec_problems(&spec, "spec", &mut found);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with("spec.") && found.contains(expected), "{found} lacks {expected}");
        }
    }

    fn volume(source: Value, expected: &[&str]) {
        let mut volume = json!({"name": "v"});
        source.as_object().unwrap().iter().for_each(|(field, value)| volume[field] = value.clone());
        check(json!([volume]), json!([]), expected);
    }

    #[test]
    fn a_volume_has_one_source_that_makes_sense() {
        volume(json!({"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}), &[]);
        volume(json!({"emptyDir": {"sizeLimit": "-1"}}), &["volumes[0].emptyDir.sizeLimit: Forbidden"]);
        volume(json!({"emptyDir": {}, "hostPath": {"path": "/a"}}), &["volumes[0].hostPath: Forbidden: may not specify more than 1"]);
        volume(json!({"hostPath": {"path": ""}}), &["volumes[0].hostPath.path: Required"]);
        volume(json!({"hostPath": {"path": "/a/../b"}}), &["hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"]);
        volume(json!({"hostPath": {"path": "a"}}), &["must be an absolute path"]);
        volume(json!({"hostPath": {"path": "/a", "type": "Folder"}}), &["hostPath.type: Unsupported value: \"Folder\""]);
        volume(json!({"secret": {}}), &["volumes[0].secret.secretName: Required"]);
        volume(json!({"secret": {"secretName": "s", "defaultMode": 512}}), &["secret.defaultMode: Invalid value: 512: must be a number"]);
        volume(json!({"configMap": {"name": ""}}), &["volumes[0].configMap.name: Required"]);
        volume(json!({"persistentVolumeClaim": {"claimName": ""}}), &["persistentVolumeClaim.claimName: Required"]);
        let items = json!([{"key": "", "path": ""}, {"key": "k", "path": "/a", "mode": -1}, {"key": "k", "path": "a/../b"},
            {"key": "k", "path": "..data"}, {"key": "k", "path": "a/b.c"}]);
        let expected = [
            "items[0].key: Required",
            "items[0].path: Required",
            "items[1].path: Invalid value: \"/a\": must be a relative path",
            "items[1].mode: Invalid value: -1: must be a number between 0 and 0777",
            "items[2].path: Invalid value: \"a/../b\": must not contain '..'",
            "items[3].path: Invalid value: \"..data\": must not start with '..'",
        ];
        volume(json!({"configMap": {"name": "c", "items": items}}), &expected);
        volume(json!({"secret": {"secretName": "s", "items": items}}), &expected);
        volume(json!({"projected": {"sources": [{"configMap": {"name": "c", "items": items}}]}}), &expected);
    }

    #[test]
    fn files_that_tell_of_the_pod_name_what_there_is_to_tell() {
        let field = |path: &str| json!({"path": "a", "fieldRef": {"fieldPath": path}});
        let of = |item: Value| json!({"downwardAPI": {"items": [item]}});
        for path in ["metadata.labels", "metadata.annotations['a']", "metadata.uid"] {
            volume(of(field(path)), &[]);
        }
        volume(of(field("spec.nodeName")), &["items[0].fieldRef.fieldPath: Unsupported value: \"spec.nodeName\""]);
        volume(of(field("")), &["items[0].fieldRef.fieldPath: Required"]);
        volume(of(json!({"path": "a"})), &["items[0]: Required value: one of fieldRef"]);
        volume(of(json!({"path": "a", "resourceFieldRef": {"resource": "limits.cpu"}})), &["resourceFieldRef.containerName: Required"]);
        let both = json!({"path": "a", "fieldRef": {"fieldPath": "metadata.uid"}, "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}});
        volume(of(both), &["items[0]: Invalid value: \"resource\": fieldRef and resourceFieldRef can not"]);
    }

    #[test]
    fn what_is_projected_does_not_collide() {
        let projected = |sources: Value| json!({"projected": {"sources": sources}});
        let token = |more: Value| {
            let mut token = json!({"path": "token"});
            more.as_object().unwrap().iter().for_each(|(field, value)| token[field] = value.clone());
            json!({"serviceAccountToken": token})
        };
        volume(projected(json!([token(json!({})), {"secret": {"name": "s"}}])), &[]);
        volume(projected(json!([{}])), &["projected.sources[0]: Required value: must specify a volume type"]);
        volume(projected(json!([{"secret": {"name": "s"}, "configMap": {"name": "c"}}])), &["may not specify more than 1 volume type"]);
        volume(projected(json!([token(json!({})), token(json!({}))])), &["sources[1]: Invalid value: \"token\": conflicting duplicate"]);
        volume(projected(json!([token(json!({"expirationSeconds": 60}))])), &["expirationSeconds: Invalid value: 60: may not specify"]);
        volume(projected(json!([token(json!({"path": ""}))])), &["serviceAccountToken.path: Required"]);
    }

    #[test]
    fn a_mount_has_a_place_of_its_own() {
        let mounts = |mounts: Value, expected: &[&str]| check(json!([{"name": "v", "emptyDir": {}}]), mounts, expected);
        mounts(json!([{"name": "v", "mountPath": "/a", "subPath": "b/c"}]), &[]);
        mounts(json!([{"name": "w", "mountPath": "/a"}]), &["containers[0].volumeMounts[0].name: Not found: \"w\""]);
        mounts(json!([{"name": "v", "mountPath": ""}]), &["volumeMounts[0].mountPath: Required"]);
        mounts(json!([{"name": "v", "mountPath": "a"}]), &["mountPath: Invalid value: \"a\": must be an absolute path"]);
        mounts(json!([{"name": "v", "mountPath": "/a/../b"}]), &["must not contain '..'"]);
        mounts(
            json!([{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}]),
            &["volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique"],
        );
        mounts(json!([{"name": "v", "mountPath": "/a", "subPath": "/b"}]), &["subPath: Invalid value: \"/b\": must be a relative path"]);
        mounts(
            json!([{"name": "v", "mountPath": "/a", "subPathExpr": "../b"}]),
            &["subPathExpr: Invalid value: \"../b\": must not contain"],
        );
        mounts(
            json!([{"name": "v", "mountPath": "/a", "subPath": "b", "subPathExpr": "c"}]),
            &["subPathExpr: Invalid value: \"c\": subPathExpr and"],
        );
    }

    #[test]
    fn what_is_not_said_is_filled_in_once() {
        let mut spec = json!({"volumes": [{"name": "a"}, {"name": "b", "hostPath": {"path": "/b"}},
            {"name": "c", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}},
                {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}}]});
        fill_in(&mut spec);
        let before = spec.clone();
        fill_in(&mut spec);
        assert_eq!(spec, before);
        let sources = &spec["volumes"][2]["projected"]["sources"];
        assert_eq!((&spec["volumes"][0]["emptyDir"], &spec["volumes"][1]["hostPath"]["type"]), (&json!({}), &json!("")));
        assert_eq!(sources[0]["serviceAccountToken"]["expirationSeconds"], 3_600);
        assert_eq!(sources[1]["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"], "v1");
    }
}
