//! What may be given away: nobody can make or bind a role that allows more than they may do themselves.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Rule;
use crate::selector::LabelSelector;

/// Rules that would fall into more parts than this are compared whole, so that no role takes long to check.
const PARTS_MAX: usize = 50_000;

/// What of `wanted` is not allowed by `held`, part by part and put together again. Empty when all is held.
pub fn beyond(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let mut left: Vec<Rule> = Vec::new();
    for rule in wanted.iter().filter(|wanted| !held.iter().any(|held| held.covers(wanted))) {
        if parts_of(rule) > PARTS_MAX {
            left.push(rule.clone());
        } else {
            left.extend(parts(rule).filter(|part| !held.iter().any(|held| held.covers(part))));
        }
    }
    compact(left)
}

/// The rules of somebody who may do everything.
pub fn everything() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    [Rule { verbs: all(), groups: all(), resources: all(), ..Rule::default() }, Rule { verbs: all(), paths: all(), ..Rule::default() }]
}

/// Rules in the form in which Kubernetes shows them in refusals: one a line.
pub fn shown(rules: &[Rule]) -> String {
    let mut lines: Vec<String> = rules.iter().map(line).collect();
    lines.sort();
    lines.join("\n")
}

/// The rules of a role that is made of others: of every ClusterRole that one of its selectors picks, by name, each rule once.
/// `None` for a role that is not made of others.
pub fn aggregated<'a>(role: &Value, all: impl Iterator<Item = &'a Value>) -> Option<Vec<Value>> {
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array().filter(|selectors| !selectors.is_empty())?;
    let selectors: Vec<LabelSelector> = selectors.iter().filter_map(LabelSelector::from_object).collect();
    let name = |role: &Value| role["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let picked = all.filter(|other| name(other) != name(role) && selectors.iter().any(|selector| selector.matches(other)));
    let by_name: BTreeMap<String, &Value> = picked.map(|other| (name(other), other)).collect();
    let mut rules: Vec<Value> = Vec::new();
    for rule in by_name.values().flat_map(|other| other["rules"].as_array().into_iter().flatten()) {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    Some(rules)
}

fn parts_of(rule: &Rule) -> usize {
    let resources = [rule.groups.len(), rule.resources.len(), rule.verbs.len(), rule.names.len().max(1)];
    let product = resources.into_iter().fold(1_usize, usize::saturating_mul);
    product.saturating_add(rule.paths.len().saturating_mul(rule.verbs.len()))
}

/// A rule as rules of one verb on one resource of one group, with at most one name, or on one path.
fn parts(rule: &Rule) -> impl Iterator<Item = Rule> {
    let one = |text: &String| vec![text.clone()];
    let names: Vec<Vec<String>> = if rule.names.is_empty() { vec![Vec::new()] } else { rule.names.iter().map(one).collect() };
    let mut found = Vec::new();
    for verb in &rule.verbs {
        for group in &rule.groups {
            for resource in &rule.resources {
                for names in &names {
                    let (groups, resources) = (one(group), one(resource));
                    found.push(Rule { verbs: one(verb), groups, resources, names: names.clone(), paths: Vec::new() });
                }
            }
        }
        found.extend(rule.paths.iter().map(|path| Rule { verbs: one(verb), paths: one(path), ..Rule::default() }));
    }
    found.into_iter()
}

/// Rules that differ in their verbs alone become one.
fn compact(rules: Vec<Rule>) -> Vec<Rule> {
    let mut found: Vec<Rule> = Vec::new();
    let mut at: BTreeMap<Rule, usize> = BTreeMap::new();
    for rule in rules {
        let subject = Rule { verbs: Vec::new(), ..rule.clone() };
        match at.get(&subject).and_then(|at| found.get_mut(*at)) {
            Some(there) => there.verbs.extend(rule.verbs),
            None => {
                at.insert(subject, found.len());
                found.push(rule);
            }
        }
    }
    found
}

fn line(rule: &Rule) -> String {
    let fields = [
        ("APIGroups", &rule.groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.paths),
        ("ResourceNames", &rule.names),
        ("Verbs", &rule.verbs),
    ];
    let shown = fields.into_iter().filter(|(_, texts)| !texts.is_empty()).map(|(name, texts)| {
        let quoted: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
        format!("{name}:[{}]", quoted.join(" "))
    });
    format!("{{{}}}", shown.collect::<Vec<_>>().join(", "))
}
