//! The demo's manifest: the example's, with the program's own path and another version in it.

use std::path::Path;

use anyhow::{Result, bail};

/// Fills the example in. Errors: a line that is to be filled in is not there.
pub fn write(example: &str, program: &Path, version: u32) -> Result<String> {
    let greeting = if version.is_multiple_of(2) { "good day" } else { "hello" };
    let fillings = [
        ("command:", format!("[{:?}]", program.display().to_string())),
        ("GREETING:", greeting.to_owned()),
        ("VERSION:", format!("\"{version}\"")),
    ];
    let mut lines: Vec<String> = example.lines().map(str::to_owned).collect();
    for (key, value) in fillings {
        let Some((line, at)) = lines.iter_mut().find_map(|line| line.find(key).map(|at| (line, at))) else {
            bail!("the example has no line with {key}");
        };
        line.truncate(at + key.len());
        line.push(' ');
        line.push_str(&value);
    }
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_and_the_version_are_filled_in() {
        let example = "config:\n  GREETING: hi\n  VERSION: \"1\"\ncontainers:\n- name: hello\n  command: [hello]\n";
        let expected = "config:\n  GREETING: good day\n  VERSION: \"2\"\ncontainers:\n- name: hello\n  command: [\"/a b/hello\"]\n";
        assert_eq!(write(example, Path::new("/a b/hello"), 2).unwrap(), expected);
        assert_eq!(write("config: {}", Path::new("/x"), 1).unwrap_err().to_string(), "the example has no line with command:");
    }

    #[test]
    fn the_example_can_be_filled_in() {
        let example = std::fs::read_to_string(super::super::home::example()).unwrap();
        let filled = write(&example, Path::new("/bin/hello"), 3).unwrap();
        assert!(filled.contains("command: [\"/bin/hello\"]") && filled.contains("VERSION: \"3\""), "{filled}");
        assert_eq!(filled.lines().count(), example.lines().count());
    }
}
