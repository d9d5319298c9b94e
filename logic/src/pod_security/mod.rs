//! How much the pods of a namespace may ask of the machine: Kubernetes' Pod Security levels, as labels of a Namespace say.
//!
//! A namespace without a label is `baseline`, but for those of the administrator, which are `privileged`
//! (docs/decisions/0060). What is checked, and in which words it is told, is Kubernetes'; beyond that, `restricted` takes no
//! programs of the machine, which have no image and no filter of system calls.

mod baseline;
mod restricted;
mod spec;

use serde_json::Value;

use model::pod::fields::Class;
use model::{Problem, ProblemKind};
use spec::PodView;

/// The labels of a Namespace begin with this.
pub const PREFIX: &str = "pod-security.kubernetes.io/";
/// The namespaces of the administrator.
const PRIVILEGED: [&str; 2] = ["default", "kube-system"];

/// A level; a later one allows less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything is allowed.
    Privileged,
    /// What is known to lead to rights on the machine is refused.
    Baseline,
    /// What is known to make a pod hard to break out of is demanded.
    Restricted,
}

impl Level {
    /// All, by name.
    const ALL: [(&str, Self); 3] = [("privileged", Self::Privileged), ("baseline", Self::Baseline), ("restricted", Self::Restricted)];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
    }

    /// Its name, as labels have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// What becomes of a pod that is beyond a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is refused.
    Enforce,
    /// Whoever sends it is warned.
    Warn,
    /// It is noted in the audit log.
    Audit,
}

impl Mode {
    /// Its name, as labels have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
            Self::Audit => "audit",
        }
    }
}

/// A level, in the version of Kubernetes that it is meant in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    /// The level.
    pub level: Level,
    /// `1.N`; the newest without.
    minor: Option<u32>,
}

impl Bar {
    /// What a namespace says for a mode. Nothing is implied for `warn` and `audit` but what is enforced.
    /// A label that is no level, which only an older store can have, counts as the strictest.
    pub fn of(namespace: &Value, mode: Mode) -> Self {
        let label = |suffix: &str| namespace["metadata"]["labels"][format!("{PREFIX}{}{suffix}", mode.name())].as_str();
        let level = match label("") {
            Some(name) => Level::named(name).unwrap_or(Level::Restricted),
            None if mode == Mode::Enforce => implied(namespace["metadata"]["name"].as_str().unwrap_or_default()),
            None => Level::Privileged,
        };
        Self { level, minor: label("-version").and_then(minor) }
    }

    fn is_since(self, minor: u32) -> bool {
        self.minor.is_none_or(|own| own >= minor)
    }

    /// What a pod violates, in Kubernetes' words; `None` for nothing.
    pub fn violations(self, metadata: &Value, spec: &Value) -> Option<String> {
        let pod = PodView { metadata, spec };
        let mut found = match self.level {
            Level::Privileged => return None,
            Level::Baseline => baseline::violations(&pod, self),
            Level::Restricted => baseline::violations_also_restricted(&pod, self),
        };
        if self.level == Level::Restricted {
            found.extend(restricted::violations(&pod, self));
            let programs = if Class::of(spec) == Some(Class::Process) { pod.names(|_| true) } else { Vec::new() };
            found.extend(spec::of_containers(&programs, "must have an image").map(|why| format!("programs of the machine ({why})")));
        }
        (!found.is_empty()).then(|| format!("{self}: {}", found.join(", ")))
    }
}

impl std::fmt::Display for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.minor {
            Some(minor) => write!(f, "\"{}:v1.{minor}\"", self.level.name()),
            None => write!(f, "\"{}:latest\"", self.level.name()),
        }
    }
}

/// Problems of the labels of a Namespace.
pub fn label_problems(namespace: &Value) -> Vec<Problem> {
    let mut found = Vec::new();
    for mode in [Mode::Enforce, Mode::Warn, Mode::Audit] {
        let label = |suffix: &str| format!("{PREFIX}{}{suffix}", mode.name());
        let said = |name: &str| namespace["metadata"]["labels"][name].as_str().map(str::to_owned);
        let (level, version) = (label(""), label("-version"));
        let field = |name: &str| format!("metadata.labels[{name}]");
        if let Some(name) = said(&level).filter(|name| Level::named(name).is_none()) {
            let detail = format!("{name:?}: must be one of privileged, baseline, restricted");
            found.push(Problem::new(ProblemKind::Invalid, field(&level), detail));
        }
        if let Some(text) = said(&version).filter(|text| text != "latest" && minor(text).is_none()) {
            let detail = format!("{text:?}: must be \"latest\" or \"v1.x\"");
            found.push(Problem::new(ProblemKind::Invalid, field(&version), detail));
        }
    }
    found
}

fn minor(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("v1.")?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| is_number)
}

/// The level of a namespace that says none.
fn implied(name: &str) -> Level {
    if PRIVILEGED.contains(&name) { Level::Privileged } else { Level::Baseline }
}

/// The templates that an object makes pods from, each with its field: `spec.parts[0].pod`.
pub fn templates(group: &str, kind: &str, object: &Value) -> Vec<(String, Value)> {
    let one = |field: &str, template: &Value| if template.is_object() { vec![(field.to_owned(), template.clone())] } else { Vec::new() };
    match (group, kind) {
        ("batch", "Job") => one("spec.template", &object["spec"]["template"]),
        ("batch", "CronJob") => one("spec.jobTemplate.spec.template", &object["spec"]["jobTemplate"]["spec"]["template"]),
        ("conductor.dev", "Service" | "Revision") => {
            let parts = object["spec"]["parts"].as_array().into_iter().flatten().enumerate();
            parts.map(|(at, part)| (format!("spec.parts[{at}].pod"), part["pod"].clone())).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
