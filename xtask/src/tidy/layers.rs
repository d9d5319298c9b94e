//! The table of layers in ARCHITECTURE.md, against what the crates really import.

use anyhow::{Context, Result};

use super::Finding;
use super::markdown::{quoted, rows, section};
use super::metadata::Package;
use super::repository::Repository;

/// The one crate that may name adapters.
const BINARY: &str = "conductor";

/// A row of the table.
#[derive(Debug)]
struct Layer<'a> {
    /// `None` stands beside the layers and is imported by nobody.
    number: Option<u8>,
    name: &'a str,
    may_import: Vec<&'a str>,
    /// Its adapters: features that are off until the binary turns them on.
    adapters: Vec<&'a str>,
}

fn table(repository: &Repository) -> Result<Vec<Layer<'_>>> {
    let page = repository.text("ARCHITECTURE.md")?;
    rows(section(page, "Layers")?).iter().map(|row| layer(row)).collect()
}

fn layer<'a>(row: &[&'a str]) -> Result<Layer<'a>> {
    let [number, name, _, may_import, adapters] = row else {
        anyhow::bail!("ARCHITECTURE.md: a row of the table of layers has {} columns, not 5: {row:?}", row.len());
    };
    let name = quoted(name).into_iter().next().context("ARCHITECTURE.md: a row of the table of layers names no crate")?;
    Ok(Layer { number: number.parse().ok(), name, may_import: quoted(may_import), adapters: quoted(adapters) })
}

/// What crates import that they may not, and rows that contradict the order of the layers.
pub fn imports(repository: &Repository) -> Result<Vec<Finding>> {
    let table = table(repository)?;
    let mut findings = upward(&table);
    for package in repository.metadata.ours() {
        match table.iter().find(|layer| layer.name == package.name) {
            Some(layer) => findings.extend(forbidden_imports(package, layer, &table)),
            None => findings.push(Finding::new(&package.name, "has no row in ARCHITECTURE.md's table of layers")),
        }
    }
    let missing = table.iter().filter(|layer| !repository.metadata.ours().any(|package| package.name == layer.name));
    findings.extend(missing.map(|layer| Finding::new("ARCHITECTURE.md", format!("the crate {} does not exist", layer.name))));
    Ok(findings)
}

/// Rows that allow a crate to import one that is not below it.
fn upward(table: &[Layer<'_>]) -> Vec<Finding> {
    let number = |name: &str| table.iter().find(|layer| layer.name == name).and_then(|layer| layer.number);
    let mut findings = Vec::new();
    for layer in table {
        let own = layer.number.unwrap_or(u8::MAX);
        for name in layer.may_import.iter().filter(|name| number(name).is_none_or(|below| below >= own)) {
            findings.push(Finding::new("ARCHITECTURE.md", format!("{} may import {name}, which is no lower layer", layer.name)));
        }
    }
    findings
}

fn forbidden_imports(package: &Package, layer: &Layer<'_>, table: &[Layer<'_>]) -> Vec<Finding> {
    let ours = package.dependencies.iter().filter(|dependency| !dependency.is_dev() && table.iter().any(|l| l.name == dependency.name));
    let forbidden = ours.filter(|dependency| !layer.may_import.contains(&dependency.name.as_str()));
    forbidden.map(|dependency| Finding::new(&package.name, format!("imports {}, which its layer may not", dependency.name))).collect()
}

/// Adapters that are turned on elsewhere than by the binary, or by default. A crate's own tests may have its adapters.
pub fn adapters(repository: &Repository) -> Result<Vec<Finding>> {
    let table = table(repository)?;
    let mut findings = Vec::new();
    for layer in &table {
        for adapter in &layer.adapters {
            for package in repository.metadata.ours() {
                findings.extend(turned_on(package, layer.name, adapter));
            }
        }
    }
    Ok(findings)
}

fn turned_on(package: &Package, owner: &str, adapter: &str) -> Option<Finding> {
    let finding = |what: String| Some(Finding::new(&package.name, what));
    if package.name == owner {
        if !package.features.contains_key(adapter) {
            return finding(format!("has no feature {adapter}, though ARCHITECTURE.md says so"));
        }
        let default = package.features.get("default").is_some_and(|on| on.iter().any(|feature| feature == adapter));
        return if default { finding(format!("turns {adapter} on by default")) } else { None };
    }
    let path = format!("{owner}/{adapter}");
    let by_dependency =
        package.dependencies.iter().any(|dependency| dependency.name == owner && dependency.features.iter().any(|f| f == adapter));
    let by_feature = package.features.values().flatten().any(|feature| *feature == path || *feature == path.replacen('/', "?/", 1));
    match (package.name == BINARY, by_dependency || by_feature) {
        (false, true) => finding(format!("turns {path} on, which only {BINARY} may")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_allows_an_import_upward_is_found() {
        let row = ["1", "`logic`", "", "`store`", "–"];
        let table = [layer(&row).unwrap(), layer(&["2", "`store`", "", "`logic`", "`embedded`"]).unwrap()];
        assert_eq!(upward(&table), [Finding::new("ARCHITECTURE.md", "logic may import store, which is no lower layer")]);
        assert!(layer(&["1", "`logic`"]).is_err());
    }
}
