//! The way to a server: this machine's unix socket, or whatever a kubeconfig names.
//!
//! What decides, the first that is there: `--kubeconfig`, `--data`, `KUBECONFIG`, `CONDUCTOR_DATA`, the setting `data`, the usual
//! directory. What fails says which of them it was.

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
    Socket(Place),
}

/// A data directory, and who named it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    dir: PathBuf,
    named_by: NamedBy,
}

/// Who named a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NamedBy {
    Flag,
    Environment,
    Settings,
    /// Nobody: it is the usual one.
    Nobody,
}

impl fmt::Display for NamedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => " (named by --data)",
            Self::Environment => " (named by CONDUCTOR_DATA)",
            Self::Settings => " (named by the settings)",
            Self::Nobody => "",
        })
    }
}

impl Reach {
    /// Connects. Errors: no server answers there; the kubeconfig cannot be used; the namespace is no name.
    pub async fn connect(&self) -> Result<Server> {
        if let Some(problem) = self.namespace.as_deref().and_then(|name| model::check_label(name).into_iter().next()) {
            return Err(Failure::usage(format!("--namespace: {problem}")));
        }
        let (client, http) = match self.way(&Environment::read()) {
            Way::Socket(place) => (over_socket(&place).await?, http_address(&place.dir)),
            Way::File(file) => {
                let read = Kubeconfig::read_from(&file).map_err(|error| unusable("--kubeconfig", &error))?;
                (self.over_tls(read, "--kubeconfig").await?, None)
            }
            Way::Files => {
                let read = Kubeconfig::from_env().map_err(|error| unusable("KUBECONFIG", &error))?.unwrap_or_default();
                (self.over_tls(read, "KUBECONFIG").await?, None)
            }
        };
        let namespace = self.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        Ok(Server { client, namespace, http })
    }

    /// The data directory of this machine's server.
    pub fn data_dir(&self) -> PathBuf {
        self.place(&Environment::read()).dir
    }

    fn place(&self, environment: &Environment) -> Place {
        let of_environment = || environment.data.clone().filter(|dir| !dir.is_empty()).map(PathBuf::from);
        match (&self.data, of_environment()) {
            (Some(dir), _) => Place { dir: dir.clone(), named_by: NamedBy::Flag },
            (None, Some(dir)) => Place { dir, named_by: NamedBy::Environment },
            (None, None) => {
                let (dir, usual) = (configured_data_dir(), paths::default_data_dir());
                let named_by = if dir == usual { NamedBy::Nobody } else { NamedBy::Settings };
                Place { dir, named_by }
            }
        }
    }

    /// A flag wins over the environment, and a kubeconfig over a data directory.
    fn way(&self, environment: &Environment) -> Way {
        match (&self.kubeconfig, &self.data) {
            (Some(file), _) => Way::File(file.clone()),
            (None, Some(_)) => Way::Socket(self.place(environment)),
            (None, None) if environment.kubeconfig.as_ref().is_some_and(|files| !files.is_empty()) => Way::Files,
            (None, None) => Way::Socket(self.place(environment)),
        }
    }

    /// A client by a kubeconfig. Errors: it cannot be used; no server answers there.
    async fn over_tls(&self, kubeconfig: Kubeconfig, named_by: &str) -> Result<Client> {
        // Fails only when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| unusable(named_by, &error))?;
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|error| unusable(named_by, &error))?;
        match client.apiserver_version().await {
            Err(error) if exit_of(&error) == Exit::Unreachable => {
                let tried = format!("no server answers at {} (named by {named_by})", server.trim_end_matches('/'));
                Err(Failure::of_call(&tried, &error))
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

fn unusable(named_by: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::failed(format!("the kubeconfig (named by {named_by}) cannot be used: {}", chain(error)))
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
    over_socket(&reach.place(&Environment::read())).await
}

/// A client over the socket of a data directory; each request has a connection of its own. Errors: no server answers there.
async fn over_socket(place: &Place) -> Result<Client> {
    let socket = paths::socket(&place.dir);
    UnixStream::connect(&socket).await.map_err(|error| NoServer::new(&socket, &error)).map_err(|none| {
        let exit = if none.is_forbidden { Exit::Unauthorised } else { Exit::Unreachable };
        let roots = if none.is_forbidden || is_there_a_server_of_root(place) { ROOTS_SERVER } else { "" };
        Failure::new(exit, format!("{}{roots}", none.because_of(place.named_by)))
    })?;
    let service = tower::service_fn(move |request: Request<Body>| {
        let socket = socket.clone();
        async move { ask(&socket, request).await }
    });
    Ok(Client::new(service, "default"))
}

/// How an ordinary user is let in by the administrator of this machine's server.
const ROOTS_SERVER: &str = "\nThis machine has a server of another user's. To be let in, ask its administrator for a kubeconfig: \
     `conductor token create NAME --role edit -n NAMESPACE` and `conductor kubeconfig --token TOKEN` make one; then set KUBECONFIG to that file";

/// Whether nobody named a place, and root keeps a server's where we are not root.
fn is_there_a_server_of_root(place: &Place) -> bool {
    place.named_by == NamedBy::Nobody && !nix::unistd::geteuid().is_root() && Path::new(paths::ROOTS_DATA_DIR).exists()
}

async fn ask(socket: &Path, mut request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
    let stream = UnixStream::connect(socket).await.map_err(|error| NoServer::new(socket, &error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // What goes wrong with the connection is told to whoever awaits the answer.
    tokio::spawn(connection.with_upgrades());
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

    /// What is said where somebody named its directory.
    fn because_of(&self, named_by: NamedBy) -> String {
        let socket = self.socket.display();
        if self.is_absent {
            format!(
                "no server answers at {socket}{named_by}: start one with `conductor serve`, or name another with --data or --kubeconfig"
            )
        } else {
            format!("the server at {socket}{named_by} cannot be reached: {}", self.reason)
        }
    }
}

impl fmt::Display for NoServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.because_of(NamedBy::Nobody))
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
        let socket = |dir: &str, named_by| Way::Socket(Place { dir: dir.into(), named_by });
        assert_eq!(way(None, Some("f"), "e", "k"), Way::File("f".into()));
        assert_eq!(way(Some("d"), None, "e", "k"), socket("d", NamedBy::Flag));
        assert_eq!(way(None, None, "e", "k"), Way::Files);
        assert_eq!(way(None, None, "e", ""), socket("e", NamedBy::Environment));
        assert_eq!(way(None, None, "", ""), socket(&paths::default_data_dir().to_string_lossy(), NamedBy::Nobody));
    }

    #[tokio::test]
    async fn where_no_server_answers_the_way_out_is_told() {
        let reach = Reach { data: Some("/nowhere/at/all".into()), ..Reach::default() };
        let failure = reach.connect().await.err().unwrap();
        assert!(
            failure
                .message()
                .starts_with("no server answers at /nowhere/at/all/conductor.sock (named by --data): start one with `conductor serve`")
        );
        assert_eq!(failure.exit().code(), 1);
    }
}
