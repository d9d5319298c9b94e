use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};
use serde_json::{Value, json};

use super::*;

/// A Job with its pods, in which plans are performed and pods end.
struct World {
    job: Job,
    pods: Vec<Pod>,
    now: Timestamp,
    made: usize,
    /// Every pod that ended and was to count, by uid, and whether well.
    ended: BTreeMap<String, bool>,
}

impl World {
    fn new(spec: Value) -> Self {
        let mut whole = json!({"metadata": {"name": "j", "namespace": "n", "uid": "u"}, "spec": {
            "backoffLimit": 6, "parallelism": 1, "podReplacementPolicy": "TerminatingOrFailed",
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "a:1"}]}}}});
        for (field, value) in spec.as_object().unwrap() {
            whole["spec"][field] = value.clone();
        }
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        Self { job: serde_json::from_value(whole).unwrap(), pods: Vec::new(), now, made: 0, ended: BTreeMap::new() }
    }

    fn plan(&self) -> Plan {
        plan(&self.job, &self.pods, self.now)
    }

    /// One plan, of which only so many steps are done before a crash: its status is the first, unless there are pods to start.
    fn step(&mut self, steps: usize) -> usize {
        let plan = self.plan();
        let (starts, others): (Vec<_>, Vec<_>) = plan.changes.into_iter().partition(|change| matches!(change, Change::Start(_)));
        let before = (self.job.clone(), self.pods.clone());
        if !starts.is_empty() {
            starts.into_iter().take(steps).for_each(|change| self.perform(change));
        } else if steps > 0 {
            self.job.status = Some(plan.status);
            others.into_iter().take(steps - 1).for_each(|change| self.perform(change));
        }
        usize::from((&before.0.status, &before.1) != (&self.job.status, &self.pods))
    }

    fn settle(&mut self) {
        for _ in 0..1_000 {
            if self.step(usize::MAX) == 0 {
                return;
            }
        }
        panic!("the plans never end: {:?}", self.plan());
    }

    fn perform(&mut self, change: Change) {
        match change {
            Change::Start(start) => {
                let mut pod = pod_of(&self.job, &start);
                self.made += 1;
                pod.metadata.name = Some(format!("p{}", self.made));
                pod.metadata.uid = Some(format!("uid{}", self.made));
                pod.metadata.creation_timestamp =
                    Some(Time(self.now + jiff::SignedDuration::from_micros(i64::try_from(self.made).unwrap())));
                self.pods.push(pod);
            }
            Change::End { uid, counts, .. } => {
                let now = self.now;
                let pod = self.pod(&uid);
                pod.metadata.deletion_timestamp.get_or_insert(Time(now));
                if !counts {
                    pod.metadata.finalizers = None;
                } else {
                    self.ended.entry(uid).or_insert(false);
                }
            }
            Change::Release { uid, .. } => {
                self.pod(&uid).metadata.finalizers = None;
                self.bury();
            }
            Change::Remove => self.job.metadata.deletion_timestamp = Some(Time(self.now)),
        }
    }

    fn pod(&mut self, uid: &str) -> &mut Pod {
        self.pods.iter_mut().find(|pod| pod.uid().as_deref() == Some(uid)).unwrap()
    }

    /// What is being deleted, has ended and is held by nobody is gone.
    fn bury(&mut self) {
        let is_gone = |pod: &Pod| {
            let ended = !matches!(pods::stage(pod), pods::Stage::Active | pods::Stage::Terminating);
            pod.metadata.deletion_timestamp.is_some() && ended && !pods::is_tracked(pod)
        };
        self.pods.retain(|pod| !is_gone(pod));
    }

    /// A pod ends with an exit code.
    fn end(&mut self, at: usize, code: i32) {
        let now = self.now;
        let pod = &mut self.pods[at];
        let container: ContainerStatus = serde_json::from_value(
            json!({"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": code, "finishedAt": now.to_string()}}}),
        )
        .unwrap();
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        pod.status = Some(PodStatus { phase: Some(phase.into()), container_statuses: Some(vec![container]), ..PodStatus::default() });
        if pods::is_tracked(pod) {
            let uid = pod.uid().unwrap();
            self.ended.insert(uid, code == 0);
        }
        self.bury();
    }

    fn active(&self) -> Vec<usize> {
        (0..self.pods.len()).filter(|at| pods::stage(&self.pods[*at]) == pods::Stage::Active).collect()
    }

    /// Runs on, each pod ending as `code` says by its index and number, until the Job has ended.
    fn run(&mut self, code: impl Fn(Option<i32>, usize) -> i32) {
        for _ in 0..500 {
            self.settle();
            if is_finished(&self.job) {
                return;
            }
            let under_way = |pod: &Pod| matches!(pods::stage(pod), pods::Stage::Active | pods::Stage::Terminating);
            match (0..self.pods.len()).find(|at| under_way(&self.pods[*at])) {
                Some(at) => self.end(at, code(pods::index(&self.pods[at]), at)),
                None => self.now += jiff::SignedDuration::try_from(self.plan().again_after.expect("something is waited for")).unwrap(),
            }
        }
        panic!("it never ends: {:?}", self.job.status);
    }

    fn status(&self) -> Value {
        serde_json::to_value(self.job.status.clone().unwrap()).unwrap()
    }

    fn said(&self) -> (String, i64, i64) {
        let status = self.status();
        let last = status["conditions"].as_array().unwrap().last().unwrap().clone();
        let number = |field: &str| status[field].as_i64().unwrap_or(0);
        (format!("{} {}", last["type"].as_str().unwrap(), last["reason"].as_str().unwrap()), number("succeeded"), number("failed"))
    }
}

#[test]
fn jobs_end_as_their_specs_say() {
    let per_index =
        json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 1, "backoffLimit": 1000});
    let with = |more: Value| {
        let mut spec = per_index.clone();
        more.as_object().unwrap().iter().for_each(|(field, value)| spec[field] = value.clone());
        spec
    };
    let policy = |action: &str| {
        json!({"completions": 1, "backoffLimit": 1, "podFailurePolicy": {"rules": [
            {"action": action, "onExitCodes": {"operator": "In", "values": [42]}}]}, "podReplacementPolicy": "Failed"})
    };
    type Code = fn(Option<i32>, usize) -> i32;
    type Case = (&'static str, Value, Code, (&'static str, i64, i64));
    let cases: [Case; 11] = [
        ("one", json!({"completions": 1}), |_, _| 0, ("Complete CompletionsReached", 1, 0)),
        ("many at a time", json!({"completions": 7, "parallelism": 3}), |_, _| 0, ("Complete CompletionsReached", 7, 0)),
        ("a queue", json!({"parallelism": 3}), |_, _| 0, ("Complete CompletionsReached", 3, 0)),
        ("some failures", json!({"completions": 2}), |_, at| i32::from(at < 2), ("Complete CompletionsReached", 2, 2)),
        ("too many", json!({"completions": 2, "backoffLimit": 2}), |_, _| 1, ("Failed BackoffLimitExceeded", 0, 3)),
        ("none at all", json!({"completions": 0}), |_, _| 1, ("Complete CompletionsReached", 0, 0)),
        (
            "indexes",
            json!({"completions": 4, "parallelism": 2, "completionMode": "Indexed"}),
            |_, _| 0,
            ("Complete CompletionsReached", 4, 0),
        ),
        ("a bad index", per_index.clone(), |index, _| i32::from(index == Some(1)), ("Failed FailedIndexes", 2, 2)),
        (
            "too many bad indexes",
            with(json!({"maxFailedIndexes": 0, "parallelism": 1})),
            |_, _| 1,
            ("Failed MaxFailedIndexesExceeded", 0, 4),
        ),
        ("a failure that is none", policy("Ignore"), |_, at| if at < 4 { 42 } else { 0 }, ("Complete CompletionsReached", 1, 0)),
        ("a failure that ends all", policy("FailJob"), |_, _| 42, ("Failed PodFailurePolicy", 0, 1)),
    ];
    for (what, spec, code, expected) in cases {
        let mut world = World::new(spec);
        world.run(code);
        let (said, succeeded, failed) = world.said();
        assert_eq!((said.as_str(), succeeded, failed), expected, "{what}: {}", world.status());
        assert!(world.pods.iter().all(|pod| !pods::is_tracked(pod)), "{what}");
        let status = world.status();
        assert_eq!((&status["uncountedTerminatedPods"], status.get("active")), (&json!({}), None), "{what}");
    }
}

#[test]
fn enough_indexes_end_a_job_whose_success_policy_says_so() {
    let spec = json!({"completions": 5, "parallelism": 5, "completionMode": "Indexed",
        "successPolicy": {"rules": [{"succeededIndexes": "0,2-3", "succeededCount": 2}]}});
    let mut world = World::new(spec);
    world.settle();
    for index in [4, 2, 0] {
        let at = (0..5).find(|at| pods::index(&world.pods[*at]) == Some(index)).unwrap();
        world.end(at, 0);
        world.step(usize::MAX);
    }
    assert_eq!(world.said().0, "SuccessCriteriaMet SuccessPolicy");
    world.run(|_, _| 1);
    assert_eq!(world.said(), ("Complete SuccessPolicy".into(), 3, 2), "{}", world.status());
    assert_eq!(world.status()["completedIndexes"], "0,2,4");
}

#[test]
fn a_suspended_job_ends_its_pods_counts_none_and_goes_on_later() {
    let mut world = World::new(json!({"completions": 3, "parallelism": 2, "activeDeadlineSeconds": 60}));
    world.settle();
    assert_eq!((world.active().len(), world.status()["active"].clone()), (2, json!(2)));
    world.job.spec.as_mut().unwrap().suspend = Some(true);
    world.settle();
    assert!(world.active().is_empty());
    assert_eq!((&world.status()["startTime"], world.said().0.as_str()), (&Value::Null, "Suspended JobSuspended"));
    world.now += jiff::SignedDuration::from_secs(300);
    world.settle();
    world.job.spec.as_mut().unwrap().suspend = Some(false);
    world.run(|_, _| 0);
    assert_eq!(world.said(), ("Complete CompletionsReached".into(), 3, 0));
}

#[test]
fn a_deadline_ends_a_job_and_what_it_runs() {
    let mut world = World::new(json!({"completions": 1, "activeDeadlineSeconds": 5}));
    world.settle();
    assert_eq!(world.plan().again_after, Some(Duration::from_secs(5)));
    world.now += jiff::SignedDuration::from_secs(5);
    world.settle();
    assert_eq!(world.said().0, "FailureTarget DeadlineExceeded", "its pod has not ended yet");
    world.run(|_, _| 143);
    assert_eq!(world.said(), ("Failed DeadlineExceeded".into(), 0, 1));
}

#[test]
fn failures_are_waited_for_twice_as_long_each_time() {
    let mut world = World::new(json!({"completions": 1, "backoffLimit": 9}));
    let mut waits = Vec::new();
    for _ in 0..8 {
        world.settle();
        let at = world.active()[0];
        world.end(at, 1);
        world.settle();
        let wait = world.plan().again_after.unwrap();
        waits.push(wait.as_secs());
        world.now += jiff::SignedDuration::try_from(wait).unwrap();
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 600, 600]);
}

#[test]
fn a_job_that_is_finished_goes_when_its_time_is_over() {
    let mut world = World::new(json!({"completions": 1, "ttlSecondsAfterFinished": 30}));
    world.run(|_, _| 0);
    assert_eq!(world.plan().again_after, Some(Duration::from_secs(30)));
    world.now += jiff::SignedDuration::from_secs(30);
    assert_eq!(world.plan().changes, [Change::Remove]);
}

#[test]
fn a_pod_that_is_too_much_or_has_no_work_is_ended_without_being_counted() {
    let mut world = World::new(json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed"}));
    world.settle();
    let spec = world.job.spec.as_mut().unwrap();
    (spec.completions, spec.parallelism) = (Some(2), Some(2));
    world.settle();
    let left: Vec<_> = world.active().into_iter().map(|at| pods::index(&world.pods[at])).collect();
    assert_eq!(left, [Some(0), Some(1)]);
    world.job.spec.as_mut().unwrap().parallelism = Some(1);
    world.settle();
    assert_eq!((world.active().len(), world.status()["failed"].clone()), (1, Value::Null));
}

#[test]
fn a_job_of_somebody_else_is_left_alone() {
    let world = World::new(json!({"completions": 1, "managedBy": "acme.io/queue"}));
    assert_eq!(world.plan(), Plan { status: JobStatus::default(), changes: vec![], notes: vec![], again_after: None });
}

/// Whatever ends when, and wherever we are killed, each end is counted once.
#[test]
fn no_end_is_counted_twice_or_lost_wherever_we_stop() {
    let specs = [
        json!({"completions": 6, "parallelism": 3, "backoffLimit": 4}),
        json!({"completions": 5, "parallelism": 3, "completionMode": "Indexed", "backoffLimit": 3}),
        json!({"completions": 5, "parallelism": 5, "completionMode": "Indexed", "backoffLimitPerIndex": 1, "backoffLimit": 1000}),
        json!({"parallelism": 4, "backoffLimit": 5, "podReplacementPolicy": "Failed"}),
    ];
    for seed in 0..400_u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut chance = move |of: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % 1_000_003).unwrap() % of
        };
        let mut world = World::new(specs[usize::try_from(seed % 4).unwrap()].clone());
        for _ in 0..3_000 {
            match chance(6) {
                0..3 => drop(world.step(chance(4))),
                3 => {
                    let under_way: Vec<usize> = (0..world.pods.len())
                        .filter(|at| matches!(pods::stage(&world.pods[*at]), pods::Stage::Active | pods::Stage::Terminating))
                        .collect();
                    if !under_way.is_empty() {
                        world.end(under_way[chance(under_way.len())], i32::from(chance(4) == 0));
                    }
                }
                4 => world.now += jiff::SignedDuration::from_secs(i64::try_from(chance(30)).unwrap()),
                _ => {}
            }
            if is_finished(&world.job) && world.pods.iter().all(|pod| !pods::is_tracked(pod)) {
                break;
            }
        }
        let status = world.status();
        assert!(is_finished(&world.job), "seed {seed} never ends: {status}");
        let failed = world.ended.values().filter(|well| !**well).count();
        assert_eq!(status["failed"].as_u64().unwrap_or(0), u64::try_from(failed).unwrap(), "seed {seed}: {status}");
        if world.job.spec.as_ref().unwrap().completion_mode.is_none() {
            let well = world.ended.len() - failed;
            assert_eq!(status["succeeded"].as_u64().unwrap_or(0), u64::try_from(well).unwrap(), "seed {seed}: {status}");
        }
    }
}
