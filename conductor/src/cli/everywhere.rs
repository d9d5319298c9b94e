//! Flags that every command takes, whether they mean something to it or not, and before the command as behind it: scripts put them
//! where they set up how the server is reached.

use std::ffi::OsString;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command, value_parser};

/// Those with a value, each as it may be written.
const NAMES: [&str; 8] = ["-n", "--namespace", "--data", "--kubeconfig", "--context", "-o", "--output", "--timeout"];

/// The command line, where each command that lacks one of the flags takes it. What would do harm when it is passed over is refused
/// all the same: another server, to a command that is about this machine's; a form, to one that prints no objects.
pub fn complete(command: Command) -> Command {
    if command.has_subcommands() {
        return command.mut_subcommands(complete);
    }
    if command.get_name() == "serve" {
        return command;
    }
    let is_told_where = command.get_arguments().any(|known| known.get_id() == "kubeconfig");
    let asks_nobody = ["completions", "manual"].contains(&command.get_name());
    flags(is_told_where, asks_nobody).into_iter().fold(command, |command, flag| {
        let is_there = command.get_arguments().any(|known| known.get_id() == flag.get_id() || known.get_long() == flag.get_long());
        if is_there { command } else { command.arg(flag) }
    })
}

fn flags(is_told_where: bool, asks_nobody: bool) -> Vec<Arg> {
    let hidden = |name: &'static str| Arg::new(name).long(name).value_name("VALUE").hide(true);
    let place = |name: &'static str| if asks_nobody { hidden(name) } else { hidden(name).value_parser(only_here) };
    let forms = PossibleValuesParser::new(["table", "wide"]);
    let timeout = Arg::new("timeout").long("timeout").value_name("TIME").value_parser(super::named::time).hide(!is_told_where);
    vec![
        hidden("namespace").short('n'),
        hidden("data").value_parser(value_parser!(std::path::PathBuf)),
        place("kubeconfig"),
        place("context"),
        hidden("output").short('o').value_parser(forms),
        timeout.help("Give up after so long, such as 90s or 5m").help_heading("Connection"),
    ]
}

fn only_here(_: &str) -> Result<String, String> {
    Err("this command is about this machine's server alone, which --data names".into())
}

/// The longest that the command may take, where it was said.
pub fn limit(matches: &ArgMatches) -> Option<Duration> {
    let mut at = matches;
    while let Some((_, below)) = at.subcommand() {
        at = below;
    }
    at.try_get_one::<model::Duration>("timeout").ok().flatten().map(|timeout| timeout.get()).filter(|timeout| !timeout.is_zero())
}

/// Flags that stand before the command, or between its words, are put behind it, where it looks for them: `conductor -n a ps` is
/// `conductor ps -n a`.
pub fn behind(command: &Command, words: Vec<OsString>) -> Vec<OsString> {
    let mut words = words.into_iter().peekable();
    let (mut at, mut moved, mut rest) = (Some(command), Vec::new(), Vec::new());
    while let Some(known) = at.filter(|command| command.has_subcommands()) {
        while let Some(word) = words.next_if(|word| word.to_str().is_some_and(is_one)) {
            let takes_next = word.to_str().is_some_and(|word| NAMES.contains(&word));
            moved.push(word);
            moved.extend(takes_next.then(|| words.next()).flatten());
        }
        let Some(word) = words.next() else { break };
        at = word.to_str().and_then(|word| known.find_subcommand(word));
        rest.push(word);
    }
    rest.extend(words);
    // What follows `--` is for another program.
    let end = rest.iter().position(|word| word == "--").unwrap_or(rest.len());
    rest.splice(end..end, moved);
    rest
}

fn is_one(word: &str) -> bool {
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    // `-nshop`, as kubectl takes it.
    NAMES.contains(&name) || ["-n", "-o"].iter().any(|short| word.starts_with(short) && !word.starts_with("--"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn leaves(command: &Command, words: &[String], found: &mut Vec<(Vec<String>, Command)>) {
        if !command.has_subcommands() {
            found.push((words.to_vec(), command.clone()));
        }
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            leaves(below, &[words, &[below.get_name().to_owned()]].concat(), found);
        }
    }

    /// Words that satisfy what a command cannot do without.
    fn needed(command: &Command) -> Vec<String> {
        let needed = command.get_arguments().filter(|argument| argument.is_required_set());
        needed
            .flat_map(|argument| {
                let known = argument.get_possible_values();
                let value = known.first().map_or_else(|| "shop/web=1".to_owned(), |value| value.get_name().to_owned());
                let dashes = argument.is_last_set().then(|| "--".to_owned());
                argument.get_long().map(|long| format!("--{long}")).into_iter().chain(dashes).chain([value])
            })
            .collect()
    }

    #[test]
    fn every_command_takes_every_flag_behind_it_and_before_it() {
        let whole = complete(crate::Cli::command());
        let mut commands = Vec::new();
        leaves(&whole, &[], &mut commands);
        assert!(commands.len() > 25, "{}", commands.len());
        for (words, command) in commands.iter().filter(|(words, _)| words[0] != "serve") {
            for flag in [["-n", "a"], ["--namespace", "a"], ["--data", "/d"], ["-o", "table"], ["--output", "wide"], ["--timeout", "5"]] {
                let needed = needed(command);
                let behind_it = [words.clone(), flag.map(str::to_owned).to_vec(), needed.clone()].concat();
                let before_it = [flag.map(str::to_owned).to_vec(), words.clone(), needed].concat();
                for all in [behind_it, before_it] {
                    let moved = behind(&whole, all.iter().map(Into::into).collect());
                    let read = whole.clone().try_get_matches_from(["conductor".into()].into_iter().chain(moved));
                    let said = read.as_ref().err().map(ToString::to_string).unwrap_or_default();
                    assert!(!said.contains("unexpected argument") && !said.contains("invalid value"), "{all:?}: {said}");
                    if let (Ok(read), ["--timeout", _]) = (&read, flag) {
                        assert_eq!(limit(read), Some(Duration::from_secs(5)), "{all:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_would_do_harm_when_it_is_passed_over_is_refused() {
        let read = |words: &[&str]| complete(crate::Cli::command()).try_get_matches_from(words).map_err(|error| error.to_string());
        assert!(read(&["conductor", "backup", "f", "--kubeconfig", "k"]).unwrap_err().contains("this machine's server alone"));
        assert!(read(&["conductor", "exec", "a", "-o", "json", "--", "b"]).unwrap_err().contains("invalid value"));
        assert!(read(&["conductor", "serve", "--timeout", "5"]).is_err());
    }

    #[test]
    fn flags_may_stand_before_the_command() {
        let moved = |words: &[&str]| {
            let words = behind(&complete(crate::Cli::command()), words.iter().map(Into::into).collect());
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(moved(&["-n", "a", "ps"]), "ps -n a");
        assert_eq!(moved(&["--data=/d", "-oname", "exec", "shop", "--", "ls", "-n"]), "exec shop --data=/d -oname -- ls -n");
        assert_eq!(moved(&["--timeout", "5", "token", "-n", "a", "list"]), "token list --timeout 5 -n a");
        assert_eq!(moved(&["ps", "-n", "a"]), "ps -n a");
        assert_eq!(moved(&["--version"]), "--version");
        assert_eq!(moved(&["-n"]), "-n");
        assert_eq!(moved(&[]), "");
    }
}
