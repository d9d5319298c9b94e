//! Settings in files: `conductor.toml`, then `conf.d/*.toml` beside it by name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use toml::de::{DeTable, DeValue};

use super::Source;
use super::known::{Form, SETTINGS, Setting, Value, find};
use crate::private;

/// A file of settings is no longer than this, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// One setting that a file says, and where.
pub type Said = (&'static Setting, Value, Source);

/// What the files say, the file that wins last. `named` must be there; `usual` need not. Errors: see [`super::Effective::read`].
pub fn read(named: Option<&Path>, usual: &Path) -> Result<Vec<Said>> {
    let main = named.unwrap_or(usual);
    let mut said = match read_file(main) {
        Ok(said) => said,
        Err(error) if named.is_none() && is_absent(&error) => Vec::new(),
        Err(error) => return Err(error),
    };
    for file in beside(main)? {
        said.extend(read_file(&file)?);
    }
    Ok(said)
}

fn is_absent(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The files of `conf.d`, by name.
fn beside(main: &Path) -> Result<Vec<PathBuf>> {
    let dir = main.with_file_name("conf.d");
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", dir.display())),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
    let mut files = paths.with_context(|| format!("cannot read {}", dir.display()))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    if !files.is_empty() {
        private::check_writers(&dir)?;
    }
    Ok(files)
}

fn read_file(file: &Path) -> Result<Vec<Said>> {
    let length = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
    if length > FILE_BYTES_MAX {
        bail!("{}: expected at most {FILE_BYTES_MAX} bytes, found {length}", file.display());
    }
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    private::check_writers(file)?;
    parse(file, &text)
}

/// What a text says. Errors name the file and the line.
fn parse(file: &Path, text: &str) -> Result<Vec<Said>> {
    let line = |at: usize| 1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
    let place = |at: usize| format!("{}:{}", file.display(), line(at));
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => bail!("{}: {}", place(error.span().map_or(0, |span| span.start)), error.message()),
    };
    let mut said: Vec<(usize, Said)> = Vec::new();
    for (key, value) in table {
        let (name, at) = (key.get_ref(), key.span().start);
        let Some(setting) = find(name) else {
            let meant = logic::nearest::nearest(name, SETTINGS.iter().map(|setting| setting.name));
            let meant = meant.map_or_else(|| "see `conductor config` for all".to_owned(), |meant| format!("did you mean {meant}?"));
            bail!("{}: {name} is no setting: {meant}", place(at));
        };
        let value = value_of(setting.form, value.get_ref()).with_context(|| format!("{}: {name}", place(at)))?;
        said.push((at, (setting, value, Source::File(file.to_owned(), line(at)))));
    }
    said.sort_by_key(|(at, _)| *at);
    Ok(said.into_iter().map(|(_, said)| said).collect())
}

fn value_of(form: Form, value: &DeValue) -> Result<Value> {
    match (form, value) {
        (Form::Count(..), DeValue::Integer(number)) if number.radix() == 10 => form.parse(number.as_str()),
        (Form::Count(..), other) => bail!("expected {form}, found {}", other.type_str()),
        (Form::Path, DeValue::String(text)) if !Path::new(text.as_ref()).is_absolute() => {
            bail!("expected a path from the root, found {text:?}")
        }
        (_, DeValue::String(text)) => form.parse(text),
        (Form::Networks, DeValue::Array(items)) => {
            let text = |item: &DeValue| match item {
                DeValue::String(text) => Ok(text.to_string()),
                other => bail!("expected {form}, found {} in the list", other.type_str()),
            };
            form.parse(&items.iter().map(|item| text(item.get_ref())).collect::<Result<Vec<_>>>()?.join(","))
        }
        (_, other) => bail!("expected {form}, as a string, found {}", other.type_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, expected) in [
            ("api = \"127.0.0.1:1\"\nhtpp = \"127.0.0.1:2\"", "f.toml:2: htpp is no setting: did you mean http?"),
            ("\n[server]\napi = 1", "f.toml:2: server is no setting: see `conductor config` for all"),
            ("api = 6443", "f.toml:1: api: expected an IP address and a port, such as \"127.0.0.1:6443\", as a string, found integer"),
            ("api = \"localhost\"", "f.toml:1: api: expected an IP address and a port, such as \"127.0.0.1:6443\", found \"localhost\""),
            ("client-requests = \"9\"", "f.toml:1: client-requests: expected a whole number from 1 to 1000000, found string"),
            ("client-requests = 0", "f.toml:1: client-requests: expected a whole number from 1 to 1000000, found \"0\""),
            ("client-requests = 1e3", "found float"),
            ("trusted-proxies = \"proxy\"", "f.toml:1: trusted-proxies: expected IP addresses and ranges of them"),
            ("trusted-proxies = [\"10.0.0.0/8\", \"10.1.2.3/8\"]", "10.1.2.3/8 is an address within 10.0.0.0/8"),
            ("trusted-proxies = [1]", "found integer in the list"),
            ("trusted-proxies = 1", "f.toml:1: trusted-proxies: expected IP addresses"),
            ("http-answer-timeout = \"soon\"", "f.toml:1: http-answer-timeout: expected a length of time such as 500ms"),
            ("http-header-bytes = 100", "f.toml:1: http-header-bytes: expected a whole number from 8192 to 1048576"),
            ("data = \"here\"", "f.toml:1: data: expected a path from the root, found \"here\""),
            ("log-format = \"xml\"", "f.toml:1: log-format: expected one of auto, text, json, found \"xml\""),
            ("log-level = \"infos\"", "f.toml:1: log-level: expected error"),
            ("log-level = \"control=loud\"", "f.toml:1: log-level: expected error, warn, info, debug or trace"),
            ("engine = [\"a\"]", "f.toml:1: engine: expected text, as a string, found array"),
            ("api = \"127.0.0.1:1\"\napi = \"127.0.0.1:2\"", "f.toml:2: "),
            ("api = ", "f.toml:1: "),
            ("\u{0}", "f.toml:1: "),
        ] {
            let said = format!("{:#}", parse(Path::new("f.toml"), text).unwrap_err());
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn what_is_right_is_read_with_its_line() {
        let proxies = parse(Path::new("f"), "trusted-proxies = [\"10.0.0.0/8\", \"::1\"]\n").unwrap();
        assert_eq!(proxies[0].1.to_string(), "10.0.0.0/8, ::1/128");
        let said = parse(Path::new("f"), "# ours\nclient-requests = 1_000\n\napi = \"[::1]:7\"\n").unwrap();
        let (first, second) = (&said[0], &said[1]);
        assert_eq!((first.0.name, &first.1, first.2.to_string().as_str()), ("client-requests", &Value::Count(1000), "f:2"));
        assert_eq!((second.0.name, second.1.to_string().as_str(), second.2.to_string().as_str()), ("api", "[::1]:7", "f:4"));
    }
}
