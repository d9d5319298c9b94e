//! The same pod with volumes, by an unmodified kubectl, as an image and as programs of the machine.

use std::path::PathBuf;
use std::process::Command;

use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptionsBuilder};
use futures::StreamExt as _;

use crate::kubectl::{Kubectl, kubectl};
use crate::server::Server;

/// Two containers: one reads what both are given, the other writes what both see.
const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {tier: one}}
spec:
  terminationGracePeriodSeconds: 0
  runtimeClassName: CLASS
  containers:
  - name: reader
    IMAGE
    command: [/bin/sh, -c, 'while :; do sleep 1; done']
    volumeMounts:
    - {name: work, mountPath: /conductor-work}
    - {name: config, mountPath: /etc/conductor-config}
    - {name: config, mountPath: /etc/conductor-part, subPath: greeting}
    - {name: keys, mountPath: /conductor-keys, readOnly: true}
    - {name: about, mountPath: /conductor-about}
  - name: writer
    IMAGE
    command: [/bin/sh, -c, 'echo from the writer > /shared/mark; while :; do sleep 1; done']
    volumeMounts:
    - {name: work, mountPath: /shared, subPathExpr: $(SUB)}
    env: [{name: SUB, value: sub}]
  volumes:
  - {name: work, emptyDir: {}}
  - {name: config, configMap: {name: settings}}
  - {name: keys, secret: {secretName: keys, defaultMode: 0400, items: [{key: password, path: deep/password}]}}
  - name: about
    projected:
      sources:
      - downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
      - serviceAccountToken: {path: token, expirationSeconds: 600}
"#;

/// An image of the machine's busybox, where an engine answers and there is one.
struct Image {
    client: bollard::Docker,
    name: String,
}

impl Image {
    async fn make(server: &Server) -> Option<Self> {
        let address = crate::docker::address_of_machine();
        let client = bollard::Docker::connect_with_unix(&address, 60, bollard::API_DEFAULT_VERSION).ok();
        let client = match client {
            Some(client) => client.negotiate_version().await.ok(),
            None => None,
        };
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from).into_iter().find(|path| path.exists());
        let (Some(client), Some(busybox)) = (client, busybox) else {
            crate::without::without("engine", "no container engine answers, or there is no busybox");
            return None;
        };
        let mut archive = tar::Builder::new(Vec::new());
        archive.sparse(false);
        archive.append_path_with_name(busybox, "bin/busybox").unwrap();
        for applet in ["sh", "cat", "sleep", "stat", "ls"] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            archive.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
        }
        let tag = format!("{}-{}", std::process::id(), server.http().port());
        let repository = "localhost/conductor-test-volumes";
        let options = CreateImageOptionsBuilder::default().from_src("-").repo(&format!("{repository}:{tag}")).build();
        let body = bollard::body_full(archive.into_inner().unwrap().into());
        let steps: Vec<_> = client.create_image(Some(options), Some(body), None).collect().await;
        assert!(steps.iter().all(Result::is_ok), "{steps:?}");
        Some(Self { client, name: format!("{repository}:{tag}") })
    }

    async fn remove(&self) {
        let force = RemoveImageOptionsBuilder::default().force(true).build();
        let _ = self.client.remove_image(&self.name, Some(force), None).await;
    }
}

/// Waits until kubectl says this.
#[track_caller]
fn until(kubectl: &Kubectl, words: &str, expected: &str) {
    let begun = std::time::Instant::now();
    loop {
        let (_, text) = kubectl.run(words);
        if text.contains(expected) {
            return;
        }
        assert!(begun.elapsed().as_secs() < 30, "kubectl {words}: expected {expected:?} in\n{text}\n{}", kubectl.server.log());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

fn said(kubectl: &Kubectl, words: &str) -> String {
    let (succeeded, text) = kubectl.run(words);
    assert!(succeeded, "kubectl {words}: {text}\n{}", kubectl.server.log());
    text
}

/// What a pod shows from its start to its end, as people see it.
fn shows_the_same(kubectl: &mut Kubectl, name: &str, class: &str, image: &str) {
    let text = POD.replace("NAME", name).replace("CLASS", class).replace("IMAGE", image);
    kubectl.write("pod.yaml", &text);
    kubectl.good("apply -f pod.yaml", "created");
    until(
        kubectl,
        &format!("get pod {name} -o jsonpath={{.status.containerStatuses[*].state.waiting}}"),
        "configmap \\\"settings\\\" not found",
    );
    until(kubectl, &format!("describe pod {name}"), "FailedMount");
    kubectl.good("create configmap settings --from-literal=greeting=one", "created");
    kubectl.good(&format!("wait --for=condition=Ready pod/{name} --timeout=30s"), "condition met");
    let read = |words: &str| format!("exec {name} -c reader -- {words}");
    until(kubectl, &read("cat /conductor-work/sub/mark"), "from the writer");
    assert_eq!(
        said(kubectl, &read("cat /etc/conductor-config/greeting /etc/conductor-part /conductor-keys/deep/password")),
        "oneonesesame"
    );
    assert_eq!(said(kubectl, &read("stat -L -c %a /conductor-keys/deep/password")).trim(), "400");
    kubectl.good(&read("cat /conductor-about/labels"), "tier=\"one\"");
    let token = said(kubectl, &read("cat /conductor-about/token"));
    assert_eq!(token.split('.').count(), 3, "{token}");
    kubectl.bad(&read("/bin/sh -c echo>/etc/conductor-config/x"), "");

    kubectl.write("change.yaml", "data: {greeting: two}");
    kubectl.good("patch configmap settings --patch-file change.yaml", "patched");
    until(kubectl, &read("cat /etc/conductor-config/greeting"), "two");
    assert_eq!(said(kubectl, &read("cat /etc/conductor-part")), "one");
    kubectl.good(&format!("label pod {name} tier=two --overwrite"), "labeled");
    until(kubectl, &read("cat /conductor-about/labels"), "tier=\"two\"");

    kubectl.server.crash_and_start();
    kubectl.write("change.yaml", "data: {greeting: three}");
    kubectl.good("patch configmap settings --patch-file change.yaml", "patched");
    until(kubectl, &read("cat /etc/conductor-config/greeting"), "three");
    assert_eq!(said(kubectl, &format!("get pod {name} -o jsonpath={{.status.containerStatuses[*].restartCount}}")), "0 0");
    kubectl.good(&format!("delete pod {name} --timeout=30s"), "deleted");
    kubectl.good("delete configmap settings", "deleted");
    let volumes = kubectl.server.data().join("volumes");
    // A pod without time to end is gone before what it left is.
    let begun = std::time::Instant::now();
    while std::fs::read_dir(&volumes).unwrap().count() > 0 {
        assert!(begun.elapsed().as_secs() < 20, "its volumes are left\n{}", kubectl.server.log());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(volumes.to_str().unwrap()), "{mounts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_pod_with_volumes_shows_the_same_as_an_image_and_as_programs() {
    let Some(path) = kubectl() else { return };
    if !nix::unistd::geteuid().is_root() {
        return crate::without::without("root", "only root can mount volumes for programs");
    }
    let mut kubectl = Kubectl { path, server: Server::start() };
    kubectl.good("create secret generic keys --from-literal=password=sesame", "created");
    shows_the_same(&mut kubectl, "programs", "process", "imagePullPolicy: IfNotPresent");
    let Some(image) = Image::make(&kubectl.server).await else { return };
    shows_the_same(&mut kubectl, "image", "docker", &format!("image: {}", image.name));
    image.remove().await;
    let left = Command::new("ls").arg("/conductor-work").output().unwrap();
    assert!(!left.status.success());
}
