//! What the engine shows of a run, and what that makes of a container.
//!
//! ```text
//!  Created ─▶ Running ─▶ Exited ─▶ Running (the next run) ─▶ …      an end, once known, is final, but for:
//!                          └─ out of memory, which the engine may tell after the end
//! ```

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum as Status};
use jiff::Timestamp;

use crate::{ContainerPhase, ContainerState, Exit};

/// SIGKILL.
const KILLED: i32 = 9;

/// One start of a container, as the engine shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// From 1 on.
    pub attempt: u32,
    /// [`ContainerPhase::Created`] for one that was made and never started.
    pub phase: ContainerPhase,
    pub image_id: Option<String>,
}

/// Reads what the engine says.
pub(super) fn run(attempt: u32, seen: &ContainerInspectResponse) -> Run {
    let state = seen.state.clone().unwrap_or_default();
    let started = state.started_at.as_deref().and_then(time);
    let is_running = state.running == Some(true) || matches!(state.status, Some(Status::RUNNING | Status::PAUSED | Status::RESTARTING));
    let phase = match started {
        None => ContainerPhase::Created,
        Some(since) if is_running => ContainerPhase::Running { since },
        Some(started) => {
            let code = state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(-1);
            ContainerPhase::Exited(Exit {
                code,
                signal: (129..=192).contains(&code).then(|| code - 128),
                started,
                finished: state.finished_at.as_deref().and_then(time).filter(|finished| *finished >= started).unwrap_or(started),
                reason: None,
                is_out_of_memory: state.oom_killed == Some(true),
            })
        }
    };
    Run { attempt, phase, image_id: seen.image.clone() }
}

/// How a run ended that could not be started.
pub(super) fn unstarted(code: i32, reason: String, seen: Option<&ContainerInspectResponse>) -> Exit {
    let at = seen.and_then(|seen| time(seen.created.as_deref()?)).unwrap_or(Timestamp::UNIX_EPOCH);
    Exit { code, signal: None, started: at, finished: at, reason: Some(reason), is_out_of_memory: false }
}

/// How a run ended that the engine no longer knows of.
pub(super) fn lost(since: Timestamp) -> Exit {
    let reason = Some("its container was removed from the engine by somebody else".to_owned());
    Exit { code: 137, signal: None, started: since, finished: since, reason, is_out_of_memory: false }
}

/// What a container is, now that a run of it was seen.
pub(super) fn fold(state: &ContainerState, run: &Run) -> ContainerState {
    let mut next = state.clone();
    let is_news = run.attempt > state.starts || (run.attempt == state.starts && !matches!(state.phase, ContainerPhase::Exited(_)));
    if !is_news || run.phase == ContainerPhase::Created {
        return next;
    }
    // As it was first told: later looks know the image by its id alone.
    if run.attempt > state.starts || next.image_id.is_none() {
        next.image_id.clone_from(&run.image_id);
    }
    if run.attempt > state.starts
        && let ContainerPhase::Exited(exit) = &state.phase
    {
        next.last_exit = Some(exit.clone());
    }
    next.starts = run.attempt;
    next.phase = run.phase.clone();
    next
}

/// What a container is, now that the engine told that a run, which may have ended, ran out of memory. An end by anything
/// but the kernel's signal was not of that: a child of the program's may have been killed before.
pub(super) fn out_of_memory(state: &ContainerState, attempt: u32) -> ContainerState {
    let mut next = state.clone();
    let ended = match &mut next.phase {
        ContainerPhase::Exited(exit) if attempt == state.starts => Some(exit),
        _ if attempt + 1 == state.starts => next.last_exit.as_mut(),
        _ => None,
    };
    if let Some(exit) = ended.filter(|exit| exit.signal == Some(KILLED)) {
        exit.is_out_of_memory = true;
    }
    next
}

/// A time as engines write it; `None` for the year 1, with which they mean never.
fn time(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().filter(|time| *time > Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerState as Seen;

    use super::*;

    const STARTED: &str = "2026-01-01T00:00:01.5Z";
    const FINISHED: &str = "2026-01-01T00:00:09Z";
    const NEVER: &str = "0001-01-01T00:00:00Z";

    fn seen(status: Status, started: &str, finished: &str, code: i64) -> ContainerInspectResponse {
        let state = Seen {
            status: Some(status),
            running: Some(status == Status::RUNNING),
            exit_code: Some(code),
            started_at: Some(started.into()),
            finished_at: Some(finished.into()),
            ..Seen::default()
        };
        ContainerInspectResponse { state: Some(state), image: Some("sha256:1".into()), ..ContainerInspectResponse::default() }
    }

    fn state(starts: u32, phase: ContainerPhase) -> ContainerState {
        ContainerState { name: "web".into(), starts, phase, last_exit: None, image_id: None }
    }

    #[test]
    fn what_an_engine_shows_is_read() {
        let since = STARTED.parse().unwrap();
        assert_eq!(run(1, &seen(Status::CREATED, NEVER, NEVER, 0)).phase, ContainerPhase::Created);
        assert_eq!(run(1, &seen(Status::RUNNING, STARTED, NEVER, 0)).phase, ContainerPhase::Running { since });
        // A container that was started anew still shows how it ended before.
        assert_eq!(
            run(1, &seen(Status::RUNNING, FINISHED, STARTED, 0)).phase,
            ContainerPhase::Running { since: FINISHED.parse().unwrap() }
        );
        for (code, signal) in [(0, None), (3, None), (128, None), (143, Some(15)), (255, None)] {
            let ContainerPhase::Exited(exit) = run(1, &seen(Status::EXITED, STARTED, FINISHED, i64::from(code))).phase else { panic!() };
            assert_eq!((exit.code, exit.signal, exit.finished), (code, signal, FINISHED.parse().unwrap()));
        }
        let mut killed = seen(Status::EXITED, STARTED, FINISHED, 137);
        killed.state.as_mut().unwrap().oom_killed = Some(true);
        assert!(matches!(run(1, &killed).phase, ContainerPhase::Exited(Exit { is_out_of_memory: true, .. })));
    }

    #[test]
    fn runs_are_counted_and_ends_are_final() {
        let running = run(1, &seen(Status::RUNNING, STARTED, NEVER, 0));
        let ended = run(1, &seen(Status::EXITED, STARTED, FINISHED, 3));
        let ContainerPhase::Exited(exit) = ended.phase.clone() else { panic!() };
        let first = fold(&state(0, ContainerPhase::Created), &running);
        assert_eq!((first.starts, &first.phase, first.image_id.as_deref()), (1, &running.phase, Some("sha256:1")));
        let second = fold(&first, &ended);
        assert_eq!((second.starts, &second.phase), (1, &ended.phase));
        assert_eq!(fold(&second, &running), second, "an answer that is late changes nothing");
        let again = fold(&second, &Run { attempt: 2, ..running });
        assert_eq!((again.starts, again.last_exit.clone()), (2, Some(exit)));
        assert_eq!(fold(&again, &ended), again, "nor does one about an earlier run");
        assert_eq!(fold(&again, &Run { attempt: 3, phase: ContainerPhase::Created, image_id: None }), again);
    }

    #[test]
    fn that_memory_ended_a_run_may_be_told_late() {
        let told = |state: &ContainerState, attempt| {
            let next = out_of_memory(state, attempt);
            let ContainerPhase::Exited(Exit { is_out_of_memory, .. }) = next.phase else { return (false, next.last_exit) };
            (is_out_of_memory, next.last_exit)
        };
        let ended = |attempt, code| run(attempt, &seen(Status::EXITED, STARTED, FINISHED, code));
        let once = |code| fold(&state(0, ContainerPhase::Created), &ended(1, code));
        assert!(told(&once(137), 1).0);
        assert!(!told(&once(137), 2).0, "a run that did not end yet");
        assert!(!told(&once(1), 1).0, "a child of the program was killed, which ended by itself");
        let twice = fold(&once(137), &ended(2, 137));
        let (is_of_the_second, first) = told(&twice, 1);
        assert!(!is_of_the_second && first.unwrap().is_out_of_memory);
        let running = fold(&state(0, ContainerPhase::Created), &run(1, &seen(Status::RUNNING, STARTED, NEVER, 0)));
        assert_eq!(out_of_memory(&running, 1), running, "the engine says it with the end");
    }
}
