//! Attaching to a container's own program: what it writes comes from its log, what it reads goes to its pipe.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::process::protocol::Request;
use crate::process::records;
use crate::process::sandbox::Sandbox;
use crate::{Container, Input, Output, Session, Stdin};

/// A session with a container that runs. `written` is its log from now on, each stream by itself.
pub(super) async fn open(sandbox: &Arc<Sandbox>, container: &Container, written: BoxStream<'static, Output>, stdin: bool) -> Session {
    let (session, told, says) = Session::new();
    let input = if stdin { input(sandbox, container).await } else { None };
    let leaves_at_end = input.is_some() && container.stdin == Stdin::Open;
    // Not ended with the session: what was said before somebody left is still to be read.
    let hearing = tokio::spawn(hear(input, told));
    tokio::spawn(tell(written, says, hearing, leaves_at_end));
    session
}

/// Writes what the program is told, until no more comes.
async fn hear(mut pipe: Option<pipe::Sender>, mut told: mpsc::Receiver<Input>) {
    while let Some(input) = told.recv().await {
        match (input, &mut pipe) {
            (Input::Bytes(bytes), Some(open)) => {
                // A program that has ended reads no more, which its end will tell.
                if open.write_all(&bytes).await.is_err() {
                    pipe = None;
                }
            }
            (Input::End, Some(_)) => return,
            (Input::Bytes(_) | Input::End | Input::Resize { .. }, _) => {}
        }
    }
}

/// The container's input, if it has one that is open. One that is open once is this caller's from then on: it ends when the pipe is
/// dropped, also if that is because all of us end.
async fn input(sandbox: &Arc<Sandbox>, container: &Container) -> Option<pipe::Sender> {
    if container.stdin == Stdin::Empty {
        return None;
    }
    let pipe = pipe::OpenOptions::new().open_sender(records::input_file(&sandbox.dir, &container.name)).ok()?;
    if container.stdin == Stdin::Once {
        sandbox.call_if_alive(Request::TakeInput { container: container.name.clone() }).await.ok()?;
    }
    Some(pipe)
}

/// Says what is written until the run ends or nobody listens any more or, with `leaves_at_end`, has more to say.
async fn tell(mut written: BoxStream<'static, Output>, says: mpsc::Sender<Output>, mut hearing: JoinHandle<()>, leaves_at_end: bool) {
    loop {
        let piece = tokio::select! {
            piece = written.next() => piece,
            () = says.closed() => return,
            _ = &mut hearing, if leaves_at_end => return,
        };
        let Some(piece) = piece else { return };
        if says.send(piece).await.is_err() {
            return;
        }
    }
}
