//! What systemd is told and what it hands over, spoken by a test in its place.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::server::CONDUCTOR;

/// The next thing that the server says, within half a minute.
fn heard(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    let length = socket.recv(&mut bytes).expect("the server says nothing");
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[test]
fn systemd_is_told_and_its_listener_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = http.local_addr().unwrap();
    // A request from before the server is there waits for it.
    let mut early = TcpStream::connect(address).unwrap();
    early.write_all(b"GET /_ping HTTP/1.1\r\nHost: nobody\r\nConnection: close\r\n\r\n").unwrap();
    let script = format!("exec 3<&0 0</dev/null; LISTEN_PID=$$ exec {CONDUCTOR} serve");
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .env("CONDUCTOR_DATA", dir.path().join("data"))
        .env("CONDUCTOR_API", "127.0.0.1:0")
        // Taken by the listener that is handed over, which wins.
        .env("CONDUCTOR_HTTP", address.to_string())
        .env("NOTIFY_SOCKET", dir.path().join("notify"))
        .env("WATCHDOG_USEC", "400000")
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "http")
        .stdin(Stdio::from(OwnedFd::from(http)))
        .stderr(std::fs::File::create(dir.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    let log = || std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    assert_eq!(heard(&socket), "READY=1", "{}", log());
    assert!(dir.path().join("data/ready.json").exists(), "it is ready when it says so");
    let mut answer = String::new();
    early.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("pong\n"), "{answer}");
    for _ in 0..3 {
        assert_eq!(heard(&socket), "WATCHDOG=1");
    }
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let mut last = heard(&socket);
    while last == "WATCHDOG=1" {
        last = heard(&socket);
    }
    assert_eq!(last, "STOPPING=1");
    assert!(child.wait().unwrap().success(), "{}", log());
}

#[test]
fn a_listener_of_another_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web exec {CONDUCTOR} serve");
    let output = Command::new("sh")
        .args(["-c", &script])
        .env("CONDUCTOR_DATA", dir.path().join("data"))
        .stdin(Stdio::from(OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap())))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("expected FileDescriptorName=api or http"), "{said}");
}

#[test]
fn the_units_are_such_that_systemd_takes_them() {
    let contrib = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib");
    let dir = tempfile::tempdir().unwrap();
    for name in ["conductor.service", "conductor-http.socket"] {
        let unit = std::fs::read_to_string(contrib.join(name)).unwrap();
        std::fs::write(dir.path().join(name), unit.replace("/usr/local/bin/conductor", CONDUCTOR)).unwrap();
    }
    let verify = Command::new("systemd-analyze")
        .arg("verify")
        .args(["conductor.service", "conductor-http.socket"].map(|name| dir.path().join(name)))
        .output();
    let Ok(verify) = verify else {
        crate::without::without("systemd", "systemd-analyze is missing (Debian: systemd)");
        return;
    };
    let said = String::from_utf8_lossy(&verify.stderr);
    assert!(verify.status.success() && !said.contains("Unknown"), "{said}");
}
