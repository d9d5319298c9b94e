//! Which kinds are served.

use std::collections::HashMap;
use std::sync::Arc;

use logic::patch::core_types;
use logic::patch::shape::{self, Shape};
use logic::schema::{Compiler, Schema};
use model::Kind;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use store::Entry;

use crate::custom::Custom;
use crate::object;
use crate::openapi::Documents;

/// A kind, ready to be served.
pub struct Served {
    /// What it is.
    pub kind: Kind,
    /// What its objects may hold.
    pub schema: Schema,
    /// The kind in the table of Kubernetes' own types.
    pub message: Option<&'static str>,
    /// What even an empty object of it has.
    pub blank: Value,
    /// Whether its objects have a protobuf form.
    pub protobuf: bool,
    /// How their parts are merged and owned.
    pub shape: Shape,
    /// How its stored objects begin.
    pub head: String,
    /// What discovery tells clients of its storage.
    pub hash: String,
    /// What its definition says, where people defined it.
    pub custom: Option<Custom>,
}

/// All kinds that are served, in the order of discovery.
#[derive(Default)]
pub struct Registry {
    served: Vec<Arc<Served>>,
    by_path: HashMap<(String, String, String), usize>,
    /// What was told of them in OpenAPI.
    pub documents: Documents,
}

impl Served {
    /// An entry as an object of this kind and version. What was stored before its schema last changed is read by the new one.
    pub fn read(&self, entry: &Entry) -> Value {
        let mut object = object::decode(entry);
        if let Some(form) = self.kind.form {
            (form.show)(&mut object);
            object["apiVersion"] = Value::from(self.kind.api_version());
        }
        if let Some(custom) = &self.custom {
            object["apiVersion"] = Value::from(self.kind.api_version());
            custom.show(entry, &mut object);
        }
        object
    }

    /// Takes from an object of a defined kind what its schema does not know.
    pub fn prune(&self, object: &mut Value) {
        if let Some(custom) = &self.custom {
            custom.structural.prune(object);
        }
    }

    /// Appends the metadata of an entry's object as a field of JSON. A kind that is kept in another form has the same.
    pub fn write_metadata(&self, out: &mut Vec<u8>, entry: &Entry) {
        object::write_metadata(out, &self.head, entry);
    }

    /// Appends an entry's object as JSON; `typed` says whether apiVersion and kind are written.
    pub fn write(&self, out: &mut Vec<u8>, entry: &Entry, typed: bool) {
        match &self.custom {
            Some(custom) if custom.is_read(entry) => {
                let mut object = self.read(entry);
                logic::patch::order::alphabetical(&mut object);
                out.extend(crate::answer::json(&object));
            }
            None if self.kind.form.is_some() => {
                let mut object = self.read(entry);
                if let Some(message) = self.message {
                    logic::patch::order::ordered(message, &mut object);
                }
                if let Some(fields) = object.as_object_mut().filter(|_| !typed) {
                    fields.retain(|name, _| name != "apiVersion" && name != "kind");
                }
                out.extend(crate::answer::json(&object));
            }
            _ => object::write(out, &self.head, entry, typed),
        }
    }
}

impl Registry {
    /// A registry of built-in `kinds`.
    pub fn new(kinds: impl Iterator<Item = Kind>) -> Self {
        Self::default().with(kinds.map(|kind| (kind, None)).collect())
    }

    /// This registry, and after it further kinds with what defines them.
    #[must_use]
    pub fn with(&self, kinds: Vec<(Kind, Option<Custom>)>) -> Self {
        self.with_served(compile(kinds))
    }

    /// This registry, and after it further kinds that are ready.
    #[must_use]
    pub fn with_served(&self, kinds: Vec<Arc<Served>>) -> Self {
        let mut served = self.served.clone();
        served.extend(kinds);
        let path = |kind: &Kind| (kind.group.clone(), kind.version.clone(), kind.plural.clone());
        let by_path = served.iter().enumerate().map(|(at, served)| (path(&served.kind), at)).collect();
        Self { served, by_path, documents: Documents::default() }
    }

    /// The kind at a path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Served>> {
        let at = self.by_path.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))?;
        self.served.get(*at)
    }

    /// All kinds.
    pub fn all(&self) -> &[Arc<Served>] {
        &self.served
    }

    /// Every group and version, in the order of discovery: ours first.
    pub fn group_versions(&self) -> Vec<(&str, &str)> {
        let mut found: Vec<(&str, &str)> = Vec::new();
        for served in &self.served {
            let pair = (served.kind.group.as_str(), served.kind.version.as_str());
            if !found.contains(&pair) {
                found.push(pair);
            }
        }
        found
    }
}

/// Makes kinds ready to be served.
pub fn compile(kinds: Vec<(Kind, Option<Custom>)>) -> Vec<Arc<Served>> {
    let described: Vec<(&Kind, Option<&Custom>)> = kinds.iter().map(|(kind, custom)| (kind, custom.as_ref())).collect();
    let (schemas, mut definitions) = schemas(&described);
    let mut compiler = Compiler::default();
    let of_custom = |custom: &Custom, schema: &Value| custom.envelope(schema, &definitions);
    let checked: Vec<Value> = described
        .iter()
        .zip(&schemas)
        .map(|((_, custom), schema)| custom.map_or_else(|| schema.clone(), |custom| of_custom(custom, schema)))
        .collect();
    let roots: Vec<usize> = checked.iter().map(|schema| compiler.compile(schema, &definitions)).collect();
    core_types::annotate(&mut definitions);
    let mut shapes = shape::Compiler::default();
    let shape_roots: Vec<usize> = schemas.iter().map(|schema| shapes.compile(schema, &definitions)).collect();
    let (schema_at, shape_at) = (compiler.finish(), shapes.finish());
    let compiled = kinds.into_iter().zip(roots.into_iter().zip(shape_roots));
    let served = |((kind, custom), (root, shape_root)): ((Kind, Option<Custom>), (usize, usize))| {
        let (head, hash) = (object::head(&kind), crate::discovery::storage_hash(&kind));
        let message = core_types::message_of(&kind.group, &kind.kind).filter(|_| kind.keeps_unknown);
        let blank = message.map(core_types::blank).unwrap_or_default();
        let protobuf = message.is_some();
        // Definitions are filled in, and told, by rules of their own.
        let message = message.filter(|_| !model::custom_resource_definition::is_definition(&kind));
        Arc::new(Served { message, protobuf, blank, schema: schema_at(root), shape: shape_at(shape_root), head, hash, kind, custom })
    };
    compiled.map(served).collect()
}

/// The schema of each kind, and the definitions that they refer to.
pub fn schemas(kinds: &[(&Kind, Option<&Custom>)]) -> (Vec<Value>, Map<String, Value>) {
    let mut generator = SchemaGenerator::new(SchemaSettings::openapi3());
    let schema = |(kind, custom): &(&Kind, Option<&Custom>)| match custom {
        Some(custom) => custom.described(kind, &mut generator),
        None => (kind.schema)(&mut generator).to_value(),
    };
    let schemas = kinds.iter().map(schema).collect();
    (schemas, generator.take_definitions(true))
}
