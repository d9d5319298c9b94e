//! A program run inside a container by the engine, that somebody talks to while it runs.

use std::pin::Pin;
use std::sync::Arc;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::query_parameters::ResizeExecOptionsBuilder;
use futures::{Stream, StreamExt as _};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::docker::engine::{ASKED, Engine};
use crate::docker::exec;
use crate::{ExecOptions, Input, Output, Result, Session};

/// The program's words, as the engine carries them.
pub(super) type Words = Pin<Box<dyn Stream<Item = std::result::Result<LogOutput, bollard::errors::Error>> + Send>>;

/// Runs a program in the container `id`, called `container`.
pub(super) async fn open(engine: &Arc<Engine>, id: &str, container: &str, options: &ExecOptions) -> Result<Session> {
    let tried = || format!("run {:?} in container {container}", options.command);
    let asked = CreateExecOptions::<String> {
        attach_stdin: Some(options.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(options.tty),
        cmd: Some(options.command.clone()),
        ..CreateExecOptions::default()
    };
    let refused = |refusal| exec::unstarted(&options.command, refusal, &tried());
    let client = engine.client().map_err(refused)?;
    let program = engine.ask(ASKED, client.create_exec(id, asked)).await.map_err(refused)?.id;
    let client = engine.streaming().map_err(refused)?;
    let start = StartExecOptions { tty: options.tty, ..StartExecOptions::default() };
    let started = client.start_exec(&program, Some(start)).await.map_err(|error| refused(engine.refusal(error)))?;
    let (session, told, says) = Session::new();
    if let StartExecResults::Attached { output, input } = started {
        let talk = Talk { engine: Arc::clone(engine), program, container: id.to_owned() };
        tokio::spawn(talk.run(output, options.stdin.then_some(input), told, says));
    }
    Ok(session)
}

/// A program that runs.
struct Talk {
    engine: Arc<Engine>,
    /// The engine's name of it.
    program: String,
    /// The engine's name of the container.
    container: String,
}

impl Talk {
    /// Carries what is said both ways until the program has ended or nobody listens any more; then the program is ended.
    async fn run(
        self,
        mut words: Words,
        mut stdin: Option<Pin<Box<dyn AsyncWrite + Send>>>,
        mut told: mpsc::Receiver<Input>,
        says: mpsc::Sender<Output>,
    ) {
        let mut listens = true;
        loop {
            tokio::select! {
                word = words.next() => match word {
                    Some(Ok(word)) => if says.send(output_of(word)).await.is_err() { break },
                    Some(Err(error)) => {
                        tracing::debug!(%error, "the words of a program were cut off");
                        break;
                    }
                    None => {
                        let code = exec::code(&self.engine, &self.program).await.unwrap_or(-1);
                        let _ = says.send(Output::Ended(code)).await;
                        return;
                    }
                },
                input = told.recv(), if listens => match input {
                    Some(input) => self.tell(&mut stdin, input).await,
                    None => listens = false,
                },
                () = says.closed() => break,
            }
        }
        exec::end(&self.engine, &self.program, &self.container).await;
    }

    /// Tells the program something. One that has ended hears nothing, which its end will tell.
    async fn tell(&self, stdin: &mut Option<Pin<Box<dyn AsyncWrite + Send>>>, input: Input) {
        match input {
            Input::Bytes(bytes) => {
                if let Some(open) = stdin
                    && (open.write_all(&bytes).await.is_err() || open.flush().await.is_err())
                {
                    *stdin = None;
                }
            }
            Input::End => {
                if let Some(mut open) = stdin.take() {
                    let _ = open.shutdown().await;
                }
            }
            Input::Resize { columns, rows } => {
                let size = ResizeExecOptionsBuilder::new().w(i32::from(columns)).h(i32::from(rows)).build();
                if let Ok(client) = self.engine.client() {
                    let _ = self.engine.ask(ASKED, client.resize_exec(&self.program, size)).await;
                }
            }
        }
    }
}

pub(super) fn output_of(word: LogOutput) -> Output {
    match word {
        LogOutput::StdErr { message } => Output::Err(message),
        LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => Output::Out(message),
    }
}
