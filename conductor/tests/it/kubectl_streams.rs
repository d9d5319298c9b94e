//! kubectl talks to what runs: exec, cp, attach, run, port-forward, and eviction.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use crate::kubectl::{Kubectl, kubectl, shop};
use crate::server::Server;

/// kubectl beside a server on which `shop` is ready.
fn start() -> Option<Kubectl> {
    let kubectl = Kubectl { path: kubectl()?, server: Server::start() };
    kubectl.write("shop.yaml", &shop("1"));
    kubectl.good("apply -f shop.yaml", "created");
    kubectl.good("wait --for=condition=Ready service/shop --timeout=60s", "condition met");
    Some(kubectl)
}

/// Runs kubectl with something to read; its output, error and code.
fn fed(kubectl: &Kubectl, words: &str, input: &[u8]) -> (Vec<u8>, String, Option<i32>) {
    let piped = || Stdio::piped();
    let mut child = kubectl.command(words).stdin(piped()).stdout(piped()).stderr(piped()).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let feeding = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap().unwrap();
    (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code())
}

#[test]
fn programs_are_run_in_containers_and_files_are_copied() {
    let Some(kubectl) = start() else { return };
    kubectl.good("exec shop-web-1-0 -- printenv CONDUCTOR_POD", "shop-web-1-0");
    let (out, err, code) = fed(&kubectl, "exec -i shop-web-1-0 -- sh -c cat;echo\tsaid>&2;exit\t7", b"typed");
    assert_eq!((out.as_slice(), code), (&b"typed"[..], Some(7)), "{err}");
    assert!(err.contains("said") && err.contains("exit code 7"), "{err}");
    let many: Vec<u8> = (0..1_500_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let (out, err, code) = fed(&kubectl, "exec -i shop-web-1-0 -- cat", &many);
    assert!(code == Some(0) && out == many, "{} of {} bytes: {err}", out.len(), many.len());
    kubectl.bad("exec shop-web-1-0 -- /no/such/program", "cannot start /no/such/program");
    kubectl.bad("exec shop-web-1-0 -c other -- true", "container other");
    kubectl.bad("exec none -- true", "not found");
    std::fs::write(kubectl.server.dir.path().join("there"), &many).unwrap();
    kubectl.good("cp there shop-web-1-0:copied", "");
    kubectl.good("cp shop-web-1-0:copied back", "");
    assert_eq!(std::fs::read(kubectl.server.dir.path().join("back")).unwrap(), many);
}

#[test]
fn ports_are_forwarded_and_those_that_there_are_not_are_named() {
    let Some(kubectl) = start() else { return };
    let mut child = kubectl.command("port-forward shop-web-1-0 :8080 --address 127.0.0.1").stdout(Stdio::piped()).spawn().unwrap();
    // Kept open: kubectl ends when it cannot say that it handles a connection.
    let (mut line, mut told) = (String::new(), BufReader::new(child.stdout.take().unwrap()));
    told.read_line(&mut line).unwrap();
    let address = line.split_whitespace().nth(2).unwrap().to_owned();
    let ask = || {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for _ in 0..20 {
        let answer = ask();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("shop-web-1-0"), "{answer}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut child = kubectl.command("port-forward shop-web-1-0 :99 --address 127.0.0.1");
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    line.clear();
    let mut told = BufReader::new(child.stdout.take().unwrap());
    told.read_line(&mut line).unwrap();
    drop(TcpStream::connect(line.split_whitespace().nth(2).unwrap()).unwrap());
    let said = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("has no port 99: it has 8080"), "{said}");
}

#[test]
fn what_a_container_writes_is_watched_and_an_evicted_pod_goes() {
    let Some(path) = kubectl() else { return };
    let kubectl = Kubectl { path, server: Server::start() };
    let script = "while :; do echo tick; sleep 0.05; done";
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: clock}}\nspec: {{terminationGracePeriodSeconds: 1, containers: [{{name: clock, command: [sh, -c, '{script}']}}]}}\n"
    );
    kubectl.write("pod.yaml", &pod);
    kubectl.good("apply -f pod.yaml", "created");
    kubectl.good("wait --for=jsonpath={.status.phase}=Running pod/clock --timeout=30s", "condition met");
    let mut child = kubectl.command("attach clock").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "tick\n");
    child.kill().unwrap();
    child.wait().unwrap();
    kubectl.write("eviction.json", r#"{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"clock"}}"#);
    kubectl.good("create --raw /api/v1/namespaces/default/pods/clock/eviction -f eviction.json", "Success");
    kubectl.good("wait --for=delete pod/clock --timeout=30s", "");
    kubectl.bad("get pod clock", "not found");
}

#[test]
fn what_is_typed_reaches_a_container_and_is_its_end_where_the_pod_says_so() {
    let Some(path) = kubectl() else { return };
    let mut kubectl = Kubectl { path, server: Server::start() };
    let run =
        r#"run once -i --rm --quiet --restart=Never --image=none --overrides={"spec":{"runtimeClassName":"process"}} --command -- cat"#;
    let (out, err, code) = fed(&kubectl, run, b"typed\nand no end of line");
    assert_eq!((String::from_utf8_lossy(&out).as_ref(), code), ("typed\nand no end of line", Some(0)), "{err}\n{}", kubectl.server.log());
    kubectl.bad("get pod once", "not found");
    kubectl.write(
        "pod.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: echo}\nspec: {terminationGracePeriodSeconds: 0, containers: [\
         {name: echo, stdin: true, command: [sh, -c, 'while read line; do echo heard $line; done']}, {name: deaf, command: [sh, -c, 'cat; echo at its end; sleep 1000']}]}\n",
    );
    kubectl.good("apply -f pod.yaml", "created");
    kubectl.good("wait --for=condition=Ready pod/echo --timeout=30s", "condition met");
    let hear = |kubectl: &Kubectl, word: &str| {
        let mut child = kubectl.command("attach -i echo -c echo").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(format!("{word}\n").as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, format!("heard {word}\n"));
        drop(stdin);
        assert!(child.wait().unwrap().success());
    };
    hear(&kubectl, "one");
    kubectl.server.crash_and_start();
    hear(&kubectl, "two");
    assert!(!kubectl.good("get pod echo -o jsonpath={.status.containerStatuses[*].restartCount}", "0 0").contains('1'));
    kubectl.good("logs echo -c deaf", "at its end");
}

/// How long a child takes to end by itself, in seconds; it is given twenty.
fn seconds_to_end(mut child: std::process::Child) -> u64 {
    let begun = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() && begun.elapsed().as_secs() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let _ = child.kill();
    let _ = child.wait();
    begun.elapsed().as_secs()
}

#[test]
fn what_goes_on_ends_when_the_token_or_the_role_is_withdrawn() {
    let Some(kubectl) = start() else { return };
    let made = |user: &str| {
        let output = kubectl.server.run(&["token", "create", user]);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (jane, john) = (made("jane"), made("john"));
    for user in ["jane", "john"] {
        kubectl.good(&format!("create rolebinding {user} --clusterrole=edit --user={user}"), "created");
        kubectl.good(&format!("create rolebinding {user}-exec --clusterrole=admin --user={user}"), "created");
    }
    let open = |name: &str, token: &str, words: &str| {
        let output = kubectl.server.run(&["kubeconfig", "--token", token]);
        kubectl.write(name, &String::from_utf8(output.stdout).unwrap());
        let mut command = kubectl.command(&format!("--kubeconfig {name} -n default {words}"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut told = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut told).unwrap();
        child
    };
    let all = |name: &str, token: &str| {
        [
            open(name, token, "get configmaps -w -o name"),
            open(name, token, "exec -i shop-web-1-0 -- sh -c echo\thi;exec\tsleep\t600"),
            open(name, token, "port-forward shop-web-1-0 :8080 --address 127.0.0.1"),
        ]
    };
    kubectl.good("create configmap there", "created");
    let (of_jane, of_john) = (all("jane.yaml", &jane), all("john.yaml", &john));
    assert!(kubectl.server.run(&["token", "delete", jane.split('.').next().unwrap()]).status.success());
    let seconds = of_jane.map(seconds_to_end);
    let [mut watch, mut exec, mut forward] = of_john;
    assert!([&mut watch, &mut exec, &mut forward].into_iter().all(|child| child.try_wait().unwrap().is_none()), "john's go on");
    kubectl.good("delete rolebinding john john-exec", "deleted");
    let others = [watch, exec, forward].map(seconds_to_end);
    assert!(seconds.iter().chain(&others).all(|seconds| *seconds < 12), "{seconds:?} {others:?}");
}
