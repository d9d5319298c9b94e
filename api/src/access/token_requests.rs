//! `POST …/serviceaccounts/NAME/token`: a token of a ServiceAccount, for a while and for an audience.

use axum::response::Response;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use model::{Kind, Problem};
use serde_json::{Value, json};

use super::account_tokens::ISSUER;
use super::{ACCOUNT, AccountKey};
use crate::serve::Call;
use crate::status::{Result, Status};
use crate::{addressed, admit, answer, object};

const GROUP: &str = model::review::AUTHENTICATION;
const SECONDS_DEFAULT: i64 = 3_600;
const SECONDS_MIN: i64 = 600;
const SECONDS_MAX: i64 = 1 << 32;

/// What a token is asked to be.
struct Wanted {
    audiences: Vec<String>,
    seconds: i64,
    /// Kind, name and uid of what the token is bound to; the uid may be empty.
    bound: Option<(String, String, String)>,
}

/// Makes a token. Errors: 404 for an account, or an object to bind it to, that is not there; 409 for another of its name; 422.
pub async fn create(call: &Call) -> Result<Response> {
    let (kind, name, accepted) = (call.kind(), call.name()?, call.accepted()?);
    let dry_run = call.query.dry_run("CreateOptions")?;
    let request = addressed::TOKEN_REQUEST.read(call)?;
    addressed::check_namespace(&call.place, &request)?;
    let named = &request["metadata"]["name"];
    if named.as_str().is_some_and(|named| !named.is_empty() && named != name) {
        return Err(invalid(Problem::invalid("metadata.name", format!("{named}: must match the service account name if specified"))));
    }
    let mut wanted = Wanted::read(&request["spec"])?;
    wanted.shorten(call);
    let namespace = call.place.namespace.as_deref().unwrap_or_default();
    let account = read(call, kind, namespace, name).await?;
    let now = call.server.clock.now();
    let mut about = json!({"namespace": namespace, "serviceaccount": {"name": name, "uid": account["metadata"]["uid"]}});
    if let Some((field, value)) = bound(call, &wanted, namespace, name).await? {
        about[field] = value;
    }
    let access = call.server.access.load_full();
    let Some(key) = access.account_key.as_ref().filter(|_| !dry_run) else {
        return if dry_run {
            Ok(answered(call, accepted, &wanted, "", now))
        } else {
            Err(Status::unavailable("this server signs no tokens"))
        };
    };
    let token = sign(key, &wanted, &about, namespace, name, now)?;
    Ok(answered(call, accepted, &wanted, &token, now))
}

fn sign(key: &AccountKey, wanted: &Wanted, about: &Value, namespace: &str, name: &str, now: Timestamp) -> Result<String> {
    let at = now.as_second();
    let claims = json!({
        "aud": wanted.audiences, "exp": at + wanted.seconds, "iat": at, "iss": ISSUER, "jti": uuid::Uuid::new_v4().to_string(),
        "kubernetes.io": about, "nbf": at, "sub": format!("{ACCOUNT}{namespace}:{name}"),
    });
    key.sign(&claims).map_err(|_| Status::internal("a token could not be signed"))
}

fn answered(call: &Call, accepted: answer::Accepted, wanted: &Wanted, token: &str, now: Timestamp) -> Response {
    let ends = now.checked_add(SignedDuration::from_secs(wanted.seconds)).unwrap_or(now);
    let mut spec = json!({"audiences": wanted.audiences, "expirationSeconds": wanted.seconds, "boundObjectRef": null});
    if let Some((kind, name, uid)) = &wanted.bound {
        spec["boundObjectRef"] = json!({"kind": kind, "apiVersion": "v1", "name": name, "uid": uid});
    }
    let metadata = json!({"name": call.place.name, "namespace": call.place.namespace, "creationTimestamp": admit::timestamp(now), "uid": uuid::Uuid::new_v4().to_string()});
    let status = json!({"token": token, "expirationTimestamp": admit::timestamp(ends)});
    let body = json!({"kind": "TokenRequest", "apiVersion": format!("{GROUP}/v1"), "metadata": metadata, "spec": spec, "status": status});
    answer::value(accepted.format, StatusCode::CREATED, &body)
}

impl Wanted {
    /// No token lasts longer than tokens may; as in Kubernetes, one that would is shortened, and that is said.
    fn shorten(&mut self, call: &Call) {
        let longest = call.server.token_life().as_secs();
        if self.seconds > longest {
            let text = format!(
                "spec.expirationSeconds: requested expiration of {} seconds shortened to {longest} seconds, as the setting token-days says",
                self.seconds
            );
            call.tell(|aside| aside.warnings.push(text));
            self.seconds = longest;
        }
    }

    fn read(spec: &Value) -> Result<Self> {
        let texts = spec["audiences"].as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned));
        let mut audiences: Vec<String> = texts.collect();
        if audiences.is_empty() {
            audiences.push(ISSUER.to_owned());
        }
        let seconds = if spec["expirationSeconds"].is_null() { SECONDS_DEFAULT } else { spec["expirationSeconds"].as_i64().unwrap_or(0) };
        let field = "spec.expirationSeconds";
        if seconds < SECONDS_MIN {
            return Err(invalid(Problem::invalid(field, format!("{seconds}: may not specify a duration less than 10 minutes"))));
        }
        if seconds > SECONDS_MAX {
            return Err(invalid(Problem::invalid(field, format!("{seconds}: may not specify a duration larger than 2^32 seconds"))));
        }
        let reference = &spec["boundObjectRef"];
        let text = |field: &str| reference[field].as_str().unwrap_or_default().to_owned();
        let bound = reference.is_object().then(|| (text("kind"), text("name"), text("uid")));
        Ok(Self { audiences, seconds, bound })
    }
}

/// What the token says of the object that it is bound to.
async fn bound(call: &Call, wanted: &Wanted, namespace: &str, account: &str) -> Result<Option<(&'static str, Value)>> {
    let Some((kind, name, uid)) = &wanted.bound else { return Ok(None) };
    let (field, kind) = match kind.as_str() {
        "Pod" => ("pod", model::pod::kind()),
        "Secret" => ("secret", model::secret::kind()),
        "Node" => ("node", model::node::kind()),
        other => {
            let why = format!("cannot bind token to object of type {other}: expected Pod, Secret or Node");
            return Err(invalid(Problem::invalid("spec.boundObjectRef.kind", why)));
        }
    };
    let there = read(call, &kind, namespace, name).await?;
    let found = there["metadata"]["uid"].as_str().unwrap_or_default();
    if !uid.is_empty() && uid != found {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Status::conflict_because(&kind, name, &why));
    }
    let of_pod = there["spec"]["serviceAccountName"].as_str().unwrap_or("default");
    if field == "pod" && of_pod != account {
        let why = format!("cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name: {of_pod:?}");
        return Err(invalid(Problem::invalid("spec.boundObjectRef.name", why)));
    }
    Ok(Some((field, json!({"name": name, "uid": found}))))
}

async fn read(call: &Call, kind: &Kind, namespace: &str, name: &str) -> Result<Value> {
    let key = object::key(kind, Some(namespace), name);
    let entry = call.server.store.get(&key, None).await?.ok_or_else(|| Status::not_found(kind, name))?;
    Ok(object::decode(&entry))
}

fn invalid(problem: Problem) -> Status {
    Status::invalid(GROUP, "TokenRequest", "", &[problem])
}
