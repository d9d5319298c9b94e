//! The promises of ARCHITECTURE.md, GLOSSARY.md and STYLE.md that a program can check, checked.
//!
//! Each check reads the [`Repository`] and returns what it found amiss. `cargo xtask tidy` runs them all, and so do this
//! crate's tests.

mod clocks;
mod layers;
mod leftovers;
mod lengths;
mod licences;
mod map;
mod markdown;
mod metadata;
mod modules;
mod repository;
mod source;
mod words;

use std::fmt;
use std::process::ExitCode;

use anyhow::Result;

pub use metadata::Metadata;
use repository::Repository;

/// One thing amiss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, with a line where there is one, or the crate.
    place: String,
    /// What is wrong there, and what would be right.
    what: String,
}

impl Finding {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.what)
    }
}

/// A sentence that should be true of the repository, and the check that tells.
type Check = (&'static str, fn(&Repository) -> Result<Vec<Finding>>);

const CHECKS: &[Check] = &[
    ("crates import only what their layer may", layers::imports),
    ("only the binary turns adapters on", layers::adapters),
    ("the map is of what is there", map::check),
    ("names avoid the words ruled out", words::check),
    ("files and functions are short", lengths::check),
    ("every source file is reached and says what it is", modules::check),
    ("only the clocks read the time of day", clocks::check),
    ("dependencies have licences that we may use", licences::check),
    ("dependencies need no C toolchain beyond gcc", licences::toolchain),
    ("nothing unfinished is left over", leftovers::check),
];

/// Runs every check, says what each found, and fails if any found something.
pub fn command() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(count) => {
            eprintln!("{count} to put right");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("tidy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Lists the licences of what is built in, with the packages that have each, and fails if one is not allowed.
pub fn licences_command() -> ExitCode {
    let found = Repository::read().and_then(|repository| Ok((licences::list(&repository), licences::check(&repository)?)));
    match found {
        Ok((list, findings)) => {
            for (licence, packages) in list {
                println!("{licence}: {}", packages.join(", "));
            }
            for finding in &findings {
                eprintln!("{finding}");
            }
            if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("licences: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<usize> {
    let repository = Repository::read()?;
    let mut count = 0;
    for (sentence, check) in CHECKS {
        let findings = check(&repository)?;
        println!("{} {sentence}", if findings.is_empty() { "yes" } else { "NO " });
        for finding in &findings {
            println!("      {finding}");
        }
        count += findings.len();
    }
    println!("{}", lengths::summary(&repository));
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(check: fn(&Repository) -> Result<Vec<Finding>>) {
        let findings = check(&Repository::read().unwrap()).unwrap();
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
    }

    #[test]
    fn crates_import_only_what_their_layer_may() {
        check(layers::imports);
    }

    #[test]
    fn only_the_binary_turns_adapters_on() {
        check(layers::adapters);
    }

    #[test]
    fn the_map_is_of_what_is_there() {
        check(map::check);
    }

    #[test]
    fn names_avoid_the_words_ruled_out() {
        check(words::check);
    }

    #[test]
    fn files_and_functions_are_short() {
        check(lengths::check);
    }

    #[test]
    fn every_source_file_is_reached_and_says_what_it_is() {
        check(modules::check);
    }

    #[test]
    fn only_the_clocks_read_the_time_of_day() {
        check(clocks::check);
    }

    #[test]
    fn dependencies_have_licences_that_we_may_use() {
        check(licences::check);
    }

    #[test]
    fn dependencies_need_no_c_toolchain_beyond_gcc() {
        check(licences::toolchain);
    }

    #[test]
    fn nothing_unfinished_is_left_over() {
        check(leftovers::check);
    }

    #[test]
    fn every_check_of_the_command_is_a_test_here_too() {
        let here = include_str!("tidy.rs");
        for (sentence, _) in CHECKS {
            let name = sentence.replace(' ', "_").to_lowercase();
            assert!(here.contains(&format!("fn {name}()")), "no test is named {name}");
        }
    }
}
