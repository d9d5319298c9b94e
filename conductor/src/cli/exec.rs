//! `conductor exec`: a program beside those of a copy.

use std::io::{IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;

use clap::Args;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::ResourceExt as _;
use kube::api::{Api, AttachParams, AttachedProcess, TerminalSize};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::failure::{Exit, Failure, Result};
use super::named::{self, Target};
use super::reach::Reach;
use super::target;

/// What is copied at once, in bytes.
const PIECE_BYTES: usize = 16 << 10;

/// What `exec` can be told.
#[derive(Debug, Args)]
pub struct Exec {
    /// Service, part of it, or Pod; of several copies the first that is ready
    #[arg(value_name = "SERVICE[/PART]|POD", value_parser = named::target)]
    target: Target,
    /// Program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// Hand it what comes on standard input
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Container [default: the first]
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

/// Runs a program in a copy; it ends as that program does. Errors: no such copy; the program cannot be started; its exit code.
pub async fn exec(args: Exec) -> Result<()> {
    let server = args.reach.connect().await?;
    let pod = target::running(&server, &args.target).await?;
    let name = pod.name_any();
    let container = args.container.or_else(|| pod.spec.as_ref()?.containers.first().map(|container| container.name.clone()));
    let is_terminal = args.tty && std::io::stdin().is_terminal();
    if args.tty && !is_terminal {
        return Err(Failure::usage("--tty: standard input is no terminal"));
    }
    let asked = AttachParams { container, stdin: args.stdin, stdout: true, stderr: !args.tty, tty: args.tty, ..AttachParams::default() };
    let pods = Api::<Pod>::namespaced(server.client.clone(), &server.namespace);
    let tried = format!("could not run {} in Pod {name}", args.command.join(" "));
    let mut process = pods.exec(&name, &args.command, &asked).await.map_err(|error| Failure::of_call(&tried, &error))?;
    let raw = is_terminal.then(Raw::enter).flatten();
    let ended = attend(&mut process, is_terminal).await;
    drop(raw);
    match ended {
        None => Err(Failure::new(Exit::Unreachable, format!("{tried}: the connection ended before it did"))),
        Some(status) => outcome(&tried, &status),
    }
}

/// Passes on what comes and goes until the program ends; how it ended.
async fn attend(process: &mut AttachedProcess, is_terminal: bool) -> Option<Status> {
    if let Some(mut input) = process.stdin() {
        tokio::spawn(async move {
            let mut pieces = typed();
            while let Some(piece) = pieces.recv().await {
                if input.write_all(&piece).await.is_err() || input.flush().await.is_err() {
                    return;
                }
            }
            let _ = input.shutdown().await;
        });
    }
    if let (true, Some(mut sizes)) = (is_terminal, process.terminal_size()) {
        tokio::spawn(async move {
            let Ok(mut changed) = signal(SignalKind::window_change()) else { return };
            loop {
                let Some(size) = window() else { return };
                if futures::SinkExt::send(&mut sizes, size).await.is_err() || changed.recv().await.is_none() {
                    return;
                }
            }
        });
    }
    let (output, errors, status) = (process.stdout(), process.stderr(), process.take_status());
    let output = async {
        if let Some(mut output) = output {
            let _ = show(&mut output, &mut std::io::stdout()).await;
        }
    };
    let errors = async {
        if let Some(mut errors) = errors {
            let _ = show(&mut errors, &mut std::io::stderr()).await;
        }
    };
    tokio::join!(output, errors);
    status?.await
}

/// What comes on standard input, piece by piece. The thread that reads it ends with the process at the latest: nothing else can
/// interrupt it.
fn typed() -> mpsc::Receiver<Vec<u8>> {
    let (pieces, taken) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut piece = vec![0_u8; PIECE_BYTES];
        while let Ok(read @ 1..) = std::io::stdin().read(&mut piece) {
            if pieces.blocking_send(piece[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    taken
}

/// Copies, and shows each piece at once.
async fn show(from: &mut (impl AsyncRead + Unpin), to: &mut impl std::io::Write) -> std::io::Result<()> {
    let mut piece = vec![0_u8; PIECE_BYTES];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&piece[..read])?;
        to.flush()?;
    }
}

/// How the program ended. Errors: its own exit code where it has one.
fn outcome(tried: &str, status: &Status) -> Result<()> {
    if status.status.as_deref() == Some("Success") {
        return Ok(());
    }
    let causes = status.details.iter().flat_map(|details| details.causes.iter().flatten());
    let code =
        causes.filter(|cause| cause.reason.as_deref() == Some("ExitCode")).find_map(|cause| cause.message.as_ref()?.parse::<u8>().ok());
    match code {
        Some(code) => Err(Failure::new(Exit::Program(code), "")),
        None => Err(Failure::failed(format!("{tried}: {}", status.message.clone().unwrap_or_default()))),
    }
}

fn window() -> Option<TerminalSize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(TerminalSize { width: size.ws_col, height: size.ws_row })
}

/// A terminal that passes on every key; as it was once this is dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> Option<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(stdin.as_fd()).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_ends_as_the_program_did() {
        let check = |status: serde_json::Value, code: Option<u8>| {
            let ended = outcome("tried", &serde_json::from_value(status).unwrap());
            assert_eq!(ended.err().map(|failure| failure.exit().code()), code);
        };
        check(json!({"status": "Success"}), None);
        check(json!({"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "42"}]}}), Some(42));
        check(json!({"status": "Failure", "message": "no such program"}), Some(1));
    }
}
