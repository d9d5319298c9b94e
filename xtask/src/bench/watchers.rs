//! A thousand watchers of one kind while a thousand objects a second are written, beside one watcher of the same.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use http_body_util::BodyExt as _;
use memchr::memmem;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::clients::ApiClient;
use super::peers::{Conductor, kib_to_mib};
use super::{Bar, Rounds, Row, count};

const WATCHERS: usize = 1_000;
const RATE: usize = 1_000;
const WRITERS: usize = 32;
/// How long events may be on their way when the last write is done.
const PATIENCE: Duration = Duration::from_secs(60);
const MAPS: &str = "/api/v1/namespaces/watched/configmaps";
const JSON: &str = "application/json";

/// What watchers saw of the writes.
#[derive(Debug, Default)]
struct Seen {
    /// From sending a write to its event, in milliseconds, of every event.
    delays_ms: Vec<f64>,
    /// How often a watch ended and was taken up again where it was.
    resumed: u64,
    per_second: f64,
    resident_mib_max: f64,
}

/// Writes for two and a half rounds: ten seconds, unless told otherwise.
pub async fn measure(rounds: Rounds) -> Result<Vec<Row>> {
    let length = rounds.length * 5 / 2;
    let one = apart(1, length).await?;
    let many = apart(WATCHERS, length).await?;
    let writes = writes(length);
    let expected = count((writes * WATCHERS) as u64);
    let row = |what: &str, unit: &str, of: &dyn Fn(&Seen) -> f64| {
        Row::new(format!("{WATCHERS} watchers, {RATE} writes/s: {what}"), of(&many), unit).beside("1 watcher", of(&one))
    };
    let received = Row::new(
        format!("{WATCHERS} watchers, {RATE} writes/s for {} s: events received", length.as_secs_f64()),
        count(many.delays_ms.len() as u64),
        format!("of {expected:.0}"),
    );
    Ok(vec![
        received.held_to(Bar::AtLeast(expected)),
        row("writes done", "/s", &|seen| seen.per_second),
        row("write to event, p50", "ms", &|seen| seen.delay_ms(50)),
        row("write to event, p99", "ms", &|seen| seen.delay_ms(99)),
        row("write to event, largest", "ms", &|seen| seen.delay_ms(100)),
        row("watches taken up again", "", &|seen| count(seen.resumed)),
        row("server's largest resident memory", "MiB", &|seen| seen.resident_mib_max),
    ])
}

impl Seen {
    fn delay_ms(&self, percent: usize) -> f64 {
        let rank = (self.delays_ms.len() * percent).div_ceil(100).max(1);
        self.delays_ms.get(rank - 1).copied().unwrap_or_default()
    }
}

fn writes(length: Duration) -> usize {
    usize::try_from(length.as_millis()).unwrap_or(usize::MAX) * RATE / 1_000
}

/// Measures on threads of its own: the clients must not be what is slow.
async fn apart(watchers: usize, length: Duration) -> Result<Seen> {
    let work = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(watched(watchers, length))
    };
    tokio::task::spawn_blocking(work).await?
}

async fn watched(watchers: usize, length: Duration) -> Result<Seen> {
    let conductor = Conductor::start()?;
    let (api, data) = (conductor.api, conductor.data.clone());
    let mut client = ApiClient::connect(api, &data).await?;
    client.call("POST", "/api/v1/namespaces", JSON, json!({"metadata": {"name": "watched"}}).to_string()).await?;
    let list: Value = serde_json::from_slice(&client.call("GET", MAPS, JSON, "").await?)?;
    let start = list["metadata"]["resourceVersion"].as_str().context("a list without a resourceVersion")?.to_owned();
    let begun = Instant::now();
    let mut open = Vec::new();
    for _ in 0..watchers {
        let mut watcher =
            Watcher { api, data: data.clone(), begun, version: start.clone(), rest: Vec::new(), delays_ms: Vec::new(), resumed: 0 };
        let stream = watcher.open().await?;
        open.push((watcher, stream));
    }
    let events = writes(length);
    let (end, ended) = watch::channel(false);
    let mut watching = JoinSet::new();
    for (watcher, stream) in open {
        watching.spawn(watcher.follow(stream, events, ended.clone()));
    }
    let mut seen = Seen { per_second: write(api, &data, begun, events).await?, ..Seen::default() };
    tokio::spawn(async move {
        tokio::time::sleep(PATIENCE).await;
        end.send_replace(true);
    });
    while let Some(watcher) = watching.join_next().await {
        let watcher = watcher??;
        seen.resumed += watcher.resumed;
        seen.delays_ms.extend(watcher.delays_ms);
    }
    seen.delays_ms.sort_unstable_by(f64::total_cmp);
    seen.resident_mib_max = kib_to_mib(conductor.peer.resident_kib_max());
    Ok(seen)
}

/// Writes objects at a steady rate, or as fast as they are taken when that is slower; how many a second those were.
/// The name of each tells when it was sent.
async fn write(api: SocketAddr, data: &Path, begun: Instant, events: usize) -> Result<f64> {
    let started = Instant::now();
    let mut writing = JoinSet::new();
    for number in 0..WRITERS {
        let mut client = ApiClient::connect(api, data).await?;
        writing.spawn(async move {
            for at in (number..events).step_by(WRITERS) {
                let due = started + Duration::from_secs(1) * u32::try_from(at)? / u32::try_from(RATE)?;
                tokio::time::sleep_until(due.into()).await;
                let name = format!("w-{at}-{}", begun.elapsed().as_micros());
                client.call("POST", MAPS, JSON, json!({"metadata": {"name": name}, "data": {"at": "x"}}).to_string()).await?;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(writer) = writing.join_next().await {
        writer??;
    }
    Ok(count(events as u64) / started.elapsed().as_secs_f64())
}

/// One connection that watches, and again from where it was when the server ends it.
struct Watcher {
    api: SocketAddr,
    data: PathBuf,
    begun: Instant,
    version: String,
    /// What came of a line whose end has not.
    rest: Vec<u8>,
    delays_ms: Vec<f64>,
    resumed: u64,
}

/// A watch and the connection that it comes over.
type Stream = (ApiClient, hyper::body::Incoming);

impl Watcher {
    async fn open(&mut self) -> Result<Stream> {
        let mut client = ApiClient::connect(self.api, &self.data).await?;
        let path = format!("{MAPS}?watch=true&resourceVersion={}", self.version);
        let response = client.open("GET", &path, JSON, "").await?;
        if !response.status().is_success() {
            bail!("a watch from {} is refused: {}", self.version, response.status());
        }
        Ok((client, response.into_body()))
    }

    /// Reads until all events are there, nobody waits any more, or the server no longer has what comes next.
    async fn follow(mut self, mut stream: Stream, events: usize, mut ended: watch::Receiver<bool>) -> Result<Self> {
        while self.delays_ms.len() < events {
            let frame = tokio::select! {
                frame = stream.1.frame() => frame,
                _ = ended.wait_for(|ended| *ended) => break,
            };
            match frame {
                Some(Ok(frame)) => {
                    let bytes = frame.into_data().unwrap_or_default();
                    if !self.read(&bytes) {
                        break;
                    }
                }
                Some(Err(_)) | None => {
                    self.rest.clear();
                    self.resumed += 1;
                    stream = self.open().await?;
                }
            }
        }
        Ok(self)
    }

    /// Takes note of the lines that are whole; false when one says that the watch cannot go on.
    fn read(&mut self, bytes: &[u8]) -> bool {
        let now = self.begun.elapsed().as_secs_f64() * 1_000.0;
        self.rest.extend_from_slice(bytes);
        let Some(end) = memchr::memrchr(b'\n', &self.rest) else { return true };
        let later = self.rest.split_off(end + 1);
        let lines = std::mem::replace(&mut self.rest, later);
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let sent = after(line, b"\"name\":\"w-").and_then(|name| name.split('-').nth(1)?.parse::<f64>().ok());
            let (Some(sent), Some(version)) = (sent, after(line, b"\"resourceVersion\":\"")) else { return false };
            self.delays_ms.push(now - sent / 1_000.0);
            version.clone_into(&mut self.version);
        }
        true
    }
}

/// The text from behind a mark to the next quotation mark.
fn after<'a>(line: &'a [u8], mark: &[u8]) -> Option<&'a str> {
    let rest = line.get(memmem::find(line, mark)? + mark.len()..)?;
    std::str::from_utf8(rest.get(..memchr::memchr(b'"', rest)?)?).ok()
}
