//! What a server can be told, and by whom: the built-in value, `conductor.toml`, `conf.d/*.toml` beside it, the environment,
//! flags. Each wins over those before it. One name makes all three: `client-requests`, `CONDUCTOR_CLIENT_REQUESTS` and
//! `--client-requests`.
//!
//! [`known`] is the table of all settings. [`Effective`] is what holds and where each value came from; [`Settings`] the same
//! for the program.

mod files;
mod flags;
mod known;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ipnet::IpNet;

use crate::paths;

pub use flags::Flags;
pub use known::{SETTINGS, Setting, Value};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// A file, and the line in it, counted from 1.
    File(PathBuf, usize),
    /// A variable of the environment.
    Environment(String),
    /// A flag of the command.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(file, line) => write!(f, "{}:{line}", file.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// What holds: a value for each setting that has one, in the order of the table.
#[derive(Debug, Clone)]
pub struct Effective {
    values: BTreeMap<&'static str, (Value, Source)>,
}

/// What holds, as the program uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Directory of everything the server keeps.
    pub data: PathBuf,
    /// Where the control API listens.
    pub api: SocketAddr,
    /// By which names others reach the control API.
    pub api_names: Vec<String>,
    /// Where Services are reached.
    pub http: SocketAddr,
    /// Bearer tokens in a file.
    pub token_file: Option<PathBuf>,
    /// Days that a token lasts at most.
    pub token_days: u32,
    /// The file of the keys that Secrets are sealed with.
    pub secrets_key: PathBuf,
    /// Requests that one user may make a second.
    pub client_requests: u32,
    /// Connections that each door of the API serves at a time.
    pub api_connections: usize,
    /// Connections that the router serves at a time.
    pub http_connections: usize,
    /// The most headers of a request or an answer that the router carries.
    pub http_headers: usize,
    /// The most bytes of them.
    pub http_header_bytes: usize,
    /// How long a Service may take to begin an answer; zero for ever.
    pub http_answer_timeout: Duration,
    /// Proxies that the router believes.
    pub trusted_proxies: Vec<IpNet>,
    /// Which requests the router logs: `off`, `failures` or `all`.
    pub access_log: String,
    /// Bytes at which the audit log is set aside.
    pub audit_bytes: u64,
    /// Audit logs that are kept.
    pub audit_files: u32,
    /// Bytes at which the record of refusals is set aside.
    pub audit_refused_bytes: u64,
    /// Whether each line of the audit log names the one before it.
    pub audit_chain: bool,
    /// Whether reads of Secrets are kept.
    pub audit_secret_reads: bool,
    /// What is logged.
    pub log_level: String,
    /// How it is logged: `auto`, `text` or `json`.
    pub log_format: String,
    /// The container engine's address.
    pub engine: String,
}

/// The variables of the environment that begin with `CONDUCTOR_`, and the few others that count.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// Of this process.
    pub fn read() -> Self {
        let counts = |name: &str| name.starts_with("CONDUCTOR_") || name == "DOCKER_HOST";
        let named = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self(named.filter(|(name, _)| counts(name)).collect())
    }

    /// The text of a variable; one that is empty says nothing. Errors: it is not text.
    fn text(&self, name: &str) -> Result<Option<&str>> {
        match self.0.get(name).filter(|value| !value.is_empty()) {
            None => Ok(None),
            Some(value) => value.to_str().map(Some).with_context(|| format!("{name}: expected text in UTF-8")),
        }
    }

    /// Variables that look like a setting and are none, each with the setting that was most likely meant.
    pub fn slips(&self) -> Vec<(String, String)> {
        const PREFIX: &str = "CONDUCTOR_";
        let variables: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
        let endings = || variables.iter().filter_map(|name| name.strip_prefix(PREFIX)).chain(["CONFIG"]);
        // What pods are told, and tests, is near to nothing here.
        let unknown = self.0.keys().filter_map(|name| name.strip_prefix(PREFIX)).filter(|ending| !endings().any(|known| known == *ending));
        let slip = |ending: &str| Some((format!("{PREFIX}{ending}"), format!("{PREFIX}{}", logic::nearest::nearest(ending, endings())?)));
        unknown.filter_map(slip).collect()
    }
}

impl Effective {
    /// Reads all that counts. Errors: a file that is named and not there; one that others may write; text that is no TOML;
    /// a key that is no setting; a value of the wrong form. Each names its place.
    pub fn read(flags: &Flags, environment: &Environment) -> Result<Self> {
        let mut values: BTreeMap<&'static str, (Value, Source)> = BTreeMap::new();
        for setting in SETTINGS {
            if let Some(value) = (setting.default)() {
                values.insert(setting.name, (value, Source::Default));
            }
        }
        // The name that everybody knows for it; ours wins.
        if let Some(address) = environment.text("DOCKER_HOST")? {
            values.insert("engine", (Value::Word(address.into()), Source::Environment("DOCKER_HOST".into())));
        }
        let named = flags.config().map(Path::to_owned).or(environment.text("CONDUCTOR_CONFIG")?.map(PathBuf::from));
        for (setting, value, source) in files::read(named.as_deref(), &paths::default_config_file())? {
            values.insert(setting.name, (value, source));
        }
        for setting in SETTINGS {
            let variable = setting.variable();
            if let Some(text) = environment.text(&variable)? {
                let value = setting.form.parse(text).with_context(|| variable.clone())?;
                values.insert(setting.name, (value, Source::Environment(variable)));
            }
            if let Some(text) = flags.get(setting.name) {
                let flag = format!("--{}", setting.name);
                let value = setting.form.parse(text).with_context(|| WrongFlag(flag.clone()))?;
                values.insert(setting.name, (value, Source::Flag(flag)));
            }
        }
        Ok(Self { values })
    }

    /// Each setting with its value, where it has one, and where that came from.
    pub fn rows(&self) -> impl Iterator<Item = (&'static Setting, Option<&(Value, Source)>)> {
        SETTINGS.iter().map(|setting| (setting, self.values.get(setting.name)))
    }

    /// The settings whose values differ in another reading.
    pub fn changed(&self, other: &Self) -> Vec<&'static Setting> {
        let value = |all: &Self, name: &str| all.values.get(name).map(|(value, _)| value.clone());
        SETTINGS.iter().filter(|setting| value(self, setting.name) != value(other, setting.name)).collect()
    }

    /// The same for the program.
    pub fn settings(&self) -> Settings {
        let data = self.path("data").unwrap_or_else(paths::default_data_dir);
        Settings {
            api: self.address("api"),
            api_names: match self.value("api-name") {
                Some(Value::Word(text)) => known::names(text).map(str::to_owned).collect(),
                _ => Vec::new(),
            },
            http: self.address("http"),
            token_file: self.path("token-file"),
            secrets_key: self.path("secrets-key").unwrap_or_else(|| data.join("secrets.key")),
            token_days: u32::try_from(self.count("token-days")).unwrap_or(u32::MAX),
            client_requests: u32::try_from(self.count("client-requests")).unwrap_or(u32::MAX),
            api_connections: usize::try_from(self.count("api-connections")).unwrap_or(usize::MAX),
            http_connections: usize::try_from(self.count("http-connections")).unwrap_or(usize::MAX),
            http_headers: usize::try_from(self.count("http-headers")).unwrap_or(usize::MAX),
            http_header_bytes: usize::try_from(self.count("http-header-bytes")).unwrap_or(usize::MAX),
            http_answer_timeout: self.duration("http-answer-timeout"),
            trusted_proxies: self.networks("trusted-proxies"),
            access_log: self.word("access-log"),
            audit_bytes: self.count("audit-bytes"),
            audit_files: u32::try_from(self.count("audit-files")).unwrap_or(u32::MAX),
            audit_refused_bytes: self.count("audit-refused-bytes"),
            audit_chain: self.word("audit-chain") == "on",
            audit_secret_reads: self.word("audit-secret-reads") == "on",
            log_level: self.word("log-level"),
            log_format: self.word("log-format"),
            engine: self.word("engine"),
            data,
        }
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name).map(|(value, _)| value)
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name).and_then(|value| if let Value::Path(path) = value { Some(path.clone()) } else { None })
    }

    fn address(&self, name: &str) -> SocketAddr {
        let found = self.value(name).and_then(|value| if let Value::Address(address) = value { Some(*address) } else { None });
        found.expect("the table gives it a default, and a value has the form of its setting")
    }

    fn count(&self, name: &str) -> u64 {
        let found = self.value(name).and_then(|value| if let Value::Count(count) = value { Some(*count) } else { None });
        found.expect("the table gives it a default, and a value has the form of its setting")
    }

    fn duration(&self, name: &str) -> Duration {
        let found = self.value(name).and_then(|value| if let Value::Duration(duration) = value { Some(duration.get()) } else { None });
        found.expect("the table gives it a default, and a value has the form of its setting")
    }

    fn networks(&self, name: &str) -> Vec<IpNet> {
        let found = self.value(name).and_then(|value| if let Value::Networks(networks) = value { Some(networks.clone()) } else { None });
        found.unwrap_or_default()
    }

    fn word(&self, name: &str) -> String {
        let found = self.value(name).and_then(|value| if let Value::Word(word) = value { Some(word.clone()) } else { None });
        found.expect("the table gives it a default, and a value has the form of its setting")
    }
}

/// A flag whose value has not the form of its setting: the command was written wrongly, whereas a file was not.
#[derive(Debug)]
struct WrongFlag(String);

impl fmt::Display for WrongFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the settings are refused because of how the command was written.
pub fn is_of_a_flag(error: &anyhow::Error) -> bool {
    error.downcast_ref::<WrongFlag>().is_some()
}

#[cfg(test)]
mod tests;
