//! Interim answers (103 Early Hints and their like) on their way to a client of HTTP/1.1, which a proxy must pass on
//! (RFC 9110, 15.2).
//!
//! hyper reads them and has no way to write them. They are written to the socket where that is sure to be between two answers:
//! when the connection is read while a request waits for its answer, and nothing that was written before is left over. What
//! cannot be written then is left out; it was a hint.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::task::Context;

use futures::task::AtomicWaker;
use http::{HeaderMap, StatusCode, Version};

use super::endpoint::locked;
use super::headers;

/// More bytes of them are left out.
const BYTES_MAX: usize = 64 * 1024;

/// The interim answers that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Early {
    bytes: Mutex<Vec<u8>>,
    is_waiting: AtomicBool,
    writer: AtomicWaker,
}

impl Early {
    /// An endpoint sent one. Those that are about the connection or the body are not passed on: hyper has its own.
    pub(super) fn add(&self, status: StatusCode, headers: &HeaderMap) {
        if matches!(status, StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS) {
            return;
        }
        let mut headers = headers.clone();
        headers::to_client(Version::HTTP_11, status, &mut headers);
        let mut head = format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or("Interim")).into_bytes();
        for (name, value) in &headers {
            for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(piece);
            }
        }
        head.extend_from_slice(b"\r\n");
        let mut bytes = locked(&self.bytes);
        if bytes.len() + head.len() <= BYTES_MAX {
            bytes.extend_from_slice(&head);
            self.is_waiting.store(true, Release);
            self.writer.wake();
        }
    }

    /// Has the task of the connection woken for each.
    pub(super) fn register(&self, context: &Context<'_>) {
        self.writer.register(context.waker());
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting.load(Acquire)
    }

    /// All that wait; none is left.
    pub(super) fn take(&self) -> Vec<u8> {
        self.is_waiting.store(false, Release);
        std::mem::take(&mut locked(&self.bytes))
    }
}
