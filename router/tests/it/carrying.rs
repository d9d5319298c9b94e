//! Where a request goes, and with what headers.

use http::StatusCode;
use router::Router;
use router::builtin::Options;

use crate::backend::Backend;
use crate::wire::{self, Kept, get, get_request};
use crate::{builtin, builtin_with, route, send_all_to, table};

#[tokio::test]
async fn a_request_goes_where_its_host_and_longest_prefix_say() {
    let [shop, admin, other] = [Backend::start("shop").await, Backend::start("admin").await, Backend::start("other").await];
    let router = builtin().await;
    let routes = [
        route("shop.test", "/", &[shop.address]),
        route("shop.test", "/admin", &[admin.address]),
        route("*.other.test", "/", &[other.address]),
    ];
    router.apply(table(routes)).await.unwrap();
    for (host, path, expected) in [
        ("shop.test", "/x", "shop"),
        ("SHOP.test.:8080", "/administrator", "shop"),
        ("shop.test", "/admin?q=1", "admin"),
        ("shop.test", "/admin/users", "admin"),
        ("a.b.other.test", "/", "other"),
    ] {
        assert_eq!(get(router.address(), host, path).await.body, expected, "{host}{path}");
    }
}

#[tokio::test]
async fn our_own_answers_are_told_apart_and_say_nothing_of_the_inside() {
    let dead = crate::nobody().await;
    let router = builtin().await;
    let routes = [route("empty.test", "/", &[]), route("dead.test", "/", &[dead]), route("shop.test", "/a", &[dead])];
    router.apply(table(routes)).await.unwrap();
    for (host, path, status) in [
        ("nowhere.test", "/", StatusCode::NOT_FOUND),
        ("shop.test", "/b", StatusCode::NOT_FOUND),
        ("empty.test", "/", StatusCode::SERVICE_UNAVAILABLE),
        ("dead.test", "/", StatusCode::BAD_GATEWAY),
    ] {
        let answer = get(router.address(), host, path).await;
        assert_eq!(answer.status, status, "{host}{path}");
        assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
        assert!(!answer.body.is_empty() && !answer.body.contains("127.0.0.1") && !answer.body.contains("onnect"), "{}", answer.body);
    }
}

#[tokio::test]
async fn ping_answers_on_an_unknown_host_only() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    router.apply(table([route("shop.test", "/", &[backend.address])])).await.unwrap();
    let answer = get(router.address(), "127.0.0.1", "/_ping").await;
    assert_eq!((answer.status, answer.body.trim()), (StatusCode::OK, "pong"));
    assert_eq!(get(router.address(), "shop.test", "/_ping").await.body, "shop");
}

#[tokio::test]
async fn an_endpoints_own_503_is_passed_on_untouched() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let answer = get(router.address(), "shop.test", "/503").await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "of its own"));
}

#[tokio::test]
async fn headers_of_one_hop_are_taken_out_both_ways() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let request = "GET /headers HTTP/1.1\r\nHost: Shop.Test:81\r\nConnection: close, x-private, host\r\nX-Private: 1\r\nKeep-Alive: 5\r\n\
        Proxy-Authorization: x\r\nTE: trailers, gzip\r\nX-Public: 1\r\nUpgrade: h2c\r\n\r\n";
    let seen = wire::raw(router.address(), request).await;
    for gone in ["x-private", "keep-alive", "proxy-authorization", "gzip", "upgrade"] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
    for kept in ["x-public: 1", "host: Shop.Test:81", "te: trailers"] {
        assert!(seen.contains(kept), "{kept} not in {seen}");
    }
    let answer = get(router.address(), "shop.test", "/hop").await;
    assert_eq!(answer.headers.get("x-gone"), None);
    assert_eq!(answer.headers.get("keep-alive"), None);
    assert_eq!(answer.headers["x-kept"], "1");
}

#[tokio::test]
async fn what_a_stranger_says_of_where_it_comes_from_is_replaced() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let seen = ask_with_forged_headers(&router).await;
    for line in [
        "x-forwarded-for: 127.0.0.1\n",
        "x-forwarded-proto: http\n",
        "x-forwarded-host: shop.test:8\n",
        "forwarded: for=127.0.0.1;host=\"shop.test:8\";proto=http\n",
    ] {
        assert!(seen.contains(line), "{line} not in {seen}");
    }
    assert!(!seen.contains("6.6.6.6"), "{seen}");
}

/// What a request with these headers looks like at the endpoint, when its sender is trusted or not.
async fn seen_with(is_trusted: bool, headers: &str) -> String {
    let backend = Backend::start("shop").await;
    let trusted = if is_trusted { vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()] } else { Vec::new() };
    let router = builtin_with(Options { trusted, ..Options::default() }).await;
    send_all_to(&router, &[backend.address]).await;
    wire::raw(router.address(), &format!("GET /headers HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{headers}\r\n")).await
}

#[tokio::test]
async fn a_strangers_word_is_taken_out_in_every_spelling() {
    for name in [
        "X-Forwarded-For",
        "X_Forwarded_For",
        "x-forwarded_for",
        "X-Forwarded-Proto",
        "X_FORWARDED_PROTO",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X_Forwarded-Port",
        "X-Forwarded-User",
        "X-Forwarded-Prefix",
        "Forwarded",
        "X-Real-IP",
        "X_Real_IP",
        "X-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Original-Host",
        "Front-End-Https",
        "X-Scheme",
    ] {
        let seen = seen_with(false, &format!("{name}: forged\r\n{name}: forged\r\nX-Kept: 1\r\n")).await;
        assert!(!seen.contains("forged") && seen.contains("x-kept: 1\n"), "{name}: {seen}");
        assert!(seen.contains("x-forwarded-for: 127.0.0.1\n") && seen.contains("x-forwarded-proto: http\n"), "{name}: {seen}");
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_continued_in_both_ways_to_say_it() {
    for (sent, expected) in [
        (
            "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: www.test\r\nX-Forwarded-Port: 443\r\nX-Real-IP: 203.0.113.9\r\n",
            &[
                "x-forwarded-for: 203.0.113.9, 127.0.0.1\n",
                "x-forwarded-proto: https\n",
                "x-forwarded-host: www.test\n",
                "x-forwarded-port: 443\n",
                "x-real-ip: 203.0.113.9\n",
                "forwarded: for=203.0.113.9;host=\"www.test\";proto=https, for=127.0.0.1\n",
            ][..],
        ),
        (
            "Forwarded: for=\"[2001:db8::1]:99\";proto=https;host=www.test, for=10.1.1.1\r\n",
            &[
                "forwarded: for=\"[2001:db8::1]:99\";proto=https;host=www.test, for=10.1.1.1, for=127.0.0.1;host=\"a.test\";proto=http\n",
                "x-forwarded-for: 2001:db8::1, 10.1.1.1, 127.0.0.1\n",
                "x-forwarded-proto: https\n",
                "x-forwarded-host: www.test\n",
            ],
        ),
        (
            "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 10.1.1.1\r\n",
            &["x-forwarded-for: 203.0.113.9, 10.1.1.1, 127.0.0.1\n", "x-forwarded-proto: http\n", "x-forwarded-host: a.test\n"],
        ),
        ("X_Forwarded_Proto: https\r\n", &["x-forwarded-proto: http\n", "forwarded: for=127.0.0.1;host=\"a.test\";proto=http\n"]),
    ] {
        let seen = seen_with(true, sent).await;
        for line in expected {
            assert!(seen.contains(line), "{sent}: {line} not in {seen}");
        }
        assert!(!seen.contains("x_forwarded"), "{seen}");
    }
}

async fn ask_with_forged_headers(router: &impl Router) -> String {
    let mut request = get_request("shop.test:8", "/headers");
    for (name, value) in [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-proto", "https"), ("forwarded", "for=6.6.6.6")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    wire::ask(router.address(), request).await.body
}

#[tokio::test]
async fn requests_without_one_plain_host_are_refused_and_old_clients_are_served() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a/b\r\nConnection: close\r\n\r\n", "400"),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n", "405"),
        ("GET / HTTP/1.0\r\n\r\n", "200"),
        ("GET http://b.test/headers HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "200"),
    ] {
        let answer = wire::raw(router.address(), request).await;
        assert!(answer.split(' ').nth(1) == Some(status), "{request:?}: {answer:?}");
        if request.contains("b.test") {
            assert!(answer.contains("uri: /headers\n") && answer.contains("host: b.test\n"), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_length_beside_chunks_is_not_passed_on() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let request =
        "POST /headers HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 90\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let seen = wire::raw(router.address(), request).await;
    let body = seen.split("\r\n\r\n").nth(1).unwrap();
    assert!(body.contains("host: a") && !body.contains("content-length: 90"), "{seen}");
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n";
    send_all_to(&router, &[wire::answers(both).await]).await;
    assert_eq!(get(router.address(), "shop.test", "/").await.body, "whole");
}

#[tokio::test]
async fn an_answer_of_an_old_server_that_ends_with_its_connection_arrives_whole() {
    let router = builtin().await;
    send_all_to(&router, &[wire::answers("HTTP/1.0 200 OK\r\n\r\nto the end").await]).await;
    let mut client = tokio::net::TcpStream::connect(router.address()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let answer = wire::read_until(&mut client, "0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("to the end"), "{answer}");
}

#[tokio::test]
async fn connections_are_kept_alive_on_both_sides() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let mut kept = Kept::open(router.address()).await;
    for _ in 0..50 {
        assert_eq!(kept.get("/").await.unwrap().body, "shop");
    }
    assert_eq!((backend.requests(), backend.connections()), (50, 1));
    assert_eq!(router.totals().connections, 1);
}

#[tokio::test]
async fn idle_endpoints_share_the_load() {
    let [one, other] = [Backend::start("one").await, Backend::start("other").await];
    let router = builtin().await;
    send_all_to(&router, &[one.address, other.address]).await;
    let mut kept = Kept::open(router.address()).await;
    for _ in 0..40 {
        kept.get("/").await.unwrap();
    }
    assert_eq!((one.requests(), other.requests()), (20, 20));
}

#[tokio::test]
async fn threads_of_its_own_serve_as_well() {
    let backend = Backend::start("shop").await;
    let router = builtin_with(Options { workers: 2, ..Options::default() }).await;
    send_all_to(&router, &[backend.address]).await;
    let asking = (0..20).map(|_| get(router.address(), "shop.test", "/"));
    for answer in futures::future::join_all(asking).await {
        assert_eq!(answer.body, "shop");
    }
    assert_eq!(router.shutdown(crate::SOON).await, 0);
}
