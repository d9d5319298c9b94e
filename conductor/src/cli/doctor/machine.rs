//! The machine: ports, the container engine, the disk, cgroups, the clock, open files.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;
use nix::unistd::geteuid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::Finding;
use crate::settings::Settings;

const ENGINE_MAX: Duration = Duration::from_secs(3);
/// Less than this is soon nothing, in bytes.
const SPACE_LOW: u64 = 1 << 30;
/// With less than this the store cannot be sure to write, in bytes.
const SPACE_NONE: u64 = 64 << 20;
/// A server with fewer runs out of connections before it runs out of anything else.
const OPEN_FILES_MIN: u64 = 4096;

/// Whether the listeners of a server that does not run could be opened.
pub fn ports(settings: &Settings, is_running: bool) -> Vec<Finding> {
    let port = |of: &'static str, address: SocketAddr| match TcpListener::bind(address) {
        _ if is_running => Finding::good(of, format!("the server listens on {address}")),
        Ok(_) => Finding::good(of, format!("{address} is free")),
        Err(error) => {
            let mend = match error.kind() {
                std::io::ErrorKind::PermissionDenied => format!("sysctl net.ipv4.ip_unprivileged_port_start={}", address.port()),
                std::io::ErrorKind::AddrNotAvailable => "ip addr".to_owned(),
                _ => format!("ss -ltnp 'sport = :{}'", address.port()),
            };
            Finding::wrong(of, format!("cannot listen on {address}: {error}"), mend)
        }
    };
    vec![port("port api", settings.api), port("port http", settings.http)]
}

/// Whether a container engine answers. Without one, images cannot be run, and all else can.
pub async fn engine(address: &str) -> Finding {
    const OF: &str = "engine";
    let Some(socket) = address.strip_prefix("unix://") else {
        return Finding::warning(OF, format!("{address} is not asked: only unix:// sockets are"), "");
    };
    let asked = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer).contains(" 200 "))
    };
    let without = "; images cannot be run, programs of the machine can";
    match tokio::time::timeout(ENGINE_MAX, asked).await {
        Ok(Ok(true)) => Finding::good(OF, format!("it answers at {address}")),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Finding::warning(OF, format!("{address} may not be used by this user{without}"), "sudo usermod -aG docker $USER")
        }
        Ok(Err(error)) => Finding::warning(OF, format!("nothing answers at {address}: {error}{without}"), "systemctl start docker"),
        Ok(Ok(false)) | Err(_) => {
            Finding::warning(OF, format!("what is at {address} is no engine, or is stuck{without}"), "systemctl restart docker")
        }
    }
}

/// Whether there is room for what the server writes.
pub fn disk_space(data: &Path) -> Finding {
    let there = data.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    match statvfs(there) {
        Ok(stat) => space(data, stat.blocks_available().saturating_mul(stat.fragment_size())),
        Err(error) => Finding::warning("disk", format!("the space on {} is not told: {error}", there.display()), ""),
    }
}

fn space(data: &Path, free_bytes: u64) -> Finding {
    let (what, mend) = (format!("{} MiB free", free_bytes >> 20), format!("du -xh --max-depth=2 {} | sort -h | tail", data.display()));
    match free_bytes {
        0..SPACE_NONE => Finding::wrong("disk", what, mend),
        SPACE_NONE..SPACE_LOW => Finding::warning("disk", what, mend),
        _ => Finding::good("disk", what),
    }
}

/// Whether limits of images are kept.
pub fn cgroups() -> Finding {
    let has = |program: &str| ["/usr/sbin", "/sbin", "/usr/bin"].iter().any(|dir| Path::new(dir).join(program).exists());
    controllers(&std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default(), boot_option(&has))
}

/// How an option is given to the kernel on this distribution; empty where no program that is known does it.
fn boot_option(has: &dyn Fn(&str) -> bool) -> &'static str {
    const OPTION_OF_GRUBBY: &str = "grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1";
    const OPTION_OF_GRUB: &str =
        "echo 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX systemd.unified_cgroup_hierarchy=1\"' >> /etc/default/grub && update-grub";
    const OPTION_OF_GRUB_ALONE: &str = "echo 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX systemd.unified_cgroup_hierarchy=1\"' >> /etc/default/grub && grub-mkconfig -o /boot/grub/grub.cfg";
    let ways = [("grubby", OPTION_OF_GRUBBY), ("update-grub", OPTION_OF_GRUB), ("grub-mkconfig", OPTION_OF_GRUB_ALONE)];
    ways.into_iter().find(|(program, _)| has(program)).map_or("", |(_, command)| command)
}

fn controllers(text: &str, boot_option: &str) -> Finding {
    const OF: &str = "cgroups";
    let missing: Vec<&str> =
        ["cpu", "memory", "pids"].into_iter().filter(|name| !text.split_whitespace().any(|word| word == *name)).collect();
    match missing.as_slice() {
        [] => Finding::good(OF, "version 2, with cpu, memory and pids"),
        _ if text.trim().is_empty() => {
            Finding::warning(OF, "version 2 is not mounted; an engine with version 1 keeps limits just the same", boot_option)
        }
        missing => Finding::warning(OF, format!("{} cannot be limited", missing.join(", ")), "cat /sys/fs/cgroup/cgroup.controllers"),
    }
}

/// Whether the clock is kept right: certificates and tokens depend on it.
pub fn clock() -> Finding {
    let told = Command::new("timedatectl").args(["show", "-p", "NTPSynchronized", "--value"]).output();
    synchronised(
        told.ok()
            .filter(|output| output.status.success())
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .as_deref(),
    )
}

fn synchronised(told: Option<&str>) -> Finding {
    match told {
        Some("yes") => Finding::good("clock", "it is kept right by the network"),
        Some("no") => Finding::warning("clock", "nothing keeps it right; certificates and tokens depend on it", "timedatectl set-ntp true"),
        _ => Finding::warning("clock", "nobody here says whether it is kept right", ""),
    }
}

/// Whether there can be as many connections as there should.
pub fn open_files() -> Finding {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        // A server raises its limit as far as it may.
        Ok((_, hard)) => files(hard),
        Err(error) => Finding::warning("open files", format!("their limit is not told: {error}"), ""),
    }
}

fn files(most: u64) -> Finding {
    let what = format!("up to {most}");
    if most < OPEN_FILES_MIN { Finding::warning("open files", what, "ulimit -n 1048576") } else { Finding::good("open files", what) }
}

/// Whether programs can run as users of their namespaces.
pub fn users() -> Finding {
    match geteuid().is_root() {
        true => Finding::good("programs", "those of namespaces run as users of their own"),
        false => {
            let what = "this user is not root: a server of it runs no programs in namespaces that are not privileged";
            Finding::warning("programs", what, "kubectl label namespace NAME pod-security.kubernetes.io/enforce=privileged")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn what_is_found_is_judged() {
        let data = Path::new("/d");
        for (finding, state, mend) in [
            (space(data, 5 << 30), State::Good, ""),
            (space(data, 900 << 20), State::Warning, "du -xh"),
            (space(data, 1 << 20), State::Wrong, "du -xh"),
            (controllers("cpuset cpu io memory pids", "x"), State::Good, ""),
            (controllers("cpu memory", "x"), State::Warning, "cgroup.controllers"),
            (controllers("", boot_option(&|program| program == "update-grub")), State::Warning, "&& update-grub"),
            (controllers("", boot_option(&|program| program == "grubby")), State::Warning, "grubby --update-kernel"),
            (controllers("", boot_option(&|program| program == "grub-mkconfig")), State::Warning, "grub-mkconfig -o"),
            (controllers("", boot_option(&|_| false)), State::Warning, ""),
            (synchronised(Some("yes")), State::Good, ""),
            (synchronised(Some("no")), State::Warning, "timedatectl set-ntp true"),
            (synchronised(None), State::Warning, ""),
            (files(1 << 20), State::Good, ""),
            (files(1024), State::Warning, "ulimit -n"),
        ] {
            assert_eq!(finding.state, state, "{finding:?}");
            assert!(finding.mend.contains(mend) && finding.mend.is_empty() == mend.is_empty(), "{finding:?}");
        }
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_no_failure() {
        let finding = engine("unix:///nowhere/engine.sock").await;
        assert_eq!(finding.state, State::Warning);
        assert!(finding.what.contains("nothing answers at unix:///nowhere/engine.sock"), "{finding:?}");
    }
}
