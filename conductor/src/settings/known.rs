//! All settings: one row each.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use ipnet::IpNet;

use crate::paths;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name in files; flags and variables are made from it.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// What its values look like.
    pub form: Form,
    /// Its value when nobody says anything; `None` when it then has none.
    pub default: fn() -> Option<Value>,
    /// Whether a change is taken over while the server runs.
    pub reloads: bool,
}

/// What values look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A file or directory.
    Path,
    /// An IP address and a port.
    Address,
    /// A whole number within bounds, inclusive.
    Count(u64, u64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// What is logged.
    LogLevel,
    /// Host names and IP addresses, with commas between them.
    Names,
    /// Any text.
    Text,
    /// IP addresses and ranges of them, as in `10.0.0.0/8`, parted by commas.
    Networks,
    /// A length of time.
    Duration,
}

/// A value that has the form of its setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of [`Form::Path`].
    Path(PathBuf),
    /// Of [`Form::Address`].
    Address(SocketAddr),
    /// Of [`Form::Count`].
    Count(u64),
    /// Of [`Form::Networks`].
    Networks(Vec<IpNet>),
    /// Of [`Form::Duration`].
    Duration(model::Duration),
    /// Of the others.
    Word(String),
}

impl Form {
    /// A value from text. Errors: it is of another form; both are named.
    pub fn parse(self, text: &str) -> Result<Value> {
        Ok(match self {
            Self::Path => Value::Path(text.into()),
            Self::Address => match text.parse() {
                Ok(address) => Value::Address(address),
                Err(_) => bail!("expected {self}, found {text:?}"),
            },
            Self::Count(least, most) => match text.parse() {
                Ok(count) if (least..=most).contains(&count) => Value::Count(count),
                _ => bail!("expected {self}, found {text:?}"),
            },
            Self::OneOf(words) if words.contains(&text) => Value::Word(text.into()),
            Self::LogLevel if is_level(text) => Value::Word(text.into()),
            Self::Text if !text.is_empty() => Value::Word(text.into()),
            Self::Names if names(text).all(is_name) => Value::Word(text.into()),
            Self::Networks => Value::Networks(networks(text).with_context(|| format!("expected {self}, found {text:?}"))?),
            Self::Duration => match text.parse() {
                Ok(duration) => Value::Duration(duration),
                Err(_) => bail!("expected {self}, found {text:?}"),
            },
            Self::OneOf(_) | Self::LogLevel | Self::Names | Self::Text => bail!("expected {self}, found {text:?}"),
        })
    }

    /// What stands for a value in help.
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::Path => "PATH",
            Self::Address => "HOST:PORT",
            Self::Count(..) => "COUNT",
            Self::OneOf(_) => "WORD",
            Self::LogLevel => "LEVEL",
            Self::Names => "NAMES",
            Self::Text => "TEXT",
            Self::Networks => "NETWORKS",
            Self::Duration => "DURATION",
        }
    }
}

/// Whether a text says what is logged. A single word must be a level: others would be taken for the name of a module.
fn is_level(text: &str) -> bool {
    let is_good = |part: &str| part.contains('=') || ["off", "error", "warn", "info", "debug", "trace"].contains(&part);
    text.split(',').all(|part| is_good(part.trim())) && text.parse::<tracing_subscriber::EnvFilter>().is_ok()
}

/// The names of a list.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

fn is_name(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || model::check_subdomain(text).is_empty()
}

/// Addresses and ranges. Errors: one of them is neither, named; a range with bits set beyond its length, which is most likely a slip.
fn networks(text: &str) -> Result<Vec<IpNet>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let network = |part: &str| {
        let found = part.parse::<IpAddr>().map(IpNet::from).or_else(|_| part.parse::<IpNet>());
        match found {
            Ok(network) if network.trunc() == network => Ok(network),
            Ok(network) => bail!("{part} is an address within {}: write one or the other", network.trunc()),
            Err(_) => bail!("{part} is no IP address and no range of them"),
        }
    };
    parts.map(network).collect()
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => f.write_str("a path"),
            Self::Address => f.write_str("an IP address and a port, such as \"127.0.0.1:6443\""),
            Self::Count(least, most) => write!(f, "a whole number from {least} to {most}"),
            Self::OneOf(words) => write!(f, "one of {}", words.join(", ")),
            Self::LogLevel => f.write_str("error, warn, info, debug or trace, or directives such as \"info,control=debug\""),
            Self::Names => f.write_str("host names or IP addresses, with commas between them, such as \"api.test,192.0.2.7\""),
            Self::Text => f.write_str("text"),
            Self::Networks => f.write_str("IP addresses and ranges of them, parted by commas, such as \"10.0.0.0/8, 192.0.2.7\""),
            Self::Duration => f.write_str("a length of time such as 500ms, 30s, 2m or 1h30m, at most 24h; 0s for none"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::Count(count) => count.fmt(f),
            Self::Networks(networks) => {
                let texts: Vec<String> = networks.iter().map(ToString::to_string).collect();
                f.write_str(&texts.join(", "))
            }
            Self::Duration(duration) => duration.fmt(f),
            Self::Word(word) => word.fmt(f),
        }
    }
}

impl Setting {
    /// The variable of the environment that sets it.
    pub fn variable(&self) -> String {
        format!("CONDUCTOR_{}", self.name.to_uppercase().replace('-', "_"))
    }
}

/// The setting of a name.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

const fn setting(name: &'static str, form: Form, default: fn() -> Option<Value>, about: &'static str) -> Setting {
    Setting { name, about, form, default, reloads: false }
}

impl Setting {
    const fn reloads(mut self) -> Self {
        self.reloads = true;
        self
    }
}

fn local(port: u16) -> Option<Value> {
    Some(Value::Address(SocketAddr::from(([127, 0, 0, 1], port))))
}

fn word(word: &str) -> Option<Value> {
    Some(Value::Word(word.into()))
}

/// All of them.
pub const SETTINGS: &[Setting] = &[
    setting("data", Form::Path, || Some(Value::Path(paths::default_data_dir())), "Directory of everything the server keeps"),
    setting("api", Form::Address, || local(6443), "Address of the control API (HTTPS); port 0 takes any free one"),
    setting(
        "api-name",
        Form::Names,
        || None,
        "Names and addresses by which others reach the control API, for its certificate; kubeconfigs name the first",
    ),
    setting("http", Form::Address, || local(8080), "Address at which Services are reached (HTTP); port 0 takes any free one"),
    setting("token-file", Form::Path, || None, "File of bearer tokens: lines of token,user,uid,\"group,group\"").reloads(),
    setting(
        "token-days",
        Form::Count(1, 36_500),
        || Some(Value::Count(365)),
        "Days that a token lasts at most, of people and of ServiceAccounts; older ones are refused",
    )
    .reloads(),
    setting(
        "secrets-key",
        Form::Path,
        || None,
        "File of the keys that Secrets are sealed with; secrets.key in the data directory without it",
    ),
    setting(
        "client-requests",
        Form::Count(1, 1_000_000),
        || Some(Value::Count(200)),
        "Requests that one user may make a second, over time; three times as many at once. Administrators may make any number",
    )
    .reloads(),
    setting(
        "api-connections",
        Form::Count(1, 1_000_000),
        || Some(Value::Count(4096)),
        "Connections to the control API at a time; as many again to its unix socket",
    ),
    setting("http-connections", Form::Count(1, 1_000_000), || Some(Value::Count(16_384)), "Connections to Services at a time"),
    setting(
        "http-headers",
        Form::Count(1, 10_000),
        || Some(Value::Count(200)),
        "The most headers of a request to a Service, and of its answer. A request with more is answered 431, an answer with more 502",
    ),
    setting(
        "http-header-bytes",
        Form::Count(8192, 1 << 20),
        || Some(Value::Count(64 << 10)),
        "The most bytes of all headers together of a request to a Service, and of its answer",
    ),
    setting(
        "http-answer-timeout",
        Form::Duration,
        || Some(Value::Duration(model::Duration::from_secs(60))),
        "How long a Service may take to begin an answer, where its route has no timeouts; 0s for ever",
    ),
    setting(
        "trusted-proxies",
        Form::Networks,
        || None,
        "Addresses and ranges of proxies before this server, such as 10.0.0.0/8, whose X-Forwarded-* and Forwarded are believed",
    ),
    setting(
        "access-log",
        Form::OneOf(&["off", "failures", "all"]),
        || word("failures"),
        "Which requests to Services are logged: those that could not be carried, all, or none",
    ),
    setting(
        "audit-bytes",
        Form::Count(0, 1 << 40),
        || Some(Value::Count(16 << 20)),
        "Size in bytes at which the audit log is set aside and a new one begun; 0 keeps no audit log",
    ),
    setting("audit-files", Form::Count(0, 1000), || Some(Value::Count(4)), "How many audit logs that were set aside are kept"),
    setting(
        "audit-refused-bytes",
        Form::Count(4096, 1 << 40),
        || Some(Value::Count(4 << 20)),
        "Size in bytes at which the record of refusals, audit-refused.log, is set aside; one that was is kept",
    ),
    setting(
        "audit-chain",
        Form::OneOf(&["off", "on"]),
        || word("on"),
        "Whether each line of the audit log names the one before it, so that `conductor audit verify` finds what was cut out",
    ),
    setting("audit-secret-reads", Form::OneOf(&["off", "on"]), || word("off"), "Whether reads of Secrets are kept, in audit-reads.log"),
    setting(
        "log-level",
        Form::LogLevel,
        || word("info"),
        "What is logged: error, warn, info, debug or trace, or directives such as info,control=debug",
    )
    .reloads(),
    setting(
        "log-format",
        Form::OneOf(&["auto", "text", "json"]),
        || word("auto"),
        "How it is logged: text, json, or auto: text on a terminal and JSON elsewhere",
    ),
    setting("engine", Form::Text, || word(runtime::docker::ADDRESS), "Address of the container engine; DOCKER_HOST says it too"),
];
