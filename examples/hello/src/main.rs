//! A service to try Conductor with: it says who it is and which version, and can be slow, late or broken on demand.
//!
//! ```text
//! GET /            200, "hello from POD version VERSION"
//! GET /ready       503 until STARTUP_DELAY_MS have passed, then 200
//! GET /slow?ms=N   200 after N milliseconds
//! GET /crash       the program ends with code 3
//! ```
//!
//! SIGTERM ends it with code 0 once the requests in flight are answered.

mod answers;
mod settings;

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use answers::Answers;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use settings::Settings;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

/// The pause after a failed accept, such as one for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() -> ExitCode {
    let settings = match Settings::from_env(variable) {
        Ok(settings) => settings,
        Err(problem) => return fail(&problem),
    };
    let (address, version) = (SocketAddr::from((settings.address, settings.port)), settings.version.clone());
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => return fail(&format!("cannot listen on {address} (from ADDRESS and PORT): {error}")),
    };
    say(&format!("{} version {version} listens on {address}", settings.name));
    match serve(listener, Arc::new(Answers::new(settings, Instant::now()))).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot wait for signals: {error}")),
    }
}

/// A variable of the environment; few shells export the machine's name, so that is asked for.
fn variable(name: &str) -> Option<String> {
    let machine = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    std::env::var(name).ok().or_else(|| if name == "HOSTNAME" { machine() } else { None })
}

/// Writes a line to the log, if there still is one.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn fail(problem: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "hello: {problem}");
    ExitCode::FAILURE
}

/// Answers requests until SIGTERM or SIGINT, and then those in flight.
async fn serve(listener: TcpListener, answers: Arc<Answers>) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let graceful = GracefulShutdown::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connection(stream, &answers, &graceful),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    drop(listener);
    say("ending: no new connections; answering what is in flight");
    graceful.shutdown().await;
    Ok(())
}

fn connection(stream: TcpStream, answers: &Arc<Answers>, graceful: &GracefulShutdown) {
    // Without it an answer may wait for the client's delayed acknowledgement; failing to set it costs no more than that.
    let _ = stream.set_nodelay(true);
    let answers = Arc::clone(answers);
    let service = service_fn(move |request| {
        let answers = Arc::clone(&answers);
        async move { answers.answer(&request).await }
    });
    let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    // A client that goes away in the middle is no concern of ours.
    tokio::spawn(graceful.watch(connection));
}
