//! Tokens of ServiceAccounts: JSON Web Tokens that this server signs (ES256) and that end by themselves.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use model::Kind;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{User, account_of};
use crate::status::Result;
use crate::{Server, object};

/// Who signs, and the audience that this API is.
pub const ISSUER: &str = "https://conductor";
/// How far another clock may be ahead, in seconds.
const LEEWAY_SECONDS: i64 = 10;

/// The key that signs the tokens of ServiceAccounts.
pub struct AccountKey {
    pair: EcdsaKeyPair,
    id: String,
}

/// Bytes that are no P-256 key in PKCS #8.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a P-256 key in PKCS #8")]
pub struct NotAKey;

impl AccountKey {
    /// A new key, to be kept. Errors: the system has no random numbers.
    pub fn generate() -> std::result::Result<Vec<u8>, NotAKey> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        document.map(|document| document.as_ref().to_vec()).map_err(|_| NotAKey)
    }

    /// A key that was kept.
    pub fn from_pkcs8(bytes: &[u8]) -> std::result::Result<Self, NotAKey> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes, &SystemRandom::new()).map_err(|_| NotAKey)?;
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(pair.public_key().as_ref()));
        Ok(Self { pair, id })
    }

    /// A token that says `claims`. Errors: the system has no random numbers.
    pub fn sign(&self, claims: &Value) -> std::result::Result<String, NotAKey> {
        let header = json!({"alg": "ES256", "kid": self.id, "typ": "JWT"});
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).map_err(|_| NotAKey)?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }

    /// What a token says, when this key signed it.
    pub fn verify(&self, token: &str) -> Option<Value> {
        let (text, signature) = token.rsplit_once('.')?;
        let (header, claims) = text.split_once('.')?;
        let json = |text: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(text).ok()?).ok();
        if json(header)?["alg"] != "ES256" {
            return None;
        }
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref());
        public.verify(text.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        json(claims)
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Whether a text has the form of such a token.
pub fn looks_like_one(token: &str) -> bool {
    token.starts_with("eyJ") && token.matches('.').count() == 2
}

/// What is left of the audiences asked for, for a token that is for this API alone; `None` when nothing is.
pub fn for_us(asked: &[String]) -> Option<Vec<String>> {
    match asked {
        [] => Some(vec![ISSUER.to_owned()]),
        asked => asked.iter().any(|audience| audience == ISSUER).then(|| vec![ISSUER.to_owned()]),
    }
}

/// The ServiceAccount that a token is of, and for which of the audiences asked for; `None` when it is not to be believed, is over,
/// or the account, or the object that it is bound to, is gone.
pub async fn user_of(server: &Server, token: &str, audiences: &[String]) -> Result<Option<(User, Vec<String>)>> {
    let Some(claims) = server.access.load().account_key.as_ref().and_then(|key| key.verify(token)) else { return Ok(None) };
    let Some(audiences) = believed(&claims, audiences, server.clock.now(), server.token_life().as_secs()) else { return Ok(None) };
    let Some((namespace, name)) = claims["sub"].as_str().and_then(account_of) else { return Ok(None) };
    let about = &claims["kubernetes.io"];
    if !is_there(server, &model::service_account::kind(), namespace, name, &about["serviceaccount"]["uid"]).await? {
        return Ok(None);
    }
    let mut user = User::account(namespace, name);
    user.uid = about["serviceaccount"]["uid"].as_str().unwrap_or_default().to_owned();
    if let Some(id) = claims["jti"].as_str() {
        user.extra.insert("authentication.kubernetes.io/credential-id".into(), vec![format!("JTI={id}")]);
    }
    for (field, kind) in [("pod", model::pod::kind()), ("secret", model::secret::kind()), ("node", model::node::kind())] {
        let bound = &about[field];
        if !bound.is_object() {
            continue;
        }
        let bound_name = bound["name"].as_str().unwrap_or_default();
        if !is_there(server, &kind, namespace, bound_name, &bound["uid"]).await? {
            return Ok(None);
        }
        for (part, value) in [("name", bound_name), ("uid", bound["uid"].as_str().unwrap_or_default())] {
            user.extra.insert(format!("authentication.kubernetes.io/{field}-{part}"), vec![value.to_owned()]);
        }
    }
    Ok(Some((user, audiences)))
}

async fn is_there(server: &Server, kind: &Kind, namespace: &str, name: &str, uid: &Value) -> Result<bool> {
    let entry = server.store.get(&object::key(kind, Some(namespace), name), None).await?;
    Ok(entry.is_some_and(|entry| {
        let metadata = &object::decode(&entry)["metadata"];
        metadata["uid"] == *uid && (kind.kind != "ServiceAccount" || metadata["deletionTimestamp"].is_null())
    }))
}

/// The audiences asked for that a token is for, when it is ours and in its time.
fn believed(claims: &Value, asked: &[String], now: Timestamp, life: i64) -> Option<Vec<String>> {
    let now = now.as_second();
    let in_time = claims["exp"].as_i64().is_some_and(|end| now < end)
        && claims["nbf"].as_i64().is_none_or(|begin| now + LEEWAY_SECONDS >= begin)
        && claims["iat"].as_i64().is_none_or(|made| now < made.saturating_add(life))
        && claims["iss"] == ISSUER;
    let ours = [ISSUER.to_owned()];
    let asked = if asked.is_empty() { &ours[..] } else { asked };
    let audiences = claims["aud"].as_array()?;
    let both: Vec<String> = asked.iter().filter(|audience| audiences.contains(&json!(audience))).cloned().collect();
    (in_time && !both.is_empty()).then_some(both)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> AccountKey {
        AccountKey::from_pkcs8(&AccountKey::generate().unwrap()).unwrap()
    }

    #[test]
    fn only_what_the_key_signed_is_read() {
        let (ours, other) = (key(), key());
        let claims = json!({"sub": "x"});
        let token = ours.sign(&claims).unwrap();
        assert!(looks_like_one(&token));
        assert_eq!(ours.verify(&token), Some(claims));
        assert_eq!(other.verify(&token), None);
        let parts: Vec<&str> = token.split('.').collect();
        let forged = URL_SAFE_NO_PAD.encode(json!({"sub": "y"}).to_string());
        let unsigned = URL_SAFE_NO_PAD.encode(json!({"alg": "none"}).to_string());
        for bad in [
            format!("{}.{forged}.{}", parts[0], parts[2]),
            format!("{unsigned}.{}.", parts[1]),
            format!("{unsigned}.{}.{}", parts[1], parts[2]),
            "a.b.c".to_owned(),
            String::new(),
        ] {
            assert_eq!(ours.verify(&bad), None, "{bad}");
        }
        assert!(AccountKey::from_pkcs8(b"no key").is_err());
    }

    #[test]
    fn a_token_is_believed_in_its_time_and_by_its_audience() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let at = now.as_second();
        let claims = |from: i64, to: i64, audience: &str| json!({"iss": ISSUER, "nbf": at + from, "exp": at + to, "aud": [audience]});
        let asked = ["vault".to_owned()];
        assert_eq!(believed(&claims(0, 60, ISSUER), &[], now, 100).unwrap(), [ISSUER]);
        assert_eq!(believed(&claims(0, 60, "vault"), &asked, now, 100).unwrap(), asked);
        assert!(believed(&claims(0, 60, "vault"), &[], now, 100).is_none());
        assert!(believed(&claims(0, 60, ISSUER), &asked, now, 100).is_none());
        assert!(believed(&claims(-60, 0, ISSUER), &[], now, 100).is_none());
        assert!(believed(&claims(60, 120, ISSUER), &[], now, 100).is_none());
        let old = |ago: i64| json!({"iss": ISSUER, "iat": at - ago, "exp": at + 60, "aud": [ISSUER]});
        assert!(believed(&old(99), &[], now, 100).is_some());
        assert!(believed(&old(100), &[], now, 100).is_none(), "no token outlives the longest life");
        assert!(believed(&json!({}), &[], now, 100).is_none());
    }
}
