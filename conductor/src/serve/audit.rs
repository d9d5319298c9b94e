//! The records in the data directory: who changed what in `audit.log`, what was refused in `audit-refused.log`, who read Secrets in
//! `audit-reads.log`. A JSON object a line, in files of bounded size: what one holds cannot push out what another does.

mod chain;
mod fair;
mod intents;
mod log;

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use api::{AuditLog, Record};
use model::Clock;

pub use chain::verify;
use fair::Fair;
use intents::Intents;
use log::Log;

use crate::clock::WallClock;
use crate::settings::Settings;

/// The name of the record of changes.
pub const CHANGES: &str = "audit.log";
const REFUSALS: &str = "audit-refused.log";
const READS: &str = "audit-reads.log";

/// How much is kept of one record.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Size in bytes at which a log is set aside.
    pub bytes: u64,
    /// How many that were set aside are kept.
    pub files: u32,
    /// Whether each line names the one before it.
    pub chained: bool,
}

/// All records of a server.
pub struct Records {
    changes: Log,
    refusals: Log,
    reads: Option<Log>,
    intents: Intents,
    fair: Fair,
}

impl Records {
    /// Goes on with the records of a data directory. What a server before intended and never told of is told of now.
    /// Errors: they cannot be written.
    pub fn open(data: &Path, settings: &Settings) -> Result<Arc<Self>> {
        let changes = Bounds { bytes: settings.audit_bytes, files: settings.audit_files, chained: settings.audit_chain };
        let others = Bounds { bytes: settings.audit_refused_bytes, files: 1, chained: false };
        let records = Self {
            changes: Log::open(data.join(CHANGES), changes)?,
            refusals: Log::open(data.join(REFUSALS), others)?,
            reads: settings.audit_secret_reads.then(|| Log::open(data.join(READS), Bounds { chained: false, ..changes })).transpose()?,
            intents: Intents::open(data)?,
            fair: Fair::default(),
        };
        let told = log::tail(&data.join(CHANGES));
        for line in records.intents.left(&told) {
            records.changes.keep(line);
        }
        records.intents.clear();
        Ok(Arc::new(records))
    }

    /// Tells of something that was done otherwise than by a request for a resource.
    pub fn deed(&self, user: &str, verb: &str, resource: &str, name: Option<&str>, failed: bool) {
        self.changes.keep(api::deed(&WallClock as &dyn Clock, user, "", verb, resource, name, failed));
    }
}

impl AuditLog for Records {
    fn keep(&self, record: Record, by: &str, line: String) {
        match (record, &self.reads) {
            (Record::Change, _) => self.changes.keep(line),
            (Record::Read, Some(reads)) => reads.keep(line),
            _ => {
                if let Some(line) = self.fair.admit(by, line) {
                    self.refusals.keep(line);
                }
            }
        }
    }

    fn intend(&self, line: String) -> u64 {
        self.intents.begin(line)
    }

    fn settled(&self, intent: u64) {
        self.intents.end(intent);
    }

    fn reads(&self) -> bool {
        self.reads.is_some()
    }
}

/// Adds a field to a line of JSON.
fn with_field(line: &str, name: &str, value: &str) -> String {
    match line.strip_suffix('}') {
        Some("{") => format!("{{\"{name}\":{value}}}"),
        Some(open) => format!("{open},\"{name}\":{value}}}"),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests;
