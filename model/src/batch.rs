//! Job and CronJob: work that ends, once or by the clock.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use serde_json::{Map, Value, json};

use crate::cron::Cron;
use crate::filling::{default_to, drop_nulls};
use crate::kind::age;
use crate::{Column, Kind, pod};

mod check;

/// Where a Job has the spec of its pods, and where a CronJob has that of its Jobs' pods.
const JOB_TEMPLATE: &str = "spec.template.spec";
const CRON_JOB_TEMPLATE: &str = "spec.jobTemplate.spec.template.spec";

/// The API group.
pub const GROUP: &str = "batch";
/// The label by which the pods of a Job are found: its uid.
pub const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
/// The label that names a pod's Job.
pub const NAME: &str = "batch.kubernetes.io/job-name";
/// Older names of the same labels, which pods carry as well.
const OLDER: [(&str, &str); 2] = [(NAME, "job-name"), (CONTROLLER_UID, "controller-uid")];

/// The kind Job, for [`crate::KINDS`].
pub fn job() -> Kind {
    let mut columns = vec![
        Column::name(),
        Column::computed("Status", "string", status_cell, "Status of the job."),
        Column::computed("Completions", "string", completions_cell, "How many pods of those that are wanted ended well"),
        Column::computed("Duration", "string", duration_cell, "Time required to complete the job."),
        Column::age(),
    ];
    columns.extend(template_columns());
    Kind {
        categories: vec!["all".into()],
        keeps_unknown: true,
        status: true,
        generation: true,
        orphans: true,
        columns,
        selectable_fields: vec!["status.successful".into()],
        expose: |object| object["status"]["successful"] = json!(object["status"]["succeeded"].as_i64().unwrap_or(0)),
        default: default_job,
        complete: select_own_pods,
        validate_new: |object| pod::fields::refusals(&template(object)["spec"], JOB_TEMPLATE),
        validate: check::job,
        validate_change: check::job_change,
        warnings: |object| pod::template_warnings(&template(object)["spec"], JOB_TEMPLATE),
        ..Kind::new(GROUP, "v1", "Job", "jobs", |generator| generator.subschema_for::<Job>())
    }
}

/// The kind CronJob, for [`crate::KINDS`].
pub fn cron_job() -> Kind {
    let mut columns = vec![
        Column::name(),
        Column::path("Schedule", "string", ".spec.schedule", "When it runs: five fields, as cron has them"),
        Column::computed(
            "Timezone",
            "string",
            |object, _| or_none(&object["spec"]["timeZone"]),
            "The time zone that the schedule is in; ours if none",
        ),
        Column::computed("Suspend", "boolean", suspend_cell, "Whether nothing new is started for now; what runs goes on"),
        Column::computed("Active", "integer", active_cell, "How many of the Jobs that it started are still running"),
        Column::computed("Last Schedule", "string", last_schedule_cell, "How long ago it last started a Job, as it should"),
        Column::age(),
    ];
    columns.extend(template_columns());
    Kind {
        short_names: vec!["cj".into()],
        categories: vec!["all".into()],
        keeps_unknown: true,
        status: true,
        generation: true,
        columns,
        default: default_cron_job,
        validate_new: check::new_cron_job,
        validate: check::cron_job,
        validate_change: check::cron_job_change,
        warnings: |object| pod::template_warnings(&template(object)["spec"], CRON_JOB_TEMPLATE),
        ..Kind::new(GROUP, "v1", "CronJob", "cronjobs", |generator| generator.subschema_for::<CronJob>())
    }
}

/// A schedule as an object has it. Errors: what is wrong with it.
pub fn schedule(object: &Value) -> Result<Cron, String> {
    Cron::parse(object["spec"]["schedule"].as_str().unwrap_or_default())
}

fn default_job(object: &mut Value) {
    if !object["spec"].is_object() {
        return;
    }
    let spec = &mut object["spec"];
    pod::default_template(&mut spec["template"]);
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        spec["completions"] = json!(1);
    }
    let retries = if spec["backoffLimitPerIndex"].is_null() { 6 } else { i32::MAX };
    let replacement = if spec["podFailurePolicy"].is_null() { "TerminatingOrFailed" } else { "Failed" };
    for (field, value) in [
        ("parallelism", json!(1)),
        ("backoffLimit", json!(retries)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("manualSelector", json!(false)),
        ("podReplacementPolicy", json!(replacement)),
    ] {
        default_to(spec, field, value);
    }
    let rules = spec.pointer_mut("/podFailurePolicy/rules").and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten() {
        let patterns = rule.get_mut("onPodConditions").and_then(Value::as_array_mut);
        for pattern in patterns.into_iter().flatten().filter(|pattern| pattern.is_object()) {
            default_to(pattern, "status", json!("True"));
        }
    }
    drop_nulls(spec);
    let labels = &object["spec"]["template"]["metadata"]["labels"];
    if labels.is_object() && object["metadata"]["labels"].as_object().is_none_or(Map::is_empty) {
        object["metadata"]["labels"] = labels.clone();
    }
    drop_nulls(&mut object["metadata"]);
    default_to(object, "status", json!({}));
}

/// Unless its maker chose the pods, a Job has those that carry its uid.
fn select_own_pods(object: &mut Value) {
    if object["spec"]["manualSelector"] == true || !object["spec"].is_object() {
        return;
    }
    let (name, uid) = (object["metadata"]["name"].clone(), object["metadata"]["uid"].clone());
    let labels = &mut object["spec"]["template"]["metadata"]["labels"];
    for (label, older) in OLDER {
        let value = if label == NAME { &name } else { &uid };
        default_to(labels, older, value.clone());
        default_to(labels, label, value.clone());
    }
    let labels = labels.clone();
    default_to(&mut object["spec"]["selector"]["matchLabels"], CONTROLLER_UID, uid);
    if object["metadata"]["labels"].as_object().is_none_or(Map::is_empty) {
        object["metadata"]["labels"] = labels;
    }
}

fn default_cron_job(object: &mut Value) {
    if !object["spec"].is_object() {
        return;
    }
    let spec = &mut object["spec"];
    for (field, value) in [
        ("concurrencyPolicy", json!("Allow")),
        ("suspend", json!(false)),
        ("successfulJobsHistoryLimit", json!(3)),
        ("failedJobsHistoryLimit", json!(1)),
    ] {
        default_to(spec, field, value);
    }
    let template = &mut spec["jobTemplate"];
    default_to(template, "metadata", json!({}));
    if template["spec"].is_object() {
        pod::default_template(&mut template["spec"]["template"]);
    }
    drop_nulls(template);
    default_to(object, "status", json!({}));
}

fn has_condition(object: &Value, type_name: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == type_name && condition["status"] == "True")
}

fn status_cell(object: &Value, _: jiff::Timestamp) -> Value {
    let said = |types: &[&'static str]| types.iter().find(|name| has_condition(object, name)).copied();
    let ended = said(&["Complete", "Failed"]);
    let going = || object["metadata"]["deletionTimestamp"].is_string().then_some("Terminating");
    let other = || said(&["Suspended", "FailureTarget", "SuccessCriteriaMet"]);
    json!(ended.or_else(going).or_else(other).unwrap_or("Running"))
}

fn completions_cell(object: &Value, _: jiff::Timestamp) -> Value {
    let succeeded = object["status"]["succeeded"].as_i64().unwrap_or(0);
    let spec = &object["spec"];
    json!(match (spec["completions"].as_i64(), spec["parallelism"].as_i64()) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, Some(parallel)) if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
        (None, _) => format!("{succeeded}/1"),
    })
}

fn duration_cell(object: &Value, now: jiff::Timestamp) -> Value {
    let status = &object["status"];
    if !status["startTime"].is_string() {
        return json!("");
    }
    let end = status["completionTime"].as_str().and_then(|text| text.parse().ok()).unwrap_or(now);
    age(&status["startTime"], end)
}

fn or_none(value: &Value) -> Value {
    if value.as_str().is_none_or(str::is_empty) { json!("<none>") } else { value.clone() }
}

fn suspend_cell(object: &Value, _: jiff::Timestamp) -> Value {
    json!(match object["spec"]["suspend"].as_bool() {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    })
}

fn active_cell(object: &Value, _: jiff::Timestamp) -> Value {
    json!(object["status"]["active"].as_array().map_or(0, Vec::len))
}

fn last_schedule_cell(object: &Value, now: jiff::Timestamp) -> Value {
    let last = &object["status"]["lastScheduleTime"];
    if last.is_string() { age(last, now) } else { json!("<none>") }
}

/// The columns about the pods of a template.
fn template_columns() -> Vec<Column> {
    vec![
        Column::computed("Containers", "string", |object, _| joined(object, "name"), "Names of each container in the template.").wide(),
        Column::computed(
            "Images",
            "string",
            |object, _| joined(object, "image"),
            "The images of the containers in the template, in their order",
        )
        .wide(),
        Column::computed(
            "Selector",
            "string",
            |object, _| selector_cell(object),
            "The labels of the pods that belong to it, unless it has none",
        )
        .wide(),
    ]
}

/// The spec of a Job, or of those that a CronJob makes.
fn work(object: &Value) -> &Value {
    if object["kind"] == "CronJob" { &object["spec"]["jobTemplate"]["spec"] } else { &object["spec"] }
}

/// What its pods are made from.
fn template(object: &Value) -> &Value {
    &work(object)["template"]
}

fn joined(object: &Value, field: &str) -> Value {
    let containers = work(object)["template"]["spec"]["containers"].as_array().into_iter().flatten();
    json!(containers.map(|container| container[field].as_str().unwrap_or_default()).collect::<Vec<_>>().join(","))
}

fn selector_cell(object: &Value) -> Value {
    let selector = &work(object)["selector"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut terms: Vec<String> =
        selector["matchLabels"].as_object().into_iter().flatten().map(|(key, value)| format!("{key}={}", text(value))).collect();
    for term in selector["matchExpressions"].as_array().into_iter().flatten() {
        let (key, values) = (text(&term["key"]), term["values"].as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(","));
        terms.push(match term["operator"].as_str().unwrap_or_default() {
            "Exists" => key,
            "DoesNotExist" => format!("!{key}"),
            operator => format!("{key} {} ({values})", operator.to_lowercase()),
        });
    }
    terms.sort();
    json!(if selector.is_object() { terms.join(",") } else { "<none>".into() })
}
