//! Commands as people type them, and what must come of each.

use std::path::Path;
use std::process::Command;

/// One command.
pub struct Step {
    command: String,
    is_new: bool,
    is_good: bool,
    expected: String,
}

/// The commands of a script; the form is told at its top.
pub fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_open = false;
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            let (is_new, command) = command.strip_prefix("[new] ").map_or((false, command), |rest| (true, rest));
            steps.push(Step { command: command.to_owned(), is_new, is_good: true, expected: String::new() });
            is_open = true;
        } else if is_open && let Some(last) = steps.last_mut() {
            match line.split_at_checked(1) {
                Some((mark @ (">" | "!"), expected)) => {
                    last.is_good = mark == ">";
                    last.expected = expected.trim().to_owned();
                    is_open = false;
                }
                _ => last.command.push_str(&format!("\n{line}")),
            }
        } else {
            assert!(line.is_empty() || line.starts_with('#'), "a line of a script that says nothing: {line}");
        }
    }
    steps
}

/// Runs each command in `dir`, and prints how it went; those that went otherwise than expected.
pub fn run(title: &str, steps: &[Step], knows_new: bool, dir: &Path, env: &[(&str, String)]) -> Vec<String> {
    let mut failed = Vec::new();
    let steps: Vec<&Step> = steps.iter().filter(|step| knows_new || !step.is_new).collect();
    println!("{title}: {} commands", steps.len());
    for step in steps {
        let mut command = Command::new("timeout");
        command.args(["90", "bash", "-c", &step.command]).current_dir(dir).envs(env.iter().map(|(name, value)| (name, value)));
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        let is_so = output.status.success() == step.is_good && text.contains(&step.expected);
        let first = step.command.lines().next().unwrap_or_default();
        println!("{}  {first}", if is_so { "ok    " } else { "FAILED" });
        if !is_so {
            failed.push(format!("{}\nexpected {} with {:?}, found {}:\n{text}", step.command, step.is_good, step.expected, output.status));
        }
    }
    failed
}
