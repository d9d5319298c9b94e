//! The numbers that a monitoring system reads, and the names of requests.

use serde_json::json;

use crate::server::{Server, create, phase, shop, until};

/// Asks the API over TLS with a token, or none; the code and the answer.
async fn get(server: &Server, path: &str, token: Option<&str>) -> (u16, String) {
    use kube::config::{KubeConfigOptions, Kubeconfig};
    let mut kubeconfig = Kubeconfig::read_from(server.data().join("kubeconfig")).unwrap();
    if let Some(token) = token {
        kubeconfig.auth_infos[0].auth_info = Some(serde_json::from_value(json!({"token": token})).unwrap());
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let client = kube::Client::try_from(config).unwrap();
    let request = http::Request::get(path).body(kube::client::Body::empty()).unwrap();
    let answer = client.send(request).await.unwrap();
    let code = answer.status().as_u16();
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    (code, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn metrics_tell_what_happened_to_those_who_may_know() {
    let server = Server::start_with(&[("CONDUCTOR_LOG_LEVEL", "api=debug")]);
    let client = server.client().await;
    create(&client, &shop(2, "1")).await;
    phase(&client, "shop-1", "Complete").await;
    for _ in 0..5 {
        let stream = std::net::TcpStream::connect(server.http()).unwrap();
        std::io::Write::write_all(&mut &stream, b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n").unwrap();
        std::io::read_to_string(&stream).unwrap();
    }
    let (code, text) = get(&server, "/metrics", None).await;
    assert_eq!(code, 200);
    let number = |start: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start} in {text}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    assert!(number("conductor_router_requests_total{service=\"default/shop\",code=\"2xx\"}") >= 5.0);
    assert!(number("conductor_router_first_byte_seconds_count{service=\"default/shop\"}") >= 5.0);
    assert!(number("conductor_pods{phase=\"Running\"}") >= 2.0);
    let created =
        "conductor_api_request_duration_seconds_count{verb=\"create\",group=\"conductor.dev\",resource=\"services\",code=\"201\"}";
    assert!((number(created) - 1.0).abs() < 0.1);
    assert!(number("conductor_store_writes_total") > 1.0 && number("conductor_store_write_requests_total") > 1.0);
    assert!(number("conductor_reconciles_total{controller=\"service\",outcome=\"done\"}") > 1.0);
    assert!(number("conductor_watchers") > 1.0 && number("conductor_store_queue") < 100.0);

    let token = String::from_utf8(server.run(&["token", "create", "jane"]).stdout).unwrap();
    assert_eq!(get(&server, "/metrics", Some(token.trim())).await.0, 403);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "metrics"},
        "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]});
    let roles = kube::Api::<k8s_openapi::api::rbac::v1::ClusterRole>::all(client.clone());
    roles.create(&Default::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
    let token = String::from_utf8(server.run(&["token", "create", "scraper", "--role", "metrics"]).stdout).unwrap();
    assert_eq!(get(&server, "/metrics", Some(token.trim())).await.0, 200);
}

#[tokio::test]
async fn a_request_can_be_followed_to_what_controllers_did() {
    let server = Server::start_with(&[("CONDUCTOR_LOG_LEVEL", "api=debug")]);
    let client = server.client().await;
    let request = http::Request::post("/apis/conductor.dev/v1/namespaces/default/services")
        .header("content-type", "application/json")
        .header("x-request-id", "deploy-7")
        .body(kube::client::Body::from(shop(1, "1").to_string().into_bytes()))
        .unwrap();
    let answer = client.send(request).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["x-request-id"].to_str().unwrap()), (201, "deploy-7"));
    until("the controller's writes carry the name of the request", || async {
        let log = server.log();
        let ours = log.lines().filter(|line| line.contains("\"request\":\"deploy-7\"") && line.contains("service-controller"));
        let keys: Vec<_> = ours.map(str::to_owned).collect();
        keys.iter().any(|line| line.contains("/revisions/")) && keys.iter().any(|line| line.contains("/core/pods/"))
    })
    .await;
    let audit = std::fs::read_to_string(server.data().join("audit.log")).unwrap();
    assert!(audit.lines().any(|line| line.contains("\"request\":\"deploy-7\"") && line.contains("\"version\":")), "{audit}");
}
