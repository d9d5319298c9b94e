//! The data directory: whom it belongs to, who may read it, and whether the store in it is whole.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use http::Request;
use store::embedded::{Embedded, Options, Sealing};

use super::super::reach;
use super::Finding;
use crate::paths;
use crate::private;
use crate::serve::{local, lost, wiring};
use crate::settings::Settings;

/// Whether a server runs on a data directory.
pub async fn is_running(data: &Path) -> bool {
    reach::local(Some(data)).await.is_ok()
}

/// Whether what is kept is for its owner alone, as `serve` asks before it believes any of it.
pub fn permissions(settings: &Settings) -> Vec<Finding> {
    const OF: &str = "permissions";
    let data = &settings.data;
    if !data.exists() {
        return vec![Finding::good(OF, format!("{} is made at the first start", data.display()))];
    }
    let exposed = private::exposed(data);
    let mut findings: Vec<Finding> = exposed.into_iter().map(|exposed| Finding::wrong(OF, exposed.what, exposed.mend)).collect();
    let files = local::FILES.iter().map(|name| data.join(name)).filter(|file| file.extension().is_none_or(|kind| kind != "crt"));
    let kept = [data.clone(), paths::store(data), settings.secrets_key.clone(), paths::kubeconfig(data)];
    for path in kept.into_iter().chain(files) {
        let Ok(of) = std::fs::metadata(&path) else { continue };
        let (named, own) = (path.display(), nix::unistd::geteuid().as_raw());
        if of.mode() & 0o055 != 0 && of.uid() == own {
            let mode = if of.is_dir() { "700" } else { "600" };
            let what = format!("others may read {named} (mode {:04o})", of.mode() & 0o7777);
            findings.push(Finding::wrong(OF, what, format!("chmod {mode} {named}")));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::good(OF, format!("what is in {} is for its owner alone", data.display())));
    }
    findings
}

/// Whether programs of pods run whose directory is gone, so that no server finds them any more.
pub fn leftovers() -> Finding {
    const OF: &str = "leftovers";
    let lost: Vec<_> = lost::processes_of_pods().into_iter().filter(|(_, dir)| !dir.exists()).collect();
    let Some((_, dir)) = lost.first() else { return Finding::good(OF, "no program runs whose pod's directory is gone") };
    let pids = lost.iter().map(|(pid, _)| pid.to_string()).collect::<Vec<_>>().join(" ");
    Finding::warning(
        OF,
        format!("{} processes run whose pod's directory is gone, such as {}", lost.len(), dir.display()),
        format!("kill {pids}"),
    )
}

/// Whether the store can be opened: a copy of it, or, where a server runs, whether that is well.
pub async fn store(settings: &Settings, is_running: bool) -> Finding {
    const OF: &str = "store";
    let file = paths::store(&settings.data);
    if is_running {
        let unwell =
            |why: String| Finding::wrong(OF, format!("the server that runs does not answer well: {why}"), "systemctl restart conductor");
        let Ok(client) = reach::local(Some(&settings.data)).await else { return unwell("it is gone".into()) };
        let Ok(request) = Request::get("/readyz").body(Vec::new()) else { return unwell("it cannot be asked".into()) };
        return match client.request_text(request).await {
            Ok(_) => Finding::good(OF, "a server runs on it and is well"),
            Err(error) => unwell(error.to_string()),
        };
    }
    if !file.exists() {
        return Finding::good(OF, "it is made at the first start");
    }
    match look(settings, &file) {
        Ok((objects, revision)) => Finding::good(OF, format!("{objects} keys at revision {revision}")),
        Err(why) => Finding::wrong(OF, why, format!("conductor restore FILE --force --data {}", settings.data.display())),
    }
}

/// Opens a copy, beside which nothing is changed.
fn look(settings: &Settings, file: &Path) -> Result<(usize, u64), String> {
    let failed = |error: &dyn std::fmt::Display| format!("{} cannot be read: {error}", file.display());
    let dir = settings.data.join(format!(".doctor-{}", std::process::id()));
    private::make_dir(&dir).map_err(|error| failed(&format!("{error:#}")))?;
    let looked = || -> Result<(usize, u64), String> {
        let (copy, keys) = (dir.join("store.redb"), dir.join("secrets.key"));
        let journal = store::embedded::journal_path(file);
        for (from, to) in [(file, &copy), (&journal, &store::embedded::journal_path(&copy))] {
            if from.exists() {
                let content = std::fs::read(from).map_err(|error| failed(&error))?;
                private::write(to, &content).map_err(|error| failed(&format!("{error:#}")))?;
            }
        }
        let options = wiring::store_options(settings);
        // A key file that is missing would be made; one in the copy's place harms nobody.
        let sealing = options.sealing.map(|sealing| Sealing { key_file: existing(sealing.key_file, keys), ..sealing });
        let store = Embedded::open(&copy, Options { sealing, ..options })
            .map_err(|error| error.to_string().replace(&copy.display().to_string(), &file.display().to_string()))?;
        Ok((store.objects(), store::Store::revision(&store)))
    };
    let found = looked();
    let _ = std::fs::remove_dir_all(&dir);
    found
}

fn existing(file: std::path::PathBuf, otherwise: std::path::PathBuf) -> std::path::PathBuf {
    if file.exists() { file } else { otherwise }
}
