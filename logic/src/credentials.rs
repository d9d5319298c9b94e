//! What the registries of images are shown: read from Secrets, and matched to an image as Kubernetes does.
//!
//! A key of such a Secret says which images its credentials are for: `registry.example:5000`, a path below it, `*` and `?`
//! within a label of the host, with or without a scheme and the `/v1/` or `/v2/` of an address.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Map, Value};

/// The registry of images that name none.
const HUB: &str = "docker.io";
/// What else it is called.
const HUB_OLD: &str = "index.docker.io";

/// Base64 with or without `=` at its end.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// Who we are to a registry. Its `Debug` says no secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credential {
    /// Which images it is for: a host, with port and path where the Secret says so.
    pub registry: String,
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
    /// A token that takes the place of user and password; may be empty.
    pub identity_token: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("registry", &self.registry).finish_non_exhaustive()
    }
}

/// The credentials in a Secret, and what is wrong with it. Nothing of what is secret is in the words.
pub fn read(secret: &Secret) -> (Vec<Credential>, Vec<String>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    match entries(secret) {
        Err(problem) => problems.push(problem),
        Ok((key, entries)) => {
            for (name, entry) in entries {
                let registry = key_of(&name);
                match credential(&registry, &entry) {
                    Ok(credential) => found.push(credential),
                    Err(expected) => problems.push(format!("data[{key}]: {registry}: expected {expected}")),
                }
            }
        }
    }
    (found, problems)
}

/// The credentials to try for an image, in this order: the key that says most first, and those of one key in the order given.
pub fn matching<'a>(image: &str, all: &'a [Credential]) -> Vec<&'a Credential> {
    let image = repository(image);
    let mut found: Vec<&Credential> = all.iter().filter(|credential| is_for(&credential.registry, &image)).collect();
    // Kubernetes' order: a longer path and a plain host come before a shorter path and a `*`.
    found.sort_by(|a, b| b.registry.cmp(&a.registry));
    found.dedup();
    found
}

/// The key of a Secret's data that counts, and what is in it, by registry. Errors: what is wrong.
fn entries(secret: &Secret) -> Result<(&'static str, Map<String, Value>), String> {
    let (key, shape) = match secret.type_.as_deref().unwrap_or("Opaque") {
        "kubernetes.io/dockerconfigjson" => (".dockerconfigjson", r#"{"auths": {"REGISTRY": {…}}}"#),
        "kubernetes.io/dockercfg" => (".dockercfg", r#"{"REGISTRY": {…}}"#),
        other => return Err(format!("type {other}: expected kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg")),
    };
    let bytes = secret.data.as_ref().and_then(|data| data.get(key)).ok_or_else(|| format!("data[{key}]: expected {shape}"))?;
    let mut config: Value = serde_json::from_slice(&bytes.0).map_err(|why| format!("data[{key}]: expected JSON: {why}"))?;
    let config = if key == ".dockercfg" { config } else { config.get_mut("auths").map(Value::take).unwrap_or_default() };
    match config {
        Value::Object(entries) => Ok((key, entries)),
        _ => Err(format!("data[{key}]: expected {shape}")),
    }
}

/// What an entry holds. Errors: what was expected of it.
fn credential(registry: &str, entry: &Value) -> Result<Credential, &'static str> {
    let text = |field: &str| match entry.get(field) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(_) => Err("username, password, auth and identitytoken to be text"),
    };
    let (mut username, mut password) = (text("username")?.to_owned(), text("password")?.to_owned());
    let (auth, identity_token) = (text("auth")?, text("identitytoken")?.to_owned());
    if !auth.is_empty() {
        let decoded = BASE64.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((user, pass)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
            return Err("auth to be user:password in base64");
        };
        (username, password) = (user.to_owned(), pass.to_owned());
    }
    if username.is_empty() && identity_token.is_empty() {
        return Err("username and password, auth, or identitytoken (a credsStore keeps them elsewhere)");
    }
    Ok(Credential { registry: registry.to_owned(), username, password, identity_token })
}

/// The host and path of a key, as images have them.
fn key_of(name: &str) -> String {
    let name = ["https://", "http://"].iter().find_map(|scheme| name.strip_prefix(scheme)).unwrap_or(name);
    let (host, path) = split_path(name);
    // An address may have a user and a password in it, which are not to be told.
    let host = host.rsplit('@').next().unwrap_or(host);
    let host = if host == HUB_OLD { HUB } else { host };
    let path = ["/v1", "/v2"]
        .iter()
        .find_map(|version| path.strip_prefix(version).filter(|rest| rest.is_empty() || rest.starts_with('/')))
        .unwrap_or(path);
    format!("{host}{}", if path == "/" { "" } else { path })
}

/// An image's host and path, without tag and digest, and with what Docker adds where it has no host.
fn repository(image: &str) -> String {
    let name = image.split('@').next().unwrap_or(image);
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let end = name.get(last..).and_then(|last| last.find(':')).map_or(name.len(), |colon| last + colon);
    let name = name.get(..end).unwrap_or(name);
    let (host, path) = match name.split_once('/') {
        Some((HUB_OLD, path)) => (HUB, path),
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => (HUB, name),
    };
    let library = if host == HUB && !path.contains('/') { "library/" } else { "" };
    format!("{host}/{library}{path}")
}

/// Whether a key is for an image: the same port, as many labels of which each matches, and a path that the image's begins with.
fn is_for(key: &str, image: &str) -> bool {
    let ((key, key_path), (image, path)) = (split_path(key), split_path(image));
    let ((key, key_port), (host, port)) = (split_port(key), split_port(image));
    key_port == port
        && path.starts_with(key_path)
        && key.split('.').count() == host.split('.').count()
        && key.split('.').zip(host.split('.')).all(|(pattern, label)| is_like(pattern, label))
}

fn split_path(name: &str) -> (&str, &str) {
    name.find('/').and_then(|slash| name.split_at_checked(slash)).unwrap_or((name, ""))
}

fn split_port(host: &str) -> (&str, &str) {
    host.rsplit_once(':').unwrap_or((host, ""))
}

/// Whether a label is as a pattern says, where `*` stands for anything and `?` for one character.
fn is_like(pattern: &str, label: &str) -> bool {
    let (mut pattern, mut rest) = (pattern.chars(), label.chars());
    // Where to go on when it does not fit: behind the last `*`, which then takes a character more.
    let mut star = None;
    loop {
        let at = rest.clone();
        match (pattern.next(), rest.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((pattern.clone(), at.clone()));
                rest = at;
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {}
            _ => {
                let Some((behind, taken)) = &mut star else { return false };
                if taken.next().is_none() {
                    return false;
                }
                (pattern, rest) = (behind.clone(), taken.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::*;

    fn secret(of_type: &str, key: &str, text: &str) -> Secret {
        let data = [(key.to_owned(), ByteString(text.into()))].into();
        Secret { type_: Some(of_type.into()), data: Some(data), ..Secret::default() }
    }

    fn config(auths: &Value) -> Secret {
        secret("kubernetes.io/dockerconfigjson", ".dockerconfigjson", &json!({"auths": auths}).to_string())
    }

    #[test]
    fn the_credentials_of_an_image_are_those_of_the_keys_that_match_the_most_specific_first() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("a.test/shop:7", &["a.test", "b.test"], &["a.test"]),
            ("a.test:5000/shop", &["a.test", "a.test:5000", "a.test:5001"], &["a.test:5000"]),
            ("a.test/shop", &["a.test:443"], &[]),
            ("127.0.0.1:5000/shop@sha256:ab", &["127.0.0.1:5000"], &["127.0.0.1:5000"]),
            ("localhost/shop", &["localhost", "docker.io"], &["localhost"]),
            ("a.test/team/shop", &["a.test", "a.test/team", "a.test/other"], &["a.test/team", "a.test"]),
            ("a.test/team/shop", &["a.test/team/shop/web", "a.test/team/"], &["a.test/team/"]),
            ("a.b.test/shop", &["*.b.test", "a.b.test", "*.test", "*"], &["a.b.test", "*.b.test"]),
            ("a1.b.test/shop", &["a?.b.test", "a??.b.test", "*1.*.t*t", "*2.b.test"], &["a?.b.test", "*1.*.t*t"]),
            ("a.b.test:5000/x", &["*.b.test", "*.b.test:5000", "*.*.*:5000/x"], &["*.b.test:5000", "*.*.*:5000/x"]),
            ("a.test/shop", &["https://a.test"], &["a.test"]),
            ("a.test/shop", &["http://a.test/"], &["a.test"]),
            ("a.test/shop", &["https://a.test/v1/"], &["a.test"]),
            ("a.test/shop", &["a.test/v2"], &["a.test"]),
            ("a.test/shop", &["a.test/v2/shop", "a.test/v20"], &["a.test/shop"]),
            ("a.test/shop", &["https://me:secret@a.test"], &["a.test"]),
            ("shop", &["https://index.docker.io/v1/"], &["docker.io"]),
            ("team/shop:7", &["docker.io/team", "index.docker.io", "team"], &["docker.io/team", "docker.io"]),
            ("docker.io/shop", &["docker.io/library", "docker.io/shop"], &["docker.io/library"]),
            ("index.docker.io/team/shop", &["docker.io"], &["docker.io"]),
            ("shop", &["a.test", "", "/", "*", "://"], &[]),
            ("", &["a.test"], &[]),
            ("é:", &["é"], &[]),
        ];
        for (image, keys, expected) in cases {
            let entry = |key: &&str| Credential { registry: key_of(key), username: "u".into(), ..Credential::default() };
            let all: Vec<Credential> = keys.iter().map(entry).collect();
            let found: Vec<&str> = matching(image, &all).into_iter().map(|credential| credential.registry.as_str()).collect();
            assert_eq!(found, *expected, "{image} and {keys:?}");
        }
    }

    #[test]
    fn credentials_of_one_key_are_tried_in_the_order_of_the_secrets_and_equal_ones_once() {
        let of = |username: &str| Credential { registry: "a.test".into(), username: username.into(), ..Credential::default() };
        let all = [of("z"), of("a"), of("a")];
        let found: Vec<&str> = matching("a.test/shop", &all).into_iter().map(|credential| credential.username.as_str()).collect();
        assert_eq!(found, ["z", "a"]);
    }

    #[test]
    fn what_a_secret_says_is_read() {
        let cases = [
            (json!({"username": "u", "password": "p", "email": "e"}), ("u", "p", "")),
            (json!({"auth": "dTpwOnE="}), ("u", "p:q", "")),
            (json!({"auth": "dTpwOnE"}), ("u", "p:q", "")),
            (json!({"username": "old", "password": "old", "auth": "dTpwOnE="}), ("u", "p:q", "")),
            (json!({"username": "u", "password": "p", "auth": ""}), ("u", "p", "")),
            (json!({"identitytoken": "t", "auth": null}), ("", "", "t")),
        ];
        for (entry, (username, password, identity_token)) in cases {
            let auths = json!({"https://a.test/v1/": entry});
            for secret in [config(&auths), secret("kubernetes.io/dockercfg", ".dockercfg", &auths.to_string())] {
                let (found, problems) = read(&secret);
                assert_eq!(problems, <[&str; 0]>::default());
                let [found] = &found[..] else { panic!("{found:?}") };
                let Credential { registry, username: user, password: pass, identity_token: token } = found;
                assert_eq!([registry, user, pass, token], ["a.test", username, password, identity_token]);
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_told_without_what_is_secret_in_it() {
        let whole = "kubernetes.io/dockerconfigjson";
        let text = |text: &str| secret(whole, ".dockerconfigjson", text);
        let cases = [
            (secret("Opaque", ".dockerconfigjson", "{}"), "type Opaque: expected kubernetes.io/dockerconfigjson or"),
            (secret(whole, ".dockercfg", "{}"), "data[.dockerconfigjson]: expected {\"auths\""),
            (text("hunter2"), "data[.dockerconfigjson]: expected JSON"),
            (text("\"hunter2\""), "data[.dockerconfigjson]: expected {\"auths\""),
            (text("{\"auths\": [\"hunter2\"]}"), "data[.dockerconfigjson]: expected {\"auths\""),
            (secret("kubernetes.io/dockercfg", ".dockercfg", "[]"), "data[.dockercfg]: expected {\"REGISTRY\""),
            (config(&json!({"a.test": "hunter2"})), "data[.dockerconfigjson]: a.test: expected username and password"),
            (config(&json!({"a.test": {}})), "a.test: expected username and password"),
            (config(&json!({"a.test": {"username": 7, "password": "hunter2"}})), "a.test: expected username, password"),
            (config(&json!({"a.test": {"auth": "hunter2"}})), "a.test: expected auth to be user:password in base64"),
            (config(&json!({"u:hunter2@a.test": {"auth": "é"}})), "]: a.test: expected auth to be user:password in base64"),
        ];
        for (secret, expected) in cases {
            let (found, problems) = read(&secret);
            assert!(found.is_empty() && problems.len() == 1, "{found:?} {problems:?}");
            assert!(problems[0].contains(expected) && !problems[0].contains("hunter2"), "{problems:?} lacks {expected}");
        }
        // What is right beside it counts.
        let (found, problems) = read(&config(&json!({"a.test": {}, "b.test": {"username": "u", "password": "hunter2"}})));
        assert_eq!((found.len(), problems.len()), (1, 1));
        assert_eq!(format!("{found:?}"), r#"[Credential { registry: "b.test", .. }]"#);
    }
}
