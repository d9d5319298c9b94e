//! Volumes on this machine, as containers of real runtimes see them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use nix::unistd::geteuid;
use runtime::volumes::disk::Disk;
use runtime::volumes::{File, NodePath, Source, SubPath, Volume};
use runtime::{Container, Mount, Pod, RunsAs, Runtime, Volumes};

use crate::subject::{Subject, pod};

fn file(path: &str, mode: u32, text: &str) -> File {
    File { path: path.into(), mode, bytes: text.into() }
}

fn empty(pod: &Pod, name: &str) -> Volume {
    let source = Source::Empty { is_memory: false, bytes_max: None };
    Volume { uid: pod.uid.clone(), name: name.into(), source, owner: None, group: None }
}

fn files(pod: &Pod, name: &str, is_private: bool, files: Vec<File>) -> Volume {
    Volume { source: Source::Files { files, is_private }, ..empty(pod, name) }
}

fn mount(disk: &Disk, volume: &Volume, part: Option<&SubPath>, target: &str) -> Mount {
    let is_read_only = matches!(volume.source, Source::Files { .. });
    Mount { source: disk.place(volume, part), target: target.into(), is_read_only }
}

/// What a shell inside a container says.
async fn said(runtime: &dyn Runtime, uid: &str, container: &str, script: &str) -> String {
    let command = ["/bin/sh", "-c", script].map(str::to_owned);
    let answer = runtime.exec(uid, container, &command, Duration::from_secs(10)).await.unwrap();
    String::from_utf8_lossy(&answer.output).trim().to_owned()
}

fn mounted_below(dir: &Path) -> usize {
    let dir = fs::canonicalize(dir).unwrap().display().to_string();
    fs::read_to_string("/proc/self/mountinfo").unwrap().lines().filter(|line| line.contains(&dir)).count()
}

/// The same pod on any runtime: two containers that share what they write, and see files that are replaced, a part of a volume and
/// a path of the node.
async fn the_same_pod_sees_the_same(subject: &impl Subject, runs_as: RunsAs) {
    let (runtime, dir) = (subject.runtime(), tempfile::tempdir().unwrap());
    let disk = Disk::new(&dir.path().join("volumes"));
    let node = dir.path().join("node");
    let mut wanted = Pod { runs_as, ..pod("volumes", vec![subject.container("a"), subject.container("b")]) };
    let owner = runtime.owner_of_files(&wanted.namespace, runs_as).await.unwrap();
    let of = |volume: Volume| Volume { owner, ..volume };
    let (work, memory) = (of(empty(&wanted, "work")), of(empty(&wanted, "memory")));
    let memory = Volume { source: Source::Empty { is_memory: true, bytes_max: Some(1 << 20) }, ..memory };
    let host = of(Volume { source: Source::Node { path: node.clone(), kind: NodePath::DirectoryOrCreate }, ..empty(&wanted, "node") });
    let asked = wanted.clone();
    let config = |text: &str| of(files(&asked, "config", false, vec![file("key", 0o644, text), file("d/e", 0o400, "deep")]));
    let secret = of(files(&wanted, "secret", true, vec![file("password", 0o400, "sesame")]));
    let first = config("one");
    for volume in [&work, &memory, &host, &first, &secret] {
        disk.set_up(volume).await.unwrap();
    }
    assert_eq!(fs::metadata(disk.place(&work, None)).unwrap().permissions().mode() & 0o777, 0o777);
    let part = SubPath { container: "b".into(), number: 1, path: "sub/dir".into() };
    let key = SubPath { container: "b".into(), number: 2, path: "key".into() };
    disk.set_up_part(&work, &part).await.unwrap();
    disk.set_up_part(&first, &key).await.unwrap();
    let all = |target: &str| mount(&disk, &work, None, target);
    wanted.containers[0].mounts = vec![
        all("/conductor-work/here"),
        mount(&disk, &first, None, "/etc/conductor-config"),
        mount(&disk, &secret, None, "/tmp/secret"),
        mount(&disk, &memory, None, "/conductor-memory"),
    ];
    wanted.containers[1].mounts = vec![
        Mount { is_read_only: true, ..all("/conductor-work") },
        mount(&disk, &work, Some(&part), "/conductor-part"),
        mount(&disk, &first, Some(&key), "/etc/conductor-key"),
        mount(&disk, &host, None, "/conductor-node"),
    ];
    runtime.create(&wanted).await.unwrap();
    for name in ["a", "b"] {
        runtime.start(&wanted.uid, name, &[]).await.unwrap();
    }
    let a = async |script: &str| said(runtime, &wanted.uid, "a", script).await;
    let b = async |script: &str| said(runtime, &wanted.uid, "b", script).await;
    assert_eq!(a("cat /etc/conductor-config/key /etc/conductor-config/d/e /tmp/secret/password").await, "onedeepsesame");
    assert_eq!(a("echo mine > /conductor-work/here/mark; cat /conductor-work/here/mark").await, "mine");
    assert_eq!(b("cat /conductor-work/mark").await, "mine");
    assert_eq!(b("(echo x > /conductor-work/mark) 2>/dev/null || echo refused").await, "refused");
    assert_eq!(a("(echo x > /etc/conductor-config/key) 2>/dev/null || echo refused").await, "refused");
    assert_eq!(b("echo part > /conductor-part/x; cat /conductor-work/sub/dir/x /etc/conductor-key").await, "part\none");
    let full =
        "(while echo 0123456789012345678901234567890123456789; do :; done > /conductor-memory/x) 2>/dev/null; cat /conductor-memory/x";
    assert!(a(&format!("{full} | wc -c 2>/dev/null || busybox wc -c /conductor-memory/x")).await.len() < 9);
    if owner.is_none() {
        assert_eq!(b("echo kept > /conductor-node/x; echo done").await, "done");
    }

    assert!(disk.set_up(&config("two")).await.unwrap());
    assert_eq!((a("cat /etc/conductor-config/key").await.as_str(), b("cat /etc/conductor-key").await.as_str()), ("two", "one"));
    subject.exit(&wanted.uid, "a", 0);
    crate::subject::exit(runtime, &wanted.uid, "a").await;
    runtime.start(&wanted.uid, "a", &[]).await.unwrap();
    assert_eq!(a("cat /conductor-work/here/mark /etc/conductor-config/key").await, "mine\ntwo");
    // What one sees is nothing that the machine has.
    assert!(
        !["/conductor-work", "/conductor-part", "/etc/conductor-config", "/etc/conductor-key"].iter().any(|path| Path::new(path).exists())
    );

    runtime.remove(&wanted.uid).await.unwrap();
    let secrets = disk.place(&secret, None);
    disk.remove(&wanted.uid).await.unwrap();
    assert_eq!((disk.pods().await.unwrap(), secrets.exists(), mounted_below(dir.path())), (vec![], false, 0));
    assert_eq!(fs::read_dir(dir.path().join("volumes")).unwrap().count(), 0);
    assert_eq!(node.join("x").exists(), owner.is_none(), "what is the node's stays");
}

#[cfg(feature = "process")]
#[tokio::test]
async fn programs_of_the_machine_see_their_volumes() {
    let subject = crate::subject::ProcessSubject::new().await;
    if geteuid().is_root() {
        return the_same_pod_sees_the_same(&subject, RunsAs::Server).await;
    }
    let mounts = vec![Mount { source: "/tmp".into(), target: "/x".into(), is_read_only: true }];
    let pod = pod("a", vec![Container { mounts, ..subject.container("a") }]);
    let refused = subject.runtime().create(&pod).await.unwrap_err().to_string();
    assert!(refused.contains("spec.containers[0].volumeMounts: a server that runs as root"), "{refused}");
}

#[cfg(feature = "docker")]
#[tokio::test]
async fn containers_of_an_engine_see_their_volumes() {
    let Some(subject) = crate::engine::DockerSubject::new().await else { return };
    if geteuid().is_root() {
        the_same_pod_sees_the_same(&subject, RunsAs::Server).await;
    }
    subject.close().await;
}

/// A program that is nobody on the machine reads its Secret and writes what is its own, and no more.
#[cfg(feature = "process")]
#[tokio::test]
async fn programs_of_a_namespace_read_their_volumes_as_their_owners() {
    if !geteuid().is_root() {
        return;
    }
    let (subject, dir) = (crate::subject::ProcessSubject::new().await, tempfile::tempdir().unwrap());
    let (runtime, disk) = (subject.runtime(), Disk::new(&dir.path().join("volumes")));
    let web = crate::subject::shell("web", "sleep 60");
    let mut wanted = Pod { runs_as: RunsAs::Namespace, namespace: "shop".into(), ..pod("confined", vec![web]) };
    let owner = runtime.owner_of_files("shop", RunsAs::Namespace).await.unwrap();
    assert!(owner.is_some_and(|owner| owner >= 2_000_000_000));
    let secret = Volume { owner, ..files(&wanted, "secret", true, vec![file("password", 0o400, "sesame")]) };
    let work = Volume { owner, ..empty(&wanted, "work") };
    for volume in [&secret, &work] {
        disk.set_up(volume).await.unwrap();
    }
    let targets = [(&secret, "/etc/conductor-secret"), (&work, "/conductor-work"), (&work, "/tmp/below/work")];
    wanted.containers[0].mounts = targets.map(|(volume, target)| mount(&disk, volume, None, target)).to_vec();
    runtime.create(&wanted).await.unwrap();
    runtime.start(&wanted.uid, "web", &[]).await.unwrap();
    let web = async |script: &str| said(runtime, &wanted.uid, "web", script).await;
    assert_eq!(web("cat /etc/conductor-secret/password").await, "sesame");
    assert_eq!(web("echo x > /conductor-work/x; cat /tmp/below/work/x; ls -ld /conductor-work | cut -c1-10").await, "x\ndrwxrwxrwx");
    assert_eq!(web("(echo x > /etc/conductor-new) 2>/dev/null || echo refused").await, "refused");
    let place = disk.place(&secret, None);
    assert_eq!(web(&format!("cat {}/password 2>/dev/null || echo hidden", place.display())).await, "hidden");
    assert_eq!(fs::metadata(place.join("password")).unwrap().uid(), owner.unwrap());
    assert_eq!(fs::metadata(place.parent().unwrap().parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    runtime.remove(&wanted.uid).await.unwrap();
    disk.remove(&wanted.uid).await.unwrap();
    assert!(!place.exists());
}

#[tokio::test]
async fn what_is_private_lies_in_memory_and_nothing_is_deleted_through_a_mount_or_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, wanted) = (Disk::new(&dir.path().join("volumes")), pod("volumes", vec![Container::default()]));
    let secret = files(&wanted, "secret", true, vec![file("password", 0o400, "sesame")]);
    disk.set_up(&secret).await.unwrap();
    let kind = nix::sys::statfs::statfs(&disk.place(&secret, None)).unwrap().filesystem_type();
    assert_eq!(kind, nix::sys::statfs::TMPFS_MAGIC);
    let others = dir.path().join("others");
    fs::create_dir(&others).unwrap();
    fs::write(others.join("x"), "kept").unwrap();
    let work = empty(&wanted, "work");
    disk.set_up(&work).await.unwrap();
    symlink(&others, disk.place(&work, None).join("link")).unwrap();
    symlink(others.join("x"), disk.place(&work, None).join("file")).unwrap();
    if geteuid().is_root() {
        let host = Volume { source: Source::Node { path: others.clone(), kind: NodePath::Directory }, ..empty(&wanted, "node") };
        let part = |path: &str| SubPath { container: "a".into(), number: 0, path: path.into() };
        disk.set_up_part(&host, &part("new")).await.unwrap();
        disk.set_up_part(&host, &part("")).await.unwrap();
        assert_eq!(mounted_below(&dir.path().join("volumes")), 1);
        let refused = disk.set_up_part(&work, &part("link/new")).await.unwrap_err().to_string();
        assert!(refused.contains("link leads out of the volume"), "{refused}");
    }
    disk.remove(&wanted.uid).await.unwrap();
    assert_eq!((mounted_below(&dir.path().join("volumes")), fs::read_to_string(others.join("x")).unwrap().as_str()), (0, "kept"));
    assert!(!disk.place(&secret, None).exists());
}

#[tokio::test]
async fn a_volume_that_cannot_be_made_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, wanted) = (Disk::new(&dir.path().join("volumes")), pod("volumes", vec![Container::default()]));
    let host = |kind| Volume { source: Source::Node { path: dir.path().join("missing"), kind }, ..empty(&wanted, "node") };
    let refused = disk.set_up(&host(NodePath::Socket)).await.unwrap_err().to_string();
    assert!(refused.starts_with("set up volume node: hostPath type check failed: ") && refused.ends_with("is not a socket"), "{refused}");
    let config = files(&wanted, "config", false, vec![file("a", 0o644, "1")]);
    disk.set_up(&config).await.unwrap();
    let part = SubPath { container: "a".into(), number: 0, path: "b".into() };
    let refused = disk.set_up_part(&config, &part).await.unwrap_err().to_string();
    assert!(refused.contains("the volume has no such file"), "{refused}");
    disk.remove(&wanted.uid).await.unwrap();
    // Somebody else's directory where ours should be is not used.
    fs::set_permissions(dir.path().join("volumes"), fs::Permissions::from_mode(0o755)).unwrap();
    let refused = disk.set_up(&empty(&wanted, "work")).await.unwrap_err().to_string();
    assert!(refused.contains("is not this server's own"), "{refused}");
}
