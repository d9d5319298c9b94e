//! Lease: who leads, as other people's operators write it down.

use k8s_openapi::api::coordination::v1::Lease;

use crate::{Column, Kind};

/// The kind, for [`crate::KINDS`].
pub fn kind() -> Kind {
    Kind {
        keeps_unknown: true,
        columns: vec![
            Column::name(),
            Column::path("Holder", "string", ".spec.holderIdentity", "Who holds the Lease just now, as it named itself"),
            Column::age(),
        ],
        validate: problems,
        ..Kind::new("coordination.k8s.io", "v1", "Lease", "leases", |generator| generator.subschema_for::<Lease>())
    }
}

fn problems(object: &serde_json::Value) -> Vec<crate::Problem> {
    let spec = &object["spec"];
    let bad = |field: &str, least: i64, words: &str| {
        let number = spec[field].as_i64().filter(|number| *number < least)?;
        Some(crate::Problem::invalid(format!("spec.{field}"), format!("{number}: must be {words}")))
    };
    [bad("leaseDurationSeconds", 1, "greater than 0"), bad("leaseTransitions", 0, "greater than or equal to 0")]
        .into_iter()
        .flatten()
        .collect()
}
