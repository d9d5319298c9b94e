//! Attaching to a container of the fake, which says again each line that it is told, and ends with its input.

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::mpsc;

use crate::fake::Fake;
use crate::{Input, Output, Session, Stdin};

/// A session with a container, by uid and name. `written` is its log from now on.
pub(super) fn open(fake: Fake, (uid, container): (&str, &str), stdin: Stdin, mut written: BoxStream<'static, Bytes>) -> Session {
    let (session, told, says) = Session::new();
    let mut hearing = tokio::spawn(hear(fake, uid.to_owned(), container.to_owned(), stdin, told));
    tokio::spawn(async move {
        loop {
            let bytes = tokio::select! {
                bytes = written.next() => bytes,
                _ = &mut hearing, if stdin == Stdin::Open => return,
            };
            let Some(bytes) = bytes else { return };
            if says.send(Output::Out(bytes)).await.is_err() {
                return;
            }
        }
    });
    session
}

async fn hear(fake: Fake, uid: String, container: String, stdin: Stdin, mut told: mpsc::Receiver<Input>) {
    while let Some(input) = told.recv().await {
        match input {
            Input::Bytes(bytes) if stdin != Stdin::Empty => {
                String::from_utf8_lossy(&bytes).lines().for_each(|line| fake.write_log(&uid, &container, line));
            }
            Input::End if stdin != Stdin::Empty => break,
            Input::End | Input::Bytes(_) | Input::Resize { .. } => {}
        }
    }
    if stdin == Stdin::Once {
        fake.exit(&uid, &container, 0);
    }
}
