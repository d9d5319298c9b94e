use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::json;

use super::*;

fn type_name(reference: &str) -> &str {
    reference.rsplit(['/', '.']).next().unwrap_or_default()
}

/// The type that a property's value, items or values have, if that is one of its own with fields.
fn type_of(property: &Value) -> Option<String> {
    let text = property.to_string();
    text.split('"').find(|word| word.contains("io.k8s.api.core")).map(|word| type_name(word).to_owned())
}

#[test]
fn every_field_that_kubernetes_has_has_one_row_and_every_row_is_a_field() {
    let mut generator = schemars::generate::SchemaSettings::openapi3().into_generator();
    generator.subschema_for::<PodSpec>();
    let definitions = generator.definitions();
    let (mut missing, mut met, mut todo) = (Vec::new(), BTreeSet::new(), vec!["PodSpec".to_owned()]);
    while let Some(of) = todo.pop() {
        if !met.insert(of.clone()) {
            continue;
        }
        let (_, definition) = definitions.iter().find(|(name, _)| type_name(name) == of).unwrap_or_else(|| panic!("no type {of}"));
        for (field, property) in definition["properties"].as_object().unwrap() {
            let of_field: Vec<&Row> = rows().filter(|row| row.of == of && row.field == field).collect();
            let [row] = of_field[..] else {
                missing.push(format!("{of}.{field}: {} rows", of_field.len()));
                continue;
            };
            let is_map = row.into.is_some_and(|into| into.starts_with(char::is_lowercase));
            let is_done = |verdict| matches!(verdict, Verdict::Honoured);
            match (type_of(property), row.into) {
                (Some(inner), Some(into)) if inner == into => todo.push(inner),
                (_, Some(_)) if is_map => {}
                // What is honoured has fields of its own that may not be.
                (Some(inner), None) if is_done(row.docker) || is_done(row.process) => missing.push(format!("{of}.{field}: into {inner}")),
                (Some(_) | None, None) => {}
                (inner, Some(into)) => missing.push(format!("{of}.{field}: into {into}, but it is {inner:?}")),
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    let known = |row: &Row| {
        row.of.starts_with(char::is_lowercase)
            || definitions.iter().any(|(name, definition)| type_name(name) == row.of && !definition["properties"][row.field].is_null())
    };
    let stale: Vec<String> =
        rows().filter(|row| !met.contains(row.of) && row.of.starts_with(char::is_uppercase) || !known(row)).map(Row::key).collect();
    assert!(stale.is_empty(), "{stale:?}");
    for row in rows() {
        for verdict in [row.docker, row.process] {
            if let Verdict::With(other) = verdict {
                assert!(rows().any(|row| row.field == other), "{} goes with {other}, which is not there", row.key());
            }
        }
    }
}

/// `docs/pods.md` is made from the rows: write it anew with `UPDATE_DOCS=1 cargo test -p model`.
#[test]
fn the_page_about_pods_says_what_the_rows_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pods.md");
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let (words, _) = before.split_once("<!-- made from the rows -->").unwrap();
    let mut page = words.to_owned();
    write!(page, "<!-- made from the rows -->\n\n{}{}", page::summary(), page::tables()).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert!(std::fs::read_to_string(&path).unwrap() == page, "docs/pods.md is not what the rows say; UPDATE_DOCS=1 writes it");
}

/// For every row that refuses or warns, a spec that asks for it is refused or warned of at its path, and for every value that
/// asks for nothing, it is not.
#[test]
fn each_refusal_and_warning_is_met_at_its_whole_path() {
    for row in rows() {
        for class in [Class::Docker, Class::Process] {
            let verdict = class.verdict(row);
            let value = if matches!(row.asks, Asks::Unless(_)) { json!("x") } else { json!({"x": 1}) };
            let Some((spec, path)) = spec_with(row, &value, class) else { panic!("{} is not reached", row.key()) };
            let refused: Vec<String> = refusals(&spec, "at").into_iter().map(|problem| problem.field).collect();
            let warned = warnings(&spec, "at");
            let is_warned = warned.iter().any(|warning| warning.starts_with(&format!("{path}: ")));
            let expected = match verdict {
                Verdict::Honoured | Verdict::With(_) => (false, false),
                Verdict::Warned(_) => (false, true),
                Verdict::Refused(_) => (true, false),
            };
            assert_eq!((refused.contains(&path), is_warned), expected, "{path} {class:?} {refused:?} {warned:?}");
            let Asks::Unless(harmless) = row.asks else { continue };
            for value in harmless {
                let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
                let (spec, path) = spec_with(row, &value, class).unwrap();
                assert!(!refusals(&spec, "at").iter().any(|problem| problem.field == path), "{path} = {value}");
            }
        }
    }
}

/// A spec in which the field of a row has a value, and the field's path.
fn spec_with(row: &Row, value: &Value, class: Class) -> Option<(Value, String)> {
    let key = if row.field == "*" { "example.dev/x" } else { row.field };
    let is_key = row.of.starts_with(char::is_lowercase);
    let (mut of, mut inner) = (row.of, json!({key: value}));
    let mut is_volume = false;
    let mut path = if is_key { format!("[{key}]") } else { format!(".{key}") };
    while of != "PodSpec" {
        let above = rows().find(|above| above.into == Some(of))?;
        if of == "Volume" {
            inner["name"] = json!("v");
            is_volume = true;
        }
        let is_list = above.field.ends_with('s') && !["limits", "requests", "resources", "os", "capabilities"].contains(&above.field)
            || ["env", "envFrom"].contains(&above.field);
        (inner, path) = match is_list {
            true => (json!({above.field: [inner]}), format!(".{}[0]{path}", above.field)),
            false => (json!({above.field: inner}), format!(".{}{path}", above.field)),
        };
        of = above.of;
    }
    if row.field != "runtimeClassName" {
        inner["runtimeClassName"] = json!(class.name());
    }
    if is_volume {
        inner["containers"] = json!([{"name": "c", "volumeMounts": [{"name": "v"}]}]);
    }
    Some((inner, format!("at{path}")))
}

#[test]
fn what_nobody_asks_for_is_not_refused() {
    let spec = json!({"securityContext": {}, "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "schedulerName": "default-scheduler",
        "hostNetwork": false, "volumes": [{"name": "v", "emptyDir": {}}], "priority": 0, "serviceAccountName": "default",
        "containers": [{"name": "c", "image": "i", "tty": false, "resources": {}, "securityContext": {"privileged": false,
            "allowPrivilegeEscalation": true}, "terminationMessagePath": "/dev/termination-log", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]});
    assert_eq!((refusals(&spec, "spec"), warnings(&spec, "spec")), (Vec::new(), Vec::new()));
}

#[test]
fn a_pod_is_judged_by_the_runtime_that_it_goes_to() {
    let class = |spec: Value| Class::of(&spec);
    assert_eq!(class(json!({"containers": [{"image": "a"}]})), Some(Class::Docker));
    assert_eq!(class(json!({"containers": [{"image": "a"}, {}]})), Some(Class::Process));
    assert_eq!(class(json!({"containers": [{"image": "a"}], "runtimeClassName": "process"})), Some(Class::Process));
    assert_eq!(class(json!({"runtimeClassName": "podman"})), Some(Class::Docker));
    assert_eq!(class(json!({"runtimeClassName": "kata"})), None);
}

#[test]
fn what_was_there_before_is_not_refused_again() {
    let spec = |value: Value| json!({"runtimeClassName": "process", "hostname": value, "containers": []});
    assert!(refusals_of_change(&spec(json!("a")), &spec(json!("a")), "spec").is_empty());
    assert_eq!(refusals_of_change(&spec(Value::Null), &spec(json!("a")), "spec").len(), 1);
}

#[test]
fn capabilities_are_published_and_read_again() {
    for class in [Class::Docker, Class::Process] {
        let able = Capabilities::of(class);
        assert_eq!(Capabilities::from_annotation(&able.to_annotation()), able);
    }
    let able = Capabilities::of(Class::Process);
    assert_eq!(able.lacking(&json!({"hostPID": true, "hostname": "a"})), Some("spec.hostname".into()));
    assert_eq!(Capabilities::from_annotation("*").lacking(&json!({"hostname": "a"})), None);
    assert_eq!(Capabilities::from_annotation("PodSpec:hostPID").lacking(&json!({"hostPID": true})), None);
}

#[test]
fn a_field_is_refused_and_warned_of_wherever_pods_are_made_from_it() {
    let spec =
        json!({"hostname": "h", "priority": 7, "containers": [{"name": "c", "image": "i", "restartPolicyRules": [{"action": "Restart"}]}]});
    let objects = [
        (crate::pod::kind(), json!({"kind": "Pod", "spec": spec}), "spec"),
        (
            crate::service::kind(),
            json!({"kind": "Service", "spec": {"parts": [{"name": "a"}, {"name": "b", "pod": {"spec": spec}}]}}),
            "spec.parts[1].pod.spec",
        ),
        (crate::batch::job(), json!({"kind": "Job", "spec": {"template": {"spec": spec}}}), "spec.template.spec"),
        (
            crate::batch::cron_job(),
            json!({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}}),
            "spec.jobTemplate.spec.template.spec",
        ),
    ];
    for (kind, object, at) in objects {
        let expected = refusals(&spec, at);
        assert!(!expected.is_empty());
        let found = (kind.validate_new)(&object);
        assert!(expected.iter().all(|problem| found.contains(problem)), "{}: {found:?}", kind.kind);
        let warned = (kind.warnings)(&object);
        assert!(warned.iter().any(|warning| warning.starts_with(&format!("{at}.priority: "))), "{}: {warned:?}", kind.kind);
        if kind.kind != "Pod" {
            let mut before = object.clone();
            before["spec"] = json!({});
            let found = (kind.validate_change)(&before, &object);
            assert!(expected.iter().all(|problem| found.contains(problem)), "{}: {found:?}", kind.kind);
            let found = (kind.validate_change)(&object, &object);
            assert!(!expected.iter().any(|problem| found.contains(problem)), "{}: {found:?}", kind.kind);
        }
    }
}
