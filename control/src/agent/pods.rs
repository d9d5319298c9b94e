//! The Pods placed on this node: one worker each, told of every change of its object and of its sandbox.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{SelectAll, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::references::{self, Named};
use super::worker::{News, work};

const RETRY: Duration = Duration::from_secs(1);

/// Runs until `stop` is cancelled.
pub async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mine = watcher::Config::default().fields(&format!("spec.nodeName={}", shared.facts.name));
    let mut objects = watcher(Api::<Pod>::all(shared.client.clone()), mine).default_backoff().boxed();
    let mut changes: SelectAll<_> = shared.runtimes.iter().map(|runtime| runtime.changes()).collect();
    let mut named = references::changes(&shared.client);
    let mut pods =
        Pods { shared, workers: HashMap::new(), names: HashMap::new(), tasks: JoinSet::new(), listed: Vec::new(), stop: stop.clone() };
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(event) = objects.next() => match event {
                Ok(event) => pods.see(event).await,
                Err(error) => tracing::debug!(%error, "the watch of pods is opened again"),
            },
            Some(uid) = changes.next() => pods.tell(&uid, News::Sandbox),
            Some(changed) = named.next() => pods.tell_of(&changed),
            Some(ended) = pods.tasks.join_next() => pods.ended(ended),
        }
    }
    while pods.tasks.join_next().await.is_some() {}
}

struct Pods {
    shared: Arc<Shared>,
    workers: HashMap<String, mpsc::UnboundedSender<News>>,
    /// What the pods name, by their uids.
    names: HashMap<String, Vec<Named>>,
    tasks: JoinSet<String>,
    /// The uids of a list that is being read.
    listed: Vec<String>,
    stop: CancellationToken,
}

impl Pods {
    async fn see(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Init => self.listed.clear(),
            watcher::Event::InitApply(pod) => {
                self.listed.push(pod.uid().unwrap_or_default());
                self.apply(pod);
            }
            watcher::Event::InitDone => self.sweep().await,
            watcher::Event::Apply(pod) => self.apply(pod),
            watcher::Event::Delete(pod) => self.tell(&pod.uid().unwrap_or_default(), News::Gone),
        }
    }

    fn apply(&mut self, pod: Pod) {
        let uid = pod.uid().unwrap_or_default();
        if self.workers.contains_key(&uid) {
            self.tell(&uid, News::Object(Box::new(pod)));
            return;
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        self.workers.insert(uid.clone(), sender);
        self.names.insert(uid.clone(), references::named(&pod));
        let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
        self.tasks.spawn(async move {
            stop.run_until_cancelled(work(shared, pod, receiver)).await;
            uid
        });
    }

    fn tell(&self, uid: &str, news: News) {
        if let Some(worker) = self.workers.get(uid) {
            // A worker that has ended is reaped by `ended`.
            let _ = worker.send(news);
        }
    }

    /// Something that pods name has changed, come or gone.
    fn tell_of(&self, changed: &Named) {
        for (uid, _) in self.names.iter().filter(|(_, named)| named.contains(changed)) {
            self.tell(uid, News::References);
        }
    }

    fn ended(&mut self, ended: Result<String, tokio::task::JoinError>) {
        match ended {
            Ok(uid) => {
                self.workers.remove(&uid);
                self.names.remove(&uid);
            }
            Err(error) => tracing::error!(%error, "the worker of a pod ended abnormally"),
        }
    }

    /// Removes sandboxes without an object, and tells workers whose object is gone.
    async fn sweep(&mut self) {
        for uid in self.workers.keys().filter(|uid| !self.listed.contains(uid)).cloned().collect::<Vec<_>>() {
            self.tell(&uid, News::Gone);
        }
        let sandboxes = self.shared.sandboxes().await;
        let volumes = self.shared.volumes.pods().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "whose volumes there are is not known");
            Vec::new()
        });
        let all: BTreeSet<&String> = sandboxes.keys().chain(&volumes).collect();
        for uid in all.into_iter().filter(|uid| !self.listed.contains(uid) && !self.workers.contains_key(*uid)) {
            let sandbox = sandboxes.get(uid).map(|(runtime, _)| Arc::clone(runtime));
            tracing::info!(pod = %uid, "removing an orphan");
            tokio::spawn(bury(Arc::clone(&self.shared), sandbox, uid.clone()));
        }
    }
}

/// Removes what a pod left whose object is gone: its volumes last, for programs use them.
async fn bury(shared: Arc<Shared>, runtime: Option<Arc<dyn Runtime>>, uid: String) {
    let remove = async || {
        if let Some(runtime) = &runtime {
            runtime.remove(&uid).await?;
        }
        shared.volumes.remove(&uid).await
    };
    while let Err(error) = remove().await {
        tracing::warn!(%error, "an orphan could not be removed");
        tokio::time::sleep(RETRY).await;
    }
}
