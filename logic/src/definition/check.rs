//! What is wrong with a definition.

use model::{Problem, ProblemKind, check_label, check_subdomain};
use serde_json::Value;

use super::{check_schema, conversion, json_path};

const APPROVED: &str = "api-approved.kubernetes.io";
const COLUMN_TYPES: &str = "boolean,date,integer,number,string";

/// Fills in what a definition may leave out: the singular, the kind of lists, how versions are converted.
pub fn fill_in(definition: &mut Value) {
    let spec = &mut definition["spec"];
    if !spec.is_object() {
        return;
    }
    let kind = spec["names"]["kind"].as_str().unwrap_or_default().to_owned();
    if spec["names"].is_object() && !kind.is_empty() {
        for (field, text) in [("singular", kind.to_lowercase()), ("listKind", format!("{kind}List"))] {
            if spec["names"][field].as_str().is_none_or(str::is_empty) {
                spec["names"][field] = Value::from(text);
            }
        }
    }
    if spec["conversion"].is_null() {
        spec["conversion"] = serde_json::json!({"strategy": "None"});
    }
    if let Some(client) = spec.pointer_mut("/conversion/webhook/clientConfig") {
        model::admission::fill_in_client(client);
    }
}

/// Problems of a definition.
pub fn problems(definition: &Value) -> Vec<Problem> {
    let spec = &definition["spec"];
    let mut problems = names(definition);
    if !["Namespaced", "Cluster"].contains(&spec["scope"].as_str().unwrap_or_default()) {
        let detail = format!(
            "{}: supported values: \"Cluster\", \"Namespaced\"",
            spec["scope"].as_str().map_or("\"\"".into(), |text| format!("{text:?}"))
        );
        problems.push(Problem::new(ProblemKind::NotSupported, "spec.scope", detail));
    }
    problems.extend(versions(spec));
    problems.extend(conversion::problems(spec));
    problems
}

/// Problems of a change of a definition.
pub fn change_problems(before: &Value, after: &Value) -> Vec<Problem> {
    let mut fields = vec!["group"];
    if is_established(before) {
        fields.extend(["scope", "names.kind", "names.plural"]);
    }
    let at = |object: &Value, path: &str| path.split('.').fold(object["spec"].clone(), |value, key| value[key].clone());
    let changed = |path: &&str| at(before, path) != at(after, path);
    let problem = |path: &str| Problem::invalid(format!("spec.{path}"), format!("{}: field is immutable", at(after, path)));
    let mut problems: Vec<Problem> = fields.into_iter().filter(changed).map(problem).collect();
    let kept: Vec<&str> = version_list(&after["spec"]).iter().filter_map(|version| version["name"].as_str()).collect();
    for (index, stored) in after["status"]["storedVersions"].as_array().into_iter().flatten().enumerate() {
        if stored.as_str().is_some_and(|stored| !kept.contains(&stored)) {
            let (field, version) = (format!("status.storedVersions[{index}]"), stored.as_str().unwrap_or_default());
            let why = format!(
                "missing from spec.versions; {version} was previously a storage version, and must remain in spec.versions until a \
                 storage migration ensures no data remains persisted in {version} and removes {version} from status.storedVersions"
            );
            problems.push(Problem::invalid(field, format!("{stored}: {why}")));
        }
    }
    problems
}

/// Whether a definition has been in force.
pub fn is_established(definition: &Value) -> bool {
    has_condition(definition, "Established")
}

/// Whether a condition of a definition says yes.
pub fn has_condition(definition: &Value, type_: &str) -> bool {
    let conditions = definition["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == type_ && condition["status"] == "True")
}

/// The versions of a definition.
pub fn version_list(spec: &Value) -> &[Value] {
    spec["versions"].as_array().map_or(&[], Vec::as_slice)
}

fn names(definition: &Value) -> Vec<Problem> {
    let (spec, names) = (&definition["spec"], &definition["spec"]["names"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let group = text(&spec["group"]);
    let mut problems = Vec::new();
    if group.is_empty() {
        problems.push(Problem::required("spec.group", ""));
    } else if !group.contains('.') {
        problems.push(Problem::invalid("spec.group", format!("{group:?}: should be a domain with at least one dot")));
    }
    let words = check_subdomain(&group).into_iter().filter(|_| !group.is_empty());
    problems.extend(words.map(|why| Problem::invalid("spec.group", format!("{group:?}: {why}"))));
    for field in ["plural", "singular", "kind", "listKind"] {
        let (value, at) = (text(&names[field]), format!("spec.names.{field}"));
        if value.is_empty() {
            problems.push(Problem::required(at, ""));
            continue;
        }
        problems.extend(check_label(&value.to_lowercase()).into_iter().map(|why| Problem::invalid(&at, format!("{value:?}: {why}"))));
        if matches!(field, "plural" | "singular") && value != value.to_lowercase() {
            problems.push(Problem::invalid(&at, format!("{value:?}: must be lower case")));
        }
    }
    if !names["kind"].is_null() && names["kind"] == names["listKind"] {
        problems.push(Problem::invalid("spec.names.listKind", format!("{}: kind and listKind may not be the same", names["listKind"])));
    }
    for field in ["shortNames", "categories"] {
        for (index, value) in names[field].as_array().into_iter().flatten().enumerate() {
            let value = text(value);
            let at = format!("spec.names.{field}[{index}]");
            problems.extend(check_label(&value).into_iter().map(|why| Problem::invalid(&at, format!("{value:?}: {why}"))));
        }
    }
    problems.extend(approval(definition, &group));
    problems
}

/// What is wrong with the name of a new definition: it follows from what is defined.
pub fn name_problem(definition: &Value) -> Option<Problem> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, plural) = (text(&definition["spec"]["group"]), text(&definition["spec"]["names"]["plural"]));
    let name = text(&definition["metadata"]["name"]);
    let is_wrong = !plural.is_empty() && !group.is_empty() && name != format!("{plural}.{group}");
    is_wrong.then(|| Problem::invalid("metadata.name", format!("{name:?}: must be spec.names.plural+\".\"+spec.group")))
}

/// Groups of Kubernetes' own are not for everybody.
fn approval(definition: &Value, group: &str) -> Option<Problem> {
    let is_protected = [".k8s.io", ".kubernetes.io"].iter().any(|end| group.ends_with(end)) || ["k8s.io", "kubernetes.io"].contains(&group);
    let found = definition["metadata"]["annotations"][APPROVED].as_str().unwrap_or_default();
    let field = format!("metadata.annotations[{APPROVED}]");
    if !is_protected || found.starts_with("unapproved") || found.starts_with("https://") {
        return None;
    }
    if !found.is_empty() {
        return Some(Problem::invalid(field, format!("{found:?}: expected a URL, or a text that begins with \"unapproved\"")));
    }
    let see = "https://github.com/kubernetes/enhancements/pull/1111";
    Some(Problem::required(field, format!("protected groups must have approval annotation {APPROVED:?}, see {see}")))
}

fn versions(spec: &Value) -> Vec<Problem> {
    let versions = version_list(spec);
    let mut problems = Vec::new();
    let stored = versions.iter().filter(|version| version["storage"] == true).count();
    if stored != 1 {
        let shown = if versions.is_empty() { "null".into() } else { shown(versions) };
        problems.push(Problem::invalid("spec.versions", format!("{shown}: must have exactly one version marked as storage version")));
    }
    if stored == 0 {
        problems.push(Problem::invalid("status.storedVersions", "null: must have at least one stored version"));
    }
    for (index, version) in versions.iter().enumerate() {
        let name = version["name"].as_str().unwrap_or_default();
        let at = format!("spec.versions[{index}]");
        problems.extend(check_label(name).into_iter().map(|why| Problem::invalid(format!("{at}.name"), format!("{name:?}: {why}"))));
        if versions.iter().take(index).any(|other| other["name"] == version["name"]) {
            problems.push(Problem::invalid(format!("{at}.name"), format!("{name:?}: must be unique")));
        }
        let schema = &version["schema"]["openAPIV3Schema"];
        if !schema.is_object() {
            problems.push(Problem::required(format!("{at}.schema.openAPIV3Schema"), ""));
            continue;
        }
        // Where there is but one version, its parts are named as those of the definition.
        let (schema_at, at) = match versions {
            [_] => ("spec.validation.openAPIV3Schema".to_owned(), "spec".to_owned()),
            _ => (format!("{at}.schema.openAPIV3Schema"), at),
        };
        problems.extend(check_schema::problems(schema, &schema_at));
        problems.extend(columns(version, &at));
        problems.extend(scale(version, &at));
        problems.extend(selectable(version, schema, &at));
    }
    problems
}

/// Versions as Kubernetes shows them: what all have in common is kept apart from them.
fn shown(versions: &[Value]) -> String {
    let common = |field: &str| versions.iter().all(|version| version[field] == versions[0][field]);
    let version = |version: &Value| {
        let part = |field: &str| if common(field) { Value::Null } else { version[field].clone() };
        serde_json::json!({
            "Name": version["name"], "Served": version["served"] == true, "Storage": version["storage"] == true,
            "Deprecated": version["deprecated"] == true, "DeprecationWarning": version["deprecationWarning"], "Schema": part("schema"),
            "Subresources": part("subresources"), "AdditionalPrinterColumns": part("additionalPrinterColumns"),
            "SelectableFields": part("selectableFields"),
        })
    };
    Value::from(versions.iter().map(version).collect::<Vec<_>>()).to_string()
}

fn columns(version: &Value, at: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, column) in version["additionalPrinterColumns"].as_array().into_iter().flatten().enumerate() {
        let at = format!("{at}.additionalPrinterColumns[{index}]");
        if column["name"].as_str().is_none_or(str::is_empty) {
            problems.push(Problem::required(format!("{at}.name"), ""));
        }
        let (type_, path) = (column["type"].as_str().unwrap_or_default(), column["jsonPath"].as_str().unwrap_or_default());
        if type_.is_empty() {
            problems.push(Problem::required(format!("{at}.type"), format!("must be one of {COLUMN_TYPES}")));
        } else if !COLUMN_TYPES.split(',').any(|known| known == type_) {
            problems.push(Problem::invalid(format!("{at}.type"), format!("{type_:?}: must be one of {COLUMN_TYPES}")));
        }
        if path.is_empty() {
            problems.push(Problem::required(format!("{at}.JSONPath"), ""));
        } else if !path.starts_with('.') {
            problems.push(Problem::invalid(format!("{at}.JSONPath"), format!("{path:?}: must be a simple json path starting with .")));
        } else if let Err(why) = json_path::Path::parse(path) {
            problems.push(Problem::invalid(format!("{at}.JSONPath"), format!("{path:?}: {why}")));
        }
    }
    problems
}

fn scale(version: &Value, at: &str) -> Vec<Problem> {
    let scale = &version["subresources"]["scale"];
    if !scale.is_object() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let paths =
        [("specReplicasPath", &[".spec."][..]), ("statusReplicasPath", &[".status."]), ("labelSelectorPath", &[".spec.", ".status."])];
    for (field, parents) in paths {
        let (path, field) = (scale[field].as_str().unwrap_or_default(), format!("{at}.subresources.scale.{field}"));
        let is_plain = !path.contains(['[', ']', '*', '?', '(', '\'']) && path.split('.').skip(1).all(|key| !key.is_empty());
        let fits = is_plain && parents.iter().any(|parent| path.starts_with(parent));
        if path.is_empty() && !field.ends_with("labelSelectorPath") {
            problems.push(Problem::required(field, ""));
        } else if !path.is_empty() && !fits {
            let parents: Vec<&str> = parents.iter().map(|parent| parent.trim_end_matches('.')).collect();
            problems.push(Problem::invalid(field, format!("{path:?}: should be a json path under {}", parents.join(" or "))));
        }
    }
    problems
}

fn selectable(version: &Value, schema: &Value, at: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, field) in version["selectableFields"].as_array().into_iter().flatten().enumerate() {
        let path = field["jsonPath"].as_str().unwrap_or_default();
        let at = format!("{at}.selectableFields[{index}].jsonPath");
        let found = path.split('.').skip(1).try_fold(schema, |schema, key| schema["properties"].get(key));
        let types = ["string", "boolean", "integer"];
        if path.is_empty() {
            problems.push(Problem::required(at, ""));
        } else if !path.starts_with('.') || path.starts_with(".metadata") {
            problems.push(Problem::invalid(at, format!("{path:?}: must be a simple json path starting with ., and not of metadata")));
        } else if !found.is_some_and(|found| types.contains(&found["type"].as_str().unwrap_or_default())) {
            problems.push(Problem::invalid(at, format!("{path:?}: must be a field of the schema that is a string, boolean or integer")));
        }
    }
    problems
}
