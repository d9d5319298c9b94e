//! Tokens, certificates, and what they allow, with the real server and its own command line.

use std::path::Path;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Error};
use serde_json::Value;

use crate::server::Server;

/// What `conductor` prints.
#[track_caller]
fn said(server: &Server, args: &[&str]) -> String {
    let output = server.run(args);
    assert!(output.status.success(), "conductor {args:?}: {}\n{}", String::from_utf8_lossy(&output.stderr), server.log());
    String::from_utf8(output.stdout).unwrap()
}

/// A client by a kubeconfig that `conductor kubeconfig` makes with these arguments.
pub async fn client(server: &Server, args: &[&str]) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::from_yaml(&said(server, &[&["kubeconfig"], args].concat())).unwrap();
    Client::try_from(kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()).unwrap()
}

pub fn code<T>(result: &Result<T, Error>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(Error::Api(status)) => status.code,
        Err(_) => 0,
    }
}

fn map(name: &str) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.into());
    map
}

#[tokio::test]
async fn a_token_gives_its_role_until_it_is_deleted() {
    let mut server = Server::start();
    // Its controller fills in the default roles soon after the start.
    crate::server::until("edit allows something", || async {
        let role: kube::Result<k8s_openapi::api::rbac::v1::ClusterRole> = Api::all(server.client().await).get("edit").await;
        role.is_ok_and(|role| role.rules.iter().flatten().count() > 10)
    })
    .await;
    let token = said(&server, &["token", "create", "jane", "--role", "edit", "-n", "default", "--expires", "1h"]);
    let listed = said(&server, &["token", "list"]);
    assert!(listed.contains("jane") && listed.contains("edit in default"), "{listed}");
    assert!(!said(&server, &["token", "list", "-o", "json"]).contains("hash"));
    let jane = client(&server, &["--token", token.trim()]).await;
    let maps = Api::<ConfigMap>::namespaced(jane.clone(), "default");
    maps.create(&PostParams::default(), &map("a")).await.unwrap();
    assert_eq!(code(&Api::<Secret>::namespaced(jane.clone(), "kube-system").list(&Default::default()).await), 403);
    server.crash_and_start();
    let jane = client(&server, &["--token", token.trim()]).await;
    let maps = Api::<ConfigMap>::namespaced(jane, "default");
    maps.get("a").await.unwrap();
    said(&server, &["token", "delete", token.split('.').next().unwrap()]);
    assert_eq!(code(&maps.get("a").await), 401);
    assert!(said(&server, &["token", "list"]).lines().count() == 1);
    let refused = server.run(&["token", "create", "system:admin"]);
    assert_eq!(refused.status.code(), Some(2));
    let too_long = server.run(&["token", "create", "x", "--expires", "366d"]);
    assert!(String::from_utf8_lossy(&too_long.stderr).contains("token-days"), "{too_long:?}");
    let warned = |args: &[&str]| {
        let output = server.run(&[&["token", "create", "x"], args].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).contains("run as the user that the server runs as")
    };
    said(&server, &["token", "list"]);
    assert!(
        warned(&["--role", "edit", "-n", "default"]) && warned(&["--role", "admin", "-n", "kube-system"]) && warned(&["--role", "edit"])
    );
    assert!(!warned(&["--role", "view"]) && !warned(&[]));
    for (name, level) in [("own", "baseline"), ("trusted", "privileged")] {
        let mut namespace = k8s_openapi::api::core::v1::Namespace::default();
        namespace.metadata.name = Some(name.into());
        namespace.metadata.labels = Some([("pod-security.kubernetes.io/enforce".to_owned(), level.to_owned())].into());
        Api::all(server.client().await).create(&PostParams::default(), &namespace).await.unwrap();
        assert_eq!(warned(&["--role", "edit", "-n", name]), level == "privileged", "{name}");
    }
    assert_eq!(server.run(&["token", "create", "x", "--role", "none"]).status.code(), Some(4));
    assert_eq!(server.run(&["token", "delete", "none"]).status.code(), Some(4));
    let log = std::fs::read_to_string(server.data().join("audit.log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = lines.iter().find(|line| line["user"] == "jane" && line["resource"] == "configmaps").unwrap();
    assert_eq!(
        (&line["verb"], &line["code"], &line["from"], &line["namespace"]),
        (&"create".into(), &201.into(), &"127.0.0.1".into(), &"default".into())
    );
    assert!(!log.contains(token.trim()) && !log.contains("system:conductor"), "{log}");
}

#[tokio::test]
async fn a_certificate_says_who_somebody_is_and_one_of_another_authority_nothing() {
    let (server, other) = (Server::start(), Server::start());
    let ops = client(&server, &["--user", "ops", "--group", "system:masters"]).await;
    Api::<ConfigMap>::namespaced(ops, "default").create(&PostParams::default(), &map("a")).await.unwrap();
    let jane = client(&server, &["--user", "jane"]).await;
    let refused = Api::<ConfigMap>::namespaced(jane, "default").get("a").await;
    assert!(matches!(&refused, Err(Error::Api(status)) if status.message.contains("User \"jane\" cannot get")), "{refused:?}");
    let mut mixed = Kubeconfig::from_yaml(&said(&server, &["kubeconfig"])).unwrap();
    mixed.auth_infos =
        Kubeconfig::from_yaml(&said(&other, &["kubeconfig", "--user", "admin", "--group", "system:masters"])).unwrap().auth_infos;
    mixed.auth_infos[0].name = "admin".into();
    let stranger = Client::try_from(kube::Config::from_custom_kubeconfig(mixed, &KubeConfigOptions::default()).await.unwrap()).unwrap();
    assert_eq!(code(&Api::<ConfigMap>::namespaced(stranger, "default").get("a").await), 0, "the handshake fails");
    assert!(Path::new(&server.data()).join("pki/service-accounts.key").exists());
}
