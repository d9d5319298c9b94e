//! What is kept, set aside and found again.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::settings::{Effective, Environment, Flags};

fn settings(data: &Path) -> Settings {
    let flags = Flags::default().with("data", data.display().to_string()).with("config", "/dev/null");
    Effective::read(&flags, &Environment::default()).unwrap().settings()
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap_or_default()
}

fn line(number: usize) -> String {
    json!({"request": format!("r{number}"), "verb": "create", "time": "2026-01-02T03:04:05Z"}).to_string()
}

#[test]
fn logs_are_set_aside_by_size_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let bounds = Bounds { bytes: 20, files: 2, chained: false };
    for number in 0..7 {
        Log::open(dir.path().join("audit.log"), bounds).unwrap().keep(format!("{{\"n\":{number}}}"));
    }
    assert_eq!(read(dir.path(), "audit.log"), "{\"n\":6}\n");
    assert_eq!(read(dir.path(), "audit.log.1"), "{\"n\":4}\n{\"n\":5}\n");
    assert_eq!(read(dir.path(), "audit.log.2"), "{\"n\":2}\n{\"n\":3}\n");
    assert_eq!(read(dir.path(), "audit.log.3"), "");
    let mode = std::fs::metadata(dir.path().join("audit.log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn refusals_push_no_change_out() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(dir.path(), &Settings { audit_bytes: 4_096, audit_files: 1, ..settings(dir.path()) }).unwrap();
    records.keep(Record::Change, "jane", line(0));
    for number in 0..100_000 {
        records.keep(Record::Refusal, &format!("192.0.2.{}", number % 3), line(number));
    }
    assert_eq!(read(dir.path(), "audit.log").lines().count(), 1);
    assert_eq!(read(dir.path(), "audit-refused.log").lines().count(), 150);
}

#[test]
fn a_line_that_is_altered_taken_out_or_put_in_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let small = Settings { audit_bytes: 1_000, audit_files: 9, ..settings(dir.path()) };
    for numbers in [0..5, 5..10] {
        let records = Records::open(dir.path(), &small).unwrap();
        numbers.for_each(|number| records.keep(Record::Change, "jane", line(number)));
    }
    assert!(dir.path().join("audit.log.1").exists());
    let whole = verify(dir.path(), None).unwrap();
    assert_eq!((whole.lines, whole.since.as_str()), (10, "2026-01-02T03:04:05Z"));
    verify(dir.path(), Some(&whole.head)).unwrap();
    let path = dir.path().join("audit.log.1");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for altered in [
        text.replacen("create", "delete", 1),
        format!("{}\n", lines[1..].iter().skip(1).fold(lines[0].to_owned(), |all, line| format!("{all}\n{line}"))),
        format!("{}\n{text}", line(99)),
    ] {
        std::fs::write(&path, altered).unwrap();
        assert!(verify(dir.path(), None).is_err());
    }
    std::fs::write(&path, &text).unwrap();
    verify(dir.path(), None).unwrap();
    let last = read(dir.path(), "audit.log");
    let cut: String = last.lines().take(last.lines().count() - 1).map(|line| format!("{line}\n")).collect();
    std::fs::write(dir.path().join("audit.log"), cut).unwrap();
    assert!(verify(dir.path(), Some(&whole.head)).unwrap_err().to_string().contains("cut off"));
}

#[test]
fn what_a_killed_server_intended_is_told_of_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(dir.path(), &settings(dir.path())).unwrap();
    let told = records.intend(line(1));
    records.keep(Record::Change, "jane", line(1));
    records.settled(told);
    // Killed between the line and the note that it is there, and before the line.
    records.intend(line(2));
    records.keep(Record::Change, "jane", line(2));
    records.intend(line(3));
    drop(records);
    for _ in 0..2 {
        drop(Records::open(dir.path(), &settings(dir.path())).unwrap());
        let text = read(dir.path(), "audit.log");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.iter().map(|line| line["request"].as_str().unwrap()).collect::<Vec<_>>(), ["r1", "r2", "r3"]);
        assert_eq!(lines[2]["outcome"], "unknown: the server ended meanwhile");
    }
}

#[test]
fn intents_take_no_more_room_than_they_may() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(dir.path(), &settings(dir.path())).unwrap();
    let first = records.intend(line(0));
    for number in 1..20_000 {
        let intent = records.intend(line(number));
        records.settled(intent);
    }
    assert!(read(dir.path(), "audit-intents.log").len() < 300 << 10);
    records.settled(first);
    drop(records);
    drop(Records::open(dir.path(), &settings(dir.path())).unwrap());
    assert_eq!(read(dir.path(), "audit.log"), "");
}
