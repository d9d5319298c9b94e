//! What an agent says of a Pod.

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod, PodCondition,
    PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Exit, Observed, Phase, Seen, deadline, restarts};

/// The status of a Pod, as it is seen. What others say of it, such as conditions of types of their own, stays.
pub fn status(observed: &Observed) -> PodStatus {
    let spec = observed.pod.spec.clone().unwrap_or_default();
    let statuses = |containers: &[Container]| containers.iter().map(|container| container_status(observed, container)).collect::<Vec<_>>();
    let init = statuses(spec.init_containers.as_deref().unwrap_or_default());
    let containers = statuses(&spec.containers);
    let old = observed.pod.status.as_ref();
    let phase = phase(observed, &init, &containers);
    let ready = containers.iter().all(|container| container.ready) && phase == "Running";
    let gates = open_gates(observed);
    let initialized = init.iter().all(|container| exit_code(container) == Some(0));
    let why = unready(&containers).unwrap_or_default();
    let ended = if phase == "Succeeded" { "PodCompleted" } else { "ContainersNotReady" };
    let mut conditions = vec![
        condition(observed, "PodScheduled", true, "", String::new()),
        condition(observed, "Initialized", initialized, "ContainersNotInitialized", String::new()),
        condition(observed, "ContainersReady", ready, ended, why.clone()),
        match gates.first() {
            Some(_) if ready => {
                let why = format!("the condition of these readiness gates is not True: [{}]", gates.join(" "));
                condition(observed, "Ready", false, "ReadinessGatesNotReady", why)
            }
            _ => condition(observed, "Ready", ready, ended, why),
        },
    ];
    let said = old.and_then(|old| old.conditions.as_deref()).unwrap_or_default();
    let others: Vec<PodCondition> = said.iter().filter(|said| conditions.iter().all(|own| own.type_ != said.type_)).cloned().collect();
    conditions.extend(others);
    let before = old.map(|old| (old.reason.clone(), old.message.clone())).unwrap_or_default();
    let is_too_late = phase == "Failed" && deadline::is_exceeded(observed);
    let (reason, message) = if is_too_late { (Some(deadline::EXCEEDED.into()), Some(deadline::MESSAGE.into())) } else { before };
    PodStatus {
        reason,
        message,
        phase: Some(phase),
        conditions: Some(conditions),
        container_statuses: Some(containers),
        init_container_statuses: Some(init).filter(|init| !init.is_empty()),
        host_ip: Some(observed.address.to_owned()),
        pod_ip: observed.seen.map(|_| observed.address.to_owned()),
        pod_ips: observed.seen.map(|_| vec![PodIP { ip: observed.address.to_owned() }]),
        start_time: old.and_then(|old| old.start_time.clone()).or(Some(Time(observed.now))),
        observed_generation: observed.pod.metadata.generation,
        // What others say of the Pod stays: to leave it out would be to take it away, again and again.
        ..old.cloned().unwrap_or_default()
    }
}

/// The readiness gates of a Pod whose condition nobody has made true.
fn open_gates<'a>(observed: &Observed<'a>) -> Vec<&'a str> {
    let said = observed.pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let held: Vec<&str> = said.filter(|said| said.status == "True").map(|said| said.type_.as_str()).collect();
    let gates = observed.pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    gates.map(|gate| gate.condition_type.as_str()).filter(|gate| !held.contains(gate)).collect()
}

fn phase(observed: &Observed, init: &[ContainerStatus], containers: &[ContainerStatus]) -> String {
    let Some(spec) = &observed.pod.spec else { return "Pending".into() };
    let old = observed.pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
    if ["Succeeded", "Failed"].contains(&old.as_str()) {
        return old;
    }
    // What runs yet is told to be running until it has ended: others may start in its place once it is told to have failed.
    if deadline::is_exceeded(observed) && !deadline::runs(observed) {
        return "Failed".into();
    }
    let never = spec.restart_policy.as_deref() == Some("Never");
    if never && init.iter().any(|container| exit_code(container).is_some_and(|code| code != 0)) {
        return "Failed".into();
    }
    let Some(seen) = observed.seen else { return if old.is_empty() { "Pending".into() } else { old } };
    let is_final = |container: &&ContainerStatus| {
        let seen = seen.iter().find(|seen| seen.name == container.name);
        matches!(seen.map(|seen| &seen.phase), Some(Phase::Exited(exit)) if !restarts(spec, exit))
    };
    if !containers.is_empty() && containers.iter().all(|container| is_final(&container)) {
        let failed = containers.iter().any(|container| exit_code(container) != Some(0));
        return if failed { "Failed".into() } else { "Succeeded".into() };
    }
    let awaits_hook = |name: &str| observed.health.get(name).is_some_and(|health| health.awaits_hook);
    let has_started = |seen: &Seen| seen.phase != Phase::Created && !awaits_hook(&seen.name);
    let started = containers.iter().any(|container| seen.iter().any(|seen| seen.name == container.name && has_started(seen)));
    if started { "Running".into() } else { "Pending".into() }
}

fn exit_code(container: &ContainerStatus) -> Option<i32> {
    container.state.as_ref()?.terminated.as_ref().map(|terminated| terminated.exit_code)
}

fn container_status(observed: &Observed, container: &Container) -> ContainerStatus {
    let seen = observed.seen.and_then(|seen| seen.iter().find(|seen| seen.name == container.name));
    let health = observed.health.get(&container.name);
    let awaits_hook = health.is_some_and(|health| health.awaits_hook);
    let running = matches!(seen.map(|seen| &seen.phase), Some(Phase::Running(_))) && !awaits_hook;
    let init = observed.pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten()).any(|init| init.name == container.name);
    let ready = if init {
        matches!(seen.map(|seen| &seen.phase), Some(Phase::Exited(exit)) if exit.code == 0)
    } else {
        running
            && observed.pod.metadata.deletion_timestamp.is_none()
            && (container.readiness_probe.is_none() || health.is_some_and(|health| health.ready))
    };
    let words = observed.last_words.get(&container.name);
    let restarts = seen.map_or(0, |seen| seen.starts.saturating_sub(1));
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        image_id: seen.and_then(|seen| seen.image_id.clone()).unwrap_or_default(),
        ready,
        started: Some(running && health.is_none_or(|health| health.started || container.startup_probe.is_none())),
        restart_count: i32::try_from(restarts).unwrap_or(i32::MAX),
        state: Some(state(observed, seen, words, container)),
        last_state: seen.and_then(|seen| last_exit(observed, seen)).map(|exit| terminated(exit, words)),
        ..ContainerStatus::default()
    }
}

/// The end before the current state, where that is not the end itself.
fn last_exit<'a>(observed: &Observed, seen: &'a Seen) -> Option<&'a Exit> {
    match (&seen.phase, &observed.pod.spec) {
        (Phase::Exited(exit), Some(spec)) if restarts(spec, exit) => Some(exit),
        _ => seen.last_exit.as_ref(),
    }
}

fn state(observed: &Observed, seen: Option<&Seen>, words: Option<&String>, container: &Container) -> ContainerState {
    let waiting = |reason: &str, message: String| ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.into()), message: Some(message).filter(|text| !text.is_empty()) }),
        ..ContainerState::default()
    };
    let spec = observed.pod.spec.clone().unwrap_or_default();
    match seen.map(|seen| &seen.phase) {
        Some(Phase::Running(_)) if observed.health.get(&container.name).is_some_and(|health| health.awaits_hook) => {
            waiting("ContainerCreating", "its postStart hook has yet to end".into())
        }
        Some(Phase::Running(since)) => {
            ContainerState { running: Some(ContainerStateRunning { started_at: Some(Time(*since)) }), ..ContainerState::default() }
        }
        Some(Phase::Exited(exit))
            if restarts(&spec, exit)
                && observed.pod.metadata.deletion_timestamp.is_none()
                && !is_init(&spec, container)
                && !deadline::is_exceeded(observed)
                && !deadline::ended(observed.pod) =>
        {
            waiting("CrashLoopBackOff", ended(&container.name, exit, words))
        }
        Some(Phase::Exited(exit)) => terminated(exit, words),
        _ => match observed.trouble {
            Some(trouble) => waiting(&trouble.reason, trouble.message.clone()),
            None if seen.is_some()
                && !is_init(&spec, container)
                && !spec.init_containers.iter().flatten().all(|init| is_done(observed, init)) =>
            {
                waiting("PodInitializing", String::new())
            }
            None => waiting("ContainerCreating", String::new()),
        },
    }
}

fn is_init(spec: &k8s_openapi::api::core::v1::PodSpec, container: &Container) -> bool {
    spec.init_containers.iter().flatten().any(|init| init.name == container.name)
}

fn is_done(observed: &Observed, init: &Container) -> bool {
    let seen = observed.seen.and_then(|seen| seen.iter().find(|seen| seen.name == init.name));
    matches!(seen.map(|seen| &seen.phase), Some(Phase::Exited(exit)) if exit.code == 0)
}

/// How a run ended, in a sentence with its last words.
fn ended(name: &str, exit: &Exit, words: Option<&String>) -> String {
    if let Some(reason) = &exit.reason {
        return format!("{name}: {reason}");
    }
    let last = words.and_then(|words| words.lines().rev().find(|line| !line.trim().is_empty()));
    let why = if exit.is_out_of_memory { " for using more memory than its limit" } else { "" };
    format!("{name} ended with code {}{why}{}", exit.code, last.map(|line| format!("; it last wrote: {line}")).unwrap_or_default())
}

fn terminated(exit: &Exit, words: Option<&String>) -> ContainerState {
    let reason = match (&exit.reason, exit.code) {
        _ if exit.is_out_of_memory => "OOMKilled",
        (Some(_), _) => "StartError",
        (None, 0) => "Completed",
        (None, _) => "Error",
    };
    let message = exit.reason.clone().or_else(|| words.filter(|_| exit.code != 0).cloned());
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: exit.code,
            signal: (exit.code > 128).then(|| exit.code - 128),
            reason: Some(reason.into()),
            message,
            started_at: Some(Time(exit.started)),
            finished_at: Some(Time(exit.finished)),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

fn unready(containers: &[ContainerStatus]) -> Option<String> {
    let names: Vec<&str> = containers.iter().filter(|container| !container.ready).map(|container| container.name.as_str()).collect();
    (!names.is_empty()).then(|| format!("containers with unready status: [{}]", names.join(" ")))
}

fn condition(observed: &Observed, name: &str, is_true: bool, reason: &str, message: String) -> PodCondition {
    let status = if is_true { "True" } else { "False" };
    let old = observed.pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let old = old.into_iter().find(|old| old.type_ == name && old.status == status);
    let failed = observed.health.values().find(|health| !health.ready && !health.detail.is_empty());
    let detail = failed.filter(|_| !is_true && name == "Ready").map(|health| health.detail.clone());
    PodCondition {
        type_: name.into(),
        status: status.into(),
        reason: (!is_true && !reason.is_empty()).then(|| reason.into()),
        message: detail.or(Some(message)).filter(|message| !is_true && !message.is_empty()),
        last_transition_time: old.map_or(Some(Time(observed.now)), |old| old.last_transition_time.clone()),
        ..PodCondition::default()
    }
}

/// Why a Pod takes no requests, in a sentence; empty when it does or nothing is known.
pub fn why_unready(pod: &Pod) -> String {
    let Some(status) = &pod.status else { return String::new() };
    let containers = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    let waiting = containers.filter_map(|container| container.state.as_ref()?.waiting.as_ref());
    let told = waiting.filter_map(|waiting| waiting.message.clone()).next();
    let conditions = || status.conditions.iter().flatten();
    let of = |name: &str| {
        conditions().find(|condition| condition.type_ == name && condition.status != "True").and_then(|condition| condition.message.clone())
    };
    told.or_else(|| of("PodScheduled")).or_else(|| of("Ready")).or_else(|| status.message.clone()).unwrap_or_default()
}

/// How a container of a Pod last ended, in a sentence; empty when none did.
pub fn why_ended(pod: &Pod) -> String {
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let ended = containers.filter_map(|container| {
        let states = [&container.state, &container.last_state].into_iter().flatten();
        let end = states.filter_map(|state| state.terminated.as_ref()).max_by_key(|end| end.finished_at.as_ref().map(|time| time.0))?;
        let last = end.message.as_deref().and_then(|words| words.lines().rev().find(|line| !line.trim().is_empty()));
        let last = last.map(|line| format!("; it last wrote: {line}")).unwrap_or_default();
        Some((end.finished_at.as_ref().map(|time| time.0), format!("{} ended with code {}{last}", container.name, end.exit_code)))
    });
    ended.max_by_key(|(finished, _)| *finished).map(|(_, told)| told).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_with_its_last_words() {
        let time = "2026-01-01T00:00:00Z".parse().unwrap();
        let exit = Exit { code: 3, started: time, finished: time, reason: None, is_out_of_memory: false };
        assert_eq!(ended("web", &exit, Some(&"a\nboom\n\n".into())), "web ended with code 3; it last wrote: boom");
        let exit = Exit { reason: Some("cannot start /no: No such file or directory".into()), ..exit };
        assert_eq!(ended("web", &exit, None), "web: cannot start /no: No such file or directory");
    }
}
