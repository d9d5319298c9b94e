//! `/exec` and `/attach`: a program run in a container, and what the container's own program writes.

use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use futures::stream::{BoxStream, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use runtime::{Error, ExecOptions, Input, LogOptions, Output, Session};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::channels::{self, ENDED, PROTOCOLS, RESIZE, STATUS, STDERR, STDIN, STDOUT, Sink};
use super::{MESSAGE_BYTES_MAX, Shared, failure, is_true, refusal, values};

/// Runs a program, and carries what is typed and what it writes.
pub async fn exec(
    State(shared): State<Arc<Shared>>,
    Path(uid): Path<String>,
    RawQuery(query): RawQuery,
    upgrade: WebSocketUpgrade,
) -> Response {
    let query = query.unwrap_or_default();
    let container = values(&query, "container").pop().unwrap_or_default();
    let options = ExecOptions { command: values(&query, "command"), stdin: is_true(&query, "stdin"), tty: is_true(&query, "tty") };
    let upgrade = upgrade.protocols(PROTOCOLS).max_message_size(MESSAGE_BYTES_MAX);
    if options.command.is_empty() {
        return refusal(400, "you must specify at least 1 command for the container");
    }
    if upgrade.selected_protocol().is_none() {
        return refusal(400, &format!("expected one of the WebSocket protocols {}", PROTOCOLS.join(", ")));
    }
    let Some((runtime, _)) = shared.sandboxes().await.remove(&uid) else {
        return refusal(400, &format!("container {container:?} has not been started"));
    };
    upgrade.on_upgrade(async move |socket| match runtime.open(&uid, &container, options).await {
        Ok(session) => talk(socket, session).await,
        Err(error) => refuse(socket, &error).await,
    })
}

/// Carries what the container's program writes from now on. It reads nothing: its standard input is not ours to give.
pub async fn attach(
    State(shared): State<Arc<Shared>>,
    Path(uid): Path<String>,
    RawQuery(query): RawQuery,
    upgrade: WebSocketUpgrade,
) -> Response {
    let container = values(&query.unwrap_or_default(), "container").pop().unwrap_or_default();
    let upgrade = upgrade.protocols(PROTOCOLS).max_message_size(MESSAGE_BYTES_MAX);
    if upgrade.selected_protocol().is_none() {
        return refusal(400, &format!("expected one of the WebSocket protocols {}", PROTOCOLS.join(", ")));
    }
    let Some((runtime, _)) = shared.sandboxes().await.remove(&uid) else {
        return refusal(400, &format!("container {container:?} has not been started"));
    };
    let options = LogOptions { follow: true, tail: Some(0), ..LogOptions::default() };
    match runtime.logs(&uid, &container, options).await {
        Ok(written) => upgrade.on_upgrade(async move |socket| watch(socket, written).await),
        Err(error) => refusal(400, &error.to_string()),
    }
}

async fn talk(socket: WebSocket, session: Session) {
    let Session { input, mut output } = session;
    let (mut sink, mut stream) = socket.split();
    let telling = tell(&mut sink, &mut output);
    tokio::select! {
        told = telling => if told.is_ok() {
            channels::close(&mut sink).await;
        },
        // The client is gone: the session ends with us, and the program with it.
        () = listen(&mut stream, input) => {}
    }
}

/// Sends what the program writes, and how it ended. Errors: the client is gone.
async fn tell(sink: &mut Sink, output: &mut mpsc::Receiver<Output>) -> Result<(), axum::Error> {
    while let Some(piece) = output.recv().await {
        match piece {
            Output::Out(bytes) => channels::send(sink, STDOUT, &bytes).await?,
            Output::Err(bytes) => channels::send(sink, STDERR, &bytes).await?,
            Output::Ended(code) => return channels::send(sink, STATUS, ended(code).to_string().as_bytes()).await,
        }
    }
    let status = failure(500, "InternalError", "the program was lost");
    channels::send(sink, STATUS, status.to_string().as_bytes()).await
}

/// Passes on what the client sends, until it is gone.
async fn listen(stream: &mut SplitStream<WebSocket>, input: mpsc::Sender<Input>) {
    while let Some(Ok(message)) = stream.next().await {
        if matches!(message, Message::Close(_)) {
            return;
        }
        let told = match channels::piece(message) {
            Some((STDIN, bytes)) if !bytes.is_empty() => Input::Bytes(bytes),
            Some((RESIZE, bytes)) => match size(&bytes) {
                Some((columns, rows)) => Input::Resize { columns, rows },
                None => continue,
            },
            Some((ENDED, bytes)) if bytes.first() == Some(&STDIN) => Input::End,
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

async fn refuse(socket: WebSocket, error: &Error) {
    let (mut sink, _stream) = socket.split();
    let status = failure(500, "InternalError", &format!("Internal error occurred: {error}"));
    if channels::send(&mut sink, STATUS, status.to_string().as_bytes()).await.is_ok() {
        channels::close(&mut sink).await;
    }
}

async fn watch(socket: WebSocket, mut written: BoxStream<'static, Bytes>) {
    let (mut sink, mut stream) = socket.split();
    let gone = async {
        while let Some(Ok(message)) = stream.next().await
            && !matches!(message, Message::Close(_))
        {}
    };
    let telling = async {
        while let Some(bytes) = written.next().await {
            channels::send(&mut sink, STDOUT, &bytes).await?;
        }
        channels::send(&mut sink, STATUS, ended(0).to_string().as_bytes()).await?;
        sink.flush().await
    };
    tokio::select! {
        _ = telling => {}
        () = gone => {}
    }
    channels::close(&mut sink).await;
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
