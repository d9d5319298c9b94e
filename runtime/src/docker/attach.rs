//! Attaching to a container's own program by way of the engine.

use std::pin::Pin;
use std::sync::Arc;

use bollard::container::AttachContainerResults;
use bollard::query_parameters::{AttachContainerOptionsBuilder, ResizeContainerTTYOptionsBuilder};
use futures::StreamExt as _;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::docker::engine::{ASKED, Engine};
use crate::docker::session::{Words, output_of};
use crate::{Container, Input, Output, Result, Session, Stdin};

type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// A session with the container `id`, which was asked for as `container`.
pub(super) async fn open(engine: &Arc<Engine>, id: &str, container: &Container, stdin: bool) -> Result<Session> {
    let stdin = stdin && container.stdin != Stdin::Empty;
    let failed = |refusal: super::engine::Refusal| refusal.into_error(format!("attach to container {}", container.name));
    let options = AttachContainerOptionsBuilder::default().stream(true).stdin(stdin).stdout(true).stderr(true).build();
    let client = engine.streaming().map_err(failed)?;
    let attached = engine.ask(ASKED, client.attach_container(id, Some(options))).await.map_err(failed)?;
    let AttachContainerResults { output, input } = attached;
    let (session, told, says) = Session::new();
    let listener = Listener { engine: Arc::clone(engine), id: id.to_owned() };
    tokio::spawn(carry(listener, output, stdin.then_some(input), told, says));
    Ok(session)
}

/// Carries what is said both ways until the program has ended or nobody listens any more, and what was said before is passed on.
async fn carry(listener: Listener, mut words: Words, stdin: Option<Writer>, told: mpsc::Receiver<Input>, says: mpsc::Sender<Output>) {
    let mut hearing = tokio::spawn(listener.hear(stdin, told));
    loop {
        tokio::select! {
            word = words.next() => match word {
                Some(Ok(word)) => if says.send(output_of(word)).await.is_err() { break },
                Some(Err(error)) => {
                    tracing::debug!(%error, "the words of a container were cut off");
                    return hearing.abort();
                }
                None => return hearing.abort(),
            },
            () = says.closed() => break,
        }
    }
    // The connection stays while something is left to say, and while it stays it must be read.
    loop {
        tokio::select! {
            _ = &mut hearing => return,
            word = words.next() => if !matches!(word, Some(Ok(_))) { return hearing.abort() },
        }
    }
}

/// Tells a container what it is told.
struct Listener {
    engine: Arc<Engine>,
    id: String,
}

impl Listener {
    async fn hear(self, mut stdin: Option<Writer>, mut told: mpsc::Receiver<Input>) {
        while let Some(input) = told.recv().await {
            match input {
                Input::Bytes(bytes) => {
                    if let Some(open) = &mut stdin
                        && (open.write_all(&bytes).await.is_err() || open.flush().await.is_err())
                    {
                        stdin = None;
                    }
                }
                Input::End => end(stdin.take()).await,
                Input::Resize { columns, rows } => {
                    let size = ResizeContainerTTYOptionsBuilder::default().w(i32::from(columns)).h(i32::from(rows)).build();
                    if let Ok(client) = self.engine.client() {
                        let _ = self.engine.ask(ASKED, client.resize_container_tty(&self.id, size)).await;
                    }
                }
            }
        }
        end(stdin.take()).await;
    }
}

async fn end(stdin: Option<Writer>) {
    if let Some(mut open) = stdin {
        let _ = open.shutdown().await;
    }
}
