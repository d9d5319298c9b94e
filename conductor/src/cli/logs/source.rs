//! One container's log, line by line, across restarts and lost connections.

use std::time::Duration;

use futures::AsyncBufReadExt as _;
use jiff::{Timestamp, Unit};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, LogParams};
use tokio::sync::mpsc::Sender;

use super::super::failure::{Exit, Failure, Result};

/// How long a log that has ended is left alone before it is asked for again.
const PAUSE: Duration = Duration::from_millis(300);

/// A container of a Pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The Pod's name.
    pub pod: String,
    /// Its uid, for another Pod may have that name later.
    pub uid: String,
    /// The container's name.
    pub container: String,
    /// How its lines are told apart from those of others.
    pub label: String,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Those to come, too.
    pub follow: bool,
    /// Those of the run before the current one.
    pub previous: bool,
    /// Of those there are, the last so many.
    pub tail: Option<i64>,
    /// Of those there are, the ones of the last so many seconds.
    pub since_seconds: Option<i64>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Whose it is.
    pub source: Source,
    /// When it was written.
    pub time: Option<Timestamp>,
    /// What it says.
    pub text: String,
}

/// Nobody takes lines any more.
struct Unwanted;

impl Source {
    /// The containers of a Pod, or the one of this name.
    pub fn of(pod: &Pod, container: Option<&str>) -> Vec<Self> {
        let containers: Vec<&str> = pod.spec.iter().flat_map(|spec| &spec.containers).map(|container| container.name.as_str()).collect();
        let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten()).map(|container| container.name.as_str());
        let chosen: Vec<&str> = match container {
            Some(name) => containers.iter().copied().chain(init).filter(|other| *other == name).collect(),
            None => containers.clone(),
        };
        let label = |name: &str| if containers.len() > 1 { format!("{}/{name}", pod.name_any()) } else { pod.name_any() };
        let source =
            |name: &str| Self { pod: pod.name_any(), uid: pod.uid().unwrap_or_default(), container: name.to_owned(), label: label(name) };
        chosen.into_iter().map(source).collect()
    }
}

impl Wanted {
    /// What to ask for; on asking again, what was written since the last line that was seen.
    fn parameters(&self, container: &str, seen: Option<Timestamp>) -> LogParams {
        let whole_second =
            seen.and_then(|seen| seen.round(jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Floor)).ok());
        LogParams {
            container: Some(container.to_owned()),
            follow: self.follow,
            previous: self.previous,
            timestamps: true,
            tail_lines: self.tail.filter(|_| seen.is_none()),
            since_seconds: self.since_seconds.filter(|_| seen.is_none()),
            since_time: whole_second,
            ..LogParams::default()
        }
    }
}

/// Sends the lines of a container until they end; when followed, until its Pod is gone or has ended.
pub async fn read(pods: Api<Pod>, source: Source, wanted: Wanted, lines: Sender<Result<Line>>) {
    let mut seen = None;
    loop {
        let failure = match pump(&pods, &source, &wanted, &mut seen, &lines).await {
            Err(Unwanted) => return,
            Ok(failure) => failure,
        };
        let is_lasting = |failure: &Failure| matches!(failure.exit(), Exit::Unauthorised) || !wanted.follow;
        if let Some(failure) = failure.filter(is_lasting) {
            // Nobody to tell is as good as told.
            let _ = lines.send(Err(failure)).await;
            return;
        }
        if !wanted.follow || is_over(&pods, &source).await {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Sends what one call gives. Returns why it gave nothing, or no more.
async fn pump(
    pods: &Api<Pod>,
    source: &Source,
    wanted: &Wanted,
    seen: &mut Option<Timestamp>,
    lines: &Sender<Result<Line>>,
) -> Result<Option<Failure>, Unwanted> {
    let tried = || format!("could not read the log of {}", source.label);
    let mut stream = match pods.log_stream(&source.pod, &wanted.parameters(&source.container, *seen)).await {
        Ok(stream) => std::pin::pin!(stream),
        Err(error) => return Ok(Some(Failure::of_call(&tried(), &error))),
    };
    let already = *seen;
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match stream.read_until(b'\n', &mut bytes).await {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Ok(Some(Failure::new(Exit::Unreachable, format!("{}: {error}", tried())))),
        }
        let (time, text) = split(&String::from_utf8_lossy(&bytes));
        if already.is_some() && time <= already {
            continue;
        }
        *seen = time.or(*seen);
        let line = Line { source: source.clone(), time, text };
        lines.send(Ok(line)).await.map_err(|_| Unwanted)?;
    }
}

/// A line's time and the line itself, without what ends it.
fn split(line: &str) -> (Option<Timestamp>, String) {
    let line = line.strip_suffix('\n').unwrap_or(line);
    match line.split_once(' ') {
        Some((time, text)) if time.parse::<Timestamp>().is_ok() => (time.parse().ok(), text.to_owned()),
        _ if line.parse::<Timestamp>().is_ok() => (line.parse().ok(), String::new()),
        _ => (None, line.to_owned()),
    }
}

async fn is_over(pods: &Api<Pod>, source: &Source) -> bool {
    match pods.get_opt(&source.pod).await {
        Ok(Some(pod)) => {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            pod.uid().as_deref() != Some(&source.uid) || matches!(phase, Some("Succeeded" | "Failed"))
        }
        Ok(None) => true,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_split_into_its_time_and_its_text() {
        let time: Timestamp = "2026-01-01T00:00:00.123456789Z".parse().unwrap();
        for (line, expected) in [
            ("2026-01-01T00:00:00.123456789Z hello world\n", (Some(time), "hello world")),
            ("2026-01-01T00:00:00.123456789Z  two\n", (Some(time), " two")),
            ("2026-01-01T00:00:00.123456789Z \n", (Some(time), "")),
            ("2026-01-01T00:00:00.123456789Z", (Some(time), "")),
            ("no time", (None, "no time")),
            ("", (None, "")),
        ] {
            assert_eq!(split(line), (expected.0, expected.1.to_owned()), "{line}");
        }
    }

    #[test]
    fn asking_again_begins_at_the_last_line_seen() {
        let wanted = Wanted { follow: true, tail: Some(5), since_seconds: Some(60), ..Wanted::default() };
        let first = wanted.parameters("web", None);
        assert_eq!((first.tail_lines, first.since_seconds, first.since_time), (Some(5), Some(60), None));
        let again = wanted.parameters("web", "2026-01-01T00:00:00.9Z".parse().ok());
        assert_eq!((again.tail_lines, again.since_seconds, again.since_time), (None, None, "2026-01-01T00:00:00Z".parse().ok()));
    }

    #[test]
    fn sources_are_the_containers_of_a_pod() {
        let pod = |containers: &[&str]| -> Pod {
            let containers: Vec<_> = containers.iter().map(|name| json!({"name": name})).collect();
            let spec = json!({"containers": containers, "initContainers": [{"name": "setup"}]});
            serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}, "spec": spec})).unwrap()
        };
        let labels = |pod: &Pod, container| Source::of(pod, container).into_iter().map(|source| source.label).collect::<Vec<_>>();
        assert_eq!(labels(&pod(&["a"]), None), ["p"]);
        assert_eq!(labels(&pod(&["a", "b"]), None), ["p/a", "p/b"]);
        assert_eq!(labels(&pod(&["a", "b"]), Some("b")), ["p/b"]);
        assert_eq!(labels(&pod(&["a"]), Some("setup")), ["p"]);
        assert!(labels(&pod(&["a"]), Some("c")).is_empty());
    }
}
