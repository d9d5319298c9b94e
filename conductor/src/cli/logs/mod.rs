//! `conductor logs`: what copies write, of one or of many, in the order of time.

mod source;

use std::collections::BTreeSet;

use clap::Args;
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;
use tokio::sync::mpsc;

use super::failure::{Exit, Failure, Result};
use super::named::{self, Target};
use super::output::{self, Format, Output};
use super::reach::Reach;
use super::target;
use source::{Line, Source, Wanted};

/// How many lines of one source are read ahead.
const AHEAD: usize = 256;
/// How many bytes are gathered before they are written.
const GATHERED_MAX: usize = 64 * 1024;

/// What `logs` can be told.
#[derive(Debug, Args)]
pub struct Logs {
    /// Whose logs: a Service, one part of it, or a Pod
    #[arg(value_name = "SERVICE[/PART]|POD", value_parser = named::target)]
    target: Target,
    /// Go on with what is written from now on; of a Service also by new copies
    #[arg(short, long)]
    follow: bool,
    /// Of each copy, only the last so many lines
    #[arg(long, value_name = "LINES")]
    tail: Option<u32>,
    /// Only lines not older than this, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = super::named::time)]
    since: Option<model::Duration>,
    /// Of the run before the current one
    #[arg(short, long, conflicts_with = "follow")]
    previous: bool,
    /// Begin each line with its time
    #[arg(long)]
    timestamps: bool,
    /// Container [default: all]
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    reach: Reach,
}

/// How a line is shown.
#[derive(Debug, Clone, Copy)]
struct Style {
    is_json: bool,
    has_label: bool,
    has_time: bool,
}

/// Prints logs, to their end or for ever.
pub async fn logs(args: Logs) -> Result<()> {
    if matches!(args.output.output, Format::Yaml | Format::Name) {
        return Err(Failure::usage("logs come as lines or, with -o json, as one JSON object a line"));
    }
    let server = args.reach.connect().await?;
    let target = target::resolve(&server, &args.target).await?;
    let sources: Vec<Source> = target.pods.iter().flat_map(|pod| Source::of(pod, args.container.as_deref())).collect();
    if let (Some(name), false, true) = (&args.container, target.pods.is_empty(), sources.is_empty()) {
        return Err(Failure::new(Exit::NotFound, format!("{} has no container {name}", args.target)));
    }
    let style = Style {
        is_json: args.output.output == Format::Json,
        has_label: sources.len() > 1 || (args.follow && target.selector.is_some()),
        has_time: args.timestamps,
    };
    let wanted = Wanted {
        follow: args.follow,
        previous: args.previous,
        tail: args.tail.map(i64::from),
        since_seconds: args.since.map(|since| i64::try_from(since.get().as_millis().div_ceil(1_000)).unwrap_or(i64::MAX)),
    };
    let reader = Reader { pods: Api::namespaced(server.client.clone(), &server.namespace), style, container: args.container };
    match target.selector {
        _ if !args.follow => reader.merged(sources, &wanted, &args.target.to_string()).await,
        None => reader.followed(sources, wanted, None).await,
        Some(selector) => reader.followed(sources, wanted, Some(&selector)).await,
    }
}

struct Reader {
    pods: Api<Pod>,
    style: Style,
    container: Option<String>,
}

impl Reader {
    /// What there is, in the order of time. Logs that cannot be read are told of. Errors: the only one cannot be read.
    async fn merged(&self, sources: Vec<Source>, wanted: &Wanted, target: &str) -> Result<()> {
        if sources.is_empty() {
            output::note(&format!("{target} has no copies"));
        }
        let count = sources.len();
        let (mut heads, mut failures) = (Vec::new(), Vec::new());
        for source in sources {
            let (sender, lines) = mpsc::channel(AHEAD);
            tokio::spawn(source::read(self.pods.clone(), source, wanted.clone(), sender));
            heads.push(Head { next: None, lines });
        }
        for head in &mut heads {
            head.advance(&mut failures).await;
        }
        let mut gathered = String::new();
        while let Some(head) = heads.iter_mut().filter(|head| head.next.is_some()).min_by_key(|head| head.time()) {
            if let Some(line) = head.next.take() {
                gathered.push_str(&self.style.show(&line));
            }
            head.advance(&mut failures).await;
            if gathered.len() >= GATHERED_MAX {
                output::print(&std::mem::take(&mut gathered))?;
            }
        }
        output::print(&gathered)?;
        match failures.pop() {
            Some(failure) if count == 1 => Err(failure),
            last => {
                failures.iter().chain(&last).for_each(|failure| output::note(failure.message()));
                Ok(())
            }
        }
    }

    /// What there is and what comes, as it comes; with a selector also from copies that come.
    async fn followed(&self, sources: Vec<Source>, wanted: Wanted, selector: Option<&str>) -> Result<()> {
        let (sender, mut lines) = mpsc::channel(AHEAD);
        let mut known: BTreeSet<Source> = sources.iter().cloned().collect();
        for source in sources {
            tokio::spawn(source::read(self.pods.clone(), source, wanted.clone(), sender.clone()));
        }
        let Some(selector) = selector else {
            drop(sender);
            while let Some(line) = lines.recv().await {
                self.print(line, &mut lines)?;
            }
            return Ok(());
        };
        let copies = watcher(self.pods.clone(), watcher::Config::default().labels(selector)).default_backoff().applied_objects();
        let mut copies = std::pin::pin!(copies);
        // What new copies wrote before we saw them is wanted, all of it.
        let wanted = Wanted { follow: true, ..Wanted::default() };
        loop {
            tokio::select! {
                Some(line) = lines.recv() => self.print(line, &mut lines)?,
                Some(pod) = copies.next() => {
                    // A watch that fails is begun again by itself.
                    let Ok(pod) = pod else { continue };
                    for source in Source::of(&pod, self.container.as_deref()) {
                        if known.insert(source.clone()) {
                            tokio::spawn(source::read(self.pods.clone(), source, wanted.clone(), sender.clone()));
                        }
                    }
                }
                else => return Ok(()),
            }
        }
    }

    /// Prints a line, and at once what else has come already.
    fn print(&self, first: Result<Line>, lines: &mut mpsc::Receiver<Result<Line>>) -> Result<()> {
        let (mut gathered, mut next) = (String::new(), Some(first));
        while let Some(line) = next {
            match line {
                Ok(line) => gathered.push_str(&self.style.show(&line)),
                Err(failure) => output::note(failure.message()),
            }
            next = if gathered.len() < GATHERED_MAX { lines.try_recv().ok() } else { None };
        }
        output::print(&gathered)
    }
}

/// A log of several that are merged, and its next line.
struct Head {
    next: Option<Line>,
    lines: mpsc::Receiver<Result<Line>>,
}

impl Head {
    async fn advance(&mut self, failures: &mut Vec<Failure>) {
        self.next = match self.lines.recv().await {
            Some(Ok(line)) => Some(line),
            Some(Err(failure)) => {
                failures.push(failure);
                None
            }
            None => None,
        };
    }

    /// A line without a time goes with the one before it.
    fn time(&self) -> Option<Timestamp> {
        self.next.as_ref().and_then(|line| line.time)
    }
}

impl Style {
    fn show(self, line: &Line) -> String {
        let Line { source, time, text } = line;
        if self.is_json {
            let object = json!({"type": "log", "pod": source.pod, "container": source.container, "time": time, "line": text});
            return format!("{object}\n");
        }
        let label = if self.has_label { format!("{} | ", source.label) } else { String::new() };
        let time = time.filter(|_| self.has_time).map(|time| format!("{time} ")).unwrap_or_default();
        format!("{label}{time}{text}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shown_as_wanted() {
        let source = Source { pod: "shop-web-1-0".into(), uid: "u".into(), container: "web".into(), label: "shop-web-1-0".into() };
        let line = Line { source, time: "2026-01-01T00:00:00.5Z".parse().ok(), text: "hi \"you\"".into() };
        for (is_json, has_label, has_time, expected) in [
            (false, false, false, "hi \"you\"\n"),
            (false, true, false, "shop-web-1-0 | hi \"you\"\n"),
            (false, true, true, "shop-web-1-0 | 2026-01-01T00:00:00.5Z hi \"you\"\n"),
            (
                true,
                true,
                true,
                "{\"type\":\"log\",\"pod\":\"shop-web-1-0\",\"container\":\"web\",\"time\":\"2026-01-01T00:00:00.5Z\",\"line\":\"hi \\\"you\\\"\"}\n",
            ),
        ] {
            assert_eq!(Style { is_json, has_label, has_time }.show(&line), expected);
        }
    }
}
