//! What cannot be is refused with a sentence that names it, and nothing else is disturbed.

use std::net::TcpListener;
use std::process::{Command, Output};

use crate::server::{CONDUCTOR, Server};

fn serve(args: &[&str]) -> Output {
    Command::new(CONDUCTOR).arg("serve").args(args).output().unwrap()
}

#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !text.contains("panicked"), "{text}");
    for word in words {
        assert!(text.contains(word), "{text} lacks {word}");
    }
}

#[test]
fn a_second_server_on_one_store_is_refused() {
    let server = Server::start();
    let data = server.data();
    let output = serve(&["--data", data.to_str().unwrap(), "--api", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    refused(&output, &["in use by another process"]);
    assert!(data.join("ready.json").exists(), "the first server goes on as it was");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for (flag, other) in [("--api", "--http"), ("--http", "--api")] {
        let output = serve(&["--data", data.to_str().unwrap(), flag, &address, other, "127.0.0.1:0"]);
        refused(&output, &[flag, &address, "cannot listen there"]);
    }
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("store.redb"), "this is no store").unwrap();
    let output = serve(&["--data", data.to_str().unwrap(), "--api", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    refused(&output, &["store.redb", "cannot be read"]);
    assert_eq!(std::fs::read(data.join("store.redb")).unwrap(), b"this is no store");
}

#[test]
fn keys_and_tokens_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start();
    for file in ["kubeconfig", "admin-token", "pki/ca.key", "store.redb", "conductor.sock", "ready.json"] {
        let mode = std::fs::metadata(server.data().join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
}

#[test]
fn of_more_connections_than_there_may_be_the_one_that_rests_longest_is_closed() {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    let server = Server::start_with(&[("CONDUCTOR_API_CONNECTIONS", "2")]);
    let connect = || UnixStream::connect(server.data().join("conductor.sock")).unwrap();
    let ask = |stream: &mut UnixStream| {
        let (mut answer, mut byte) = (Vec::new(), [0]);
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        while !answer.ends_with(b"\r\n\r\nok") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    };
    let mut first = connect();
    ask(&mut first);
    let mut silent = connect();
    // Long enough that it was accepted.
    std::thread::sleep(std::time::Duration::from_millis(300));
    ask(&mut first);
    let mut third = connect();
    ask(&mut third);
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0, "it is closed");
    ask(&mut first);
}

/// Connections of somebody to the control API, by TLS as anybody may open them.
fn curl(server: &Server, token: &str, path: &str) -> Command {
    let kubeconfig = std::fs::read_to_string(server.data().join("kubeconfig")).unwrap();
    let address = kubeconfig.lines().find_map(|line| line.trim().strip_prefix("server: ")).unwrap().trim_matches('"').to_owned();
    let mut curl = Command::new("curl");
    curl.args(["-skNo", "/dev/null", "-m", "60", "-w", "%{http_code}", "-H"]).arg(format!("Authorization: Bearer {token}"));
    curl.arg(format!("{address}{path}")).stdout(std::process::Stdio::piped());
    curl
}

#[test]
fn who_opens_many_connections_keeps_nobody_out() {
    use std::net::TcpStream;
    let server = Server::start_with(&[("CONDUCTOR_API_CONNECTIONS", "20")]);
    let created = |name: &str| {
        let output = server.run(&["token", "create", name, "--role", "view"]);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (greedy, other) = (created("greedy"), created("other"));
    let kubeconfig = std::fs::read_to_string(server.data().join("kubeconfig")).unwrap();
    let address = kubeconfig.lines().find_map(|line| line.trim().strip_prefix("server: https://")).unwrap().trim_matches('"').to_owned();
    let served = |token: &str| {
        let output = curl(&server, token, "/api/v1/namespaces/default/configmaps").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "200", "{}", server.log());
    };
    let silent: Vec<TcpStream> = (0..60).map(|_| TcpStream::connect(&address).unwrap()).collect();
    served(&other);
    drop(silent);
    let watch = "/api/v1/configmaps?watch=1&timeoutSeconds=50";
    let mut watching: Vec<_> = (0..30).map(|_| curl(&server, &greedy, watch).spawn().unwrap()).collect();
    std::thread::sleep(std::time::Duration::from_secs(3));
    served(&other);
    served(&other);
    for child in &mut watching {
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[test]
fn an_answer_that_comes_before_its_body_was_read_reaches_clients_of_http_2() {
    let server = Server::start();
    let token = std::fs::read_to_string(server.data().join("admin-token")).unwrap();
    let bodies = tempfile::tempdir().unwrap();
    let (small, large) = (bodies.path().join("small"), bodies.path().join("large"));
    std::fs::write(&small, "{\"a\":1}").unwrap();
    std::fs::write(&large, vec![b' '; 4 << 20]).unwrap();
    let kubeconfig = std::fs::read_to_string(server.data().join("kubeconfig")).unwrap();
    let address = kubeconfig.lines().find_map(|line| line.trim().strip_prefix("server: ")).unwrap().trim_matches('"').to_owned();
    let places = "/api/v1/namespaces/default";
    for (method, path, token, body, expected) in [
        ("POST", "/apis/t.io/v1/namespaces/default/nopes", token.trim(), &small, "404"),
        ("POST", &format!("{places}/nopes"), token.trim(), &small, "404"),
        ("POST", &format!("{places}/configmaps"), "nobody's", &small, "401"),
        ("POST", &format!("{places}/configmaps"), "", &small, "403"),
        ("PUT", "/version", token.trim(), &small, "405"),
        ("POST", &format!("{places}/configmaps"), token.trim(), &large, "413"),
    ] {
        for _ in 0..12 {
            let mut curl = Command::new("curl");
            curl.args(["-sk", "--http2", "-m", "10", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "-X", method, "-T"])
                .arg(body);
            curl.args(["-H", "Content-Type: application/json"]);
            if !token.is_empty() {
                curl.arg("-H").arg(format!("Authorization: Bearer {token}"));
            }
            let output = curl.arg(format!("{address}{path}")).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && said == format!("2 {expected}"), "{method} {path}: {said} {:?}", output.status);
        }
    }
}
