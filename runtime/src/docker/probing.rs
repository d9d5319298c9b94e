//! Asking a container by its published port.
//!
//! What publishes a port accepts connections itself, also while nothing listens inside; then it closes them at once. So a
//! connection counts once it was left open for a moment, or something was said on it.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::ProbeAnswer;
use crate::probe::{self, Target};

/// How long a connection must stay open.
const HELD: Duration = Duration::from_millis(100);

/// Asks for a TCP connection that is held, at most `patience` long.
pub(super) async fn tcp(target: &Target, inside: u16, patience: Duration) -> ProbeAnswer {
    let accepted = ProbeAnswer::yes(format!("{} accepted a connection", target.address));
    let refused = || ProbeAnswer::no(format!("did not listen on {inside}{}", probe::told_where(target)));
    match timeout(patience, TcpStream::connect(target.address)).await {
        Ok(Ok(mut stream)) => match timeout(HELD, stream.read(&mut [0])).await {
            Ok(Ok(1..)) | Err(_) => accepted,
            Ok(Ok(_) | Err(_)) => refused(),
        },
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => refused(),
        Ok(Err(error)) => ProbeAnswer::no(format!("cannot connect to {}: {error}", target.address)),
        Err(_) => ProbeAnswer::no(format!("no answer from {} within {patience:?}", target.address)),
    }
}

/// Asks by an HTTP GET, at most `patience` long.
pub(super) async fn http(target: &Target, inside: u16, path: &str, headers: &[(String, String)], patience: Duration) -> ProbeAnswer {
    let answer = probe::http(target, path, headers, patience).await;
    if answer.passed || answer.detail.contains(" answered ") || answer.detail.starts_with("no answer") {
        return answer;
    }
    // Closed without a word, which may be the publisher's doing.
    let held = tcp(target, inside, patience).await;
    if held.passed { answer } else { held }
}
