//! The way to a server: this machine's unix socket, or whatever a kubeconfig names.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use http::header::HOST;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::net::UnixStream;
use tower::BoxError;

use super::failure::{Exit, Failure, Result, chain, exit_of};
use super::server::Server;
use crate::paths;
use crate::settings::{self, Effective, Flags};

const HEADING: &str = "Connection";

/// Which server is asked, and where in it.
#[derive(Debug, Clone, Default, Args)]
pub struct Reach {
    /// Namespace
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Data directory of this machine's server [env: CONDUCTOR_DATA]
    #[arg(long, value_name = "DIR", conflicts_with = "kubeconfig", help_heading = HEADING)]
    data: Option<PathBuf>,
    /// Reach the server that this file names instead [env: KUBECONFIG]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    context: Option<String>,
}

/// What of the environment decides.
#[derive(Debug, Clone, Default)]
struct Environment {
    kubeconfig: Option<OsString>,
    data: Option<OsString>,
}

/// How the server is reached.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// Over TLS, by this file.
    File(PathBuf),
    /// Over TLS, by the files that the environment names.
    Files,
    /// Through the socket in this data directory.
    Socket(PathBuf),
}

impl Reach {
    /// Connects. Errors: no server answers there; the kubeconfig cannot be used; the namespace is no name.
    pub async fn connect(&self) -> Result<Server> {
        if let Some(problem) = self.namespace.as_deref().and_then(|name| model::check_label(name).into_iter().next()) {
            return Err(Failure::usage(format!("--namespace: {problem}")));
        }
        let (client, http) = match self.way(&Environment::read()) {
            Way::Socket(dir) => (over_socket(&dir).await?, http_address(&dir)),
            Way::File(file) => {
                let read = Kubeconfig::read_from(&file).map_err(|error| unusable(&error))?;
                (self.over_tls(read).await?, None)
            }
            Way::Files => {
                let read = Kubeconfig::from_env().map_err(|error| unusable(&error))?.unwrap_or_default();
                (self.over_tls(read).await?, None)
            }
        };
        let namespace = self.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        Ok(Server { client, namespace, http })
    }

    /// The data directory of this machine's server.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir_in(&Environment::read())
    }

    fn data_dir_in(&self, environment: &Environment) -> PathBuf {
        let named = || environment.data.clone().filter(|dir| !dir.is_empty()).map(PathBuf::from);
        self.data.clone().or_else(named).unwrap_or_else(configured_data_dir)
    }

    /// A flag wins over the environment, and a kubeconfig over a data directory.
    fn way(&self, environment: &Environment) -> Way {
        match (&self.kubeconfig, &self.data) {
            (Some(file), _) => Way::File(file.clone()),
            (None, Some(dir)) => Way::Socket(dir.clone()),
            (None, None) if environment.kubeconfig.as_ref().is_some_and(|files| !files.is_empty()) => Way::Files,
            (None, None) => Way::Socket(self.data_dir_in(environment)),
        }
    }

    /// A client by a kubeconfig. Errors: it cannot be used; no server answers there.
    async fn over_tls(&self, kubeconfig: Kubeconfig) -> Result<Client> {
        // Fails only when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| unusable(&error))?;
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|error| unusable(&error))?;
        match client.apiserver_version().await {
            Err(error) if exit_of(&error) == Exit::Unreachable => {
                Err(Failure::of_call(&format!("no server answers at {}", server.trim_end_matches('/')), &error))
            }
            // Whatever it answers, it is there; what it refuses is told when it is asked for.
            _ => Ok(client),
        }
    }
}

impl Environment {
    fn read() -> Self {
        Self { kubeconfig: std::env::var_os("KUBECONFIG"), data: std::env::var_os("CONDUCTOR_DATA") }
    }
}

/// The data directory that the files of settings name, or the usual one. What is wrong with them is told by `conductor config`.
fn configured_data_dir() -> PathBuf {
    let read = Effective::read(&Flags::default(), &settings::Environment::read());
    read.map_or_else(|_| paths::default_data_dir(), |read| read.settings().data)
}

fn unusable(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::failed(format!("the kubeconfig cannot be used: {}", chain(error)))
}

/// Where Services of the server of this data directory are reached, if it says so.
fn http_address(data: &Path) -> Option<String> {
    let text = std::fs::read_to_string(paths::ready(data)).ok()?;
    let ready: serde_json::Value = serde_json::from_str(&text).ok()?;
    ready["http"].as_str().map(str::to_owned)
}

/// A client of this machine's own server. Errors: no server answers there.
pub async fn local(data: Option<&Path>) -> Result<Client> {
    let reach = Reach { data: data.map(Path::to_owned), ..Reach::default() };
    over_socket(&reach.data_dir()).await
}

/// A client over the socket of a data directory; each request has a connection of its own. Errors: no server answers there.
async fn over_socket(data: &Path) -> Result<Client> {
    let socket = paths::socket(data);
    UnixStream::connect(&socket).await.map_err(|error| NoServer::new(&socket, &error)).map_err(|none| {
        let exit = if none.is_forbidden { Exit::Unauthorised } else { Exit::Unreachable };
        Failure::new(exit, none.to_string())
    })?;
    let service = tower::service_fn(move |request: Request<Body>| {
        let socket = socket.clone();
        async move { ask(&socket, request).await }
    });
    Ok(Client::new(service, "default"))
}

async fn ask(socket: &Path, mut request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
    let stream = UnixStream::connect(socket).await.map_err(|error| NoServer::new(socket, &error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // What goes wrong with the connection is told to whoever awaits the answer.
    tokio::spawn(connection);
    request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
    Ok(sender.send_request(request).await?)
}

/// No server answers at a socket.
#[derive(Debug)]
struct NoServer {
    socket: PathBuf,
    reason: String,
    is_absent: bool,
    is_forbidden: bool,
}

impl NoServer {
    fn new(socket: &Path, error: &io::Error) -> Self {
        Self {
            socket: socket.to_owned(),
            reason: error.to_string(),
            is_absent: matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused),
            is_forbidden: error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
}

impl fmt::Display for NoServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = self.socket.display();
        if self.is_absent {
            write!(f, "no server answers at {socket}: start one with `conductor serve`, or name another with --data or --kubeconfig")
        } else {
            write!(f, "the server at {socket} cannot be reached: {}", self.reason)
        }
    }
}

impl std::error::Error for NoServer {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_the_environment_and_a_kubeconfig_over_a_data_directory() {
        let way = |data: Option<&str>, file: Option<&str>, env_data: &str, env_file: &str| {
            let reach = Reach { data: data.map(Into::into), kubeconfig: file.map(Into::into), ..Reach::default() };
            reach.way(&Environment { kubeconfig: Some(env_file.into()), data: Some(env_data.into()) })
        };
        assert_eq!(way(None, Some("f"), "e", "k"), Way::File("f".into()));
        assert_eq!(way(Some("d"), None, "e", "k"), Way::Socket("d".into()));
        assert_eq!(way(None, None, "e", "k"), Way::Files);
        assert_eq!(way(None, None, "e", ""), Way::Socket("e".into()));
        assert_eq!(way(None, None, "", ""), Way::Socket(paths::default_data_dir()));
    }

    #[tokio::test]
    async fn where_no_server_answers_the_way_out_is_told() {
        let reach = Reach { data: Some("/nowhere/at/all".into()), ..Reach::default() };
        let failure = reach.connect().await.err().unwrap();
        assert!(failure.message().starts_with("no server answers at /nowhere/at/all/conductor.sock: start one with `conductor serve`"));
        assert_eq!(failure.exit().code(), 1);
    }
}
