//! A program run beside a container's own, which somebody talks to: through pipes, or through a terminal.
//!
//! A terminal needs a process that leads a session of its own before the program begins. That is [`super::terminal`], in a
//! process of ours that becomes the program.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};

use super::pty::{Pty, Size};
use crate::session::{ExecOptions, Input, Output, Session};

const PIECE_BYTES: usize = 32 * 1024;
/// How long what a program left running may go on writing after it, while nothing is written.
const QUIET: Duration = Duration::from_millis(200);

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Starts a program. `prepare` gives the command for a program and its arguments; `terminal` is the program that puts others
/// behind a terminal. Errors: it cannot be started.
pub(super) fn start(options: &ExecOptions, terminal: &[String], prepare: impl Fn(&[String]) -> Command) -> io::Result<Session> {
    let (session, told, says) = Session::new();
    if options.tty {
        let pty = Pty::open()?;
        let mut words = terminal.to_vec();
        words.extend(["--terminal".to_owned(), pty.path]);
        words.extend(options.command.iter().cloned());
        let mut command = prepare(&words);
        command.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let group = Group::spawn(command)?;
        let streams: Vec<(Reader, Piece)> = vec![(Box::new(pty.reader), Output::Out)];
        tokio::spawn(run(group, streams, Some(Box::new(pty.writer)), Some(pty.size), told, says));
        return Ok(session);
    }
    let mut command = prepare(&options.command);
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if options.stdin { Stdio::piped() } else { Stdio::null() });
    let mut group = Group::spawn(command)?;
    let mut streams: Vec<(Reader, Piece)> = Vec::new();
    if let Some(out) = group.child.stdout.take() {
        streams.push((Box::new(out), Output::Out));
    }
    if let Some(err) = group.child.stderr.take() {
        streams.push((Box::new(err), Output::Err));
    }
    let stdin = group.child.stdin.take().map(|stdin| Box::new(stdin) as Writer);
    tokio::spawn(run(group, streams, stdin, None, told, says));
    Ok(session)
}

type Piece = fn(Bytes) -> Output;

/// Carries everything until the program has ended and what it wrote is told, or nobody listens any more.
async fn run(
    mut group: Group,
    streams: Vec<(Reader, Piece)>,
    stdin: Option<Writer>,
    size: Option<Size>,
    told: mpsc::Receiver<Input>,
    says: mpsc::Sender<Output>,
) {
    let feeding = tokio::spawn(feed(stdin, size, told));
    let (ended, is_over) = watch::channel(false);
    let copies = streams.into_iter().map(|(reader, piece)| copy(reader, piece, says.clone(), is_over.clone()));
    let mut copying = std::pin::pin!(futures::future::join_all(copies));
    let mut copied = false;
    let status = loop {
        tokio::select! {
            status = group.child.wait() => break status,
            _ = &mut copying, if !copied => copied = true,
            () = says.closed() => {
                feeding.abort();
                return;
            }
        }
    };
    group.pid = None;
    let _ = ended.send(true);
    if !copied {
        tokio::select! {
            _ = copying => {}
            () = says.closed() => {}
        }
    }
    feeding.abort();
    let code = status.map_or(126, code_of);
    // Nobody listens any more otherwise, which is fine.
    let _ = says.send(Output::Ended(code)).await;
}

fn code_of(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

async fn feed(mut stdin: Option<Writer>, size: Option<Size>, mut told: mpsc::Receiver<Input>) {
    while let Some(input) = told.recv().await {
        match (input, &mut stdin) {
            (Input::Bytes(bytes), Some(writer)) => {
                if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
                    stdin = None;
                }
            }
            (Input::End, _) if size.is_none() => stdin = None,
            // A terminal is told the end by its own sign for it.
            (Input::End, Some(writer)) => drop(writer.write_all(&[4]).await),
            (Input::Resize { columns, rows }, _) => {
                if let Some(size) = &size {
                    size.set(columns, rows);
                }
            }
            (Input::Bytes(_) | Input::End, _) => {}
        }
    }
}

async fn copy(mut reader: Reader, piece: Piece, says: mpsc::Sender<Output>, mut is_over: watch::Receiver<bool>) {
    let mut buffer = BytesMut::with_capacity(PIECE_BYTES);
    loop {
        buffer.reserve(PIECE_BYTES);
        let read = tokio::select! {
            biased;
            read = reader.read_buf(&mut buffer) => read,
            () = quiet(&mut is_over) => return,
        };
        // A terminal whose program has ended answers with an error rather than an end.
        let Ok(1..) = read else { return };
        if says.send(piece(buffer.split().freeze())).await.is_err() {
            return;
        }
    }
}

async fn quiet(is_over: &mut watch::Receiver<bool>) {
    let _ = is_over.wait_for(|is_over| *is_over).await;
    tokio::time::sleep(QUIET).await;
}

/// A running program with all of its process group, which ends when it is dropped.
struct Group {
    /// `None` once it has ended.
    pid: Option<i32>,
    child: Child,
}

impl Group {
    fn spawn(mut command: Command) -> io::Result<Self> {
        let child = command.kill_on_drop(true).spawn()?;
        Ok(Self { pid: child.id().and_then(|pid| i32::try_from(pid).ok()), child })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            // The child is not reaped yet, so the group is still its own. One behind a terminal leads its group soon after it
            // begins; until then it is alone, and `kill_on_drop` is enough.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
