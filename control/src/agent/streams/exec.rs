//! `/exec` and `/attach`: a program run in a container, and what the container's own program writes.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use futures::StreamExt as _;
use runtime::{Error, ExecOptions, Input, Output, Session};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::channels::{ENDED, Gone, Heard, RESIZE, STATUS, STDERR, STDIN, STDOUT, Sink};
use super::upgrade::Upgrade;
use super::{Shared, failure, is_true, refusal, values};

/// Runs a program, and carries what is typed and what it writes.
pub async fn exec(State(shared): State<Arc<Shared>>, Path(uid): Path<String>, RawQuery(query): RawQuery, upgrade: Upgrade) -> Response {
    let query = query.unwrap_or_default();
    let container = values(&query, "container").pop().unwrap_or_default();
    let options = ExecOptions { command: values(&query, "command"), stdin: is_true(&query, "stdin"), tty: is_true(&query, "tty") };
    if options.command.is_empty() {
        return refusal(400, "you must specify at least 1 command for the container");
    }
    let Some((runtime, _)) = shared.sandboxes().await.remove(&uid) else {
        return refusal(400, &format!("container {container:?} has not been started"));
    };
    upgrade.converse(streams(&query), async move |sink, heard| match runtime.open(&uid, &container, options).await {
        Ok(session) => talk(sink, heard, session, &lost()).await,
        Err(error) => refuse(sink, &error).await,
    })
}

/// Carries what the container's own program writes from now on, and what is typed, if it reads anything.
pub async fn attach(State(shared): State<Arc<Shared>>, Path(uid): Path<String>, RawQuery(query): RawQuery, upgrade: Upgrade) -> Response {
    let query = query.unwrap_or_default();
    let container = values(&query, "container").pop().unwrap_or_default();
    let Some((runtime, _)) = shared.sandboxes().await.remove(&uid) else {
        return refusal(400, &format!("container {container:?} has not been started"));
    };
    match runtime.attach(&uid, &container, is_true(&query, "stdin")).await {
        Ok(session) => upgrade.converse(streams(&query), async move |sink, heard| talk(sink, heard, session, &ended(0)).await),
        Err(error) => refusal(400, &error.to_string()),
    }
}

/// The channels that a client opens, by what it asks for.
fn streams(query: &str) -> Vec<u8> {
    let tty = is_true(query, "tty");
    let wanted = [
        (STATUS, true),
        (STDIN, is_true(query, "stdin")),
        (STDOUT, is_true(query, "stdout")),
        (STDERR, is_true(query, "stderr") && !tty),
        (RESIZE, tty),
    ];
    wanted.into_iter().filter(|(_, is_wanted)| *is_wanted).map(|(channel, _)| channel).collect()
}

/// Carries what is said both ways. `silent` is the Status where nobody says how the program ended.
async fn talk(mut sink: Sink, mut heard: Heard, session: Session, silent: &Value) {
    let Session { input, mut output } = session;
    let telling = tell(&mut sink, &mut output, silent);
    tokio::select! {
        told = telling => if told.is_ok() {
            sink.close().await;
        },
        // The client is gone: the session ends with us, and with it a program that is not the container's own.
        () = listen(&mut heard, input) => {}
    }
}

/// Sends what the program writes, and how it ended. Errors: the client is gone.
async fn tell(sink: &mut Sink, output: &mut mpsc::Receiver<Output>, silent: &Value) -> Result<(), Gone> {
    while let Some(piece) = output.recv().await {
        match piece {
            Output::Out(bytes) => sink.send(STDOUT, &bytes).await?,
            Output::Err(bytes) => sink.send(STDERR, &bytes).await?,
            Output::Ended(code) => return sink.send(STATUS, ended(code).to_string().as_bytes()).await,
        }
    }
    sink.send(STATUS, silent.to_string().as_bytes()).await
}

/// Passes on what the client sends, until it is gone.
async fn listen(heard: &mut Heard, input: mpsc::Sender<Input>) {
    while let Some(piece) = heard.next().await {
        let told = match piece {
            (STDIN, bytes) if !bytes.is_empty() => Input::Bytes(bytes),
            (RESIZE, bytes) => match size(&bytes) {
                Some((columns, rows)) => Input::Resize { columns, rows },
                None => continue,
            },
            (ENDED, bytes) if bytes.first() == Some(&STDIN) => Input::End,
            _ => continue,
        };
        // A program that has ended reads no more; what it wrote is still told.
        let _ = input.send(told).await;
    }
}

fn size(bytes: &[u8]) -> Option<(u16, u16)> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let number = |name: &str| value[name].as_u64().and_then(|number| u16::try_from(number).ok());
    Some((number("Width")?, number("Height")?))
}

/// How a program ended, as a Status.
fn ended(code: i32) -> Value {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

fn lost() -> Value {
    failure(500, "InternalError", "the program was lost")
}

async fn refuse(mut sink: Sink, error: &Error) {
    let status = failure(500, "InternalError", &format!("Internal error occurred: {error}"));
    if sink.send(STATUS, status.to_string().as_bytes()).await.is_ok() {
        sink.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ends_are_read_and_written_as_clients_do() {
        assert_eq!(size(br#"{"Width":80,"Height":24}"#), Some((80, 24)));
        for bad in [&b"{}"[..], b"", br#"{"Width":-1,"Height":24}"#, br#"{"Width":70000,"Height":24}"#] {
            assert_eq!(size(bad), None);
        }
        assert_eq!(ended(0)["status"], "Success");
        assert_eq!(ended(7)["details"]["causes"][0]["message"], "7");
    }
}
