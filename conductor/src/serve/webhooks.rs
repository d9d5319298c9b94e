//! Calls of webhooks: one HTTPS request each, trusting whom its configuration says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use api::{WebhookCaller, WebhookTarget};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

/// The longest answer, in bytes; a patch is larger than its object by half at most.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many connections to one webhook wait for the next question, and for how long.
const IDLE_MAX: usize = 8;
const IDLE_TIME: Duration = Duration::from_secs(30);
/// How many clients are kept: one for each name and what it is trusted by.
const CLIENTS_MAX: usize = 64;

type Pooled = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Calls webhooks over the network, again over a connection that is there.
#[derive(Default)]
pub struct Https {
    system: OnceLock<Arc<RootCertStore>>,
    clients: Mutex<HashMap<(Vec<u8>, String), Pooled>>,
}

impl Https {
    /// A client that trusts only certificates of these authorities that are for this host. Errors: neither can be read.
    fn client(&self, authorities: &[u8], host: &str) -> Result<Pooled, String> {
        let key = (authorities.to_vec(), host.to_owned());
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(self.roots(authorities)?)
            .with_no_client_auth();
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|error| format!("{host}: {error}"))?;
        let mut sockets = HttpConnector::new();
        sockets.enforce_http(false);
        sockets.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .with_server_name_resolver(FixedServerNameResolver::new(name))
            .enable_http1()
            .wrap_connector(sockets);
        let mut builder = Client::builder(TokioExecutor::new());
        let client: Pooled =
            builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIME).pool_max_idle_per_host(IDLE_MAX).build(connector);
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }

    fn roots(&self, authorities: &[u8]) -> Result<Arc<RootCertStore>, String> {
        if authorities.is_empty() {
            return Ok(Arc::clone(self.system.get_or_init(|| {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                Arc::new(roots)
            })));
        }
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities) {
            let certificate = certificate.map_err(|error| format!("caBundle: {error}"))?;
            roots.add(certificate).map_err(|error| format!("caBundle: {error}"))?;
        }
        if roots.is_empty() { Err("caBundle: expected certificates in PEM".into()) } else { Ok(Arc::new(roots)) }
    }
}

#[async_trait::async_trait]
impl WebhookCaller for Https {
    async fn post(&self, target: &WebhookTarget, body: Bytes) -> Result<Bytes, String> {
        let url: Uri = target.url.parse().map_err(|error| format!("{}: {error}", target.url))?;
        let host = url.host().ok_or_else(|| format!("{}: expected a host", target.url))?;
        let address = target.address.clone().unwrap_or_else(|| format!("{host}:{}", url.port_u16().unwrap_or(443)));
        let failed = |error: &dyn std::error::Error| format!("Post {:?}: {address}: {}", target.url, whole(error));
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::post(format!("https://{address}{path}"))
            .header(HOST, url.authority().map_or(host, |authority| authority.as_str()))
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .body(Full::new(body))
            .map_err(|error| failed(&error))?;
        let response = self.client(&target.authorities, host)?.request(request).await.map_err(|error| failed(&error))?;
        let (status, body) = (response.status(), response.into_body());
        let answer = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| failed(error.as_ref()))?.to_bytes();
        if status != StatusCode::OK {
            return Err(format!("Post {:?}: the server answered {status}, expected 200", target.url));
        }
        Ok(answer)
    }
}

/// An error with what led to it.
fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut words: Vec<String> = causes.map(ToString::to_string).collect();
    words.dedup();
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::routing::post;
    use hyper_util::rt::TokioIo;
    use hyper_util::server::conn::auto::Builder;
    use hyper_util::service::TowerToHyperService;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A server that answers in capitals, for the name `hooks.test`; its port, its certificate, and how many connections it accepted.
    async fn started() -> (u16, String, Arc<AtomicUsize>) {
        let made = rcgen::generate_simple_self_signed(["hooks.test".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let routes = Router::new()
            .route("/shout", post(|body: String| async move { body.to_uppercase() }))
            .route("/wait", post(|| async { std::future::pending::<()>().await }));
        let accepted = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (acceptor, routes) = (acceptor.clone(), routes.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else { return };
                    let service = TowerToHyperService::new(routes);
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        (port, made.cert.pem(), accepted)
    }

    fn target(port: u16, path: &str, authorities: &str) -> WebhookTarget {
        WebhookTarget {
            url: format!("https://hooks.test/{path}"),
            address: Some(format!("127.0.0.1:{port}")),
            authorities: authorities.as_bytes().to_vec(),
            timeout: Duration::from_secs(5),
        }
    }

    #[tokio::test]
    async fn a_webhook_is_asked_over_tls_that_its_configuration_trusts() {
        let (port, certificate, accepted) = started().await;
        let caller = Https::default();
        let post = async |target: WebhookTarget| caller.post(&target, Bytes::from_static(b"hello")).await;
        for _ in 0..3 {
            assert_eq!(post(target(port, "shout", &certificate)).await.unwrap(), "HELLO");
        }
        assert_eq!(accepted.load(Ordering::SeqCst), 1, "one connection serves for one question after the other");
        assert!(post(target(port, "none", &certificate)).await.unwrap_err().contains("answered 404"));
        let other = rcgen::generate_simple_self_signed(["hooks.test".to_owned()]).unwrap().cert.pem();
        let refused = post(target(port, "shout", &other)).await.unwrap_err();
        assert!(refused.contains("invalid peer certificate"), "{refused}");
        assert!(post(target(port, "shout", "no certificate")).await.unwrap_err().contains("caBundle"));
        let mut elsewhere = target(port, "shout", &certificate);
        elsewhere.url = "https://other.test/shout".into();
        assert!(post(elsewhere).await.unwrap_err().contains("not valid for name"), "the name must be that of the certificate");
        let waiting = tokio::time::timeout(Duration::from_millis(200), post(target(port, "wait", &certificate))).await;
        assert!(waiting.is_err(), "whoever waits for nothing may give up");
    }
}
