//! Getting images: each is fetched once at a time, whoever needs it, and a failure is not repeated at once. What one pod may not
//! have another may: those that show a registry different credentials do not wait for each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::models::ImageInspect;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::StreamExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::changes::Changes;
use crate::docker::engine::{ASKED, Engine, Refusal, lock};
use crate::docker::fault;
use crate::{Credential, Error, ImageTrouble, PullPolicy, Result};

/// How long a start waits for an image before it tells that it is being fetched.
const WAITED: Duration = Duration::from_secs(1);
/// How long a fetch may make no progress.
const SILENT_MAX: Duration = Duration::from_secs(120);
/// The wait after a failed fetch; it doubles with each further one.
const BACK_OFF_FIRST: Duration = Duration::from_secs(5);
const BACK_OFF_MAX: Duration = Duration::from_secs(300);

/// The image, or what is wrong.
type Fetched = std::result::Result<(), (ImageTrouble, String)>;
/// What came of a fetch, once something did.
type Outcome = Option<Fetched>;

/// An image, and what its registry is shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sought {
    image: String,
    /// Tried in this order; none where the registry lets everybody have it.
    credentials: Vec<Credential>,
}

impl Sought {
    pub fn new(image: &str, credentials: &[Credential]) -> Self {
        Self { image: image.to_owned(), credentials: credentials.to_vec() }
    }
}

/// The images that were asked for lately.
#[derive(Debug)]
pub(super) struct Images {
    all: Mutex<BTreeMap<Sought, Fetch>>,
    changes: Changes,
}

#[derive(Debug, Clone)]
struct Fetch {
    outcome: watch::Receiver<Outcome>,
    begun: Instant,
    failures: u32,
    /// The pods that wait for it.
    askers: Arc<Mutex<BTreeSet<String>>>,
}

impl Images {
    pub fn new(changes: Changes) -> Self {
        Self { all: Mutex::default(), changes }
    }

    /// Makes sure that an image is there for this machine, and says which it is by its digest. When it takes long, that is an
    /// error, and the pod with this uid is told of as changed once the image has come or not.
    pub async fn ensure(&self, engine: &Arc<Engine>, sought: &Sought, policy: PullPolicy, pod: &str) -> Result<String> {
        let image = sought.image.as_str();
        let fault = |trouble, said: String| Error::Image { image: image.to_owned(), trouble, said };
        if !is_name(image) {
            return Err(fault(ImageTrouble::InvalidName, String::new()));
        }
        if policy != PullPolicy::Always
            && let Some(found) = self.look(engine, image).await?
        {
            return check(engine, image, &found).await;
        }
        if policy == PullPolicy::Never {
            return Err(fault(ImageTrouble::NeverFetched, String::new()));
        }
        self.fetch(engine, sought, pod).await?;
        match self.look(engine, image).await? {
            Some(found) => check(engine, image, &found).await,
            None => Err(fault(ImageTrouble::Missing, "it was fetched and is gone again".into())),
        }
    }

    /// The user whom an image that is there names; empty where it names none.
    pub async fn user(&self, engine: &Engine, image: &str) -> Result<String> {
        let found = self.look(engine, image).await?;
        Ok(found.and_then(|found| found.config?.user).unwrap_or_default())
    }

    async fn look(&self, engine: &Engine, image: &str) -> Result<Option<ImageInspect>> {
        let tried = || format!("look for image {image}");
        let client = engine.client().map_err(|refusal| refusal.into_error(tried()))?;
        match engine.ask(ASKED, client.inspect_image(image)).await {
            Ok(found) => Ok(Some(found)),
            Err(refusal) if refusal.is_not_found() => Ok(None),
            Err(Refusal::Said { message, .. }) if fault::of_image(&message) == ImageTrouble::InvalidName => {
                Err(Error::Image { image: image.to_owned(), trouble: ImageTrouble::InvalidName, said: message })
            }
            Err(refusal) => Err(refusal.into_error(tried())),
        }
    }

    /// Waits a little for a fetch, begun if none is under way.
    async fn fetch(&self, engine: &Arc<Engine>, sought: &Sought, pod: &str) -> Result<()> {
        let mut fetch = self.under_way(engine, sought, pod)?;
        let image = &sought.image;
        match timeout(WAITED, fetch.outcome.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => {
                lock(&fetch.askers).remove(pod);
                match outcome.clone() {
                    Some(Err((trouble, said))) => Err(Error::Image { image: image.to_owned(), trouble, said }),
                    _ => Ok(()),
                }
            }
            _ => Err(Error::Image { image: image.to_owned(), trouble: ImageTrouble::Fetching, said: String::new() }),
        }
    }

    fn under_way(&self, engine: &Arc<Engine>, sought: &Sought, pod: &str) -> Result<Fetch> {
        let mut all = lock(&self.all);
        let mut failures = 0;
        if let Some(known) = all.get(sought) {
            let outcome = known.outcome.borrow().clone();
            match outcome {
                None if known.outcome.has_changed().is_ok() => {
                    lock(&known.askers).insert(pod.to_owned());
                    return Ok(known.clone());
                }
                // It was tried for this one too, which has not been told yet.
                Some(_) if lock(&known.askers).contains(pod) => return Ok(known.clone()),
                Some(Err((trouble, said))) => {
                    failures = known.failures.saturating_add(1);
                    let pause = BACK_OFF_FIRST.saturating_mul(1 << known.failures.min(10)).min(BACK_OFF_MAX);
                    if known.begun.elapsed() < pause {
                        let said = format!("{trouble}{}{said}", if said.is_empty() { "" } else { ": " });
                        return Err(Error::Image { image: sought.image.clone(), trouble: ImageTrouble::BackOff(pause.as_secs()), said });
                    }
                }
                _ => {}
            }
        }
        let (sender, outcome) = watch::channel(None);
        let askers = Arc::new(Mutex::new(BTreeSet::from([pod.to_owned()])));
        let fetch = Fetch { outcome, begun: Instant::now(), failures, askers: Arc::clone(&askers) };
        all.retain(|_, known| known.outcome.borrow().is_none() || known.begun.elapsed() < BACK_OFF_MAX * 2);
        all.insert(sought.clone(), fetch.clone());
        let (engine, sought, changes) = (Arc::clone(engine), sought.clone(), self.changes.clone());
        tokio::spawn(async move {
            let outcome = pull(&engine, &sought).await;
            sender.send_replace(Some(outcome));
            lock(&askers).iter().for_each(|pod| changes.tell(pod));
        });
        Ok(fetch)
    }
}

/// Which image was found, unless it is for other machines: by the digest that its registry knows it by, or else by its id.
async fn check(engine: &Engine, image: &str, found: &ImageInspect) -> Result<String> {
    if engine.architecture().is_none() {
        engine.connect().await.map_err(|refusal| refusal.into_error("ask what the container engine runs on"))?;
    }
    if let (Some(ours), Some(its)) = (engine.architecture(), found.architecture.as_deref().filter(|its| !its.is_empty()))
        && ours != its
    {
        let said = format!("it is for {its}, and this machine is {ours}");
        return Err(Error::Image { image: image.to_owned(), trouble: ImageTrouble::WrongArchitecture, said });
    }
    let name = split(image).0;
    let digests = || found.repo_digests.iter().flatten();
    let of_name = digests().find(|digest| digest.split('@').next() == Some(name));
    Ok(of_name.or_else(|| digests().next()).or(found.id.as_ref()).cloned().unwrap_or_default())
}

/// Fetches an image with the first credentials that do, or with none where there are none.
async fn pull(engine: &Engine, sought: &Sought) -> Fetched {
    if sought.credentials.is_empty() {
        return pull_as(engine, &sought.image, None).await.map_err(|failure| telling(failure, "no credentials were tried"));
    }
    let mut failure: Option<(ImageTrouble, String)> = None;
    for credential in &sought.credentials {
        let (trouble, said) = match pull_as(engine, &sought.image, Some(credential)).await {
            Ok(()) => return Ok(()),
            Err(failure) => telling(failure, &format!("with the credentials for {}", credential.registry)),
        };
        // Nobody else would be told otherwise.
        if matches!(trouble, ImageTrouble::Unreachable | ImageTrouble::InvalidName | ImageTrouble::WrongArchitecture) {
            return Err((trouble, said));
        }
        failure = Some(match failure {
            None => (trouble, said),
            Some((ImageTrouble::Unauthorised, before)) => (trouble, format!("{before}; {said}")),
            Some((kept, before)) => (kept, format!("{before}; {said}")),
        });
    }
    failure.map_or(Ok(()), Err)
}

/// A failure, with whom the registry was told that we are where that matters.
fn telling((trouble, said): (ImageTrouble, String), tried: &str) -> (ImageTrouble, String) {
    match trouble {
        ImageTrouble::Unauthorised => (trouble, format!("{tried}: {said}")),
        _ => (trouble, said),
    }
}

async fn pull_as(engine: &Engine, image: &str, credential: Option<&Credential>) -> Fetched {
    let (name, tag) = split(image);
    let options = CreateImageOptionsBuilder::default().from_image(name).tag(tag).build();
    let client = engine.streaming().map_err(said)?;
    let mut progress = std::pin::pin!(client.create_image(Some(options), None, credential.map(shown)));
    loop {
        match timeout(SILENT_MAX, progress.next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(error))) => return Err(said(engine.refusal(error))),
            Err(_) => return Err((ImageTrouble::Unreachable, format!("nothing came for {SILENT_MAX:?}"))),
        }
    }
}

/// Credentials as the engine wants them.
fn shown(credential: &Credential) -> DockerCredentials {
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let Credential { username, password, identity_token, .. } = credential;
    DockerCredentials {
        username: some(username),
        password: some(password),
        identitytoken: some(identity_token),
        ..DockerCredentials::default()
    }
}

fn said(refusal: Refusal) -> (ImageTrouble, String) {
    match refusal {
        Refusal::Said { message, .. } => (fault::of_image(&message), message),
        Refusal::Silent(why) => (ImageTrouble::Other, why),
    }
}

/// An image's name without its tag, and the tag: `latest` where it has none, and its digest where it has one.
fn split(image: &str) -> (&str, &str) {
    if let Some((name, digest)) = image.split_once('@') {
        return (name, digest);
    }
    let path = image.rfind('/').map_or(0, |slash| slash + 1);
    match image.get(path..).and_then(|last| last.find(':')) {
        Some(colon) => (image.get(..path + colon).unwrap_or(image), image.get(path + colon + 1..).unwrap_or("latest")),
        None => (image, "latest"),
    }
}

/// Whether the engine can be asked for it; whether it is one is for the engine to say.
fn is_name(image: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
    image.starts_with(|first: char| first.is_ascii_alphanumeric())
        && image.len() <= 1024
        && image.chars().all(plain)
        && !image.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_told_from_a_port_and_a_digest() {
        let cases = [
            ("shop", ("shop", "latest")),
            ("shop:7", ("shop", "7")),
            ("127.0.0.1:5000/shop", ("127.0.0.1:5000/shop", "latest")),
            ("127.0.0.1:5000/a/shop:7", ("127.0.0.1:5000/a/shop", "7")),
            ("shop:7@sha256:ab", ("shop:7", "sha256:ab")),
            ("é:", ("é", "")),
        ];
        for (image, expected) in cases {
            assert_eq!(split(image), expected, "{image}");
        }
    }

    #[test]
    fn what_would_make_another_question_is_no_name() {
        for (image, is) in
            [("shop:7", true), ("", false), ("a?b", false), ("../x", false), ("a b", false), ("a/../../b", false), ("-x", false)]
        {
            assert_eq!(is_name(image), is, "{image}");
        }
    }
}
