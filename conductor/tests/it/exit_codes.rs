//! How commands end: 0 done, 2 written wrongly, 1 refused or failed, and the codes that docs/commands.md has beside these.

use std::process::{Command, Output};

use crate::server::{CONDUCTOR, Server, shop};

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// Stands for a place where nothing is, and for a file that is good.
const ABSENT: &str = "{absent}";
const GOOD: &str = "{good}";
/// Commands, in the order in which they are typed, and how each ends.
const ROWS: &[(&[&str], i32)] = &[
    (&["diff", "-f", GOOD], 1),
    (&["up", "-f", GOOD], 0),
    (&["diff", "-f", GOOD], 0),
    (&["up"], 2),
    (&["diff"], 2),
    (&["up", "-f", GOOD, "--timeout", "soon"], 2),
    (&["ps", "--timeout", "5"], 0),
    (&["--timeout", "5", "ps"], 0),
    (&["ps", "--watch", "--timeout", "1"], 7),
    (&["ps", "--watch", "-o", "json"], 2),
    (&["ps", "-o", "nonesuch"], 2),
    (&["ps", "-n", "Not A Name"], 2),
    (&["ps", "nobody"], 4),
    (&["ps", "--data", ABSENT], 1),
    (&["ps", "--data", ABSENT, "--kubeconfig", ABSENT], 2),
    (&["history", "nobody"], 4),
    (&["history", "pod/shop"], 2),
    (&["describe", "nobody"], 4),
    (&["logs", "nobody"], 4),
    (&["logs", "shop", "-o", "yaml"], 2),
    (&["logs", "shop", "-c", "nobody"], 4),
    (&["logs", "shop", "--follow", "--timeout", "1"], 7),
    (&["exec", "nobody", "--", "true"], 4),
    (&["exec", "shop"], 2),
    (&["exec", "shop", "--", "sh", "-c", "exit 3"], 3),
    (&["exec", "--timeout", "1", "shop", "--", "sleep", "60"], 7),
    (&["rollback", "nobody"], 4),
    (&["rollback", "shop"], 1),
    (&["scale", "shop/nobody=1"], 4),
    (&["scale", "shop=many"], 2),
    (&["scale", "shop=1001"], 2),
    (&["stop", "nobody"], 4),
    (&["restart", "nobody"], 4),
    (&["rm", "nobody"], 4),
    (&["rm"], 2),
    (&["secret", "set", "db"], 2),
    (&["secret", "set", "db", "a=1", "a=2"], 2),
    (&["secret", "set", "db", "a=@/no/such/file"], 1),
    (&["token", "create", "system:me"], 2),
    (&["token", "create", "me", "--role", "nobody"], 4),
    (&["token", "delete", "nobody"], 4),
    (&["kubeconfig", "--data", ABSENT], 4),
    (&["audit", "verify"], 0),
    (&["audit", "verify", "--data", ABSENT], 1),
    (&["backup"], 2),
    (&["backup", "/no/such/directory/file"], 1),
    (&["backup", "file", "--kubeconfig", "file"], 2),
    (&["restore", "/no/such/file"], 5),
    (&["restore", "/no/such/file", "--data", ABSENT], 1),
    (&["config", "--api", "nonsense"], 2),
    (&["config", "--config", "/no/such/file"], 1),
    (&["serve", "--api", "nonsense"], 2),
    (&["serve", "--config", "/no/such/file"], 1),
    (&["completions", "nonesuch"], 2),
    (&["completions", "bash"], 0),
    (&["version"], 0),
    (&["frobnicate"], 2),
    (&[], 2),
    (&["rm", "shop"], 0),
];

#[test]
fn what_is_wrong_with_a_file_is_no_matter_of_how_the_command_was_written() {
    let server = Server::start();
    let write = |name: &str, text: &str| {
        let file = server.dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_string_lossy().into_owned()
    };
    let chart = server.dir.path().join("chart");
    std::fs::create_dir(&chart).unwrap();
    std::fs::write(chart.join("Chart.yaml"), "name: a\nversion: 1.0.0\n").unwrap();
    let empty = server.dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let (chart, empty) = (chart.to_string_lossy().into_owned(), empty.to_string_lossy().into_owned());
    let one = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    // 1 wherever it is given, and 3 where 1 says something else.
    let files = [
        ("/no/such/file".to_owned(), "cannot read"),
        (chart, "helm template"),
        (empty, "holds no file"),
        (write("compose.yaml", "services:\n  web: {image: a}\n"), "compose file"),
        (write("twice.yaml", &format!("{one}{one}")), "between two objects"),
        (write("no-yaml.yaml", "{a: ["), "line"),
        (write("none.yaml", ""), "nothing in it"),
        (write("refused.json", &shop(-1, "1").to_string()), "replicas"),
        ("http://127.0.0.1:1/a.yaml".to_owned(), "cannot fetch"),
    ];
    for (file, words) in &files {
        for (command, code) in [(&["up"][..], 1), (&["up", "--dry-run"], 1), (&["diff"], 3)] {
            let output = server.run(&[command, &["-f", file]].concat());
            let text = said(&output);
            assert!(output.status.code() == Some(code) && text.contains(words), "{command:?} {file}: {:?} {text}", output.status.code());
        }
    }
}

#[test]
fn a_command_ends_with_the_code_of_what_happened() {
    let server = Server::start();
    let good = server.dir.path().join("good.json");
    std::fs::write(&good, shop(1, "1").to_string()).unwrap();
    let good = good.to_string_lossy().into_owned();
    let absent = server.dir.path().join("absent").to_string_lossy().into_owned();
    let mut wrong = Vec::new();
    for (words, code) in ROWS {
        let words: Vec<&str> = words
            .iter()
            .map(|word| match *word {
                ABSENT => absent.as_str(),
                GOOD => good.as_str(),
                word => word,
            })
            .collect();
        let output = match words.as_slice() {
            ["config" | "serve", ..] => Command::new(CONDUCTOR).args(&words).output().unwrap(),
            words => server.run(words),
        };
        if output.status.code() != Some(*code) {
            wrong.push(format!("{words:?}: {:?}, expected {code}: {}", output.status.code(), said(&output)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
