//! The demo's manifest: the example's, with what the copies are made from and another version in it.

use anyhow::{Result, bail};

use super::origin::Origin;

/// Fills the example in. Errors: a line that is to be filled in is not there.
pub fn write(example: &str, origin: &Origin, version: u32) -> Result<String> {
    let greeting = if version.is_multiple_of(2) { "good day" } else { "hello" };
    let (class, made_from) = match origin {
        Origin::Image(image) => ("docker", format!("image: {image}")),
        Origin::Program(program) => ("process", format!("command: [{:?}]", program.display().to_string())),
    };
    let fillings = [
        ("command:", made_from),
        ("runtimeClassName:", format!("runtimeClassName: {class}")),
        ("GREETING:", format!("GREETING: {greeting}")),
        ("VERSION:", format!("VERSION: \"{version}\"")),
    ];
    let mut lines: Vec<String> = example.lines().map(str::to_owned).collect();
    for (key, value) in fillings {
        let Some((line, at)) = lines.iter_mut().find_map(|line| line.find(key).map(|at| (line, at))) else {
            bail!("the example has no line with {key}");
        };
        line.truncate(at);
        line.push_str(&value);
    }
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_and_the_version_are_filled_in() {
        let example = "config:\n  GREETING: hi\n  VERSION: \"1\"\nruntimeClassName: x\ncontainers:\n- name: hello\n  command: [hello]\n";
        let filled = "config:\n  GREETING: good day\n  VERSION: \"2\"\n";
        let expected = format!("{filled}runtimeClassName: process\ncontainers:\n- name: hello\n  command: [\"/a b/hello\"]\n");
        let program = Origin::Program("/a b/hello".into());
        assert_eq!(write(example, &program, 2).unwrap(), expected);
        let expected = format!("{filled}runtimeClassName: docker\ncontainers:\n- name: hello\n  image: a/hello:1\n");
        assert_eq!(write(example, &Origin::Image("a/hello:1".into()), 2).unwrap(), expected);
        assert_eq!(write("config: {}", &program, 1).unwrap_err().to_string(), "the example has no line with command:");
    }

    #[test]
    fn the_example_can_be_filled_in() {
        let example = std::fs::read_to_string(super::super::home::example()).unwrap();
        let filled = write(&example, &Origin::Program("/bin/hello".into()), 3).unwrap();
        assert!(filled.contains("command: [\"/bin/hello\"]") && filled.contains("VERSION: \"3\""), "{filled}");
        assert_eq!(filled.lines().count(), example.lines().count());
    }
}
