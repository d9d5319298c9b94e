//! Bearer tokens that administrators make: Secrets of a type of their own in `kube-system`, which hold a hash and no token.
//!
//! A token is `ID.SECRET`; its Secret is found by the id, so that a request costs one lookup. Who may write such a Secret says who
//! its bearer is, so only who may impersonate that user may write one, and no user or group of the system can be named.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use model::Problem;
use model::labels::{TOKEN_NAMESPACE, TOKEN_PREFIX, TOKEN_TYPE};
use serde_json::{Value, json};

use super::{User, hash};
use crate::status::{Result, Status};
use crate::{Server, object};

/// Whose a token is; `None` when it is none of these, has expired, or names somebody who cannot be named.
pub async fn user_of(server: &Server, token: &str) -> Result<Option<User>> {
    let Some((id, _)) = token.split_once('.').filter(|(id, _)| is_id(id)) else { return Ok(None) };
    let key = object::key(&model::secret::kind(), Some(TOKEN_NAMESPACE), &format!("{TOKEN_PREFIX}{id}"));
    let Some(entry) = server.store.get(&key, None).await? else { return Ok(None) };
    Ok(bearer(&object::decode(&entry), token, server.clock.now(), server.token_life()))
}

/// Bounds how long the token of a new Secret lasts: where it does not say, as long as tokens may. Errors: 422 where it says longer.
pub fn bound(server: &Server, secret: &mut Value) -> Result<()> {
    if !is_one(secret) {
        return Ok(());
    }
    let longest = server.clock.now().saturating_add(server.token_life()).unwrap_or(Timestamp::MAX);
    let expires = text(secret, "expires");
    if expires.is_empty() && secret["data"].is_object() {
        secret["data"]["expires"] = json!(STANDARD.encode(longest.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()));
    } else if expires.parse::<Timestamp>().is_ok_and(|end| end > longest) {
        let days = server.token_life().as_hours() / 24;
        let why = format!("{expires}: a token lasts at most {days} days here, as the setting token-days says");
        return Err(Status::invalid(
            "",
            "Secret",
            secret["metadata"]["name"].as_str().unwrap_or_default(),
            &[Problem::invalid("data.expires", why)],
        ));
    }
    Ok(())
}

/// Whether an object is the Secret of a token.
pub fn is_one(object: &Value) -> bool {
    object["type"] == TOKEN_TYPE
}

/// The user and the groups that a token's Secret names.
pub fn subject(secret: &Value) -> (String, Vec<String>) {
    let groups = text(secret, "groups");
    let groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty()).map(str::to_owned).collect();
    (text(secret, "user"), groups)
}

fn bearer(secret: &Value, token: &str, now: Timestamp, life: SignedDuration) -> Option<User> {
    let expires = text(secret, "expires");
    let is_past = |text: &str| text.parse::<Timestamp>().map_or(true, |end| end <= now);
    // One that was made before there was a longest life, or changed since, ends with it too.
    let made = secret["metadata"]["creationTimestamp"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let outlived = made.and_then(|made| made.checked_add(life).ok()).is_some_and(|end| end <= now);
    let is_over = outlived || (!expires.is_empty() && is_past(&expires));
    let (name, groups) = subject(secret);
    let is_ours = |name: &String| name.starts_with("system:");
    let expected: String = hash(token).iter().map(|byte| format!("{byte:02x}")).collect();
    if !is_one(secret) || is_over || name.is_empty() || is_ours(&name) || groups.iter().any(is_ours) || text(secret, "hash") != expected {
        return None;
    }
    Some(User { uid: secret["metadata"]["uid"].as_str().unwrap_or_default().to_owned(), ..User::new(&name, groups) })
}

fn text(secret: &Value, field: &str) -> String {
    let bytes = secret["data"][field].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

fn is_id(id: &str) -> bool {
    (1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "abc123.secret";

    fn secret(change: impl FnOnce(&mut Value)) -> Option<User> {
        let hash: String = hash(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut secret = json!({"type": TOKEN_TYPE, "metadata": {"uid": "u"}, "data": {
            "hash": STANDARD.encode(hash), "user": STANDARD.encode("jane"), "groups": STANDARD.encode("crew, ops")}});
        change(&mut secret);
        bearer(&secret, TOKEN, "2026-01-02T03:04:05Z".parse().unwrap(), SignedDuration::from_hours(48))
    }

    #[test]
    fn a_token_is_good_while_its_secret_says_so() {
        let user = secret(|_| ()).unwrap();
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("jane", "u"));
        assert_eq!(user.groups, ["crew", "ops", "system:authenticated"]);
        let expires = |text: &str| secret(|secret| secret["data"]["expires"] = json!(STANDARD.encode(text)));
        assert!(expires("2026-01-02T03:04:06Z").is_some());
        assert!(expires("2026-01-02T03:04:05Z").is_none());
        assert!(expires("soon").is_none());
        let made = |text: &str| secret(|secret| secret["metadata"]["creationTimestamp"] = json!(text));
        assert!(made("2025-12-31T03:04:06Z").is_some());
        assert!(made("2025-12-31T03:04:05Z").is_none(), "no token outlives the longest life");
        assert!(secret(|secret| secret["type"] = json!("Opaque")).is_none());
        assert!(secret(|secret| secret["data"]["hash"] = json!(STANDARD.encode("other"))).is_none());
        assert!(secret(|secret| secret["data"]["user"] = json!("")).is_none());
        assert!(secret(|secret| secret["data"]["user"] = json!(STANDARD.encode("system:admin"))).is_none());
        assert!(secret(|secret| secret["data"]["groups"] = json!(STANDARD.encode("system:masters"))).is_none());
    }
}
