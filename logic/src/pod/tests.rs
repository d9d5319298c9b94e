use serde_json::json;

use super::*;

fn time(text: &str) -> Timestamp {
    format!("2026-01-01T00:{text}Z").parse().unwrap()
}

fn pod(spec: serde_json::Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
}

fn seen(name: &str, starts: u32, phase: Phase) -> Seen {
    Seen { name: name.into(), starts, phase, last_exit: None, image_id: None }
}

fn exited(code: i32) -> Phase {
    Phase::Exited(Exit { code, started: time("00:00"), finished: time("00:10"), reason: None, is_out_of_memory: false })
}

fn check(pod: &Pod, seen: Option<&[Seen]>, health: &BTreeMap<String, Health>, expected: &str) {
    let words = BTreeMap::new();
    let observed =
        Observed { pod, seen, health, last_words: &words, trouble: None, has_requests: false, address: "127.0.0.1", now: time("00:11") };
    let plan = plan(&observed);
    let acts: Vec<String> = plan
        .acts
        .iter()
        .map(|act| match act {
            Act::Create => "create".into(),
            Act::Start(name) => format!("start {name}"),
            Act::Stop { container, grace, .. } => format!("stop {container} {}s", grace.as_secs()),
            Act::Remove => "remove".into(),
            Act::Forget => "forget".into(),
        })
        .collect();
    let conditions = plan.status.conditions.unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let wake = plan.wake_after.map(|wake| format!(" wake {}s", wake.as_secs())).unwrap_or_default();
    let text =
        format!("{} {}{} [{}]{wake}", plan.status.phase.unwrap_or_default(), if ready { "" } else { "un" }, "ready", acts.join(", "));
    assert_eq!(text, expected);
}

#[test]
fn a_pod_is_made_started_and_restarted_with_back_off() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    let none = BTreeMap::new();
    check(&pod, None, &none, "Pending unready [create]");
    check(&pod, Some(&[seen("a", 0, Phase::Created)]), &none, "Pending unready [start a]");
    check(&pod, Some(&[seen("a", 1, Phase::Running(time("00:01")))]), &none, "Running ready []");
    check(&pod, Some(&[seen("a", 1, exited(1))]), &none, "Running unready [start a]");
    check(&pod, Some(&[seen("a", 4, exited(1))]), &none, "Running unready [] wake 7s");
}

#[test]
fn a_pod_is_ready_once_its_gates_are_open() {
    let mut pod = pod(json!({"containers": [{"name": "a"}], "readinessGates": [{"conditionType": "example.dev/Warm"}]}));
    let (none, running) = (BTreeMap::new(), [seen("a", 1, Phase::Running(time("00:01")))]);
    check(&pod, Some(&running), &none, "Running unready []");
    for (status, expected) in [("False", "Running unready []"), ("True", "Running ready []")] {
        let said = json!({"conditions": [{"type": "example.dev/Warm", "status": status}]});
        pod.status = serde_json::from_value(said).unwrap();
        check(&pod, Some(&running), &none, expected);
    }
}

#[test]
fn what_others_say_of_a_pod_stays() {
    let mut pod = pod(json!({"containers": [{"name": "a"}]}));
    let said = json!({"qosClass": "BestEffort", "conditions": [
        {"type": "example.dev/Warm", "status": "True"}, {"type": "Ready", "status": "False"}]});
    pod.status = Some(serde_json::from_value(said).unwrap());
    let (seen, health, words) = ([seen("a", 1, Phase::Running(time("00:01")))], BTreeMap::new(), BTreeMap::new());
    let observed = Observed {
        pod: &pod,
        seen: Some(&seen),
        health: &health,
        last_words: &words,
        trouble: None,
        has_requests: false,
        address: "127.0.0.1",
        now: time("00:11"),
    };
    let told = plan(&observed).status;
    assert_eq!(told.qos_class.as_deref(), Some("BestEffort"));
    let types: Vec<_> = told.conditions.iter().flatten().map(|condition| (condition.type_.as_str(), condition.status.as_str())).collect();
    let own = [("PodScheduled", "True"), ("Initialized", "True"), ("ContainersReady", "True"), ("Ready", "True")];
    assert_eq!(types, [&own[..], &[("example.dev/Warm", "True")]].concat());
}

#[test]
fn a_pod_is_of_images_when_all_its_containers_are() {
    for (spec, expected) in [
        (json!({"containers": [{"name": "a", "image": "shop:7"}]}), true),
        (json!({"containers": [{"name": "a", "image": "shop:7"}, {"name": "b"}]}), false),
        (json!({"containers": [{"name": "a", "image": "shop:7"}], "initContainers": [{"name": "i", "image": ""}]}), false),
        (json!({"containers": [{"name": "a", "command": ["x"]}]}), false),
    ] {
        assert_eq!(is_of_images(&pod(spec.clone())), expected, "{spec}");
    }
}

#[test]
fn an_end_for_want_of_memory_and_an_image_are_told() {
    let pod = pod(json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": "shop:7"}]}));
    let exit = Exit { code: 137, started: time("00:00"), finished: time("00:10"), reason: None, is_out_of_memory: true };
    let seen = [Seen { image_id: Some("sha256:1".into()), ..seen("a", 1, Phase::Exited(exit)) }];
    let (health, words) = (BTreeMap::new(), BTreeMap::new());
    let observed = Observed {
        pod: &pod,
        seen: Some(&seen),
        health: &health,
        last_words: &words,
        trouble: None,
        has_requests: false,
        address: "",
        now: time("00:11"),
    };
    let status = plan(&observed).status.container_statuses.unwrap_or_default();
    assert_eq!(status[0].image_id, "sha256:1");
    let terminated = status[0].state.clone().and_then(|state| state.terminated).unwrap();
    assert_eq!((terminated.reason.as_deref(), terminated.exit_code), (Some("OOMKilled"), 137));
}

#[test]
fn restart_policies_are_kept() {
    let none = BTreeMap::new();
    let never = pod(json!({"restartPolicy": "Never", "containers": [{"name": "a"}]}));
    check(&never, Some(&[seen("a", 1, exited(0))]), &none, "Succeeded unready []");
    check(&never, Some(&[seen("a", 1, exited(2))]), &none, "Failed unready []");
    let on_failure = pod(json!({"restartPolicy": "OnFailure", "containers": [{"name": "a"}]}));
    check(&on_failure, Some(&[seen("a", 1, exited(0))]), &none, "Succeeded unready []");
    check(&on_failure, Some(&[seen("a", 1, exited(1))]), &none, "Running unready [start a]");
}

#[test]
fn init_containers_run_first_and_one_after_the_other() {
    let none = BTreeMap::new();
    let pod = pod(json!({"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]}));
    let all = |i: Phase, j: Phase| [seen("i", 1, i), seen("j", 1, j), seen("a", 0, Phase::Created)];
    check(&pod, Some(&all(Phase::Created, Phase::Created)), &none, "Pending unready [start i]");
    check(&pod, Some(&all(exited(0), Phase::Created)), &none, "Pending unready [start j]");
    check(&pod, Some(&all(exited(0), exited(0))), &none, "Pending unready [start a]");
    check(&pod, Some(&all(exited(1), Phase::Created)), &none, "Pending unready [start i]");
}

#[test]
fn probes_decide_about_readiness_and_restarts() {
    let pod = pod(json!({"containers": [{"name": "a", "readinessProbe": {"tcpSocket": {"port": 1}}}]}));
    let running = [seen("a", 1, Phase::Running(time("00:01")))];
    check(&pod, Some(&running), &BTreeMap::new(), "Running unready []");
    let health = |health| BTreeMap::from([("a".to_owned(), health)]);
    check(&pod, Some(&running), &health(Health { ready: true, ..Health::default() }), "Running ready []");
    let sick = Health { restart: Some("Liveness probe failed".into()), ..Health::default() };
    check(&pod, Some(&running), &health(sick), "Running unready [stop a 30s]");
}

#[test]
fn a_container_is_told_to_run_and_the_next_one_started_when_its_hook_has_ended() {
    let hook = json!({"postStart": {"sleep": {"seconds": 5}}});
    let pod = pod(json!({"containers": [{"name": "a", "lifecycle": hook}, {"name": "b"}]}));
    let none = BTreeMap::new();
    let all = |a: Phase| [seen("a", 1, a), seen("b", 0, Phase::Created)];
    check(&pod, Some(&all(Phase::Created)), &none, "Pending unready [start a]");
    let waits = BTreeMap::from([("a".to_owned(), Health { awaits_hook: true, ready: true, ..Health::default() })]);
    check(&pod, Some(&all(Phase::Running(time("00:01")))), &waits, "Pending unready []");
    check(&pod, Some(&all(Phase::Running(time("00:01")))), &none, "Running unready [start b]");
    let failed = BTreeMap::from([("a".to_owned(), Health { restart: Some("PostStartHook failed".into()), ..Health::default() })]);
    check(&pod, Some(&all(Phase::Running(time("00:01")))), &failed, "Running unready [stop a 30s, start b]");
}

#[test]
fn a_pod_that_is_active_for_too_long_is_ended_and_failed() {
    let none = BTreeMap::new();
    let running = [seen("a", 1, Phase::Running(time("00:01")))];
    let since = |spec: serde_json::Value, start: &str| {
        let mut pod = pod(spec);
        pod.status = serde_json::from_value(json!({"phase": "Running", "startTime": format!("2026-01-01T00:{start}Z")})).unwrap();
        pod
    };
    for policy in ["Always", "OnFailure", "Never"] {
        let spec = json!({"restartPolicy": policy, "activeDeadlineSeconds": 10, "containers": [{"name": "a"}]});
        check(&since(spec.clone(), "00:05"), Some(&running), &none, "Running ready [] wake 4s");
        let late = since(spec.clone(), "00:01");
        check(&late, Some(&running), &none, "Running ready [stop a 30s]");
        let at_the_end = Exit { code: 0, started: time("00:01"), finished: time("00:11"), reason: None, is_out_of_memory: false };
        let ended = [seen("a", 1, Phase::Exited(at_the_end))];
        check(&late, Some(&ended), &none, "Failed unready []");
        let mut failed = late.clone();
        let status = status::status(&Observed {
            pod: &late,
            seen: Some(&ended),
            health: &none,
            last_words: &BTreeMap::new(),
            trouble: None,
            has_requests: false,
            address: "",
            now: time("00:11"),
        });
        assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"), "{policy}");
        let state = status.container_statuses.as_ref().and_then(|all| all[0].state.as_ref()).unwrap();
        assert!(state.terminated.is_some(), "{policy}: {state:?}");
        failed.status = Some(status);
        check(&failed, Some(&ended), &none, "Failed unready []");
        check(&failed, None, &none, "Failed unready []");
        check(&since(spec, "00:01"), Some(&[seen("a", 0, Phase::Created)]), &none, "Failed unready []");
    }
    let done = since(json!({"restartPolicy": "Never", "activeDeadlineSeconds": 10, "containers": [{"name": "a"}]}), "00:01");
    check(&done, Some(&[seen("a", 1, exited(0))]), &none, "Succeeded unready []");
}

#[test]
fn a_pod_that_is_deleted_is_stopped_removed_and_forgotten() {
    let none = BTreeMap::new();
    let mut pod = pod(json!({"containers": [{"name": "a"}]}));
    pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time("00:16")));
    pod.metadata.deletion_grace_period_seconds = Some(5);
    check(&pod, Some(&[seen("a", 1, Phase::Running(time("00:01")))]), &none, "Running unready [stop a 5s]");
    check(&pod, Some(&[seen("a", 1, exited(0))]), &none, "Running unready [remove]");
    check(&pod, None, &none, "Pending unready [forget]");
}

#[test]
fn a_pod_that_is_deleted_finishes_its_requests_within_its_grace() {
    let at = |text: &str| Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time(text)));
    let seen = [seen("a", 1, Phase::Running(time("00:01")))];
    let (health, words) = (BTreeMap::new(), BTreeMap::new());
    for (grace, end, has_requests, expected) in [
        (30, "00:41", true, "waits"),
        (30, "00:41", false, "stops within 30s"),
        (30, "00:21", true, "waits"),
        (30, "00:12", true, "stops within 2s"),
        (30, "00:10", true, "stops within 2s"),
        (1, "00:11", true, "waits"),
        (1, "00:10", true, "stops within 1s"),
        (0, "00:11", true, "stops within 0s"),
    ] {
        let mut pod = pod(json!({"containers": [{"name": "a"}]}));
        pod.metadata.deletion_timestamp = at(end);
        pod.metadata.deletion_grace_period_seconds = Some(grace);
        let (pod, seen) = (&pod, Some(&seen[..]));
        let now = time("00:11");
        let plan = plan(&Observed { pod, seen, health: &health, last_words: &words, trouble: None, has_requests, address: "", now });
        let told = match plan.acts.as_slice() {
            [] => format!("waits{}", if plan.wake_after.is_some() { "" } else { " for ever" }),
            [Act::Stop { grace, .. }] => format!("stops within {}s", grace.as_secs()),
            other => format!("{other:?}"),
        };
        assert_eq!(told, expected, "{grace} {end} {has_requests}");
    }
}

#[test]
fn a_readiness_probe_is_eager_until_it_first_passes() {
    let probe = k8s_openapi::api::core::v1::Probe { period_seconds: Some(10), ..Default::default() };
    let mut probing = Probing::new(ProbeKind::Readiness, &probe, time("00:00"), false);
    let mut health = Health::default();
    probing.answer(&probe, false, "refused", time("00:00"), &mut health);
    assert!(probing.next() < time("00:01") && !health.ready && health.detail == "refused");
    probing.answer(&probe, true, "", time("00:01"), &mut health);
    assert!(health.ready && probing.next() == time("00:11"));
    for _ in 0..2 {
        probing.answer(&probe, false, "503", time("00:11"), &mut health);
        assert!(health.ready, "two failures are not three");
    }
    probing.answer(&probe, false, "503", time("00:31"), &mut health);
    assert!(!health.ready && health.detail == "503");
}
