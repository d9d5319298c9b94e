//! Programs that are started for a measurement and ended after it.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// A program that ends when this is dropped.
pub struct Peer {
    child: Child,
    /// Its files, removed with it.
    pub dir: tempfile::TempDir,
}

impl Peer {
    /// Starts a program with its output in a file of a directory of its own.
    pub fn start(name: &str, make: impl FnOnce(&Path) -> Result<Command>) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("conductor-bench-").tempdir()?;
        let mut command = make(dir.path())?;
        let log = std::fs::File::create(dir.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).env("RUST_LIB_BACKTRACE", "0");
        let child = command.spawn().with_context(|| format!("cannot start {name}: is it installed? (apt-get install -y {name})"))?;
        Ok(Self { child, dir })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits until it has.
    pub fn end(mut self) -> Result<()> {
        let asked = Command::new("kill").arg(self.pid().to_string()).status()?;
        ensure!(asked.success(), "it is gone");
        self.child.wait()?;
        Ok(())
    }

    /// Its resident memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        resident_kib(self.pid())
    }

    /// The most resident memory that it ever had, in KiB.
    pub fn resident_kib_max(&self) -> u64 {
        status_kib(self.pid(), "VmHWM:")
    }

    /// How long processors have worked for it.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // The name in parentheses may hold anything; the 12th and 13th words after it are the ticks, of which Linux tells 100 a second.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Resident memory of a process, in KiB; 0 when it is gone.
pub fn resident_kib(pid: u32) -> u64 {
    status_kib(pid, "VmRSS:")
}

fn status_kib(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// As MiB.
pub fn kib_to_mib(kib: u64) -> f64 {
    super::count(kib) / 1024.0
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Waits until something listens.
pub fn wait_for(address: SocketAddr) -> Result<()> {
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        if begun.elapsed() > Duration::from_secs(15) {
            bail!("nothing listens on {address}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A program that was built as this one was. Errors: with the command that builds it.
pub fn built(path: &str, package: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let file = own.parent().context("this program is in no directory")?.join(path);
    if !file.exists() {
        let release = if cfg!(debug_assertions) { "" } else { "--release " };
        bail!("{} is not there: cargo build {release}{package}", file.display());
    }
    Ok(file)
}

/// Our own server on a store of its own, and how long it took to be ready.
pub struct Conductor {
    /// The process.
    pub peer: Peer,
    /// Its data directory.
    pub data: PathBuf,
    /// Where its API is.
    pub api: SocketAddr,
    /// Where its Services are.
    pub http: SocketAddr,
    /// From its start until it was ready.
    pub ready_after: Duration,
}

impl Conductor {
    /// Starts `conductor serve`.
    pub fn start() -> Result<Self> {
        Self::start_under(&[], Duration::from_secs(15))
    }

    /// Starts `conductor serve` by a program that runs it, and waits so long for it.
    pub fn start_under(by: &[&str], patience: Duration) -> Result<Self> {
        let begun = Instant::now();
        let binary = built("conductor", "-p conductor")?;
        let peer = Peer::start(by.first().unwrap_or(&"conductor"), |dir| {
            let words: Vec<OsString> = by.iter().map(OsString::from).chain([binary.into_os_string()]).collect();
            let mut command = Command::new(words.first().context("no program")?);
            command
                .args(words.iter().skip(1))
                .args(["serve", "--api", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"])
                .arg(dir.join("data"));
            Ok(command)
        })?;
        let data = peer.dir.path().join("data");
        let ready = data.join("ready.json");
        while !ready.exists() {
            if begun.elapsed() > patience {
                bail!("the server is not ready: {}", std::fs::read_to_string(peer.dir.path().join("log"))?);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let ready_after = begun.elapsed();
        let told: Value = serde_json::from_slice(&std::fs::read(ready)?)?;
        let address = |field: &str| -> Result<SocketAddr> {
            let text = told[field].as_str().unwrap_or_default();
            text.rsplit('/').next().unwrap_or_default().parse().context("ready.json")
        };
        let (api, http) = (address("api")?, address("http")?);
        Ok(Self { peer, data, api, http, ready_after })
    }
}

/// etcd on a store of its own.
pub fn etcd() -> Result<(Peer, SocketAddr)> {
    let (client, between) = (free_port()?, free_port()?);
    let peer = Peer::start("etcd-server", |dir| {
        let mut command = Command::new("etcd");
        let (client, between) = (format!("http://{client}"), format!("http://{between}"));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client, "--log-level", "error"]);
        command.args(["--listen-peer-urls", &between, "--initial-advertise-peer-urls", &between]);
        command.args(["--initial-cluster", &format!("default={between}"), "--data-dir"]).arg(dir.join("etcd"));
        Ok(command)
    })?;
    wait_for(client)?;
    std::thread::sleep(Duration::from_millis(700));
    Ok((peer, client))
}
