//! What the control API needs to know of a kind.

use std::sync::Arc;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::Problem;

/// One kind of object.
#[derive(Clone)]
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version, such as `v1`.
    pub version: String,
    /// The name in manifests: `Service`.
    pub kind: String,
    /// The name in paths: `services`.
    pub plural: String,
    /// The name of lists of it: `ServiceList`.
    pub list_kind: String,
    /// The plural's counterpart on command lines: `service`.
    pub singular: String,
    /// Abbreviations for command lines.
    pub short_names: Vec<String>,
    /// Groups such as `all` that it belongs to on command lines.
    pub categories: Vec<String>,
    /// Whether objects live in namespaces.
    pub scope: Scope,
    /// Where its objects come from.
    pub source: Source,
    /// Whether `/status` is a resource of its own.
    pub status: bool,
    /// Whether `metadata.generation` counts changes of the spec.
    pub generation: bool,
    /// How `/scale` reads and writes it.
    pub scale: Option<Scale>,
    /// Further subresources by name, with the verbs they take: `log`, `binding`.
    pub subresources: Vec<(String, Vec<String>)>,
    /// The columns of its table, NAME first and AGE last where they are wanted.
    pub columns: Vec<Column>,
    /// Field selectors it takes beside `metadata.name` and `metadata.namespace`.
    pub selectable_fields: Vec<String>,
    /// Puts into an object what its field selectors find at no path of their own.
    pub expose: fn(&mut Value),
    /// The kind whose objects these are, in another form.
    pub form: Option<Form>,
    /// The version in which its objects are kept, where that is another.
    pub kept_version: Option<String>,
    /// Whether deleting an object leaves what belongs to it, unless the deletion says otherwise.
    pub orphans: bool,
    /// Whether people defined it at run time.
    pub defined: bool,
    /// Whether fields that its schema does not know are kept (Kubernetes' own kinds) rather than refused (ours).
    pub keeps_unknown: bool,
    /// Adds the kind's schema to a generator and refers to it.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// Fills in what was left out, as if its writer had said so.
    pub default: fn(&mut Value),
    /// What the server itself adds to a new object once its maker's fields are known; it belongs to no writer.
    pub complete: fn(&mut Value),
    /// Problems that only a new object can have.
    pub validate_new: fn(&Value) -> Vec<Problem>,
    /// What a schema cannot say: problems of a whole object.
    pub validate: fn(&Value) -> Vec<Problem>,
    /// Problems of a change, given the object before and after.
    pub validate_change: fn(&Value, &Value) -> Vec<Problem>,
    /// What whoever writes an object is warned of.
    pub warnings: fn(&Value) -> Vec<String>,
    /// What only one object of the kind may have, with the field that has it: the host and path of a route.
    pub claims: Option<Claims>,
}

/// How the objects of one kind are told as those of another, which keeps them.
#[derive(Clone, Copy)]
pub struct Form {
    /// The group of the kind that keeps the objects.
    pub group: &'static str,
    /// Its version.
    pub version: &'static str,
    /// From the kept form to the told one.
    pub show: fn(&mut Value),
    /// From the told form to the kept one.
    pub keep: fn(&mut Value),
}

/// The claims of an object, each with the field that makes it.
pub type Claims = fn(&Value) -> Vec<(String, String)>;

/// Where objects of a kind live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In namespaces.
    Namespaced,
    /// Beside them.
    Cluster,
}

/// Where objects of a kind come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The store, where people and programs put them.
    Store,
    /// The answer to their creation, as that to a question; they are not kept.
    Answered,
    /// What runs, looked at when they are read; they are not kept.
    Measured,
}

/// How the scale of an object is read and written.
#[derive(Clone, Copy)]
pub struct Scale {
    /// Reads it.
    pub read: fn(&Value) -> Result<Copies, ScaleRefused>,
    /// Sets the wanted number.
    pub write: fn(&mut Value, i64) -> Result<(), ScaleRefused>,
}

/// Wanted and actual number of copies, and the selector of those copies as text.
pub type Copies = (i64, i64, String);

/// Why an object has no single scale, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScaleRefused(pub String);

/// One column of a table.
#[derive(Clone)]
pub struct Column {
    /// The header.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub type_name: String,
    /// `name` marks the object's name.
    pub format: String,
    /// What it shows.
    pub description: String,
    /// 0 is always shown, more only with `-o wide`.
    pub priority: i32,
    /// Where the cell comes from.
    pub cell: Cell,
    /// What is shown where the object has nothing; empty for the type's own.
    pub absent: &'static str,
}

/// Finds the value of a cell in an object.
pub type Find = dyn Fn(&Value, Timestamp) -> Value + Send + Sync;

/// Where a cell comes from.
#[derive(Clone)]
pub enum Cell {
    /// Keys joined by dots, from the object's root: `.status.phase`.
    Path(String),
    /// Worked out from the object and the time.
    Computed(fn(&Value, Timestamp) -> Value),
    /// Found in the object, as a definition says.
    Found(Arc<Find>),
}

impl Kind {
    /// A kind with no more than its names.
    pub fn new(group: &str, version: &str, kind: &str, plural: &str, schema: fn(&mut SchemaGenerator) -> Schema) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            plural: plural.into(),
            list_kind: format!("{kind}List"),
            singular: kind.to_lowercase(),
            defined: false,
            short_names: Vec::new(),
            categories: Vec::new(),
            scope: Scope::Namespaced,
            source: Source::Store,
            status: false,
            generation: false,
            scale: None,
            subresources: Vec::new(),
            columns: vec![Column::name(), Column::age()],
            selectable_fields: Vec::new(),
            expose: |_| (),
            form: None,
            kept_version: None,
            orphans: false,
            keeps_unknown: group.is_empty(),
            schema,
            default: |_| (),
            complete: |_| (),
            validate_new: |_| Vec::new(),
            validate: |_| Vec::new(),
            validate_change: |_, _| Vec::new(),
            warnings: |_| Vec::new(),
            claims: None,
        }
    }

    /// `group/version`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        self.in_version(&self.version)
    }

    fn in_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// The group under which objects are kept, and by which refusals name them.
    pub fn kept_group(&self) -> &str {
        self.form.map_or(&self.group, |form| form.group)
    }

    /// The `apiVersion` that kept objects have.
    pub fn kept_api_version(&self) -> String {
        match self.form {
            Some(form) if form.group.is_empty() => form.version.to_owned(),
            Some(form) => format!("{}/{}", form.group, form.version),
            None => self.in_version(self.kept_version.as_ref().unwrap_or(&self.version)),
        }
    }

    /// Where Kubernetes' code has the type of such objects; `None` for those that it reads without one.
    pub fn package(&self) -> Option<&str> {
        let group = self.kept_group().split('.').next().unwrap_or_default();
        let is_known = self.keeps_unknown && !self.defined;
        is_known.then_some(if group.is_empty() { "core" } else { group })
    }

    /// `services.conductor.dev`, or the bare plural for the core group.
    pub fn qualified_plural(&self) -> String {
        let group = self.kept_group();
        if group.is_empty() { self.plural.clone() } else { format!("{}.{group}", self.plural) }
    }

    /// Whether objects are kept.
    pub fn is_kept(&self) -> bool {
        self.source == Source::Store
    }

    /// Whether objects live in namespaces.
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }
}

impl Column {
    /// A column whose cell is the value at a path.
    pub fn path(name: &str, type_name: &str, path: &str, description: &str) -> Self {
        Self {
            name: name.into(),
            type_name: type_name.into(),
            format: String::new(),
            description: description.into(),
            priority: 0,
            cell: Cell::Path(path.into()),
            absent: "",
        }
    }

    /// A column whose cell is worked out.
    pub fn computed(name: &str, type_name: &str, cell: fn(&Value, Timestamp) -> Value, description: &str) -> Self {
        Self { cell: Cell::Computed(cell), ..Self::path(name, type_name, "", description) }
    }

    /// Shown only with `-o wide`.
    #[must_use]
    pub fn wide(mut self) -> Self {
        self.priority = 1;
        self
    }

    /// Shows nothing where the object has nothing.
    #[must_use]
    pub fn blank(mut self) -> Self {
        self.cell = match self.cell {
            Cell::Path(path) => Cell::Found(Arc::new(move |object, _| {
                let found = path.split('.').filter(|key| !key.is_empty()).fold(object, |value, key| &value[key]);
                Value::String(found.as_str().unwrap_or_default().into())
            })),
            other => other,
        };
        self
    }

    /// The object's name.
    pub fn name() -> Self {
        Self {
            format: "name".into(),
            ..Self::path("Name", "string", ".metadata.name", "The name of the object, which no other of its kind and namespace has")
        }
    }

    /// How long ago the object was created.
    pub fn age() -> Self {
        Self::computed(
            "Age",
            "string",
            |object, now| age(&object["metadata"]["creationTimestamp"], now),
            "How long ago the object was created, in the two largest units",
        )
    }
}

/// The schema of a whole object of ours: apiVersion, kind, metadata, spec and status.
pub fn object_schema<Spec: JsonSchema, Status: JsonSchema>(generator: &mut SchemaGenerator, name: &str, description: &str) -> Schema {
    let key = format!("dev.conductor.v1.{name}");
    if !generator.definitions().contains_key(&key) {
        let schema = json_schema!({
            "type": "object",
            "description": description,
            "required": ["spec"],
            "properties": {
                "apiVersion": {"type": "string", "description": "The group and version: conductor.dev/v1."},
                "kind": {"type": "string", "description": format!("The kind: {name}.")},
                "metadata": generator.subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>(),
                "spec": generator.subschema_for::<Spec>(),
                "status": generator.subschema_for::<Status>(),
            },
        });
        generator.definitions_mut().insert(key.clone(), schema.into());
    }
    Schema::new_ref(format!("#/components/schemas/{key}"))
}

/// Gives a new object of ours a status, so that whoever waits for it never sees it without: it is on its way, and nothing of it
/// is so yet. Programs that judge any kind by its status read it as kstatus does.
pub(crate) fn begin_status(object: &mut Value, why: &str) {
    if !object["status"].is_null() || !object["metadata"].is_object() {
        return;
    }
    let since = object["metadata"]["creationTimestamp"].as_str().unwrap_or("1970-01-01T00:00:00Z").to_owned();
    let condition = |name: &str, status: &str, reason: &str| json!({"type": name, "status": status, "reason": reason, "message": why, "lastTransitionTime": since});
    let conditions = [condition("Ready", "False", "New"), condition("Reconciling", "True", "New")];
    object["status"] = json!({"observedGeneration": 0, "conditions": conditions});
}

/// The schema of a list of conditions: at most one of each type.
pub(crate) fn conditions_schema(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": generator.subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition>(),
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

/// The schema of a moment that may be left out.
pub(crate) fn time_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "nullable": true})
}

/// How long ago a timestamp was, in the form kubectl uses: `45s`, `3m`, `5h12m`, `2d4h`.
pub fn age(timestamp: &Value, now: Timestamp) -> Value {
    let Some(then) = timestamp.as_str().and_then(|text| text.parse::<Timestamp>().ok()) else {
        return Value::String("<unknown>".into());
    };
    Value::String(human_seconds(now.as_second() - then.as_second()))
}

fn human_seconds(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        ..-1 => "<invalid>".into(),
        -1..0 => "0s".into(),
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 != 0 => format!("{minutes}m{}s", seconds % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..28_800 if minutes % 60 != 0 => format!("{hours}h{}m", minutes % 60),
        10_800..172_800 => format!("{hours}h"),
        172_800..691_200 if hours % 24 != 0 => format!("{days}d{}h", hours % 24),
        172_800..63_072_000 => format!("{days}d"),
        _ if (days % 365) == 0 || days >= 8 * 365 => format!("{}y", days / 365),
        _ => format!("{}y{}d", days / 365, days % 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_writes_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (10_860, "3h1m"),
            (86_400, "24h"),
            (180_000, "2d2h"),
            (864_000, "10d"),
        ] {
            assert_eq!(human_seconds(seconds), text);
        }
    }

    #[test]
    fn every_list_of_objects_of_ours_says_what_tells_them_apart() {
        let mut generator = schemars::generate::SchemaSettings::openapi3().into_generator();
        for kind in crate::KINDS.iter().map(|kind| kind()).filter(|kind| kind.group == "conductor.dev") {
            (kind.schema)(&mut generator);
        }
        let definitions = generator.take_definitions(true);
        let mut lists = 0;
        for (name, schema) in definitions.iter().filter(|(name, _)| name.starts_with("dev.conductor.")) {
            // What is Kubernetes' own in a part's pod has Kubernetes' own keys, which `logic` adds.
            if name.starts_with("dev.conductor.v1.Pod") || name.starts_with("dev.conductor.v1.Container") {
                continue;
            }
            for (field, property) in schema["properties"].as_object().into_iter().flatten() {
                let items = &property["items"];
                if items.is_object() && items["type"] != "string" {
                    lists += 1;
                    assert!(property["x-kubernetes-list-map-keys"].is_array(), "{name}.{field}: {property}");
                }
            }
        }
        assert!(lists > 5, "{lists}");
    }

    #[test]
    fn every_kind_has_names_of_its_own() {
        let kinds: Vec<Kind> = crate::KINDS.iter().map(|kind| kind()).collect();
        for (at, kind) in kinds.iter().enumerate() {
            assert!(kinds[at + 1..].iter().all(|other| (&other.plural, &other.group) != (&kind.plural, &kind.group)), "{}", kind.kind);
        }
    }
}
