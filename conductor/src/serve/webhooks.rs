//! Calls of admission webhooks: one HTTPS request each, trusting whom its configuration says.

use std::sync::{Arc, OnceLock};

use api::{WebhookCaller, WebhookTarget};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

/// The longest answer, in bytes; a patch is larger than its object by half at most.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Calls webhooks over the network.
pub struct Https {
    system: OnceLock<Arc<RootCertStore>>,
}

impl Https {
    /// A caller that reads the system's certificates when it first needs them.
    pub fn new() -> Self {
        Self { system: OnceLock::new() }
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
        let failed = |what: &str, error: &dyn std::fmt::Display| format!("Post {:?}: {what} {address}: {error}", target.url);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(self.roots(&target.authorities)?)
            .with_no_client_auth();
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|error| failed("name of", &error))?;
        let socket = TcpStream::connect(&address).await.map_err(|error| failed("dial", &error))?;
        socket.set_nodelay(true).map_err(|error| failed("dial", &error))?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await.map_err(|error| failed("tls with", &error))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| failed("http with", &error))?;
        // It ends with the request: whoever gives up waiting drops both.
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::post(path)
            .header(HOST, url.authority().map_or(host, |authority| authority.as_str()))
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| failed("http with", &error))?;
        let (status, body) = (response.status(), response.into_body());
        let answer = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| failed("answer of", &error))?.to_bytes();
        if status != StatusCode::OK {
            return Err(format!("Post {:?}: the server answered {status}, expected 200", target.url));
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::Router;
    use axum::routing::post;
    use hyper_util::rt::TokioExecutor;
    use hyper_util::server::conn::auto::Builder;
    use hyper_util::service::TowerToHyperService;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A server that answers in capitals, for the name `hooks.test`; its port and its certificate.
    async fn started() -> (u16, String) {
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
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, routes) = (acceptor.clone(), routes.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else { return };
                    let service = TowerToHyperService::new(routes);
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        (port, made.cert.pem())
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
        let (port, certificate) = started().await;
        let post = async |target: WebhookTarget| Https::new().post(&target, Bytes::from_static(b"hello")).await;
        assert_eq!(post(target(port, "shout", &certificate)).await.unwrap(), "HELLO");
        assert!(post(target(port, "none", &certificate)).await.unwrap_err().contains("answered 404"));
        let other = rcgen::generate_simple_self_signed(["hooks.test".to_owned()]).unwrap().cert.pem();
        assert!(post(target(port, "shout", &other)).await.unwrap_err().contains("tls with"));
        assert!(post(target(port, "shout", "no certificate")).await.unwrap_err().contains("caBundle"));
        let mut elsewhere = target(port, "shout", &certificate);
        elsewhere.url = "https://other.test/shout".into();
        assert!(post(elsewhere).await.unwrap_err().contains("tls with"), "the name must be that of the certificate");
        let waiting = tokio::time::timeout(Duration::from_millis(200), post(target(port, "wait", &certificate))).await;
        assert!(waiting.is_err(), "whoever waits for nothing may give up");
    }
}
