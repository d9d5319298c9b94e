//! `conductor config`: what holds, and who said so.

use clap::Args;
use serde_json::{Map, Value, json};

use super::failure::{Failure, Result};
use super::grid::grid;
use super::output::{self, Format, Output};
use crate::settings::{Effective, Environment, Flags, Value as Setting};

/// What `config` can be told.
#[derive(Debug, Args)]
pub struct Config {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    flags: Flags,
}

/// Prints each setting that `conductor serve` would have here, and where it comes from. Errors: the settings are refused.
pub fn config(args: &Config) -> Result<()> {
    let environment = Environment::read();
    let read = Effective::read(&args.flags, &environment).map_err(|error| Failure::of_settings(&error))?;
    for (name, meant) in environment.slips() {
        output::note(&format!("conductor: {name} is no setting: did you mean {meant}?"));
    }
    match args.output.output {
        Format::Table | Format::Wide => {
            let row = |name: &str, value: &str, from: &str| vec![name.to_owned(), value.to_owned(), from.to_owned()];
            let rows: Vec<Vec<String>> = read
                .rows()
                .map(|(setting, found)| match found {
                    Some((value, source)) => row(setting.name, &value.to_string(), &source.to_string()),
                    None => row(setting.name, "", "default"),
                })
                .collect();
            output::print(&grid(&["NAME", "VALUE", "FROM"], &rows))
        }
        Format::Name => output::print(&read.rows().map(|(setting, _)| format!("{}\n", setting.name)).collect::<String>()),
        Format::Json | Format::Yaml => {
            let value = |value: &Setting| if let Setting::Count(count) = value { json!(count) } else { json!(value.to_string()) };
            let object = read.rows().map(|(setting, found)| {
                let (value, from) = found.map_or((Value::Null, "default".to_owned()), |(found, source)| (value(found), source.to_string()));
                (setting.name.to_owned(), json!({"value": value, "from": from, "reloads": setting.reloads}))
            });
            args.output.value(&Value::Object(object.collect::<Map<_, _>>()))
        }
    }
}
