//! SIGHUP: the settings are read again, and what can change while the server runs does.

use std::sync::Arc;

use anyhow::Result;
use api::{Access, Api};
use jiff::SignedDuration;
use tokio::signal::unix::Signal;

use super::audit::Records;
use super::credentials;
use super::logging::Level;
use crate::settings::{Effective, Environment, Flags, Settings};

/// What settings apply to while the server runs.
pub struct Reload {
    flags: Flags,
    effective: Effective,
    level: Level,
    api: Api,
    /// Who is let in whatever the settings say.
    always: Access,
    records: Option<Arc<Records>>,
}

/// How long tokens last at most by these settings.
pub fn token_life(settings: &Settings) -> SignedDuration {
    SignedDuration::from_hours(24 * i64::from(settings.token_days))
}

/// How much the API serves each client by these settings.
pub fn limits(settings: &Settings) -> api::Limits {
    let requests = settings.client_requests;
    api::Limits { requests_per_second: requests, burst: requests.saturating_mul(3), ..api::Limits::default() }
}

impl Reload {
    /// What was read at the start, and what it applies to.
    pub fn new(flags: Flags, effective: Effective, level: Level, api: Api, always: Access, records: Option<Arc<Records>>) -> Self {
        Self { flags, effective, level, api, always, records }
    }

    /// Reads the settings again at each signal, for as long as it is awaited.
    pub async fn run(mut self, mut signals: Signal) {
        while signals.recv().await.is_some() {
            let read = self.read();
            if let Some(records) = &self.records {
                let names =
                    read.as_ref().map(|(read, _)| self.effective.changed(read).iter().map(|setting| setting.name).collect::<Vec<_>>());
                records.deed("local:signal", "reload", "settings", names.ok().map(|names| names.join(",")).as_deref(), read.is_err());
            }
            match read {
                Ok((read, access)) => self.apply(read, access),
                Err(error) => {
                    tracing::error!(error = %format!("{error:#}"), "the settings were read again and are refused; all stays as it was")
                }
            }
        }
    }

    /// The settings as they are now, and who is let in by them.
    fn read(&self) -> Result<(Effective, Access)> {
        let read = Effective::read(&self.flags, &Environment::read())?;
        let access = credentials::with_token_file(self.always.clone(), read.settings().token_file.as_deref())?;
        Ok((read, access))
    }

    fn apply(&mut self, read: Effective, access: Access) {
        let (changed, settings) = (self.effective.changed(&read), read.settings());
        if changed.is_empty() {
            tracing::info!("the settings were read again; none has changed");
        }
        self.api.limit(limits(&settings));
        self.api.bound_tokens(token_life(&settings));
        self.api.let_in(access);
        if let Some(file) = &settings.token_file {
            tracing::info!(file = %file.display(), "the tokens were read again and are in force");
        }
        if let Err(error) = self.level.set(&settings.log_level) {
            tracing::error!(error = %format!("{error:#}"), "the log level stays as it was");
        }
        for setting in changed {
            if setting.reloads {
                tracing::info!(setting = setting.name, "a setting changed and is in force");
            } else {
                tracing::warn!(setting = setting.name, "a setting changed; it takes effect when the server is started again");
            }
        }
        self.effective = read;
    }
}
