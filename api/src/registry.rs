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

use crate::object;

/// A kind, ready to be served.
pub struct Served {
    /// What it is.
    pub kind: Kind,
    /// What its objects may hold.
    pub schema: Schema,
    /// The kind in the table of Kubernetes' own types.
    pub message: Option<&'static str>,
    /// How their parts are merged and owned.
    pub shape: Shape,
    /// How its stored objects begin.
    pub head: String,
    /// What discovery tells clients of its storage.
    pub hash: String,
}

/// All kinds that are served, in the order of discovery.
pub struct Registry {
    served: Vec<Arc<Served>>,
    by_path: HashMap<(String, String, String), usize>,
}

impl Registry {
    /// A registry of `kinds`.
    pub fn new(kinds: impl Iterator<Item = Kind>) -> Self {
        let kinds: Vec<Kind> = kinds.collect();
        let (schemas, mut definitions) = schemas(&kinds);
        let mut compiler = Compiler::default();
        let roots: Vec<usize> = schemas.iter().map(|schema| compiler.compile(schema, &definitions)).collect();
        core_types::annotate(&mut definitions);
        let mut shapes = shape::Compiler::default();
        let shape_roots: Vec<usize> = schemas.iter().map(|schema| shapes.compile(schema, &definitions)).collect();
        let (schema_at, shape_at) = (compiler.finish(), shapes.finish());
        let served: Vec<Arc<Served>> = kinds
            .into_iter()
            .zip(roots.into_iter().zip(shape_roots))
            .map(|(kind, (root, shape_root))| {
                let (head, hash) = (object::head(&kind), crate::discovery::storage_hash(&kind));
                let message = core_types::message_of(&kind.group, &kind.kind).filter(|_| kind.keeps_unknown);
                Arc::new(Served { message, schema: schema_at(root), shape: shape_at(shape_root), head, hash, kind })
            })
            .collect();
        let path = |kind: &Kind| (kind.group.clone(), kind.version.clone(), kind.plural.clone());
        let by_path = served.iter().enumerate().map(|(at, served)| (path(&served.kind), at)).collect();
        Self { served, by_path }
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

/// The schema of each kind, and the definitions that they refer to.
pub fn schemas(kinds: &[Kind]) -> (Vec<Value>, Map<String, Value>) {
    let mut generator = SchemaGenerator::new(SchemaSettings::openapi3());
    let schemas = kinds.iter().map(|kind| (kind.schema)(&mut generator).to_value()).collect();
    (schemas, generator.take_definitions(true))
}
