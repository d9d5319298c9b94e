//! The pod that a Job starts.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube_core::ResourceExt;
use model::pod::fields::Class;

use super::{COMPLETION_INDEX, FAILURE_COUNT, Start, TRACKING};

/// The longest name of a host.
const HOSTNAME_LENGTH_MAX: usize = 63;
/// The variable that tells a program which index is its own.
const VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// The pod to create for a start.
pub fn pod_of(job: &Job, start: &Start) -> Pod {
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let given = template.metadata.unwrap_or_default();
    let mut metadata = ObjectMeta {
        generate_name: Some(format!("{}-", job.name_any())),
        namespace: job.namespace(),
        labels: given.labels,
        annotations: given.annotations,
        finalizers: Some(given.finalizers.into_iter().flatten().chain([TRACKING.to_owned()]).collect()),
        owner_references: Some(vec![controller("Job", job)]),
        ..ObjectMeta::default()
    };
    // By this label pods of Jobs are known, also where people chose the labels.
    metadata.labels.get_or_insert_default().entry(model::batch::NAME.into()).or_insert_with(|| job.name_any());
    let mut spec = template.spec.unwrap_or_default();
    if let Some(index) = start.index {
        metadata.generate_name = Some(format!("{}-{index}-", job.name_any()));
        metadata.labels.get_or_insert_default().insert(COMPLETION_INDEX.into(), index.to_string());
        metadata.annotations.get_or_insert_default().insert(COMPLETION_INDEX.into(), index.to_string());
        for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
            tell_index(container);
        }
        // Programs of the machine have the machine's name.
        let own_name = serde_json::to_value(&spec).ok().and_then(|spec| Class::of(&spec)) == Some(Class::Docker);
        let hostname = format!("{}-{index}", job.name_any().replace('.', "-"));
        if own_name && spec.hostname.is_none() && spec.host_network != Some(true) && hostname.len() <= HOSTNAME_LENGTH_MAX {
            spec.hostname = Some(hostname);
        }
    }
    if let Some(failures) = start.failures {
        metadata.annotations.get_or_insert_default().insert(FAILURE_COUNT.into(), failures.to_string());
    }
    Pod { metadata, spec: Some(spec), status: None }
}

/// Names an object of this group as the one that controls another.
pub(super) fn controller(kind: &str, object: &impl ResourceExt) -> OwnerReference {
    OwnerReference {
        api_version: "batch/v1".into(),
        kind: kind.into(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn tell_index(container: &mut Container) {
    let env = container.env.get_or_insert_default();
    if env.iter().any(|variable| variable.name == VARIABLE) {
        return;
    }
    let field = ObjectFieldSelector { api_version: None, field_path: format!("metadata.annotations['{COMPLETION_INDEX}']") };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    env.push(EnvVar { name: VARIABLE.into(), value: None, value_from: Some(source) });
}
