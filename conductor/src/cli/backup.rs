//! `conductor backup` and `conductor restore`: all objects, and who the server is, in one file that can be checked whole.

use std::path::{Path, PathBuf};

use clap::Args;
use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use store::embedded::{Backup as Content, Unvouched};

use super::failure::{Exit, Failure, Result};
use super::{output, reach};
use crate::paths;
use crate::private;
use crate::serve::{local, wiring};
use crate::settings::{Effective, Environment, Flags, Settings};

/// What `backup` can be told.
#[derive(Debug, Args)]
pub struct Backup {
    /// The file to write
    file: PathBuf,
    /// Data directory of this machine's server [env: CONDUCTOR_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What `restore` can be told.
#[derive(Debug, Args)]
pub struct Restore {
    /// The file that `conductor backup` wrote
    file: PathBuf,
    /// Replace what the data directory holds; the old store is kept as store.redb.before-restore
    #[arg(long)]
    force: bool,
    /// Take a backup that nobody vouches for, such as one of an older version: only where you know that nobody altered it
    #[arg(long)]
    unvouched: bool,
    /// Data directory to restore into [env: CONDUCTOR_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Writes a backup, and reads it again. Errors: no server answers; the file cannot be written, or is not what was sent.
pub async fn backup(args: Backup) -> Result<()> {
    let settings = settings(args.data.as_deref())?;
    let client = reach::local(Some(&settings.data)).await?;
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("could not make a backup: {error}"));
    let request = Request::get(local::BACKUP).body(Body::empty()).map_err(|error| failed(&error))?;
    let answer = client.send(request).await.map_err(|error| Failure::of_call("could not make a backup", &error))?;
    let (status, body) = (answer.status(), answer.into_body().collect().await.map_err(|error| failed(&error))?.to_bytes());
    if !status.is_success() {
        return Err(failed(&String::from_utf8_lossy(&body)));
    }
    private::write(&args.file, &body).map_err(|error| failed(&format!("{error:#}")))?;
    let content = read(&args.file, &settings, Unvouched::Refused)?;
    output::done(&format!("{}: {} objects at revision {}\n", args.file.display(), content.objects(), content.revision()))?;
    output::note(&format!(
        "what is secret in it is sealed: keep a copy of {} elsewhere, it is needed to restore",
        settings.secrets_key.display()
    ));
    Ok(())
}

/// Makes the store anew. Errors: the backup is not whole, or its key is missing; there is a store already, or a server has it open.
pub fn restore(args: &Restore) -> Result<()> {
    let settings = settings(args.data.as_deref())?;
    let (data, store) = (&settings.data, paths::store(&settings.data));
    if !args.force && store.exists() {
        let message = format!("{} is there already: --force replaces it, and keeps it as store.redb.before-restore", store.display());
        return Err(Failure::new(Exit::Conflict, message));
    }
    let unvouched = if args.unvouched { Unvouched::Taken } else { Unvouched::Refused };
    let content = read(&args.file, &settings, unvouched)?;
    if let Some((name, _)) = content.files().iter().find(|(name, _)| !local::FILES.contains(&name.as_str())) {
        return Err(Failure::failed(format!("the backup holds {name:?}, which this program does not know: use a newer version")));
    }
    let refused = |error: &dyn std::fmt::Display| Failure::failed(format!("could not restore into {}: {error}", data.display()));
    private::make_dir(data).map_err(|error| refused(&format!("{error:#}")))?;
    content.restore(&store, &wiring::store_options(&settings)).map_err(|error| refused(&error))?;
    for (name, bytes) in content.files() {
        let file = data.join(name);
        let written = file.parent().map_or(Ok(()), private::make_dir).and_then(|()| private::write(&file, bytes));
        written.map_err(|error| refused(&format!("{error:#}")))?;
    }
    output::done(&format!("{}: {} objects as of revision {}\n", store.display(), content.objects(), content.revision()))?;
    match content.made() {
        Some(made) => output::note(&format!("made by {} at {}", made.by, made.at)),
        None => output::note("nobody vouches for it: look at its roles and bindings before others are let in"),
    }
    output::note("start the server: `conductor serve`, or `systemctl start conductor`");
    Ok(())
}

fn settings(data: Option<&Path>) -> Result<Settings> {
    let mut flags = Flags::default();
    if let Some(data) = data {
        flags = flags.with("data", data.to_string_lossy());
    }
    let read = Effective::read(&flags, &Environment::read()).map_err(|error| Failure::of_settings(&error))?;
    Ok(read.settings())
}

fn read(file: &Path, settings: &Settings, unvouched: Unvouched) -> Result<Content> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", file.display()));
    let bytes = std::fs::read(file).map_err(|error| failed(&error))?;
    let content = Content::read(&bytes, &wiring::store_options(settings), unvouched);
    content.map_err(|error| match &error {
        store::Error::Unvouched => failed(&format!("{error}; --unvouched restores it all the same")),
        _ => failed(&error),
    })
}
