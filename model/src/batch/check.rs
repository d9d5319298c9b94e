//! What is wrong with a Job or CronJob, in Kubernetes' words.

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::Value;

use super::{CONTROLLER_UID, CRON_JOB_TEMPLATE, JOB_TEMPLATE, NAME, schedule, template, work};
use crate::{Problem, ProblemKind, check_subdomain, pod};

const FAILURE_RULES_MAX: usize = 20;
const INDEXED_PARALLELISM_MAX: i64 = 100_000;
/// Leaves room for the time that is added to the names of its Jobs.
const CRON_JOB_NAME_LENGTH_MAX: usize = 52;

/// Problems of a Job.
pub(super) fn job(object: &Value) -> Vec<Problem> {
    let mut found = Vec::new();
    let spec = &object["spec"];
    spec_problems(spec, "spec", &mut found);
    selector_problems(object, &mut found);
    found
}

/// Problems of a change of a Job: what its pods are made from stays.
pub(super) fn job_change(before: &Value, after: &Value) -> Vec<Problem> {
    let (old, new) = (&before["spec"], &after["spec"]);
    let mut fields = vec!["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"];
    let in_tandem = new["completionMode"] == "Indexed" && new["completions"] == new["parallelism"];
    if !in_tandem {
        fields.insert(0, "completions");
    }
    let changed = fields.into_iter().filter(|field| old[*field] != new[*field]);
    let mut found: Vec<Problem> = changed.map(|field| immutable(&format!("spec.{field}"), &new[field])).collect();
    let not_started = old["suspend"] == true && before["status"]["startTime"].is_null();
    if template_to_keep(before, not_started) != template_to_keep(after, not_started) {
        // While none was started, the parts of a template are looked at by themselves.
        let (field, value) =
            if not_started { ("spec.template.spec", &new["template"]["spec"]) } else { ("spec.template", &new["template"]) };
        found.push(immutable(field, value));
    }
    found.extend(pod::fields::refusals_of_change(&template(before)["spec"], &template(after)["spec"], JOB_TEMPLATE));
    found
}

/// What of a template stays: all, but for what says where pods go while none was started.
fn template_to_keep(object: &Value, not_started: bool) -> Value {
    let mut template = object["spec"]["template"].clone();
    if let (true, Some(spec)) = (not_started, template["spec"].as_object_mut()) {
        for field in ["nodeSelector", "tolerations", "affinity", "schedulingGates"] {
            spec.shift_remove(field);
        }
        if let Some(metadata) = template["metadata"].as_object_mut() {
            metadata.shift_remove("labels");
            metadata.shift_remove("annotations");
        }
    }
    template
}

fn immutable(field: &str, value: &Value) -> Problem {
    Problem::invalid(field, format!("{value}: field is immutable"))
}

/// Problems of a CronJob that is being made.
pub(super) fn new_cron_job(object: &Value) -> Vec<Problem> {
    let text = object["spec"]["schedule"].as_str().unwrap_or_default();
    let names_zone = text.starts_with("TZ=") || text.starts_with("CRON_TZ=");
    let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
    let zone = names_zone.then(|| Problem::invalid("spec.schedule", format!("{text:?}: {why}")));
    zone.into_iter().chain(pod::fields::refusals(&template(object)["spec"], CRON_JOB_TEMPLATE)).collect()
}

/// Problems of a change of a CronJob.
pub(super) fn cron_job_change(before: &Value, after: &Value) -> Vec<Problem> {
    pod::fields::refusals_of_change(&template(before)["spec"], &template(after)["spec"], CRON_JOB_TEMPLATE)
}

/// Problems of a CronJob.
pub(super) fn cron_job(object: &Value) -> Vec<Problem> {
    let (spec, mut found) = (&object["spec"], Vec::new());
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if name.len() > CRON_JOB_NAME_LENGTH_MAX {
        found.push(Problem::invalid("metadata.name", format!("{name:?}: must be no more than {CRON_JOB_NAME_LENGTH_MAX} characters")));
    }
    let text = spec["schedule"].as_str().unwrap_or_default();
    let names_zone = text.starts_with("TZ=") || text.starts_with("CRON_TZ=");
    match schedule(object) {
        _ if text.is_empty() => found.push(Problem::required("spec.schedule", "")),
        Err(why) if !names_zone => found.push(Problem::invalid("spec.schedule", format!("{text:?}: {why}"))),
        _ => {}
    }
    if let Some(zone) = spec["timeZone"].as_str() {
        found.extend(zone_problem(zone).map(|why| Problem::invalid("spec.timeZone", format!("{zone:?}: {why}"))));
    }
    let at_least_zero = ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"];
    found.extend(at_least_zero.into_iter().filter_map(|field| negative(spec, "spec", field)));
    found.extend(unsupported(&spec["concurrencyPolicy"], "spec.concurrencyPolicy", &["Allow", "Forbid", "Replace"]));
    let inner = work(object);
    if inner["manualSelector"] == true {
        found.push(Problem::new(ProblemKind::NotSupported, "spec.jobTemplate.spec.manualSelector", "true: supported values: nil, false"));
    }
    if !inner["selector"].is_null() {
        let detail = format!("{}: `selector` will be auto-generated", inner["selector"]);
        found.push(Problem::invalid("spec.jobTemplate.spec.selector", detail));
    }
    spec_problems(inner, "spec.jobTemplate.spec", &mut found);
    found
}

fn zone_problem(zone: &str) -> Option<&'static str> {
    if zone.is_empty() {
        return Some("timeZone must be nil or non-empty string");
    }
    if zone.eq_ignore_ascii_case("local") {
        return Some("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    }
    jiff::tz::TimeZone::get(zone).is_err().then_some("unknown time zone")
}

fn negative(spec: &Value, at: &str, field: &str) -> Option<Problem> {
    let number = spec[field].as_i64().filter(|number| *number < 0)?;
    Some(Problem::invalid(format!("{at}.{field}"), format!("{number}: must be greater than or equal to 0")))
}

fn unsupported(value: &Value, field: &str, supported: &[&str]) -> Option<Problem> {
    let text = value.as_str().filter(|text| !supported.contains(text))?;
    if text.is_empty() {
        return Some(Problem::required(field, ""));
    }
    let supported: Vec<String> = supported.iter().map(|word| format!("{word:?}")).collect();
    Some(Problem::new(ProblemKind::NotSupported, field, format!("{text:?}: supported values: {}", supported.join(", "))))
}

fn spec_problems(spec: &Value, at: &str, found: &mut Vec<Problem>) {
    let at_least_zero = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    found.extend(at_least_zero.into_iter().filter_map(|field| negative(spec, at, field)));
    found.extend(unsupported(&spec["completionMode"], &format!("{at}.completionMode"), &["Indexed", "NonIndexed"]));
    let replacement = if spec["podFailurePolicy"].is_null() { &["Failed", "TerminatingOrFailed"][..] } else { &["Failed"] };
    found.extend(unsupported(&spec["podReplacementPolicy"], &format!("{at}.podReplacementPolicy"), replacement));
    index_problems(spec, at, found);
    if let Some(name) = spec["managedBy"].as_str() {
        managed_by_problems(name, &format!("{at}.managedBy"), found);
    }
    failure_problems(spec, at, found);
    match crate::problem::read::<PodSpec>(&spec["template"]["spec"], &format!("{at}.template.spec")) {
        Ok(pod) => pod::spec_problems(&pod, &format!("{at}.template.spec"), found),
        Err(problem) => found.push(problem),
    }
    let field = format!("{at}.template.spec.restartPolicy");
    let policy = &spec["template"]["spec"]["restartPolicy"];
    match policy.as_str() {
        Some("Always") | None => found.push(Problem::required(field, "valid values: \"OnFailure\", \"Never\"")),
        Some(other) if other != "Never" && !spec["podFailurePolicy"].is_null() => {
            let detail = format!("{other:?}: only \"Never\" is supported when podFailurePolicy is specified");
            found.push(Problem::invalid(field, detail));
        }
        Some(_) => {}
    }
}

fn index_problems(spec: &Value, at: &str, found: &mut Vec<Problem>) {
    let number = |field: &str| spec[field].as_i64();
    if spec["completionMode"] == "Indexed" {
        match number("completions") {
            None => found.push(Problem::required(format!("{at}.completions"), "when completion mode is Indexed")),
            Some(_) if number("parallelism").is_some_and(|parallel| parallel > INDEXED_PARALLELISM_MAX) => {
                let rule = format!("must be less than or equal to {INDEXED_PARALLELISM_MAX} when completion mode is Indexed");
                found.push(Problem::invalid(format!("{at}.parallelism"), format!("{}: {rule}", spec["parallelism"])));
            }
            Some(_) => {}
        }
        if let (Some(most), Some(all)) = (number("maxFailedIndexes"), number("completions"))
            && most > all
        {
            found.push(Problem::invalid(format!("{at}.maxFailedIndexes"), format!("{most}: must be less than or equal to completions")));
        }
    } else {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"].into_iter().filter(|field| !spec[*field].is_null()) {
            found.push(Problem::invalid(format!("{at}.{field}"), format!("{}: requires indexed completion mode", spec[field])));
        }
    }
    if !spec["maxFailedIndexes"].is_null() && spec["backoffLimitPerIndex"].is_null() {
        found.push(Problem::required(format!("{at}.backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
    }
}

fn managed_by_problems(name: &str, field: &str, found: &mut Vec<Problem>) {
    let expected = "must be a domain-prefixed path (such as \"acme.io/foo\")";
    match name.split_once('/') {
        Some((domain, path)) if !path.is_empty() && !domain.is_empty() => {
            found.extend(check_subdomain(domain).into_iter().map(|why| Problem::invalid(field, format!("{domain:?}: {why}"))));
        }
        _ => found.push(Problem::invalid(field, format!("{name:?}: {expected}"))),
    }
    if name.len() > 63 {
        found.push(Problem::new(ProblemKind::TooLong, field, "may not be more than 63 bytes"));
    }
}

fn failure_problems(spec: &Value, at: &str, found: &mut Vec<Problem>) {
    let rules = spec["podFailurePolicy"]["rules"].as_array().map_or(&[][..], Vec::as_slice);
    let field = format!("{at}.podFailurePolicy.rules");
    if rules.len() > FAILURE_RULES_MAX {
        found.push(Problem::new(ProblemKind::TooMany, &field, format!("{}: must have at most {FAILURE_RULES_MAX} items", rules.len())));
    }
    for (at, rule) in rules.iter().enumerate() {
        let field = format!("{field}[{at}]");
        let actions = ["Count", "FailIndex", "FailJob", "Ignore"];
        match rule["action"].as_str() {
            None | Some("") => found.push(Problem::required(format!("{field}.action"), format!("valid values: {actions:?}"))),
            Some(_) => found.extend(unsupported(&rule["action"], &format!("{field}.action"), &actions)),
        }
        let codes = &rule["onExitCodes"];
        match (codes.is_object(), rule["onPodConditions"].as_array().is_some_and(|list| !list.is_empty())) {
            (true, true) => found.push(Problem::invalid(&field, "specifying both OnExitCodes and OnPodConditions is not supported")),
            (false, false) => found.push(Problem::invalid(&field, "specifying one of OnExitCodes and OnPodConditions is required")),
            _ => {}
        }
        if codes.is_object() {
            found.extend(unsupported(&codes["operator"], &format!("{field}.onExitCodes.operator"), &["In", "NotIn"]));
            let values = codes["values"].as_array().map_or(&[][..], Vec::as_slice);
            if values.is_empty() {
                found.push(Problem::invalid(format!("{field}.onExitCodes.values"), "[]: at least one value is required"));
            }
            if codes["operator"] == "In" && values.contains(&Value::from(0)) {
                found.push(Problem::invalid(format!("{field}.onExitCodes.values[0]"), "0: must not be 0 for the In operator"));
            }
        }
    }
}

/// A Job that chose its pods must choose those that it makes; of others the server chose, unless somebody contradicts it.
fn selector_problems(object: &Value, found: &mut Vec<Problem>) {
    let (spec, labels) = (&object["spec"], &object["spec"]["template"]["metadata"]["labels"]);
    let wanted = spec["selector"]["matchLabels"].as_object();
    if spec["manualSelector"] == true {
        if spec["selector"].is_null() {
            found.push(Problem::required("spec.selector", ""));
        } else if wanted.into_iter().flatten().any(|(key, value)| labels[key] != *value) {
            let detail = format!("{labels}: `selector` does not match template `labels`");
            found.push(Problem::invalid("spec.template.metadata.labels", detail));
        }
        return;
    }
    let metadata = &object["metadata"];
    for (label, expected) in [(CONTROLLER_UID, &metadata["uid"]), (NAME, &metadata["name"])] {
        let sent = &labels[label];
        if !sent.is_null() && sent != expected {
            let detail = format!("{labels}: must be '{}'", expected.as_str().unwrap_or_default());
            found.push(Problem::invalid(format!("spec.template.metadata.labels[{label}]"), detail));
        }
    }
    let uid = &metadata["uid"];
    let foreign = wanted.into_iter().flatten().any(|(key, value)| if key == CONTROLLER_UID { value != uid } else { labels[key] != *value });
    if foreign || spec["selector"]["matchExpressions"].as_array().is_some_and(|list| !list.is_empty()) {
        found.push(Problem::invalid("spec.selector", format!("{}: `selector` not auto-generated", spec["selector"])));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{default_cron_job, default_job, select_own_pods};
    use super::*;

    fn template() -> Value {
        json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "a:1"}]}})
    }

    fn made(spec: Value) -> Value {
        let mut object = json!({"kind": "Job", "metadata": {"name": "j", "uid": "u"}, "spec": {"template": template()}});
        json_merge(&mut object["spec"], spec);
        default_job(&mut object);
        object
    }

    fn json_merge(object: &mut Value, with: Value) {
        for (name, value) in with.as_object().unwrap() {
            object[name] = value.clone();
        }
    }

    fn texts(found: &[Problem]) -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn mistakes_of_jobs_are_told_in_the_words_that_clients_know() {
        let always = json!({"template": {"spec": {"containers": [{"name": "c"}]}}});
        for (spec, expected) in [
            (json!({}), None),
            (always, Some("spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"")),
            (json!({"parallelism": -1}), Some("spec.parallelism: Invalid value: -1: must be greater than or equal to 0")),
            (
                json!({"completionMode": "Both"}),
                Some("spec.completionMode: Unsupported value: \"Both\": supported values: \"Indexed\", \"NonIndexed\""),
            ),
            (
                json!({"completionMode": "Indexed", "parallelism": 2}),
                Some("spec.completions: Required value: when completion mode is Indexed"),
            ),
            (json!({"manualSelector": true}), Some("spec.selector: Required value")),
            (
                json!({"selector": {"matchLabels": {"a": "b"}}}),
                Some("spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: `selector` not auto-generated"),
            ),
        ] {
            assert_eq!(texts(&job(&made(spec.clone()))), expected.into_iter().collect::<Vec<_>>(), "{spec}");
        }
    }

    #[test]
    fn a_job_has_the_pods_with_its_uid_and_keeps_its_template() {
        let mut object = made(json!({}));
        select_own_pods(&mut object);
        assert_eq!(object["spec"]["selector"], json!({"matchLabels": {CONTROLLER_UID: "u"}}));
        assert_eq!(object["spec"]["template"]["metadata"]["labels"]["job-name"], "j");
        assert_eq!(object["metadata"]["labels"], object["spec"]["template"]["metadata"]["labels"]);
        assert_eq!(texts(&job(&object)), [""; 0]);
        let mut other = object.clone();
        other["spec"]["parallelism"] = json!(3);
        assert_eq!(job_change(&object, &other), []);
        other["spec"]["suspend"] = json!(true);
        assert_eq!((job_change(&object, &other), job_change(&other, &object)), (vec![], vec![]));
        other["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:2");
        other["spec"]["completions"] = json!(2);
        let found = job_change(&object, &other);
        assert_eq!(found.iter().map(|problem| problem.field.as_str()).collect::<Vec<_>>(), ["spec.completions", "spec.template"]);
    }

    #[test]
    fn mistakes_of_cron_jobs_are_told() {
        for (spec, expected) in [
            (json!({"schedule": "@daily"}), None),
            (json!({"schedule": ""}), Some("spec.schedule: Required value")),
            (json!({"schedule": "* *"}), Some("spec.schedule: Invalid value: \"* *\": expected exactly 5 fields, found 2: [* *]")),
            (
                json!({"schedule": "@daily", "timeZone": "Europe/Nowhere"}),
                Some("spec.timeZone: Invalid value: \"Europe/Nowhere\": unknown time zone"),
            ),
            (
                json!({"schedule": "@daily", "concurrencyPolicy": "x"}),
                Some("spec.concurrencyPolicy: Unsupported value: \"x\": supported values: \"Allow\", \"Forbid\", \"Replace\""),
            ),
        ] {
            let mut object =
                json!({"kind": "CronJob", "metadata": {"name": "c"}, "spec": {"jobTemplate": {"spec": {"template": template()}}}});
            json_merge(&mut object["spec"], spec);
            default_cron_job(&mut object);
            assert_eq!(texts(&cron_job(&object)), expected.into_iter().collect::<Vec<_>>());
        }
        let zoned = json!({"spec": {"schedule": "TZ=UTC 0 0 * * *"}});
        assert_eq!(new_cron_job(&zoned)[0].field, "spec.schedule");
    }
}
