//! The engine, asked over its socket: every call has a limit in time, and every failure says what to do about it.

use std::error::Error as _;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::API_DEFAULT_VERSION;
use bollard::errors::Error as EngineError;
use http::HeaderValue;
use tokio::time::timeout;

use crate::{Error, Result};

/// How long a question may take.
pub(super) const ASKED: Duration = Duration::from_secs(10);
/// How long making or starting a container may take: disks are slow at times.
pub(super) const WORKED: Duration = Duration::from_secs(60);
/// How long a stream may be silent; logs may be so for days.
const STREAMED: Duration = Duration::from_secs(100 * 24 * 3600);

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The engine said no.
    #[error("{message}")]
    Said {
        /// Its HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// The engine could not be asked; what to do about it.
    #[error("{0}")]
    Silent(String),
}

impl Refusal {
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Said { status: 404, .. })
    }

    /// As an error of a call that tried this.
    pub fn into_error(self, tried: impl Into<String>) -> Error {
        match self {
            Self::Said { message, .. } => Error::Failed { tried: tried.into(), reason: message },
            Self::Silent(why) => Error::Unavailable(why),
        }
    }
}

/// The engine at a socket.
#[derive(Debug)]
pub(super) struct Engine {
    address: String,
    path: String,
    client: Mutex<Option<bollard::Docker>>,
    /// Why it could not be asked the last time.
    trouble: Mutex<Option<String>>,
    /// The processor it runs images for, once it was asked.
    architecture: Mutex<Option<String>>,
}

impl Engine {
    /// The engine at `unix:///a/path`; it need not be there yet.
    pub fn new(address: &str) -> Result<Self> {
        let path = address.strip_prefix("unix://").unwrap_or(address);
        if !path.starts_with('/') {
            let field = "DOCKER_HOST".to_owned();
            return Err(Error::Refused { field, expected: format!("unix:// and the path of a socket of this machine, not {address:?}") });
        }
        Ok(Self {
            address: format!("unix://{path}"),
            path: path.to_owned(),
            client: Mutex::default(),
            trouble: Mutex::default(),
            architecture: Mutex::default(),
        })
    }

    /// A client for calls of one question and one answer.
    pub fn client(&self) -> std::result::Result<bollard::Docker, Refusal> {
        let mut kept = lock(&self.client);
        if let Some(client) = kept.as_ref() {
            return Ok(client.clone());
        }
        let client = bollard::Docker::connect_with_unix(&self.path, WORKED.as_secs(), API_DEFAULT_VERSION)
            .map_err(|error| self.silent(self.explain(&error)))?
            .with_request_modifier(with_readable_credentials);
        Ok(kept.insert(client).clone())
    }

    /// A client for streams, which may be silent for long.
    pub fn streaming(&self) -> std::result::Result<bollard::Docker, Refusal> {
        Ok(self.client()?.with_timeout(STREAMED))
    }

    /// Waits for an answer.
    pub async fn ask<T>(
        &self,
        patience: Duration,
        call: impl Future<Output = std::result::Result<T, EngineError>>,
    ) -> std::result::Result<T, Refusal> {
        match timeout(patience, call).await {
            Ok(Ok(answer)) => {
                *lock(&self.trouble) = None;
                Ok(answer)
            }
            Ok(Err(error)) => Err(self.refusal(error)),
            Err(_) => Err(self.silent(self.hung(patience))),
        }
    }

    /// Agrees with the engine on a version of its API, and learns what it runs images for.
    pub async fn connect(&self) -> std::result::Result<(), Refusal> {
        let client = self.ask(ASKED, self.client()?.negotiate_version()).await?;
        let version = self.ask(ASKED, client.version()).await?;
        *lock(&self.architecture) = version.arch;
        Ok(())
    }

    /// The processor it runs images for, such as `amd64`.
    pub fn architecture(&self) -> Option<String> {
        lock(&self.architecture).clone()
    }

    /// Fails when the engine did not answer the last time and still does not.
    pub async fn check(&self) -> Result<()> {
        if lock(&self.trouble).is_none() {
            return Ok(());
        }
        self.connect().await.map_err(|refusal| refusal.into_error("ask the container engine"))
    }

    /// What a failure of the client means.
    pub fn refusal(&self, error: EngineError) -> Refusal {
        match error {
            EngineError::DockerResponseServerError { status_code, message } => {
                Refusal::Said { status: status_code, message: one_line(&message) }
            }
            EngineError::DockerStreamError { error } => Refusal::Said { status: 500, message: one_line(&error) },
            error => self.silent(self.explain(&error)),
        }
    }

    fn silent(&self, why: String) -> Refusal {
        *lock(&self.trouble) = Some(why.clone());
        Refusal::Silent(why)
    }

    fn hung(&self, patience: Duration) -> String {
        format!(
            "the container engine at {} has not answered within {patience:?}; see whether `docker info` does, or restart it",
            self.address
        )
    }

    fn explain(&self, error: &EngineError) -> String {
        let address = &self.address;
        match error {
            EngineError::RequestTimeoutError => self.hung(WORKED),
            EngineError::SocketNotFoundError(_) => not_there(address),
            error => match io_kind(error) {
                Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => not_there(address),
                Some(io::ErrorKind::PermissionDenied) => {
                    format!("this user may not use the container engine at {address}; add it to the group docker and log in again")
                }
                _ => format!("the container engine at {address} broke off: {}", chain(error)),
            },
        }
    }
}

/// A request whose credentials are in the alphabet that engines read: base64 for addresses, with `-` and `_`. In the usual one, which
/// the client writes, they are no credentials to an engine as soon as there is a `+` or `/` in them.
fn with_readable_credentials(mut request: bollard::BollardRequest) -> bollard::BollardRequest {
    let Some(header) = request.headers_mut().get_mut("x-registry-auth") else { return request };
    let readable = header.to_str().map(|text| text.replace('+', "-").replace('/', "_")).unwrap_or_default();
    if let Ok(mut readable) = HeaderValue::from_str(&readable) {
        readable.set_sensitive(true);
        *header = readable;
    }
    request
}

fn not_there(address: &str) -> String {
    format!("no container engine answers at {address}; start Docker, or name its socket in DOCKER_HOST")
}

fn io_kind(error: &EngineError) -> Option<io::ErrorKind> {
    if let EngineError::IOError { err } = error {
        return Some(err.kind());
    }
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        source = error.source();
    }
    None
}

fn chain(error: &EngineError) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        told = format!("{told}: {error}");
        source = error.source();
    }
    told
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
