//! CronJobs: which Job to start now, which to remove, and when to look again.
//!
//! ```text
//!  due ──▶ passed over   a Job of its own still runs and the policy is Forbid, or it is later than the deadline
//!      ──▶ replaced      the policy is Replace: what runs is removed first
//!      ──▶ started       as one Job, whose name holds the time: starting again finds it and starts nothing
//! ```
//!
//! Of several times that passed while nobody looked, the last one alone is made up for.

use std::cmp::Reverse;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job, JobTemplateSpec};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube_core::ResourceExt as _;
use model::cron::Cron;

use super::render::controller;
use super::{Note, condition, is_finished, normal};

/// The annotation with the time at which a Job was due.
pub const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// From so many missed times on people are warned.
const MISSED_MAX: usize = 100;
/// How many Jobs that ended are kept where nothing is said.
const KEPT_SUCCEEDED: i32 = 3;
const KEPT_FAILED: i32 = 1;

/// What to do about a CronJob.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What to say of it.
    pub status: CronJobStatus,
    /// What to do, in order.
    pub changes: Vec<Change>,
    /// What people are told, each once.
    pub notes: Vec<Note>,
    /// When to look again though nothing changed.
    pub again_after: Option<Duration>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Delete a Job, and its pods with it.
    Remove { name: String, uid: String },
    /// Create a Job.
    Start(Box<Job>),
}

/// What to do about a CronJob next. `jobs` are all that it controls, read after it was; `local` is the time zone of schedules that
/// name none.
pub fn plan(cron_job: &CronJob, jobs: &[Job], now: Timestamp, local: &TimeZone) -> Plan {
    let spec = &cron_job.spec;
    let mut plan = Plan {
        status: cron_job.status.clone().unwrap_or_default(),
        changes: history(spec, jobs),
        notes: ends(cron_job, jobs),
        again_after: None,
    };
    tell(jobs, &mut plan.status);
    if cron_job.metadata.deletion_timestamp.is_some() || spec.suspend == Some(true) {
        return plan;
    }
    match Timetable::of(spec, now, local) {
        Ok(timetable) => timetable.follow(cron_job, spec, jobs, &mut plan),
        Err(note) => plan.notes.push(note),
    }
    plan
}

/// When a Job of a CronJob's schedule was due; `None` for one that somebody made by hand.
fn scheduled_at(job: &Job) -> Option<Timestamp> {
    job.annotations().get(SCHEDULED_AT)?.parse().ok()
}

/// The Jobs of the schedule that have not ended, the oldest first.
fn active(jobs: &[Job]) -> Vec<&Job> {
    let mut active: Vec<&Job> = jobs.iter().filter(|job| scheduled_at(job).is_some() && !is_finished(job)).collect();
    active.sort_by_key(|job| (job.creation_timestamp(), job.name_any()));
    active
}

/// Takes in what the Jobs show.
fn tell(jobs: &[Job], status: &mut CronJobStatus) {
    let references: Vec<ObjectReference> = active(jobs).into_iter().map(reference).collect();
    status.active = (!references.is_empty()).then_some(references);
    let scheduled = jobs.iter().filter_map(scheduled_at).max().map(Time);
    status.last_schedule_time = scheduled.max(status.last_schedule_time.take());
    let succeeded = jobs.iter().filter_map(|job| job.status.as_ref().filter(|status| condition(status, "Complete").is_some()));
    let last = succeeded.filter_map(|status| status.completion_time.clone()).max();
    status.last_successful_time = last.max(status.last_successful_time.take());
}

fn reference(job: &Job) -> ObjectReference {
    ObjectReference {
        api_version: Some("batch/v1".into()),
        kind: Some("Job".into()),
        name: Some(job.name_any()),
        namespace: job.namespace(),
        uid: job.uid(),
        ..ObjectReference::default()
    }
}

/// What became of the Jobs that were said to run.
fn ends(cron_job: &CronJob, jobs: &[Job]) -> Vec<Note> {
    let known = cron_job.status.iter().flat_map(|status| status.active.iter().flatten());
    let ended = known.filter_map(|reference| {
        let name = reference.name.as_deref().unwrap_or_default();
        let Some(job) = jobs.iter().find(|job| job.uid() == reference.uid) else {
            return Some(normal("MissingJob", &format!("Active job went missing: {name}")));
        };
        let how =
            ["Complete", "Failed"].into_iter().find(|how| job.status.as_ref().is_some_and(|status| condition(status, how).is_some()))?;
        Some(normal("SawCompletedJob", &format!("Saw completed job: {name}, condition: {how}")))
    });
    ended.collect()
}

/// Removes what ended, but for the last ones.
fn history(spec: &CronJobSpec, jobs: &[Job]) -> Vec<Change> {
    let kept = |limit: Option<i32>, usual| usize::try_from(limit.unwrap_or(usual)).unwrap_or(0);
    let limits = [
        ("Complete", kept(spec.successful_jobs_history_limit, KEPT_SUCCEEDED)),
        ("Failed", kept(spec.failed_jobs_history_limit, KEPT_FAILED)),
    ];
    let of_a_kind = |(how, limit): (&str, usize)| {
        let has_ended = |job: &&Job| job.status.as_ref().is_some_and(|status| condition(status, how).is_some());
        let mut ended: Vec<&Job> = jobs.iter().filter(has_ended).collect();
        ended.sort_by_key(|job| Reverse((job.status.as_ref().and_then(|status| status.start_time.clone()), job.name_any())));
        ended.into_iter().skip(limit).filter(|job| job.metadata.deletion_timestamp.is_none()).map(remove).collect::<Vec<_>>()
    };
    limits.into_iter().flat_map(of_a_kind).collect()
}

fn remove(job: &Job) -> Change {
    Change::Remove { name: job.name_any(), uid: job.uid().unwrap_or_default() }
}

/// A schedule, and the time by the clocks that it goes by.
struct Timetable {
    cron: Cron,
    now: Zoned,
}

impl Timetable {
    /// Errors: why nothing is ever due.
    fn of(spec: &CronJobSpec, now: Timestamp, local: &TimeZone) -> Result<Self, Note> {
        let zone = match spec.time_zone.as_deref() {
            None => local.clone(),
            Some(name) => {
                TimeZone::get(name).map_err(|error| warning("UnknownTimeZone", format!("invalid timeZone: {name:?}: {error}")))?
            }
        };
        let schedule = &spec.schedule;
        let cron = Cron::parse(schedule)
            .map_err(|error| warning("UnparseableSchedule", format!("unparseable schedule: {schedule:?} : {error}")))?;
        Ok(Self { cron, now: now.to_zoned(zone) })
    }

    fn follow(&self, cron_job: &CronJob, spec: &CronJobSpec, jobs: &[Job], plan: &mut Plan) {
        let now = self.now.timestamp();
        let created = cron_job.creation_timestamp().map_or(now, |time| time.0);
        let since = plan.status.last_schedule_time.as_ref().map_or(created, |time| time.0);
        let due = self.cron.last(since, &self.now);
        let next = match (&self.cron, due) {
            // Counted from when it was last due.
            (Cron::Every(_), due) => self.cron.next(&self.at(due.unwrap_or(since))),
            (Cron::Minutes(_), _) => self.cron.next(&self.now),
        };
        plan.again_after = next.and_then(|next| Duration::try_from(next.duration_since(now)).ok());
        if next.is_none() {
            plan.notes.push(warning("InvalidSchedule", format!("invalid schedule: {} : it is never due", spec.schedule)));
        }
        let Some(due) = due else { return };
        if spec.starting_deadline_seconds.is_some_and(|seconds| now.duration_since(due) > SignedDuration::from_secs(seconds)) {
            plan.notes.push(warning("MissSchedule", format!("Missed scheduled time to start a job: {}", self.shown(due))));
            return;
        }
        if spec.starting_deadline_seconds.is_none() && self.has_missed_many(since) {
            let advice = "Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            plan.notes.push(warning("TooManyMissedTimes", format!("too many missed start times. {advice}")));
        }
        self.start(cron_job, spec, jobs, due, plan);
    }

    fn start(&self, cron_job: &CronJob, spec: &CronJobSpec, jobs: &[Job], due: Timestamp, plan: &mut Plan) {
        let moment = match self.cron {
            Cron::Minutes(_) => due.as_second().div_euclid(60),
            // Several may be due in a minute.
            Cron::Every(_) => due.as_second(),
        };
        let name = format!("{}-{moment}", cron_job.name_any());
        if jobs.iter().any(|job| job.name_any() == name) {
            plan.status.last_schedule_time = Some(Time(due));
            return;
        }
        let active = active(jobs);
        match spec.concurrency_policy.as_deref() {
            Some("Forbid") if !active.is_empty() => {
                let why = "Not starting job because prior execution is running and concurrency policy is Forbid";
                plan.notes.push(normal("JobAlreadyActive", &format!("{why}, at {}", self.shown(due))));
                return;
            }
            Some("Replace") => {
                let stays = |job: &&&Job| job.metadata.deletion_timestamp.is_none();
                plan.changes.extend(active.iter().filter(stays).map(|job| remove(job)));
            }
            _ => {}
        }
        plan.changes.push(Change::Start(Box::new(job_of(cron_job, &spec.job_template, name, &self.shown(due)))));
    }

    fn at(&self, time: Timestamp) -> Zoned {
        time.to_zoned(self.now.time_zone().clone())
    }

    /// A time as RFC 3339 writes it, by the schedule's clocks.
    fn shown(&self, time: Timestamp) -> String {
        self.at(time).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }

    fn has_missed_many(&self, since: Timestamp) -> bool {
        let mut at = self.at(since);
        for _ in 0..=MISSED_MAX {
            match self.cron.next(&at) {
                Some(next) if next <= self.now.timestamp() => at = self.at(next),
                _ => return false,
            }
        }
        true
    }
}

fn warning(reason: &str, message: String) -> Note {
    Note { is_warning: true, reason: reason.into(), message }
}

fn job_of(cron_job: &CronJob, template: &JobTemplateSpec, name: String, scheduled: &str) -> Job {
    let given = template.metadata.clone().unwrap_or_default();
    let mut metadata = ObjectMeta {
        name: Some(name),
        namespace: cron_job.namespace(),
        labels: given.labels,
        annotations: given.annotations,
        owner_references: Some(vec![controller("CronJob", cron_job)]),
        ..ObjectMeta::default()
    };
    metadata.annotations.get_or_insert_default().insert(SCHEDULED_AT.into(), scheduled.into());
    Job { metadata, spec: Some(template.spec.clone().unwrap_or_default()), status: None }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cron_job(spec: &Value, status: &Value) -> CronJob {
        let mut whole = json!({"metadata": {"name": "c", "namespace": "n", "uid": "u", "creationTimestamp": "2026-01-01T00:00:30Z"},
            "spec": {"schedule": "*/10 * * * *", "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {}}}}, "status": status});
        spec.as_object().unwrap().iter().for_each(|(field, value)| whole["spec"][field] = value.clone());
        serde_json::from_value(whole).unwrap()
    }

    /// A Job that was due so many minutes after midnight and stands so.
    fn job(minute: i64, stands: &str) -> Job {
        let at = "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute);
        let end = at + SignedDuration::from_mins(1);
        let mut status = json!({"startTime": at});
        if stands != "Running" {
            status["conditions"] = json!([{"type": stands, "status": "True"}]);
        }
        if stands == "Complete" {
            status["completionTime"] = json!(end);
        }
        let name = format!("c-{}", at.as_second() / 60);
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "n", "uid": format!("uid{minute}"),
            "creationTimestamp": at, "annotations": {SCHEDULED_AT: at.to_string()}}, "status": status}))
        .unwrap()
    }

    fn at(text: &str) -> Timestamp {
        format!("2026-01-01T{text}Z").parse().unwrap()
    }

    fn planned(cron_job: &CronJob, jobs: &[Job], now: &str) -> Plan {
        plan(cron_job, jobs, at(now), &TimeZone::UTC)
    }

    /// What is done, in words: names of Jobs, each with what happens to it.
    fn done(plan: &Plan) -> Vec<String> {
        let word = |change: &Change| match change {
            Change::Remove { name, .. } => format!("remove {name}"),
            Change::Start(job) => format!("start {}", job.annotations()[SCHEDULED_AT]),
        };
        plan.changes.iter().map(word).collect()
    }

    fn reasons(plan: &Plan) -> Vec<&str> {
        plan.notes.iter().map(|note| note.reason.as_str()).collect()
    }

    #[test]
    fn what_is_due_is_started_once_and_looked_for_again() {
        let nothing = cron_job(&json!({}), &json!({}));
        let early = planned(&nothing, &[], "00:09:59");
        assert_eq!((done(&early), early.again_after), (vec![], Some(Duration::from_secs(1))));
        let due = planned(&nothing, &[], "00:10:00");
        assert_eq!((done(&due), due.again_after), (vec!["start 2026-01-01T00:10:00+00:00".to_owned()], Some(Duration::from_secs(600))));
        let Change::Start(made) = &due.changes[0] else { panic!() };
        assert_eq!((made.name_any(), made.labels()["a"].as_str()), ("c-29453770".into(), "b"));
        let owner = &made.owner_references()[0];
        assert_eq!((owner.kind.as_str(), owner.uid.as_str(), owner.controller), ("CronJob", "u", Some(true)));
        // It is there, and nothing was said of it yet.
        let seen = planned(&nothing, &[job(10, "Running")], "00:10:01");
        assert_eq!((done(&seen), seen.status.last_schedule_time), (vec![], Some(Time(at("00:10:00")))));
        assert_eq!(seen.status.active.unwrap()[0].name.as_deref(), Some("c-29453770"));
        // It ended and was removed by somebody; its time is known.
        let after = cron_job(&json!({}), &json!({"lastScheduleTime": "2026-01-01T00:10:00Z"}));
        assert_eq!(done(&planned(&after, &[], "00:19:00")), [""; 0]);
        let late = planned(&after, &[], "00:45:00");
        assert_eq!(done(&late), ["start 2026-01-01T00:40:00+00:00"], "the last of those that were missed");
        assert_eq!(reasons(&late), [""; 0]);
        assert_eq!(reasons(&planned(&after, &[], "23:45:00")), ["TooManyMissedTimes"]);
    }

    #[test]
    fn policies_say_what_happens_while_one_still_runs() {
        let running = [job(10, "Running")];
        for (spec, expected, reason) in [
            (json!({}), vec!["start 2026-01-01T00:20:00+00:00"], vec![]),
            (json!({"concurrencyPolicy": "Allow"}), vec!["start 2026-01-01T00:20:00+00:00"], vec![]),
            (json!({"concurrencyPolicy": "Forbid"}), vec![], vec!["JobAlreadyActive"]),
            (json!({"concurrencyPolicy": "Replace"}), vec!["remove c-29453770", "start 2026-01-01T00:20:00+00:00"], vec![]),
            (json!({"suspend": true}), vec![], vec![]),
        ] {
            let plan = planned(&cron_job(&spec, &json!({})), &running, "00:20:05");
            assert_eq!((done(&plan), reasons(&plan)), (expected.iter().map(ToString::to_string).collect(), reason), "{spec}");
        }
        let by_hand = {
            let mut job = job(15, "Running");
            job.metadata.annotations = None;
            job
        };
        let forbid = cron_job(&json!({"concurrencyPolicy": "Forbid"}), &json!({}));
        assert_eq!(done(&planned(&forbid, &[by_hand], "00:20:05")).len(), 1, "a Job made by hand stops nothing");
        let ended = planned(&forbid, &[job(10, "Complete")], "00:25:00");
        assert_eq!(done(&ended), ["start 2026-01-01T00:20:00+00:00"], "what was passed over is made up for");
    }

    #[test]
    fn what_is_later_than_its_deadline_is_not_started() {
        let strict = cron_job(&json!({"startingDeadlineSeconds": 60}), &json!({"lastScheduleTime": "2026-01-01T00:00:00Z"}));
        assert_eq!(done(&planned(&strict, &[], "00:11:00")).len(), 1);
        let late = planned(&strict, &[], "00:11:01");
        assert_eq!((done(&late), reasons(&late)), (vec![], vec!["MissSchedule"]));
        assert_eq!(late.again_after, Some(Duration::from_secs(539)));
    }

    #[test]
    fn what_ended_is_told_and_kept_as_long_as_is_said() {
        let known = json!({"active": [{"name": "c-29453770", "uid": "uid10"}, {"name": "gone", "uid": "x"}]});
        let all: Vec<Job> = [10, 20, 30, 40, 50].map(|minute| job(minute, "Complete")).into_iter().chain([job(35, "Failed")]).collect();
        let plan = planned(&cron_job(&json!({}), &known), &all, "00:51:30");
        assert_eq!(done(&plan), ["remove c-29453780", "remove c-29453770"]);
        assert_eq!(reasons(&plan), ["SawCompletedJob", "MissingJob"]);
        assert_eq!((plan.status.active, plan.status.last_successful_time), (None, Some(Time(at("00:51:00")))));
        let none = json!({"successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 0, "suspend": true});
        assert_eq!(done(&planned(&cron_job(&none, &json!({})), &all, "00:51:30")).len(), 6);
    }

    #[test]
    fn schedules_that_mean_nothing_are_told() {
        for (spec, reason) in [
            (json!({"schedule": "0 0 30 2 *"}), "InvalidSchedule"),
            (json!({"schedule": "often"}), "UnparseableSchedule"),
            (json!({"timeZone": "Europe/Nowhere"}), "UnknownTimeZone"),
        ] {
            let plan = planned(&cron_job(&spec, &json!({})), &[], "12:00:00");
            assert_eq!((reasons(&plan), done(&plan), plan.again_after), (vec![reason], vec![], None), "{spec}");
        }
    }

    #[test]
    fn clocks_and_periods_are_those_of_the_schedule() {
        let zoned = cron_job(&json!({"schedule": "0 9 * * *", "timeZone": "Asia/Tokyo"}), &json!({}));
        assert_eq!(done(&planned(&zoned, &[], "00:00:40")), ["start 2026-01-01T09:00:00+09:00"; 0], "it was made after nine there");
        assert_eq!(planned(&zoned, &[], "23:00:00").again_after, Some(Duration::from_secs(3600)));
        let every = cron_job(&json!({"schedule": "@every 90m"}), &json!({}));
        assert_eq!(planned(&every, &[], "01:00:30").again_after, Some(Duration::from_secs(1800)));
        let due = planned(&every, &[], "03:30:30");
        assert_eq!((done(&due), due.again_after), (vec!["start 2026-01-01T03:00:30+00:00".to_owned()], Some(Duration::from_secs(3600))));
    }
}
