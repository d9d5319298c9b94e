//! What is logged: text for people at a terminal, a JSON object a line for everything else. The level can change at any time.

use std::io::{self, IsTerminal as _};

use anyhow::{Context as _, Result};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::settings::Settings;

/// Changes the level of what is logged.
#[derive(Debug, Clone)]
pub struct Level(reload::Handle<EnvFilter, Registry>);

/// Starts logging to standard error. Errors: something else logs already.
pub fn start(settings: &Settings) -> Result<Level> {
    let is_text = settings.log_format == "text" || (settings.log_format == "auto" && io::stderr().is_terminal());
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = if is_text { lines.boxed() } else { lines.json().flatten_event(true).boxed() };
    let (filter, handle) = reload::Layer::new(filter(&settings.log_level)?);
    tracing_subscriber::registry().with(filter).with(lines).try_init().context("logging could not be started")?;
    Ok(Level(handle))
}

impl Level {
    /// Logs at this level from here on. Errors: it is no level.
    pub fn set(&self, level: &str) -> Result<()> {
        Ok(self.0.reload(filter(level)?)?)
    }
}

/// A library tells at length what our own controllers tell shortly.
fn filter(level: &str) -> Result<EnvFilter> {
    EnvFilter::try_new(format!("kube_runtime=error,{level}")).with_context(|| format!("log-level: {level}"))
}
