//! What `-f` names: files, directories, addresses, standard input.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::LOCATION;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};

use super::failure::{Failure, Result};
use super::manifest::Source;

/// No text of objects is longer than this, in bytes.
const BYTES_MAX: usize = 32 << 20;
const FETCH_MAX: Duration = Duration::from_secs(30);
const REDIRECTS_MAX: usize = 5;
const ENDINGS: &[&str] = &["yaml", "yml", "json"];

/// The texts that these name, in their order; of a directory its files that end in .yaml, .yml or .json, by name.
/// Errors: one cannot be read, or a directory holds no such file.
pub async fn read(named: &[PathBuf]) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for name in named {
        match name.to_str().filter(|text| text.starts_with("http://") || text.starts_with("https://")) {
            Some(address) => sources.push(fetch(address).await?),
            None => {
                let name = name.clone();
                let read = tokio::task::spawn_blocking(move || here(&name)).await;
                sources.extend(read.map_err(|error| Failure::failed(format!("the files cannot be read: {error}")))??);
            }
        }
    }
    Ok(sources)
}

fn here(name: &Path) -> Result<Vec<Source>> {
    if name.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
        return Ok(vec![Source { name: "standard input".into(), text }]);
    }
    if !name.is_dir() {
        return Ok(vec![file(name)?]);
    }
    if let Some((found, advice)) = [
        ("Chart.yaml", "a Helm chart: render it first, `helm template NAME"),
        ("kustomization.yaml", "a kustomization: render it first, `kubectl kustomize"),
    ]
    .into_iter()
    .find(|(file, _)| name.join(file).exists())
    {
        let dir = name.display();
        return Err(Failure::failed(format!("{dir} is {advice} {dir} | conductor up -f -` ({found} is in it)")));
    }
    let failed = |error: std::io::Error| Failure::failed(format!("cannot read {}: {error}", name.display()));
    let entries = std::fs::read_dir(name).map_err(failed)?.collect::<std::io::Result<Vec<_>>>().map_err(failed)?;
    let is_ours = |path: &PathBuf| path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| ENDINGS.contains(&ending));
    let mut files: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).filter(|path| is_ours(path) && path.is_file()).collect();
    files.sort();
    if files.is_empty() {
        return Err(Failure::failed(format!("{} holds no file that ends in .yaml, .yml or .json", name.display())));
    }
    files.iter().map(|path| file(path)).collect()
}

fn file(path: &Path) -> Result<Source> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?;
    Ok(Source { name: path.display().to_string(), text })
}

/// The text at an address; redirects are followed, never from https to http.
async fn fetch(address: &str) -> Result<Source> {
    let failed = |why: &str| Failure::failed(format!("cannot fetch {address}: {why}"));
    let fetched = tokio::time::timeout(FETCH_MAX, follow(address)).await;
    let text = fetched.map_err(|_| failed("it took longer than 30 s"))?.map_err(|why| failed(&why))?;
    Ok(Source { name: address.to_owned(), text })
}

async fn follow(address: &str) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let mut at: Uri = address.parse().map_err(|error| format!("it is no address: {error}"))?;
    for _ in 0..=REDIRECTS_MAX {
        let request = Request::get(at.clone()).body(Full::default()).map_err(|error| error.to_string())?;
        let response = client.request(request).await.map_err(|error| super::failure::chain(&error))?;
        let status = response.status();
        if status.is_redirection() {
            let next = response.headers().get(LOCATION).and_then(|next| next.to_str().ok()).ok_or("it leads nowhere")?;
            at = next_address(&at, next)?;
            continue;
        }
        if !status.is_success() {
            return Err(format!("the server answered {status}"));
        }
        let body = Limited::new(response.into_body(), BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
        return String::from_utf8(body.to_bytes().into()).map_err(|_| "it is not text in UTF-8".to_owned());
    }
    Err(format!("it was redirected more than {REDIRECTS_MAX} times"))
}

fn next_address(at: &Uri, next: &str) -> Result<Uri, String> {
    let authority = at.authority().map(ToString::to_string).unwrap_or_default();
    let scheme = at.scheme_str().unwrap_or("https");
    let whole = match next {
        next if next.contains("://") => next.to_owned(),
        next if next.starts_with("//") => format!("{scheme}:{next}"),
        next if next.starts_with('/') => format!("{scheme}://{authority}{next}"),
        next => format!("{scheme}://{authority}{}/{next}", at.path().rsplit_once('/').map_or("", |(above, _)| above)),
    };
    let found: Uri = whole.parse().map_err(|error| format!("it leads to {whole}: {error}"))?;
    if scheme == "https" && found.scheme_str() != Some("https") {
        return Err(format!("it leads from https to {whole}"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_directory_is_its_files_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("b.yaml", "b"), ("a.json", "a"), ("c.txt", "c"), ("d.yml", "d")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let read = read(&[dir.path().join("d.yml"), dir.path().to_owned()]).await.unwrap();
        assert_eq!(read.iter().map(|source| source.text.as_str()).collect::<Vec<_>>(), ["d", "a", "b", "d"]);
    }

    #[tokio::test]
    async fn what_holds_no_objects_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let said = read(&[dir.path().to_owned()]).await.unwrap_err();
        assert!(said.message().contains("holds no file that ends in .yaml"), "{}", said.message());
        fs::write(dir.path().join("Chart.yaml"), "name: a").unwrap();
        let said = read(&[dir.path().to_owned()]).await.unwrap_err();
        assert!(said.message().contains("helm template"), "{}", said.message());
    }

    #[test]
    fn redirects_never_leave_https() {
        let at: Uri = "https://a.test/x/y".parse().unwrap();
        for (next, expected) in [
            ("/z", "https://a.test/z"),
            ("z", "https://a.test/x/z"),
            ("https://b.test/", "https://b.test/"),
            ("//b.test/q", "https://b.test/q"),
        ] {
            assert_eq!(next_address(&at, next).unwrap().to_string(), expected, "{next}");
        }
        assert!(next_address(&at, "http://a.test/z").is_err());
    }
}
