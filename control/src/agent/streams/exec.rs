//! `/exec` and `/attach`: a program run in a container, and what the container's own program writes.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use runtime::{Error, ExecOptions, Input, LogOptions, Output, Session};
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
        Ok(session) => talk(sink, heard, session).await,
        Err(error) => refuse(sink, &error).await,
    })
}

/// Carries what the container's program writes from now on. It reads nothing: its standard input is not ours to give.
pub async fn attach(State(shared): State<Arc<Shared>>, Path(uid): Path<String>, RawQuery(query): RawQuery, upgrade: Upgrade) -> Response {
    let query = query.unwrap_or_default();
    let container = values(&query, "container").pop().unwrap_or_default();
    let Some((runtime, _)) = shared.sandboxes().await.remove(&uid) else {
        return refusal(400, &format!("container {container:?} has not been started"));
    };
    let options = LogOptions { follow: true, tail: Some(0), ..LogOptions::default() };
    match runtime.logs(&uid, &container, options).await {
        Ok(written) => upgrade.converse(streams(&query), async move |sink, heard| watch(sink, heard, written).await),
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

async fn talk(mut sink: Sink, mut heard: Heard, session: Session) {
    let Session { input, mut output } = session;
    let telling = tell(&mut sink, &mut output);
    tokio::select! {
        told = telling => if told.is_ok() {
            sink.close().await;
        },
        // The client is gone: the session ends with us, and the program with it.
        () = listen(&mut heard, input) => {}
    }
}

/// Sends what the program writes, and how it ended. Errors: the client is gone.
async fn tell(sink: &mut Sink, output: &mut mpsc::Receiver<Output>) -> Result<(), Gone> {
    while let Some(piece) = output.recv().await {
        match piece {
            Output::Out(bytes) => sink.send(STDOUT, &bytes).await?,
            Output::Err(bytes) => sink.send(STDERR, &bytes).await?,
            Output::Ended(code) => return sink.send(STATUS, ended(code).to_string().as_bytes()).await,
        }
    }
    let status = failure(500, "InternalError", "the program was lost");
    sink.send(STATUS, status.to_string().as_bytes()).await
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

async fn refuse(mut sink: Sink, error: &Error) {
    let status = failure(500, "InternalError", &format!("Internal error occurred: {error}"));
    if sink.send(STATUS, status.to_string().as_bytes()).await.is_ok() {
        sink.close().await;
    }
}

async fn watch(mut sink: Sink, mut heard: Heard, mut written: BoxStream<'static, Bytes>) {
    let gone = async { while heard.next().await.is_some() {} };
    let telling = async {
        while let Some(bytes) = written.next().await {
            sink.send(STDOUT, &bytes).await?;
        }
        sink.send(STATUS, ended(0).to_string().as_bytes()).await
    };
    tokio::select! {
        _ = telling => {}
        () = gone => {}
    }
    sink.close().await;
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
