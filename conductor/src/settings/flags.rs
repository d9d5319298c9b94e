//! Settings as flags of a command, made from the table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::error::Error;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::known::SETTINGS;

/// What the flags of a command say; their forms are yet to be checked.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    config: Option<PathBuf>,
    texts: BTreeMap<&'static str, String>,
}

impl Flags {
    /// The file of settings that is named.
    pub fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// What a flag says.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// Says something, as a flag would.
    #[must_use]
    pub fn with(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.texts.insert(name, text.into());
        self
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let texts = SETTINGS.iter().filter_map(|setting| Some((setting.name, matches.get_one::<String>(setting.name)?.clone())));
        Ok(Self { config: matches.get_one::<PathBuf>("config").cloned(), texts: texts.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config").long("config").value_name("FILE").value_parser(clap::value_parser!(PathBuf));
        let config = config.help("File of settings; conf.d/*.toml beside it is read too [env: CONDUCTOR_CONFIG]");
        SETTINGS.iter().fold(command.arg(config), |command, setting| {
            let default = (setting.default)().map(|value| format!(" [default: {value}]")).unwrap_or_default();
            let help = format!("{}{default} [env: {}]", setting.about, setting.variable());
            command.arg(Arg::new(setting.name).long(setting.name).value_name(setting.form.placeholder()).help(help))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
