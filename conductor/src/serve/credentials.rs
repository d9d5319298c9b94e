//! Who may ask: the administrator's token, the tokens of a file, and the kubeconfig that embeds what kubectl needs.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use api::{Access, AccountKey, User};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use crate::paths;
use crate::private;

/// Who is always let in: the administrator, whose token is kept in the data directory, and ServiceAccounts.
pub fn access(data: &Path) -> Result<Access> {
    Ok(Access::default().with_token(&admin_token(data)?, User::master("admin")).with_account_key(account_key(data)?))
}

/// Lets in those whose tokens are in a file, too. Errors name the file and the line.
pub fn with_token_file(access: Access, file: Option<&Path>) -> Result<Access> {
    let Some(file) = file else { return Ok(access) };
    private::check_writers(file).context("--token-file")?;
    let text = std::fs::read_to_string(file).with_context(|| format!("--token-file: cannot read {}", file.display()))?;
    let tokens = token_lines(&text).with_context(|| format!("--token-file {}", file.display()))?;
    Ok(tokens.into_iter().fold(access, |access, (token, user)| access.with_token(&token, user)))
}

/// The key that signs tokens of ServiceAccounts, made at the first start and kept.
fn account_key(data: &Path) -> Result<AccountKey> {
    let file = data.join("pki/service-accounts.key");
    let bytes = match private::read(&file)? {
        Some(bytes) => bytes,
        None => {
            let bytes = AccountKey::generate()?;
            private::write(&file, &bytes)?;
            bytes
        }
    };
    AccountKey::from_pkcs8(&bytes).with_context(|| format!("{}", file.display()))
}

/// 256 random bits, made at the first start and kept.
fn admin_token(data: &Path) -> Result<String> {
    let file = data.join("admin-token");
    if let Some(token) = private::read_text(&file)?
        && token.trim().len() >= 32
    {
        return Ok(token.trim().to_owned());
    }
    let random: Vec<u8> = (0..2).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect();
    let token = URL_SAFE_NO_PAD.encode(sha2::Digest::finalize(sha2::Digest::chain_update(<sha2::Sha256 as sha2::Digest>::new(), random)));
    private::write(&file, token.as_bytes())?;
    Ok(token)
}

/// Lines of `token,user,uid,"group,group"`, as kube-apiserver reads them. Errors name the line.
fn token_lines(text: &str) -> Result<Vec<(String, User)>> {
    let mut found: Vec<(String, User)> = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
        let fields = fields(line).with_context(|| format!("line {}", at + 1))?;
        let [token, name, uid, rest @ ..] = fields.as_slice() else {
            bail!("line {}: expected token,user,uid and perhaps groups in quotes, found {} fields", at + 1, fields.len());
        };
        for (field, value) in [("token", token), ("user", name)] {
            if value.is_empty() {
                bail!("line {}: the {field} is empty", at + 1);
            }
        }
        if rest.len() > 1 {
            bail!("line {}: expected at most 4 fields, found {}: put the groups into one, in quotes", at + 1, fields.len());
        }
        if found.iter().any(|(other, _)| other == token) {
            bail!("line {}: the token is that of an earlier line", at + 1);
        }
        let groups = rest.iter().flat_map(|groups| groups.split(',')).map(str::trim).filter(|group| !group.is_empty());
        found.push((token.clone(), User { uid: uid.clone(), ..User::new(name, groups.map(str::to_owned)) }));
    }
    Ok(found)
}

/// The fields of one line of comma-separated values; a field in quotes may hold commas, and quotes twice.
fn fields(line: &str) -> Result<Vec<String>> {
    let (mut found, mut rest) = (Vec::new(), line.trim());
    loop {
        let Some(quoted) = rest.trim_start().strip_prefix('"') else {
            let (field, tail) = rest.split_once(',').map_or((rest, None), |(field, tail)| (field, Some(tail)));
            found.push(field.trim().to_owned());
            let Some(tail) = tail else { return Ok(found) };
            rest = tail;
            continue;
        };
        let mut end = quoted.find('"');
        while let Some(at) = end.filter(|at| quoted[at + 1..].starts_with('"')) {
            end = quoted[at + 2..].find('"').map(|next| at + 2 + next);
        }
        let at = end.context("a quote is not closed")?;
        found.push(quoted[..at].replace("\"\"", "\""));
        match quoted[at + 1..].trim_start() {
            "" => return Ok(found),
            tail => rest = tail.strip_prefix(',').context("expected a comma after the quote")?,
        }
    }
}

/// Writes a kubeconfig that reaches this server, at `address`, as its administrator, with nothing else needed.
pub fn write_kubeconfig(data: &Path, address: &str, ca_pem: &str) -> Result<()> {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "conductor", "preferences": {},
        "clusters": [{"name": "conductor", "cluster": {
            "server": format!("https://{address}"), "certificate-authority-data": STANDARD.encode(ca_pem)}}],
        "users": [{"name": "admin", "user": {"token": admin_token(data)?}}],
        "contexts": [{"name": "conductor", "context": {"cluster": "conductor", "user": "admin", "namespace": "default"}}],
    });
    private::write(&paths::kubeconfig(data), logic::yaml::write(&config).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_files_are_read_as_kube_apiserver_reads_them() {
        let lines = token_lines("# who\na,admin,1,\"system:masters,ops\"\nb,viewer,2\n\n\"c,\"\"d\", \"jane\" ,\"\",crew").unwrap();
        assert_eq!(lines[0].1.groups, ["system:masters", "ops", "system:authenticated"]);
        assert_eq!((lines[1].0.as_str(), lines[1].1.name.as_str(), lines[1].1.uid.as_str()), ("b", "viewer", "2"));
        assert_eq!((lines[2].0.as_str(), lines[2].1.name.as_str(), lines[2].1.groups[0].as_str()), ("c,\"d", "jane", "crew"));
        for (text, expected) in [
            ("only-a-token", "line 1: expected token,user,uid"),
            ("a,b,c\nd,e", "line 2: expected token,user,uid"),
            (",b,c", "line 1: the token is empty"),
            ("a,,c", "line 1: the user is empty"),
            ("a,b,c,d,e", "line 1: expected at most 4 fields, found 5"),
            ("a,b,c,\"d", "a quote is not closed"),
            ("a,\"b\"x,c", "expected a comma after the quote"),
            ("a,b,c\na,d,e", "line 2: the token is that of an earlier line"),
        ] {
            let said = format!("{:#}", token_lines(text).unwrap_err());
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
}
