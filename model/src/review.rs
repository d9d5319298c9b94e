//! Reviews: questions about who somebody is and what they may do. They are answered, and not kept.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};
use k8s_openapi::api::authorization::v1::{LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::{Kind, Scope, Source};

/// The API group of questions about who somebody is.
pub const AUTHENTICATION: &str = "authentication.k8s.io";
/// The API group of questions about what somebody may do.
pub const AUTHORIZATION: &str = "authorization.k8s.io";

/// Whether somebody may do something in one namespace.
pub fn local_subject_access_review() -> Kind {
    let kind = review::<LocalSubjectAccessReview>(AUTHORIZATION, "LocalSubjectAccessReview", "localsubjectaccessreviews");
    Kind { scope: Scope::Namespaced, ..kind }
}

/// Whether the caller may do something.
pub fn self_subject_access_review() -> Kind {
    review::<SelfSubjectAccessReview>(AUTHORIZATION, "SelfSubjectAccessReview", "selfsubjectaccessreviews")
}

/// All that the caller may do in a namespace.
pub fn self_subject_rules_review() -> Kind {
    review::<SelfSubjectRulesReview>(AUTHORIZATION, "SelfSubjectRulesReview", "selfsubjectrulesreviews")
}

/// Whether somebody may do something.
pub fn subject_access_review() -> Kind {
    review::<SubjectAccessReview>(AUTHORIZATION, "SubjectAccessReview", "subjectaccessreviews")
}

/// Who the caller is.
pub fn self_subject_review() -> Kind {
    review::<SelfSubjectReview>(AUTHENTICATION, "SelfSubjectReview", "selfsubjectreviews")
}

/// Who a token is of.
pub fn token_review() -> Kind {
    review::<TokenReview>(AUTHENTICATION, "TokenReview", "tokenreviews")
}

fn review<T: JsonSchema>(group: &str, kind: &str, plural: &str) -> Kind {
    let schema: fn(&mut SchemaGenerator) -> Schema = |generator| generator.subschema_for::<T>();
    Kind { scope: Scope::Cluster, source: Source::Answered, keeps_unknown: true, ..Kind::new(group, "v1", kind, plural, schema) }
}
