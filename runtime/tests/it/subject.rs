//! What the suite needs of a runtime under test: containers that do as the test says.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use runtime::fake::Fake;
use runtime::{Container, ContainerPhase, ContainerState, Exit, Pod, Port, Runtime};
use tokio::time::{Instant, sleep};

/// A runtime under test.
pub trait Subject {
    fn runtime(&self) -> &dyn Runtime;
    /// A container that does what [`Subject::say`] and [`Subject::exit`] tell it.
    fn container(&self, name: &str) -> Container;
    /// A container that says again what it reads and ends with it, if it reads anything.
    fn echo(&self, name: &str) -> Container;
    /// A container that does nothing but compute.
    fn busy(&self, name: &str) -> Container;
    /// Has a container that runs write a line.
    fn say(&self, uid: &str, container: &str, line: &str);
    /// Has a container that runs end.
    fn exit(&self, uid: &str, container: &str, code: i32);
    /// A command that cannot be started.
    fn missing_command(&self) -> Vec<String>;
    /// A command that, run by exec in a container, says a line and ends so.
    fn exec_command(&self, container: &Container, code: i32, line: &str) -> Vec<String>;
    /// Whether something answers on the endpoint of this pod.
    fn listen(&mut self, uid: &str, endpoint: SocketAddr, is_listening: bool);
    /// The port that a program was told to listen on, so as to be reached at this endpoint.
    fn told_port(&self, endpoint: SocketAddr) -> u16 {
        endpoint.port()
    }
}

/// A pod with a uid that no other test has: ports go by it.
pub fn pod(name: &str, containers: Vec<Container>) -> Pod {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    Pod {
        uid: format!("{name}-{}-{number}", std::process::id()),
        namespace: "default".into(),
        name: name.into(),
        containers,
        runs_as: runtime::RunsAs::Server,
    }
}

pub fn port(name: &str) -> Port {
    Port { name: name.into(), container_port: 8080, host_port: None }
}

pub async fn state(runtime: &dyn Runtime, uid: &str, container: &str) -> ContainerState {
    let pods = runtime.list().await.unwrap();
    let pod = pods.into_iter().find(|pod| pod.pod.uid == uid).unwrap();
    pod.containers.into_iter().find(|state| state.name == container).unwrap()
}

/// How a container's current run ended, once it has.
pub async fn exit(runtime: &dyn Runtime, uid: &str, container: &str) -> Exit {
    eventually(&format!("{container} of {uid} ends"), async || match state(runtime, uid, container).await.phase {
        ContainerPhase::Exited(exit) => Some(exit),
        _ => None,
    })
    .await
}

/// What becomes so within ten seconds.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The fake, whose containers are told directly.
pub struct FakeSubject(pub Fake);

impl Subject for FakeSubject {
    fn runtime(&self) -> &dyn Runtime {
        &self.0
    }

    fn container(&self, name: &str) -> Container {
        Container { name: name.into(), command: vec!["told".into()], ..Container::default() }
    }

    fn echo(&self, name: &str) -> Container {
        self.container(name)
    }

    fn busy(&self, name: &str) -> Container {
        self.0.set_usage("busy", 1_000, 1 << 20);
        self.0.set_usage("told", 1, 1 << 20);
        Container { name: name.into(), command: vec!["busy".into()], ..Container::default() }
    }

    fn say(&self, uid: &str, container: &str, line: &str) {
        self.0.write_log(uid, container, line);
    }

    fn exit(&self, uid: &str, container: &str, code: i32) {
        self.0.exit(uid, container, code);
    }

    fn missing_command(&self) -> Vec<String> {
        self.0.fail_start("/nowhere/program", Some("No such file or directory"));
        vec!["/nowhere/program".into()]
    }

    fn exec_command(&self, container: &Container, code: i32, line: &str) -> Vec<String> {
        self.0.answer_exec(&container.command[0], code, &format!("{line}\n"));
        vec!["say".into()]
    }

    fn listen(&mut self, uid: &str, _endpoint: SocketAddr, is_listening: bool) {
        self.0.set_ready(uid, is_listening);
    }
}

#[cfg(feature = "process")]
pub use programs::{ProcessSubject, example, shell};

#[cfg(feature = "process")]
mod programs {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::fs::{self, File};
    use std::io::Write;
    use std::net::{SocketAddr, TcpListener};
    use std::path::PathBuf;
    use std::time::Duration;

    use nix::sys::signal::Signal;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use runtime::process::Process;
    use runtime::{Container, Runtime};
    use tempfile::TempDir;

    use super::Subject;
    use crate::proc;

    /// A program that does what comes over the pipe named by `$CONTROL`.
    const TOLD: &str = r#"exec 3<>"$CONTROL"
        while read -r word rest <&3; do
            case $word in
                say) echo "$rest" ;;
                exit) exit "$rest" ;;
            esac
        done"#;

    /// A container that runs a shell script.
    pub fn shell(name: &str, script: &str) -> Container {
        Container { name: name.into(), command: vec!["/bin/sh".into(), "-c".into(), script.into()], ..Container::default() }
    }

    /// A program from `examples`, as cargo has built it beside this test.
    pub fn example(name: &str) -> String {
        let deps = std::env::current_exe().unwrap();
        let path = deps.parent().unwrap().parent().unwrap().join("examples").join(name);
        assert!(path.exists(), "{} is missing: run all targets of the crate", path.display());
        path.to_str().unwrap().into()
    }

    /// Programs of this machine, told over pipes; the pods end with it.
    pub struct ProcessSubject {
        runtime: Option<Process>,
        dir: TempDir,
        pipes: RefCell<BTreeMap<PathBuf, File>>,
        listeners: BTreeMap<SocketAddr, TcpListener>,
    }

    impl ProcessSubject {
        pub async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let runtime = Some(Self::open(&dir).await);
            Self { runtime, dir, pipes: RefCell::default(), listeners: BTreeMap::new() }
        }

        /// Where its pods lie, in `pods`.
        pub fn dir(&self) -> &std::path::Path {
            self.dir.path()
        }

        async fn open(dir: &TempDir) -> Process {
            Process::open(dir.path().join("pods"), vec![example("shim")]).await.unwrap()
        }

        /// Lets go of the runtime; what it ran goes on.
        pub fn close(&mut self) {
            self.runtime = None;
        }

        pub async fn reopen(&mut self) {
            self.close();
            self.runtime = Some(Self::open(&self.dir).await);
        }

        pub fn pod_dir(&self, uid: &str) -> PathBuf {
            self.dir.path().join("pods").join(uid)
        }

        fn tell(&self, container: &str, words: &str) {
            let path = self.dir.path().join(container);
            self.pipes.borrow_mut().get_mut(&path).unwrap().write_all(format!("{words}\n").as_bytes()).unwrap();
        }
    }

    impl Drop for ProcessSubject {
        fn drop(&mut self) {
            // Whatever the test left is ended by way of its shim.
            for pod in fs::read_dir(self.dir.path().join("pods")).into_iter().flatten().flatten() {
                let shim = fs::read_to_string(pod.path().join("shim.json")).unwrap_or_default();
                let pid = shim.split_once("\"pid\":").and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
                if let Some(pid) = pid.filter(|pid| proc::name(*pid).as_deref() == Some("shim")) {
                    proc::send(pid, Signal::SIGTERM);
                    (0..1000).take_while(|_| proc::runs(pid)).for_each(|_| std::thread::sleep(Duration::from_millis(5)));
                }
            }
        }
    }

    impl Subject for ProcessSubject {
        fn runtime(&self) -> &dyn Runtime {
            self.runtime.as_ref().unwrap()
        }

        fn container(&self, name: &str) -> Container {
            let path = self.dir.path().join(name);
            if !path.exists() {
                mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
            }
            // Held open for reading too, so that words wait for a reader rather than being lost.
            let pipe = File::options().read(true).write(true).open(&path).unwrap();
            let env = vec![("CONTROL".into(), path.to_str().unwrap().into())];
            self.pipes.borrow_mut().insert(path, pipe);
            Container { env, ..shell(name, TOLD) }
        }

        fn echo(&self, name: &str) -> Container {
            shell(name, "exec cat")
        }

        fn busy(&self, name: &str) -> Container {
            shell(name, "while :; do :; done")
        }

        fn say(&self, _uid: &str, container: &str, line: &str) {
            self.tell(container, &format!("say {line}"));
        }

        fn exit(&self, _uid: &str, container: &str, code: i32) {
            self.tell(container, &format!("exit {code}"));
        }

        fn missing_command(&self) -> Vec<String> {
            vec!["/nowhere/program".into()]
        }

        fn exec_command(&self, _container: &Container, code: i32, line: &str) -> Vec<String> {
            shell("", &format!("echo {line}; exit {code}")).command
        }

        fn listen(&mut self, _uid: &str, endpoint: SocketAddr, is_listening: bool) {
            if is_listening {
                self.listeners.insert(endpoint, TcpListener::bind(endpoint).unwrap());
            } else {
                self.listeners.remove(&endpoint);
            }
        }
    }
}
