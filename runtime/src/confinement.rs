//! As whom a container runs, what it may do, and what it calls the world.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// As whom a container runs and what it may do, from its own `securityContext` and its pod's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Confinement {
    /// The user's number; its image's user without.
    pub user: Option<i64>,
    /// The group's number.
    pub group: Option<i64>,
    /// Further groups.
    pub groups: Vec<i64>,
    /// Capabilities beside those that the engine gives, without `CAP_`.
    pub added: Vec<String>,
    /// Capabilities of those that it is not given; `ALL` for all.
    pub dropped: Vec<String>,
    /// Settings of the kernel for its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// What else is said.
    pub rules: Vec<Rule>,
}

/// One thing that is said of what a container may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// It is not started as root.
    NonRoot,
    /// It may do what root of the machine may.
    Privileged,
    /// Its root file system cannot be written to.
    ReadOnlyRoot,
    /// Its programs gain no privileges beyond those that it was started with.
    NoNewPrivileges,
    /// Its calls of the kernel are not filtered.
    SeccompUnconfined,
    /// It sees the processes of the machine.
    HostProcesses,
    /// It shares the machine's IPC.
    HostIpc,
}

/// What a container calls itself and others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Names {
    /// Its host name; the pod's name without.
    pub hostname: Option<String>,
    /// Further lines of its file of hosts: an address with its names.
    pub hosts: Vec<(String, Vec<String>)>,
    /// How it looks up names, where that is not as the engine does.
    pub dns: Option<Dns>,
}

/// How names are looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Whether this is all, and nothing of the machine's own is kept.
    pub is_all: bool,
    /// Addresses of servers.
    pub nameservers: Vec<String>,
    /// Domains in which short names are sought.
    pub searches: Vec<String>,
    /// Options of the resolver, `ndots:2`.
    pub options: Vec<String>,
}

impl Confinement {
    /// Whether a rule is said.
    pub fn has(&self, rule: Rule) -> bool {
        self.rules.contains(&rule)
    }

    /// Whether the image's own user must be known.
    pub fn asks_for_image_user(&self) -> bool {
        self.user.is_none() && (self.has(Rule::NonRoot) || self.group.is_some())
    }

    /// The user and group as an engine takes them, given the image's own user; `None` leaves it to the image.
    /// Errors: why it may not be started as that user, in a sentence.
    pub fn user(&self, of_image: &str) -> Result<Option<String>, String> {
        let name = of_image.split(':').next().unwrap_or_default();
        if self.has(Rule::NonRoot) {
            match (self.user, name) {
                (Some(0), _) => return Err("a user other than 0, for runAsNonRoot is true".into()),
                (Some(_), _) => {}
                (None, "" | "root") => return Err("runAsUser, for the image's user is root".into()),
                (None, name) => match name.parse::<u32>() {
                    Ok(0) => return Err("runAsUser, for the image's user is root".into()),
                    Ok(_) => {}
                    Err(_) => return Err(format!("runAsUser, for the image's user {name:?} is a name, and may be root's")),
                },
            }
        }
        let user = self.user.map(|user| user.to_string());
        Ok(match (user, self.group) {
            (Some(user), Some(group)) => Some(format!("{user}:{group}")),
            (Some(user), None) => Some(user),
            (None, Some(group)) => Some(format!("{}:{group}", if name.is_empty() { "0" } else { name })),
            (None, None) => None,
        })
    }
}

impl Dns {
    /// With what the machine's own `resolv.conf` says, unless this is all: its entries come first, as in Kubernetes.
    #[must_use]
    pub fn over(&self, machine: &str) -> Self {
        if self.is_all {
            return self.clone();
        }
        let mut all = Self::default();
        for line in machine.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                // What listens on the machine's loopback is not reached from a container.
                Some("nameserver") => all.nameservers.extend(words.filter(|address| !address.starts_with("127.") && address != "::1")),
                Some("search") => all.searches = words.collect(),
                Some("options") => all.options.extend(words),
                _ => {}
            }
        }
        let add = |list: &mut Vec<String>, more: &[String]| {
            let new: Vec<String> = more.iter().filter(|word| !list.contains(word)).cloned().collect();
            list.extend(new);
        };
        add(&mut all.nameservers, &self.nameservers);
        add(&mut all.searches, &self.searches);
        let name = |option: &str| option.split(':').next().unwrap_or_default().to_owned();
        all.options.retain(|option| !self.options.iter().any(|own| name(own) == name(option)));
        add(&mut all.options, &self.options);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_the_pods_or_the_images_and_never_root_where_that_is_ruled_out() {
        let check = |user: Option<i64>, group: Option<i64>, rules: &[Rule], image: &str, expected: Result<Option<&str>, &str>| {
            let found = Confinement { user, group, rules: rules.to_vec(), ..Confinement::default() }.user(image);
            match expected {
                Ok(expected) => assert_eq!(found, Ok(expected.map(ToOwned::to_owned)), "{user:?} {group:?} {image}"),
                Err(words) => assert!(found.as_ref().is_err_and(|why| why.contains(words)), "{found:?}"),
            }
        };
        let non_root = &[Rule::NonRoot];
        check(None, None, &[], "root", Ok(None));
        check(Some(7), None, &[], "root", Ok(Some("7")));
        check(Some(7), Some(8), non_root, "", Ok(Some("7:8")));
        check(None, Some(8), &[], "", Ok(Some("0:8")));
        check(None, Some(8), &[], "web:web", Ok(Some("web:8")));
        check(None, None, non_root, "1000:0", Ok(None));
        check(Some(0), None, non_root, "1000", Err("other than 0"));
        for image in ["", "root", "0", "0:5", "root:5"] {
            check(None, None, non_root, image, Err("image's user is root"));
        }
        check(None, None, non_root, "web", Err("\"web\" is a name"));
    }

    #[test]
    fn names_are_looked_up_as_the_machine_does_and_as_the_pod_adds() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let own = Dns { is_all: false, nameservers: words(&["10.9.9.9"]), searches: words(&["a", "b"]), options: words(&["ndots:2"]) };
        let machine = "# c\nnameserver 127.0.0.53\nnameserver 8.8.8.8\nsearch a\noptions ndots:5 edns0\n";
        let expected = Dns {
            is_all: false,
            nameservers: words(&["8.8.8.8", "10.9.9.9"]),
            searches: words(&["a", "b"]),
            options: words(&["edns0", "ndots:2"]),
        };
        assert_eq!(own.over(machine), expected);
        let all = Dns { is_all: true, ..own };
        assert_eq!(all.over(machine), all);
    }
}
