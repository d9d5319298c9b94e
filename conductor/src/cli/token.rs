//! `conductor token`: bearer tokens for people and programs. The server keeps a hash; the token is shown once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use logic::pod_security::{Bar, Level, Mode};
use logic::rbac::{Deed, Rule};
use model::Clock as _;
use model::labels::{TOKEN, TOKEN_NAMESPACE, TOKEN_PREFIX, TOKEN_TYPE};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::failure::{Exit, Failure, Result};
use super::grid::grid;
use super::output::{self, Output};
use super::reach::Reach;
use super::server::{Keep, Server};
use crate::clock::WallClock;

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token for a user, and give the user a role
    Create(Create),
    /// List the tokens that there are
    List(List),
    /// Delete a token, and what it was given
    Delete(Delete),
}

/// What `token create` can be told.
#[derive(Debug, Args)]
pub struct Create {
    /// The user that its bearer is
    user: String,
    /// ClusterRole to give: view, edit, admin, cluster-admin or one of yours; in the namespace of -n, or everywhere without it
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// Group that the user is in; may come many times
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    /// How long the token is good, such as 30m, 12h or 90d; as long as the server's setting token-days lets it without it
    #[arg(long, value_name = "DURATION", value_parser = lasts)]
    expires: Option<SignedDuration>,
    #[command(flatten)]
    reach: Reach,
}

/// What `token list` can be told.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    reach: Reach,
}

/// What `token delete` can be told.
#[derive(Debug, Args)]
pub struct Delete {
    /// The token's id: what stands before its dot
    id: String,
    #[command(flatten)]
    reach: Reach,
}

/// Does what was asked.
pub async fn token(token: Token) -> Result<()> {
    match token {
        Token::Create(args) => create(args).await,
        Token::List(args) => list(args).await,
        Token::Delete(args) => delete(args).await,
    }
}

async fn create(args: Create) -> Result<()> {
    for (flag, name) in std::iter::once(("USER", &args.user)).chain(args.group.iter().map(|group| ("--group", group))) {
        if name.is_empty() || name.starts_with("system:") || name.contains(',') {
            return Err(Failure::usage(format!("{flag}: expected a name without commas that does not begin with system:, found {name:?}")));
        }
    }
    let everywhere = args.reach.namespace.is_none();
    let server = args.reach.connect().await?;
    let warning = match &args.role {
        Some(role) => check_role(&server, role, everywhere).await?,
        None => None,
    };
    let (id, token) = made();
    let mut data = json!({"user": args.user, "groups": args.group.join(","), "hash": hash(&token)});
    if let Some(lasts) = args.expires {
        let end = WallClock.now().checked_add(lasts).map_err(|_| Failure::usage("--expires: expected a time that can be written"))?;
        data["expires"] = json!(end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    }
    for value in data.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
        *value = json!(STANDARD.encode(value.as_str().unwrap_or_default()));
    }
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": TOKEN_TYPE, "metadata": {"name": format!("{TOKEN_PREFIX}{id}")}, "data": data});
    let made = server.within(TOKEN_NAMESPACE).create(&model::secret::kind(), &secret, Keep::Yes).await;
    let made = made.map_err(|error| Failure::of_call("could not make a token", &error))?;
    if let Some(role) = &args.role {
        bind(&server, &id, &args.user, role, everywhere).await?;
    }
    if let Some(warning) = warning {
        output::note(&warning);
    }
    output::note(&format!("it is good until {}", decoded(&made, "expires")));
    output::print(&format!("{token}\n"))
}

/// Errors: there is no such role. What is to be said where it lets somebody run programs as the server's user.
async fn check_role(server: &Server, role: &str, everywhere: bool) -> Result<Option<String>> {
    super::server::check_name(role)?;
    let found = server.get(&model::rbac::cluster_role(), role).await;
    let found = found.map_err(|error| Failure::of_call(&format!("could not read ClusterRole {role}"), &error))?;
    let Some(found) = found else {
        return Err(Failure::new(Exit::NotFound, format!("--role: there is no ClusterRole {role}: see `kubectl get clusterroles`")));
    };
    if !runs_programs(&found) {
        return Ok(None);
    }
    let within = if everywhere {
        "in every namespace, default and kube-system among them".to_owned()
    } else if is_privileged(server).await? {
        format!("in {}, which is privileged", server.namespace)
    } else {
        return Ok(None);
    };
    Ok(Some(format!(
        "warning: {role} lets its holder run programs {within}: there they run as the user that the server runs as, and may read all \
         that it may; give it in a namespace of their own with -n"
    )))
}

/// Whether a role lets somebody say what runs.
fn runs_programs(role: &Value) -> bool {
    const WAYS: &[(&str, &str)] =
        &[("", "pods"), ("", "pods/exec"), ("batch", "jobs"), ("batch", "cronjobs"), ("conductor.dev", "services")];
    let deeds = WAYS.iter().flat_map(|(group, resource)| {
        ["create", "update", "patch"].map(|verb| Deed::Resource { verb, group, resource, namespace: "", name: "" })
    });
    let rules = Rule::list(&role["rules"]);
    deeds.into_iter().any(|deed| rules.iter().any(|rule| rule.allows(deed)))
}

/// Whether programs in the namespace run as the server's user: it says so, or it is one of the administrator's own and says nothing.
async fn is_privileged(server: &Server) -> Result<bool> {
    let name = &server.namespace;
    let found = server.get(&model::namespace::kind(), name).await;
    let found = found.map_err(|error| Failure::of_call(&format!("could not read namespace {name}"), &error))?;
    let namespace = found.unwrap_or_else(|| json!({"metadata": {"name": name}}));
    Ok(Bar::of(&namespace, Mode::Enforce).level == Level::Privileged)
}

/// A field of a Secret, as text.
fn decoded(secret: &Value, field: &str) -> String {
    let bytes = secret["data"][field].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn bind(server: &Server, id: &str, user: &str, role: &str, everywhere: bool) -> Result<()> {
    let kind = if everywhere { model::rbac::cluster_role_binding() } else { model::rbac::role_binding() };
    let binding = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": format!("{TOKEN_PREFIX}{id}"), "labels": {TOKEN: id}},
        "roleRef": {"apiGroup": model::rbac::GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": model::rbac::GROUP, "kind": "User", "name": user}],
    });
    match server.create(&kind, &binding, Keep::Yes).await {
        Ok(_) => Ok(()),
        Err(error) => {
            // A token without its rights would be a surprise later.
            let _ = server.within(TOKEN_NAMESPACE).delete(&model::secret::kind(), &format!("{TOKEN_PREFIX}{id}")).await;
            Err(Failure::of_call(&format!("could not give {user} the role {role}"), &error))
        }
    }
}

async fn list(args: List) -> Result<()> {
    let server = args.reach.connect().await?;
    let query = format!("/api/v1/namespaces/{TOKEN_NAMESPACE}/secrets?fieldSelector=type%3D{}", TOKEN_TYPE.replace('/', "%2F"));
    let mut secrets = items(&server, &query).await?;
    let mut roles = std::collections::BTreeMap::new();
    for plural in ["clusterrolebindings", "rolebindings"] {
        for binding in
            items(&server, &format!("/apis/{}/v1/{plural}?labelSelector={}", model::rbac::GROUP, TOKEN.replace('/', "%2F"))).await?
        {
            let role = binding["roleRef"]["name"].as_str().unwrap_or_default();
            let within = binding["metadata"]["namespace"].as_str().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
            roles.insert(binding["metadata"]["name"].as_str().unwrap_or_default().to_owned(), format!("{role}{within}"));
        }
    }
    for secret in &mut secrets {
        // A hash is nobody's business.
        for (part, field) in [("data", "hash"), ("metadata", "managedFields")] {
            if let Some(fields) = secret[part].as_object_mut() {
                fields.shift_remove(field);
            }
        }
    }
    let row = |secret: &Value| {
        let name = secret["metadata"]["name"].as_str().unwrap_or_default();
        let text = |field: &str| decoded(secret, field);
        let id = name.strip_prefix(TOKEN_PREFIX).unwrap_or(name).to_owned();
        let created = secret["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned();
        vec![id, text("user"), text("groups"), roles.get(name).cloned().unwrap_or_default(), expiry(&text("expires")), created]
    };
    let rows: Vec<Vec<String>> = secrets.iter().map(row).collect();
    args.output.objects(&secrets, || grid(&["ID", "USER", "GROUPS", "ROLE", "EXPIRES", "CREATED"], &rows))
}

fn expiry(text: &str) -> String {
    match text.parse::<Timestamp>() {
        _ if text.is_empty() => "as token-days says".into(),
        Ok(end) if end <= WallClock.now() => format!("{text} (over)"),
        _ => text.to_owned(),
    }
}

async fn delete(args: Delete) -> Result<()> {
    let id = args.id.split('.').next().unwrap_or_default();
    let name = format!("{TOKEN_PREFIX}{id}");
    super::server::check_name(&name)?;
    let server = args.reach.connect().await?;
    let secrets = server.within(TOKEN_NAMESPACE);
    let tried = format!("could not delete token {id}");
    let failed = |error: kube::Error| Failure::of_call(&tried, &error);
    if secrets.get(&model::secret::kind(), &name).await.map_err(failed)?.is_none() {
        return Err(Failure::new(Exit::NotFound, format!("there is no token {id}: see `conductor token list`")));
    }
    // The token first: what is left of a deletion that was cut short allows nobody anything.
    secrets.delete(&model::secret::kind(), &name).await.map_err(failed)?;
    let label = format!("labelSelector={}%3D{id}", TOKEN.replace('/', "%2F"));
    for (kind, plural) in [(model::rbac::cluster_role_binding(), "clusterrolebindings"), (model::rbac::role_binding(), "rolebindings")] {
        for binding in items(&server, &format!("/apis/{}/v1/{plural}?{label}", model::rbac::GROUP)).await? {
            let within = server.within(binding["metadata"]["namespace"].as_str().unwrap_or_default());
            within.delete(&kind, binding["metadata"]["name"].as_str().unwrap_or_default()).await.map_err(failed)?;
        }
    }
    output::done(&format!("token {id} deleted\n"))
}

async fn items(server: &Server, path: &str) -> Result<Vec<Value>> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| Failure::failed(error.to_string()))?;
    let mut list: Value = server.client.request(request).await.map_err(|error| Failure::of_call("could not list tokens", &error))?;
    Ok(match list["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    })
}

/// A whole number of minutes, hours or days.
fn lasts(text: &str) -> Result<SignedDuration, String> {
    let expected = || format!("expected a number of m, h or d such as 90d, found {text:?}");
    let units = [('m', 60), ('h', 3_600), ('d', 86_400)];
    let (number, seconds) = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds))).ok_or_else(expected)?;
    let number = number.parse::<u32>().ok().filter(|number| (1..=100_000).contains(number)).ok_or_else(expected)?;
    Ok(SignedDuration::from_secs(i64::from(number) * seconds))
}

/// A new id, and the token that begins with it: 244 random bits.
fn made() -> (String, String) {
    let text = |uuid: uuid::Uuid| uuid.simple().to_string();
    let id: String = text(uuid::Uuid::new_v4()).chars().take(10).collect();
    let secret = format!("{}{}", text(uuid::Uuid::new_v4()), text(uuid::Uuid::new_v4()));
    (id.clone(), format!("{id}.{secret}"))
}

fn hash(token: &str) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lasts_as_long_as_it_is_told() {
        assert_eq!(lasts("90d").unwrap(), SignedDuration::from_hours(90 * 24));
        assert_eq!(lasts("30m").unwrap(), SignedDuration::from_mins(30));
        for bad in ["", "d", "0h", "-1h", "1w", "1.5h", "999999999d"] {
            assert!(lasts(bad).unwrap_err().starts_with("expected a number of m, h or d"), "{bad}");
        }
    }

    #[test]
    fn tokens_begin_with_their_id_and_are_never_the_same() {
        let ((id, token), (_, other)) = (made(), made());
        assert!(token.starts_with(&format!("{id}.")) && token.len() == 75 && token != other);
    }
}
