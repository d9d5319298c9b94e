//! How much a store keeps beyond the current objects.

/// The bounds of what a store remembers for watchers and for reads at older revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// At most this many past changes are kept; the oldest revisions go first.
    pub history_events_max: usize,
    /// At most this many bytes of superseded keys and values are kept.
    pub history_bytes_max: usize,
    /// A watch with more than this many unread revisions has fallen too far behind.
    pub watch_batches_max: usize,
    /// A watch with more than this many bytes of unread revisions has fallen too far behind; one revision always fits.
    pub watch_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { history_events_max: 20_000, history_bytes_max: 16 << 20, watch_batches_max: 4096, watch_bytes_max: 16 << 20 }
    }
}
