//! The labels, annotations and finalizers that we set.

/// Annotation: why a controller last wrote this object ([`crate::Cause`] as JSON).
pub const CAUSE: &str = "conductor.dev/cause";
/// Annotation of a Pod: where each of its ports is reached, a JSON object from port name to address.
pub const ENDPOINTS: &str = "conductor.dev/endpoints";
/// Annotation of a Service: the Revision whose configuration was put back.
pub const ROLLBACK_OF: &str = "conductor.dev/rollback-of";
/// What the annotations of a Node begin with that say what one of its runtimes can do; the runtime's name follows.
pub const CAPABILITIES: &str = "capabilities.conductor.dev/";
/// Label of a Pod, Revision and RouteTable: the Service it belongs to.
pub const SERVICE: &str = "conductor.dev/service";
/// Label of a Pod: the part of the Service it is a copy of.
pub const PART: &str = "conductor.dev/part";
/// Label of a Pod: what the copy was made from. Copies with equal hashes are interchangeable.
pub const PART_HASH: &str = "conductor.dev/part-hash";
/// Label of a Pod: the Revision that it was started for. Later ones may have adopted it.
pub const REVISION: &str = "conductor.dev/revision";
/// The finalizer of a Namespace until everything in it is gone.
pub const NAMESPACE_FINALIZER: &str = "kubernetes";
/// The type of a Secret that is a bearer token: it holds the token's hash, the user and the groups that it stands for, and its end.
pub const TOKEN_TYPE: &str = "conductor.dev/token";
/// The namespace of such Secrets.
pub const TOKEN_NAMESPACE: &str = "kube-system";
/// How the names of such Secrets begin; the token's id follows.
pub const TOKEN_PREFIX: &str = "conductor-token-";
/// Label of a binding: the id of the token that it was made with.
pub const TOKEN: &str = "conductor.dev/token";
