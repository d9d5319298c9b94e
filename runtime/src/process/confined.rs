//! What runs between us and a program that has a view of the machine of its own: it gives up what is the server's, mounts the
//! program's volumes, and becomes the program.
//!
//! ```text
//! descriptors closed ─▶ /tmp of its own ─▶ volumes ─▶ bounds ─▶ user of the namespace ─▶ no new privileges ─▶ the program
//! ```
//!
//! A program that runs as the server, and only has volumes, has the machine's `/tmp` and neither bounds nor another user.
//! Each step that cannot be had ends it with the reason, so that a program never runs with more than it should.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, close, dup2_stdin, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};

use crate::process::records::{self, PodRecord, RunRecord};
use crate::process::shim::launch::system_words;
use crate::process::view::{self, View};
use crate::{Container, Mount};

/// The word before what a program is confined to.
pub(super) const WORD: &str = "--confined";
/// Where programs that name no directory start: their own, which others do not see.
const OWN_DIR: &str = "/tmp";
/// Processes and threads that a namespace may have.
const PROCESSES_MAX: u64 = 4_096;
/// How early the system ends them when memory is short; the server's own programs are at 0, the first at 1000.
const OUT_OF_MEMORY_SCORE: &str = "500";

/// What a program is confined to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Confined {
    /// Its user and group; the server's own without.
    user: Option<u32>,
    /// What it sees as its `/tmp`.
    own_dir: PathBuf,
    /// What it sees of volumes.
    #[serde(default)]
    mounts: Vec<Mount>,
    /// Where it starts.
    start_in: Option<String>,
    /// The process whose view it has too; one of its own without.
    #[serde(default)]
    joins: Option<i32>,
    /// What it reads, where standard input is at first a pipe to whoever waits for the reason why it could not be started.
    awaited_then: Option<PathBuf>,
}

/// Why a program could not be started.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reason {
    /// What a shell would exit with.
    pub code: i32,
    pub words: String,
}

/// Whether a container's programs see the machine in a way of their own.
pub(super) fn has_own_view(record: &PodRecord, container: &Container) -> bool {
    record.user.is_some() || !container.mounts.is_empty()
}

/// The words behind a shim's own that start a program in a container, where that has a view of its own: beside the container's
/// own program, or else as that.
pub(super) fn words(record: &PodRecord, container: &Container, dir: &Path, awaited_then: Option<&Path>) -> Option<[String; 2]> {
    let beside = || records::read::<RunRecord>(&records::run_file(dir, &container.name)).ok().flatten();
    let joins = awaited_then.map_or_else(beside, |_| None).filter(|run| run.process.is_alive()).map(|run| run.process.pid);
    let confined = Confined {
        user: record.user,
        own_dir: dir.join(records::WORK),
        mounts: container.mounts.clone(),
        start_in: container.working_dir.clone(),
        joins,
        awaited_then: awaited_then.map(Path::to_owned),
    };
    let words = || Some([WORD.to_owned(), serde_json::to_string(&confined).ok()?]);
    has_own_view(record, container).then(words).flatten()
}

/// Becomes the program: `words` are what it is confined to, the program and its arguments. Returns only with an error.
pub(super) fn run(words: &[OsString]) -> io::Result<Infallible> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "expected what a program is confined to, and a program");
    let [confined, program, args @ ..] = words else { return Err(invalid()) };
    let confined: Confined = serde_json::from_str(confined.to_str().ok_or_else(invalid)?)?;
    let mut awaited = confined.awaited_then.as_deref().map(take_stdin).transpose()?;
    let reason = begin(&confined, program, args, awaited.as_ref());
    if let Some(pipe) = &mut awaited {
        pipe.write_all(&serde_json::to_vec(&reason)?)?;
    }
    Err(io::Error::other(format!("cannot start {}: {}", program.to_string_lossy(), reason.words)))
}

/// The pipe that is standard input, which is the file `then` from then on.
fn take_stdin(then: &Path) -> io::Result<File> {
    // The copy is closed when the program begins, which tells whoever waits that it did.
    let pipe = io::stdin().as_fd().try_clone_to_owned()?;
    dup2_stdin(File::open(then)?)?;
    Ok(File::from(pipe))
}

fn begin(confined: &Confined, program: &OsString, args: &[OsString], kept: Option<&File>) -> Reason {
    if let Err(reason) = confine(confined, kept) {
        return reason;
    }
    let own_dir = confined.user.map_or(confined.own_dir.as_path(), |_| Path::new(OWN_DIR));
    let start_in = confined.start_in.as_ref().map_or(own_dir, Path::new);
    if let Err(error) = std::env::set_current_dir(start_in) {
        return Reason { code: code(&error), words: format!("working directory {}: {}", start_in.display(), system_words(&error)) };
    }
    let error = Command::new(program).args(args).exec();
    Reason { code: code(&error), words: system_words(&error) }
}

fn code(error: &io::Error) -> i32 {
    if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
}

fn confine(confined: &Confined, kept: Option<&File>) -> Result<(), Reason> {
    step("close what is open", close_others(FIRST_OTHER, kept.map(|file| file.as_raw_fd())))?;
    if let Some(pid) = confined.joins {
        step("give it the view of its container", view::join(pid))?;
        return confined.user.map_or(Ok(()), give_up);
    }
    step("give it a view of its own", view::begin())?;
    // Held, as what they lie in may be what is hidden.
    let mut volumes = View::of(&confined.mounts).map_err(|error| Reason { code: 126, words: error.to_string() })?;
    let Some(user) = confined.user else {
        return volumes.mount().map_err(|error| Reason { code: 126, words: error.to_string() });
    };
    step("give it a /tmp of its own", own_view(&confined.own_dir))?;
    volumes.make_in(OWN_DIR, user);
    volumes.mount().map_err(|error| Reason { code: 126, words: error.to_string() })?;
    give_up(user)
}

fn give_up(user: u32) -> Result<(), Reason> {
    step("bound its processes", bound())?;
    step("run it as the user of the namespace", become_user(user))?;
    step("take new privileges from it", prctl::set_no_new_privs().map_err(io::Error::from))
}

/// One step, each of which must be had.
fn step(what: &str, done: io::Result<()>) -> Result<(), Reason> {
    let words = |error: io::Error| format!("it cannot be confined to its namespace: {what}: {}", system_words(&error));
    done.map_err(|error| Reason { code: 126, words: words(error) })
}

/// The first descriptor that is none of the standard ones.
pub(super) const FIRST_OTHER: i32 = 3;

/// Closes every descriptor from `first` on but `kept`.
pub(super) fn close_others(first: i32, kept: Option<i32>) -> io::Result<()> {
    let open = fs::read_dir("/proc/self/fd")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let open: Vec<i32> = open.filter(|number| *number >= first && Some(*number) != kept).collect();
    for number in open {
        // The one that the list was read from is closed already.
        let _ = close(number);
    }
    Ok(())
}

/// A view of the machine in which what others put into shared places is not seen.
fn own_view(own_dir: &Path) -> io::Result<()> {
    const NOTHING: Option<&str> = None;
    let shared = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    if Path::new("/dev/shm").is_dir() {
        mount(Some("shm"), "/dev/shm", Some("tmpfs"), shared, Some("mode=1777,size=64m"))?;
    }
    // The directory is held, as what it lies in may be what is hidden.
    let held = File::open(own_dir)?;
    let own = format!("/proc/self/fd/{}", held.as_raw_fd());
    if Path::new("/var/tmp").is_dir() {
        mount(Some(own.as_str()), "/var/tmp", NOTHING, MsFlags::MS_BIND, NOTHING)?;
    }
    mount(Some(own.as_str()), OWN_DIR, NOTHING, MsFlags::MS_BIND, NOTHING)?;
    // What others run is shown with its arguments otherwise. Where a kernel does not do this, it is as for any user of the machine.
    let _ = mount(Some("proc"), "/proc", Some("proc"), shared | MsFlags::MS_NOEXEC, Some("hidepid=2"));
    Ok(())
}

fn bound() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_NPROC, PROCESSES_MAX, PROCESSES_MAX)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    OpenOptions::new().write(true).open("/proc/self/oom_score_adj")?.write_all(OUT_OF_MEMORY_SCORE.as_bytes())
}

/// No capability is left of a process that was root's and is so no more.
fn become_user(number: u32) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(number), Gid::from_raw(number));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    Ok(())
}
