//! Who wins, and what is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect())
}

/// A directory with these files, and the flags that name its `conductor.toml`.
fn place(files: &[(&str, &str)]) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = dir.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let main = dir.path().join("conductor.toml").display().to_string();
    (dir, main)
}

fn refusal(flags: &Flags, environment: &Environment) -> String {
    format!("{:#}", Effective::read(flags, environment).unwrap_err())
}

#[test]
fn each_source_wins_over_those_before_it() {
    let (_dir, main) = place(&[
        ("conductor.toml", "client-requests = 1\naudit-bytes = 1\naudit-files = 1\nlog-level = \"warn\""),
        ("conf.d/20-b.toml", "audit-files = 3\nlog-level = \"trace\""),
        ("conf.d/10-a.toml", "audit-bytes = 2\naudit-files = 2\nlog-level = \"debug\""),
        ("conf.d/README", "not read"),
    ]);
    let variables = environment(&[("CONDUCTOR_CONFIG", &main), ("CONDUCTOR_LOG_LEVEL", "error"), ("CONDUCTOR_HTTP", "127.0.0.1:4")]);
    let read = Effective::read(&Flags::default().with("http", "127.0.0.1:5"), &variables).unwrap();
    let settings = read.settings();
    assert_eq!((settings.client_requests, settings.audit_bytes, settings.audit_files), (1, 2, 3));
    assert_eq!((settings.log_level.as_str(), settings.http.port(), settings.api.port()), ("error", 5, 6443));
    let from = |name: &str| read.rows().find(|(setting, _)| setting.name == name).unwrap().1.unwrap().1.to_string();
    assert_eq!(from("client-requests"), format!("{main}:1"));
    assert!(from("audit-files").ends_with("conf.d/20-b.toml:1"));
    assert_eq!([from("log-level"), from("http"), from("api")], ["environment CONDUCTOR_LOG_LEVEL", "flag --http", "default"]);
}

#[test]
fn every_setting_has_a_value_of_its_form_and_a_name_that_is_one() {
    let settings = Effective::read(&Flags::default().with("data", "/d"), &environment(&[])).unwrap().settings();
    assert_eq!(settings.secrets_key, Path::new("/d/secrets.key"));
    for setting in SETTINGS {
        assert!(setting.name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-'), "{}", setting.name);
        if let Some(value) = (setting.default)() {
            assert_eq!(setting.form.parse(&value.to_string()).unwrap(), value, "{}", setting.name);
        }
    }
}

#[test]
fn a_file_that_others_may_write_is_refused() {
    for (file, mode) in [("conductor.toml", 0o664), ("conductor.toml", 0o646), ("conf.d/a.toml", 0o666), ("conf.d", 0o777)] {
        let (dir, main) = place(&[("conductor.toml", ""), ("conf.d/a.toml", "")]);
        fs::set_permissions(dir.path().join(file), fs::Permissions::from_mode(mode)).unwrap();
        let said = refusal(&Flags::default(), &environment(&[("CONDUCTOR_CONFIG", &main)]));
        assert!(said.contains("others may write it") && said.contains("chmod go-w"), "{file}: {said}");
    }
}

#[test]
fn a_wrong_variable_or_flag_is_named() {
    for (flags, variables, expected) in [
        (Flags::default().with("api", "x"), vec![], "--api: expected an IP address and a port"),
        (Flags::default(), vec![("CONDUCTOR_AUDIT_FILES", "-1")], "CONDUCTOR_AUDIT_FILES: expected a whole number from 0 to 1000"),
        (Flags::default(), vec![("CONDUCTOR_CONFIG", "/nowhere/c.toml")], "cannot read /nowhere/c.toml"),
    ] {
        let said = refusal(&flags, &environment(&variables));
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_variable_that_was_most_likely_meant_otherwise_is_told() {
    let variables = environment(&[("CONDUCTOR_HTPP", "1"), ("CONDUCTOR_POD", "a"), ("CONDUCTOR_TEST_API", "a"), ("CONDUCTOR_API", "a")]);
    assert_eq!(variables.slips(), [("CONDUCTOR_HTPP".to_owned(), "CONDUCTOR_HTTP".to_owned())]);
}

#[test]
fn what_changed_is_found() {
    let read = |requests: &str| Effective::read(&Flags::default().with("client-requests", requests), &environment(&[])).unwrap();
    assert!(read("5").changed(&read("5")).is_empty());
    assert_eq!(read("5").changed(&read("6")).iter().map(|setting| setting.name).collect::<Vec<_>>(), ["client-requests"]);
}
