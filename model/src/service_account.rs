//! ServiceAccount: a name for a program, so that it may be given rights.

use k8s_openapi::api::core::v1::ServiceAccount;

use crate::Kind;

/// The account of Pods that name none; every namespace has it.
pub const DEFAULT: &str = "default";

/// The kind, for [`crate::KINDS`].
pub fn kind() -> Kind {
    Kind {
        short_names: vec!["sa".into()],
        subresources: vec![("token".into(), vec!["create".into()])],
        ..Kind::new("", "v1", "ServiceAccount", "serviceaccounts", |generator| generator.subschema_for::<ServiceAccount>())
    }
}
