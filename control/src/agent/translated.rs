//! What runtimes say, in the words in which `logic::pod` decides.

use logic::pod::{Exit, Phase, Seen, Trouble};
use runtime::{ContainerPhase, ImageTrouble};

/// Why a runtime did not do as asked, with Kubernetes' word where it has one.
pub fn trouble(error: &runtime::Error, otherwise: &str, message: String) -> Trouble {
    let reason = match error {
        runtime::Error::Image { trouble, .. } => match trouble {
            ImageTrouble::Fetching => "ContainerCreating",
            ImageTrouble::BackOff(_) => "ImagePullBackOff",
            ImageTrouble::NeverFetched => "ErrImageNeverPull",
            ImageTrouble::InvalidName => "InvalidImageName",
            _ => "ErrImagePull",
        },
        runtime::Error::Unavailable(_) => "RuntimeUnavailable",
        runtime::Error::Refused { .. } => "CreateContainerConfigError",
        _ => otherwise,
    };
    Trouble { reason: reason.into(), message }
}

/// A container as it is.
pub fn seen(state: &runtime::ContainerState) -> Seen {
    let exit = |exit: &runtime::Exit| Exit {
        code: exit.code,
        started: exit.started,
        finished: exit.finished,
        reason: exit.reason.clone(),
        is_out_of_memory: exit.is_out_of_memory,
    };
    let phase = match &state.phase {
        ContainerPhase::Created => Phase::Created,
        ContainerPhase::Running { since } => Phase::Running(*since),
        ContainerPhase::Exited(end) => Phase::Exited(exit(end)),
    };
    Seen {
        name: state.name.clone(),
        starts: state.starts,
        phase,
        last_exit: state.last_exit.as_ref().map(exit),
        image_id: state.image_id.clone(),
    }
}
