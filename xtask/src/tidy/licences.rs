//! What is built into Conductor, or while building it: its licences, and what it needs to be built.

use std::collections::BTreeMap;

use anyhow::Result;

use super::Finding;
use super::repository::Repository;

/// Licences, by their SPDX names, that let us give Conductor away under ours.
const ALLOWED: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Packages that need more than gcc, or libraries of the system.
const HEAVY: &[&str] = &["aws-lc-rs", "aws-lc-sys", "bindgen", "cmake", "libz-ng-sys", "openssl-sys", "zstd-sys"];

pub fn check(repository: &Repository) -> Result<Vec<Finding>> {
    let packages = repository.metadata.shipped();
    let refused = packages.into_iter().filter(|package| !package.license.as_deref().is_some_and(is_allowed));
    Ok(refused
        .map(|package| {
            let licence = package.license.as_deref().unwrap_or("none");
            Finding::new(format!("{} {}", package.name, package.version), format!("its licence is {licence}, which is not on the list"))
        })
        .collect())
}

/// The packages that are built in, by licence.
pub fn list(repository: &Repository) -> BTreeMap<String, Vec<String>> {
    let mut list: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in repository.metadata.shipped() {
        let licence = package.license.clone().unwrap_or_else(|| "none".to_owned());
        list.entry(licence).or_default().push(format!("{} {}", package.name, package.version));
    }
    list.values_mut().for_each(|packages| packages.sort());
    list
}

pub fn toolchain(repository: &Repository) -> Result<Vec<Finding>> {
    let packages = repository.metadata.shipped();
    let heavy = packages.into_iter().filter(|package| HEAVY.contains(&package.name.as_str()));
    let why = "needs a C toolchain beyond gcc; `cargo tree -i` says who asks for it";
    Ok(heavy.map(|package| Finding::new(format!("{} {}", package.name, package.version), why)).collect())
}

/// Whether an SPDX expression can be satisfied with licences on the list. The old sign for OR, a slash, is read too.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any_of(&mut rest) && rest.is_empty()
}

fn any_of(rest: &mut &[&str]) -> bool {
    let mut allowed = all_of(rest);
    while let ["OR", after @ ..] = rest {
        *rest = after;
        allowed |= all_of(rest);
    }
    allowed
}

fn all_of(rest: &mut &[&str]) -> bool {
    let mut allowed = one(rest);
    while let ["AND", after @ ..] = rest {
        *rest = after;
        allowed &= one(rest);
    }
    allowed
}

fn one(rest: &mut &[&str]) -> bool {
    match rest {
        ["(", after @ ..] => {
            *rest = after;
            let allowed = any_of(rest);
            let [")", after @ ..] = rest else { return false };
            *rest = after;
            allowed
        }
        [name, "WITH", exception, after @ ..] => {
            *rest = after;
            ALLOWED.contains(&format!("{name} WITH {exception}").as_str())
        }
        [name, after @ ..] => {
            *rest = after;
            ALLOWED.contains(name)
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_allowed_when_some_choice_of_it_is() {
        for (expression, allowed) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("MPL-2.0", false),
            ("MPL-2.0 OR MIT", true),
            ("MPL-2.0 AND MIT", false),
            ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("GPL-2.0 WITH Classpath-exception-2.0", false),
            ("(MIT", false),
            ("MIT MIT", false),
            ("", false),
        ] {
            assert_eq!(is_allowed(expression), allowed, "{expression}");
        }
    }
}
