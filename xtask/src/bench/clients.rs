//! Clients as thin as can be, so that servers are measured and not they.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What a closed loop of clients saw.
pub struct Measured {
    /// Calls answered a second.
    pub per_second: f64,
    /// The median time of a call, in milliseconds.
    pub p50_ms: f64,
}

/// Has each of some clients call again as soon as it is answered, for a while.
pub async fn drive<C, F, Fut>(clients: Vec<C>, length: Duration, call: F) -> Result<Measured>
where
    C: Send + 'static,
    F: Fn(C, usize, usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<C>> + Send,
{
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        let call = call.clone();
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < length {
                let sent = Instant::now();
                client = call(client, number, times.len()).await?;
                times.push(sent.elapsed().as_secs_f64() * 1_000.0);
            }
            Ok::<_, anyhow::Error>(times)
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let per_second = super::count(all.len() as u64) / seconds;
    Ok(Measured { per_second, p50_ms: super::median(all) })
}

/// One connection to our control API.
pub struct ApiClient {
    sender: http1::SendRequest<Full<Bytes>>,
    token: Arc<str>,
}

impl ApiClient {
    /// Connects over TLS, with the authority and the token that the server wrote.
    pub async fn connect(address: SocketAddr, data: &Path) -> Result<Self> {
        let token = std::fs::read_to_string(data.join("admin-token"))?.trim().into();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(data.join("pki/ca.crt")).context("the authority's certificate")?)?;
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost")?, stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, token })
    }

    /// One call; the body of an answer that is a success.
    pub async fn call(&mut self, method: &str, path: &str, content_type: &str, body: impl Into<Bytes>) -> Result<Bytes> {
        let response = self.open(method, path, content_type, body).await?;
        let code = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(code.is_success(), "{method} {path}: {code}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }

    /// One call; its answer, whose body is still to come.
    pub async fn open(&mut self, method: &str, path: &str, content_type: &str, body: impl Into<Bytes>) -> Result<Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", content_type)
            .body(Full::new(body.into()))?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }
}

/// One connection to etcd, over which calls are made in gRPC.
#[derive(Clone)]
pub struct Etcd {
    sender: http2::SendRequest<Full<Bytes>>,
    address: SocketAddr,
}

impl Etcd {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, address })
    }

    /// `KV.Put`: durable when it returns.
    pub async fn put(&mut self, key: &str, value: &[u8]) -> Result<()> {
        let mut message = Vec::with_capacity(key.len() + value.len() + 16);
        field(&mut message, 1, key.as_bytes());
        field(&mut message, 2, value);
        self.unary("/etcdserverpb.KV/Put", &message).await
    }

    async fn unary(&mut self, path: &str, message: &[u8]) -> Result<()> {
        let mut body = vec![0];
        body.extend_from_slice(&u32::try_from(message.len())?.to_be_bytes());
        body.extend_from_slice(message);
        let request = Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(body.into()))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?.into_body().collect().await?;
        let status = answer.trailers().and_then(|trailers| trailers.get("grpc-status")).map(|status| status.as_bytes().to_vec());
        if status.as_deref() != Some(b"0") {
            bail!("etcd answered {status:?} to {path}");
        }
        Ok(())
    }
}

/// A protobuf field of bytes.
fn field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        message.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    message.push(u8::try_from(length).unwrap_or(0));
    message.extend_from_slice(bytes);
}
