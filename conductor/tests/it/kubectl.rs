//! kubectl, unmodified, with nothing but the kubeconfig that the server wrote.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server::{Server, hello};

/// kubectl where `make test` put it; `None`, said aloud, where nobody did.
pub fn kubectl() -> Option<PathBuf> {
    let named = std::env::var_os("CONDUCTOR_TEST_KUBECTL").map(PathBuf::from);
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/bin/kubectl");
    let found = named.or(Some(installed)).filter(|path| path.exists());
    if found.is_none() {
        crate::without::without("kubectl", "kubectl is missing");
    }
    found
}

pub struct Kubectl {
    pub path: PathBuf,
    pub server: Server,
}

impl Kubectl {
    /// Runs kubectl with words parted by spaces; its output, whatever it is.
    pub fn run(&self, words: &str) -> (bool, String) {
        let output = self.command(words).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.success(), text)
    }

    /// kubectl with words parted by spaces, not yet run.
    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new(&self.path);
        command.args(words.split(' ')).current_dir(self.server.dir.path());
        command.env("KUBECONFIG", self.server.data().join("kubeconfig")).env("HOME", self.server.dir.path());
        command
    }

    #[track_caller]
    pub fn good(&self, words: &str, expected: &str) -> String {
        let (succeeded, text) = self.run(words);
        assert!(succeeded && text.contains(expected), "kubectl {words}: expected {expected:?} in\n{text}\n{}", self.server.log());
        text
    }

    #[track_caller]
    pub fn bad(&self, words: &str, expected: &str) {
        let (succeeded, text) = self.run(words);
        assert!(!succeeded && text.contains(expected), "kubectl {words}: expected a refusal with {expected:?} in\n{text}");
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.server.dir.path().join(name), text).unwrap();
    }
}

pub fn shop(version: &str) -> String {
    format!(
        "apiVersion: conductor.dev/v1\nkind: Service\nmetadata: {{name: shop}}\nspec:\n  application: shop\n  config: {{VERSION: \"{version}\"}}\n  \
         parts:\n  - name: web\n    replicas: 2\n    pod: {{spec: {{containers: [{{name: web, command: [{}], ports: [{{name: http, containerPort: 8080}}]}}]}}}}\n  \
         routes: [{{host: shop.test, part: web, port: http}}]\n",
        hello().display()
    )
}

#[test]
fn kubectl_works_with_our_kinds_and_the_core_ones() {
    let Some(path) = kubectl() else { return };
    let kubectl = Kubectl { path, server: Server::start() };
    kubectl.good("version", "Server Version: v1.36");
    kubectl.good("api-resources", "services");
    kubectl.good("get nodes", "Ready");
    kubectl.good("explain service.spec.rollout", "progressDeadline");
    kubectl.write("shop.yaml", &shop("1"));
    kubectl.good("apply -f shop.yaml", "service.conductor.dev/shop created");
    kubectl.good("apply -f shop.yaml", "unchanged");
    kubectl.good("wait --for=condition=Ready service/shop --timeout=60s", "condition met");
    kubectl.good("get services", "shop-1");
    kubectl.good("get all", "pod/shop-web-1-0");
    kubectl.good("get svc shop -o yaml", "activeRevision: shop-1");
    kubectl.good("get pods -l conductor.dev/service=shop -o name", "pod/shop-web-1-1");
    kubectl.good("get pods -o wide", "Running");
    kubectl.good("logs shop-web-1-0", "listens on");
    kubectl.good("logs shop-web-1-0 --tail=1 --timestamps", "T");
    kubectl.good("describe service shop", "RoutesMoved");
    kubectl.good("scale service/shop --replicas=3", "scaled");
    kubectl.good("wait --for=jsonpath={.status.activeRevision}=shop-2 service/shop --timeout=60s", "condition met");
    kubectl.write("shop.yaml", &shop("2"));

    kubectl.good("apply -f shop.yaml", "configured");
    kubectl.good("wait --for=jsonpath={.status.activeRevision}=shop-3 service/shop --timeout=60s", "condition met");
    kubectl.good("wait --for=jsonpath={.status.phase}=Complete revision/shop-3 --timeout=60s", "condition met");
    kubectl.good("get revision shop-3 -o jsonpath={.status.receipt.failed}", "0");
    kubectl.good("label service shop tier=front", "labeled");
    kubectl.good("annotate service shop note=x", "annotated");
    kubectl.good("patch service shop --type=merge -p {\"spec\":{\"config\":{\"A\":\"1\"}}}", "patched");
    kubectl.good("get events", "RoutesMoved");
    kubectl.good("create configmap settings --from-literal=a=b", "created");
    kubectl.good("create secret generic keys --from-literal=a=b", "created");
    kubectl.good("get configmap settings -o jsonpath={.data.a}", "b");
    kubectl.good("create namespace other", "created");
    kubectl.good("-n other create configmap settings --from-literal=a=b", "created");
    kubectl.good("delete namespace other --timeout=60s", "deleted");
    kubectl.bad("get namespace other", "not found");
    kubectl.write("bad.yaml", &shop("3").replace("replicas", "replica"));
    kubectl.bad("apply -f bad.yaml", "replica");
    kubectl.bad("apply -f bad.yaml --validate=false", "did you mean \"replicas\"?");
    kubectl.bad("create -f shop.yaml", "already exists");
    kubectl.good("delete service shop --timeout=60s", "deleted");
    kubectl.good("wait --for=delete pod -l conductor.dev/service=shop --timeout=60s", "");
    kubectl.good("get all", "No resources found");
}
