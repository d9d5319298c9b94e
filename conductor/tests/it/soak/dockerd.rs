//! A container engine that is killed: a `dockerd` and a `containerd` with directories, a socket and a network of their own, so that
//! the machine's engine goes on.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Chance;
use super::engine::Goes;

/// How long an engine may take until it answers, and until it has stopped.
const TAKES_MAX: Duration = Duration::from_secs(30);

/// The engine. It ends with this, and all that ran in it.
pub struct Dockerd {
    dir: tempfile::TempDir,
    bridge: String,
    /// What tells its network interfaces from others'.
    mtu: String,
    containerd: Option<Child>,
    dockerd: Option<Child>,
}

impl Dockerd {
    /// Starts one. `None` where that cannot be, which is said.
    pub fn open() -> Option<Self> {
        let has = |program: &str| Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
        if !nix::unistd::geteuid().is_root() || !has("dockerd") || !has("containerd") {
            crate::without::without("dockerd", "an engine of the test's own needs root, dockerd and containerd (Debian: docker.io)");
            return None;
        }
        // Without a bridge no port is published; and `--bridge=none` would take away the one of the machine's engine.
        let bridge = format!("cdr-{:x}", std::process::id());
        let address = format!("198.18.{}.1/24", std::process::id() % 250);
        if !ip(&["link", "add", &bridge, "type", "bridge"]) {
            crate::without::without("dockerd", "no network bridge can be made here for an engine of the test's own");
            return None;
        }
        let mtu = (1_281 + std::process::id() % 100).to_string();
        let dir = tempfile::Builder::new().prefix("conductor-").tempdir().unwrap();
        let mut engine = Self { dir, bridge, mtu, containerd: None, dockerd: None };
        assert!(ip(&["addr", "add", &address, "dev", &engine.bridge]) && ip(&["link", "set", &engine.bridge, "up"]));
        fs::write(engine.path("daemon.json"), "{}").unwrap();
        let of_containerd = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n",
            engine.path("containerd"),
            engine.path("containerd-state"),
            engine.path("containerd.sock")
        );
        fs::write(engine.path("containerd.toml"), of_containerd).unwrap();
        engine.run(false);
        Some(engine)
    }

    /// Where it is reached.
    pub fn address(&self) -> String {
        format!("unix://{}", self.path("engine.sock").display())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts what does not run. `keeps`: containers that still run go on; otherwise they are ended first.
    fn run(&mut self, keeps: bool) {
        if self.containerd.is_none() {
            self.containerd = Some(self.spawn("containerd", &["--config", &text(&self.path("containerd.toml"))]));
            self.until("containerd", "containerd.sock", |stream| stream.is_ok());
        }
        let _ = fs::remove_file(self.path("dockerd.pid"));
        let flag = |name: &str, file: &str| format!("--{name}={}", text(&self.path(file)));
        let places = [
            flag("config-file", "daemon.json"),
            flag("data-root", "data"),
            flag("exec-root", "exec"),
            flag("pidfile", "dockerd.pid"),
            flag("containerd", "containerd.sock"),
            format!("--host={}", self.address()),
            format!("--bridge={}", self.bridge),
            format!("--mtu={}", self.mtu),
        ];
        let mut flags: Vec<&str> = places.iter().map(String::as_str).collect();
        flags.extend(["--iptables=false", "--ip6tables=false", "--storage-driver=vfs"]);
        if keeps {
            flags.push("--live-restore");
        }
        self.dockerd = Some(self.spawn("dockerd", &flags));
        self.until("dockerd", "engine.sock", |stream| stream.is_ok_and(|stream| answers(stream).is_some()));
    }

    fn spawn(&self, program: &str, args: &[&str]) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path(&format!("{program}.log"))).unwrap();
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    fn until(&self, program: &str, socket: &str, holds: impl Fn(std::io::Result<UnixStream>) -> bool) {
        let begun = Instant::now();
        while !holds(UnixStream::connect(self.path(socket))) {
            let log = || fs::read_to_string(self.path(&format!("{program}.log"))).unwrap_or_default();
            assert!(begun.elapsed() < TAKES_MAX, "{program} does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends containers that an engine which was killed forgot: each has a shim that knows where our containerd was.
    fn end_forgotten(&self) {
        let socket = text(&self.path("containerd.sock"));
        let pids: Vec<i32> =
            fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        let read = |pid: &i32, file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let shims: Vec<i32> = pids.iter().copied().filter(|pid| read(pid, "cmdline").contains(&socket)).collect();
        let parent = |pid: &i32| read(pid, "stat").rsplit_once(')').and_then(|(_, rest)| rest.split(' ').nth(2)?.parse::<i32>().ok());
        let contained: Vec<i32> = pids.into_iter().filter(|pid| parent(pid).is_some_and(|parent| shims.contains(&parent))).collect();
        println!("the engine had forgotten {} containers, of which {} ran", shims.len(), contained.len());
        for pid in contained.into_iter().chain(shims) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    fn end(child: &mut Option<Child>) {
        let Some(mut child) = child.take() else { return };
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Goes for Dockerd {
    /// Kills the engine where it is; half of the time what runs its containers as well.
    async fn kill(&mut self, chance: &mut Chance) {
        Self::end(&mut self.dockerd);
        if chance.below(2) == 0 {
            Self::end(&mut self.containerd);
        }
    }

    /// Starts it again; half of the time it ends the containers that it finds.
    async fn start(&mut self, chance: &mut Chance) {
        let keeps = chance.below(2) == 0;
        tokio::task::block_in_place(|| self.run(keeps));
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        Self::end(&mut self.dockerd);
        if !std::thread::panicking() {
            // One that keeps no containers ends those that are left.
            self.run(false);
        }
        for child in [&mut self.dockerd, &mut self.containerd].into_iter().flatten() {
            let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM);
            let begun = Instant::now();
            while begun.elapsed() < TAKES_MAX && child.try_wait().is_ok_and(|ended| ended.is_none()) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Self::end(&mut self.dockerd);
        Self::end(&mut self.containerd);
        self.end_forgotten();
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let ours = mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|at| Path::new(at).starts_with(self.dir.path()));
        ours.for_each(|at| drop(Command::new("umount").args(["-l", at]).status()));
        ip(&["link", "del", &self.bridge]);
        let ours = |name: &String| fs::read_to_string(format!("/sys/class/net/{name}/mtu")).is_ok_and(|mtu| mtu.trim() == self.mtu);
        let interfaces = fs::read_dir("/sys/class/net").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        for name in interfaces.filter(|name| name.starts_with("veth")).filter(ours) {
            ip(&["link", "del", &name]);
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn ip(args: &[&str]) -> bool {
    Command::new("ip").args(args).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Whether an engine says that it serves.
fn answers(mut stream: UnixStream) -> Option<()> {
    use std::io::{Read as _, Write as _};
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.0 200").then_some(())
}
