//! File descriptors: as many as the system lets us have, and no listener may use those of another, of the store or of the agent.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::settings::Settings;

/// How many are kept for the store, the engine, logs and what runs as Pods.
const KEPT: u64 = 1024;
/// A connection to the control API may follow a log or have a stream to a Pod, and its socket has as many places again.
const EACH_API: u64 = 3;
/// A connection to a Service has one to a copy.
const EACH_HTTP: u64 = 2;

/// Raises the limit to what the settings need, as far as the system allows, and lowers the settings to what there is then.
pub fn fit(settings: &mut Settings) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let wanted = (settings.api_connections as u64, settings.http_connections as u64);
    let needed = needed(wanted);
    let raised = needed.min(hard).max(soft);
    let have = match setrlimit(Resource::RLIMIT_NOFILE, raised, hard) {
        Ok(()) => raised,
        Err(_) => soft,
    };
    let (api, http) = shares(have, wanted);
    if (api, http) != wanted {
        let (api_wanted, http_wanted) = wanted;
        tracing::warn!(
            "of {needed} open files that the settings need, the system allows {have}: api-connections is {api} instead of {api_wanted}, \
             http-connections {http} instead of {http_wanted}; raise the limit with ulimit -n, or LimitNOFILE in the unit"
        );
    }
    settings.api_connections = usize::try_from(api).unwrap_or(usize::MAX);
    settings.http_connections = usize::try_from(http).unwrap_or(usize::MAX);
}

fn needed((api, http): (u64, u64)) -> u64 {
    KEPT.saturating_add(api.saturating_mul(EACH_API)).saturating_add(http.saturating_mul(EACH_HTTP))
}

/// How many connections of each listener there are descriptors for: each has half of them, and what the other does not want.
fn shares(have: u64, (api, http): (u64, u64)) -> (u64, u64) {
    // Of little, half is kept.
    let open = have - KEPT.min(have / 2);
    let (api_wants, http_wants) = (api.saturating_mul(EACH_API), http.saturating_mul(EACH_HTTP));
    let share = |wants: u64, other: u64| wants.min((open / 2).max(open.saturating_sub(other)));
    let part = |descriptors: u64, each: u64, most: u64| if descriptors / each >= most { most } else { (descriptors / each).max(1) };
    let descriptors = (share(api_wants, http_wants), share(http_wants, api_wants));
    (part(descriptors.0, EACH_API, api), part(descriptors.1, EACH_HTTP, http))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listener_has_its_share_of_what_there_is() {
        for (have, wanted, expected) in [
            (1 << 20, (4096, 16_384), (4096, 16_384)),
            (46_080, (4096, 16_384), (4096, 16_384)),
            (20_000, (4096, 16_384), (3162, 4744)),
            (20_000, (2, 16_384), (2, 9485)),
            (20_000, (4096, 10), (4096, 10)),
            (1024, (4096, 16_384), (85, 128)),
            (64, (4096, 16_384), (5, 8)),
            (4, (4096, 16_384), (1, 1)),
            (2000, (10, 10), (10, 10)),
        ] {
            let shares = shares(have, wanted);
            assert_eq!(shares, expected, "{have} {wanted:?}");
        }
    }
}
