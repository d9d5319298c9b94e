//! postStart hooks and deadlines of Pods, with real programs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kubectl::{Kubectl, kubectl};
use crate::server::Server;

fn start() -> Option<Kubectl> {
    Some(Kubectl { path: kubectl()?, server: Server::start() })
}

fn pod(name: &str, hook: Value, more: Value) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "terminationGracePeriodSeconds": 2, "containers": [
            {"name": "a", "command": ["sh", "-c", "echo begun; exec sleep 60"], "lifecycle": {"postStart": hook}},
            {"name": "b", "command": ["sh", "-c", "echo b; exec sleep 60"]}]}});
    more.as_object().unwrap().iter().for_each(|(field, value)| pod["spec"][field] = value.clone());
    pod
}

fn shown(kubectl: &Kubectl, name: &str) -> Value {
    serde_json::from_str(&kubectl.good(&format!("get pod {name} -o json"), "")).unwrap()
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_container_is_told_to_run_when_its_hook_has_ended() {
    let Some(kubectl) = start() else { return };
    let go = kubectl.server.dir.path().join("go");
    let words = format!("echo hooked > hooked; until [ -e {} ]; do sleep 0.05; done", go.display());
    kubectl.write("held.json", &pod("held", json!({"exec": {"command": ["sh", "-c", words]}}), json!({})).to_string());
    kubectl.good("apply -f held.json", "created");
    until("the hook runs where its container does", || kubectl.run("exec held -c a -- cat hooked").1.contains("hooked"));
    let pod = shown(&kubectl, "held");
    let states = &pod["status"]["containerStatuses"];
    assert_eq!((&pod["status"]["phase"], &states[0]["state"]["waiting"]["reason"]), (&json!("Pending"), &json!("ContainerCreating")));
    assert_eq!((&states[0]["ready"], &states[0]["started"], &states[1]["restartCount"]), (&json!(false), &json!(false), &json!(0)));
    assert!(states[1]["state"]["running"].is_null(), "the next one waits: {states}");
    std::fs::write(&go, "").unwrap();
    kubectl.good("wait --for=condition=Ready pod/held --timeout=30s", "condition met");
    assert_eq!(shown(&kubectl, "held")["status"]["containerStatuses"][0]["restartCount"], 0);

    let begun = Instant::now();
    kubectl.write("sleeps.json", &self::pod("sleeps", json!({"sleep": {"seconds": 2}}), json!({})).to_string());
    kubectl.good("apply -f sleeps.json", "created");
    kubectl.good("wait --for=condition=Ready pod/sleeps --timeout=30s", "condition met");
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn a_container_whose_hook_fails_is_ended_and_started_again() {
    let Some(kubectl) = start() else { return };
    let fails = json!({"exec": {"command": ["sh", "-c", "echo no luck; exit 3"]}});
    let nobody = json!({"httpGet": {"path": "/", "port": 1}});
    for (name, hook, policy, words) in
        [("again", fails.clone(), "Always", "no luck"), ("never", fails, "Never", "no luck"), ("asks", nobody, "Never", "no port")]
    {
        kubectl.write("pod.json", &pod(name, hook, json!({"restartPolicy": policy})).to_string());
        kubectl.good("apply -f pod.json", "created");
        let events = || kubectl.good(&format!("get events --field-selector involvedObject.name={name}"), "");
        until("the failure is told", || events().contains("FailedPostStartHook") && events().contains(words));
        let status = || shown(&kubectl, name)["status"]["containerStatuses"][0].clone();
        if policy == "Always" {
            until("it is started again", || status()["restartCount"].as_i64() > Some(0));
            assert_eq!(status()["ready"], false);
        } else {
            until("it is not started again", || status()["state"]["terminated"]["exitCode"].as_i64().is_some_and(|code| code != 0));
            assert_eq!(status()["restartCount"], 0);
        }
    }
}

#[test]
fn a_pod_that_is_active_for_too_long_fails() {
    let Some(kubectl) = start() else { return };
    for policy in ["Always", "Never"] {
        let name = policy.to_lowercase();
        let more = json!({"restartPolicy": policy, "activeDeadlineSeconds": 2});
        kubectl.write("pod.json", &pod(&name, json!({"sleep": {"seconds": 0}}), more).to_string());
        kubectl.good("apply -f pod.json", "created");
        kubectl.good(&format!("wait --for=jsonpath={{.status.phase}}=Running pod/{name} --timeout=30s"), "condition met");
        kubectl.good(&format!("wait --for=jsonpath={{.status.phase}}=Failed pod/{name} --timeout=30s"), "condition met");
        let status = shown(&kubectl, &name)["status"].clone();
        assert_eq!(status["reason"], "DeadlineExceeded", "{status}");
        let states = status["containerStatuses"].as_array().unwrap();
        assert!(states.iter().all(|state| state["state"]["terminated"].is_object()), "nothing runs any more: {status}");
        kubectl.good(&format!("get events --field-selector involvedObject.name={name}"), "DeadlineExceeded");
        std::thread::sleep(Duration::from_secs(2));
        let later = shown(&kubectl, &name)["status"].clone();
        assert_eq!(later["phase"], "Failed");
        assert!(later["containerStatuses"].as_array().unwrap().iter().all(|state| state["restartCount"] == 0), "{later}");
    }
}
