//! Who may ask: the administrator's token, the tokens of a file, and the kubeconfig that embeds what kubectl needs.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use api::{Access, User};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use crate::paths;

/// The tokens that are taken: the administrator's, kept in the data directory, and those of a file.
pub fn access(data: &Path, token_file: Option<&Path>) -> Result<Access> {
    let mut access = Access::default().with_token(&admin_token(data)?, User::master("admin"));
    if let Some(file) = token_file {
        let text = std::fs::read_to_string(file).with_context(|| format!("--token-file: cannot read {}", file.display()))?;
        for (token, user) in token_lines(&text).with_context(|| format!("--token-file {}", file.display()))? {
            access = access.with_token(&token, user);
        }
    }
    Ok(access)
}

/// 256 random bits, made at the first start and kept.
fn admin_token(data: &Path) -> Result<String> {
    let file = data.join("admin-token");
    if let Ok(token) = std::fs::read_to_string(&file)
        && token.trim().len() >= 32
    {
        return Ok(token.trim().to_owned());
    }
    let random: Vec<u8> = (0..2).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect();
    let token = URL_SAFE_NO_PAD.encode(sha2::Digest::finalize(sha2::Digest::chain_update(<sha2::Sha256 as sha2::Digest>::new(), random)));
    paths::write_private(&file, token.as_bytes())?;
    Ok(token)
}

/// Lines of `token,user,uid,"group,group"`, as kube-apiserver reads them.
fn token_lines(text: &str) -> Result<Vec<(String, User)>> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
        let mut columns = line.splitn(4, ',').map(str::trim);
        let (Some(token), Some(name)) = (columns.next().filter(|token| !token.is_empty()), columns.next().filter(|name| !name.is_empty()))
        else {
            bail!("line {}: expected token,user,uid and groups", at + 1);
        };
        let groups = columns.nth(1).unwrap_or_default().trim_matches('"');
        let groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty()).map(str::to_owned).collect();
        found.push((token.to_owned(), User { name: name.to_owned(), groups }));
    }
    Ok(found)
}

/// Writes a kubeconfig that reaches this server as its administrator, with nothing else needed.
pub fn write_kubeconfig(data: &Path, api: SocketAddr, ca_pem: &str) -> Result<()> {
    let address = if api.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], api.port())) } else { api };
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "conductor", "preferences": {},
        "clusters": [{"name": "conductor", "cluster": {
            "server": format!("https://{address}"), "certificate-authority-data": STANDARD.encode(ca_pem)}}],
        "users": [{"name": "admin", "user": {"token": admin_token(data)?}}],
        "contexts": [{"name": "conductor", "context": {"cluster": "conductor", "user": "admin", "namespace": "default"}}],
    });
    paths::write_private(&paths::kubeconfig(data), logic::yaml::write(&config).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_files_are_read_as_kube_apiserver_reads_them() {
        let lines = token_lines("# who\na,admin,1,\"system:masters,ops\"\nb,viewer,2\n\n").unwrap();
        assert_eq!(lines[0].1.groups, ["system:masters", "ops"]);
        assert_eq!((lines[1].0.as_str(), lines[1].1.name.as_str(), lines[1].1.groups.len()), ("b", "viewer", 0));
        assert!(token_lines("only-a-token").unwrap_err().to_string().contains("line 1"));
    }
}
