//! The load generator against small servers that do what a real one does on a bad day.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::*;

/// Serves connections, one thread each: `answer` is given the number of the request, and `None` closes the connection.
fn server(answer: impl Fn(usize) -> Option<String> + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let serve = move |mut stream: TcpStream| {
        let mut piece = [0; 4096];
        let mut number = 0;
        while let Ok(1..) = stream.read(&mut piece) {
            let Some(words) = answer(number) else { return };
            if stream.write_all(words.as_bytes()).is_err() {
                return;
            }
            number += 1;
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn ok(body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

fn options(address: SocketAddr) -> Options {
    Options {
        url: format!("http://{address}/x").parse().expect("it is a loopback URL"),
        host_header: None,
        connections: 4,
        rate: 0,
        seconds: 0.3,
        timeout: 5.0,
        stop_file: None,
    }
}

#[tokio::test]
async fn every_answer_is_counted_by_status_and_first_line() {
    let address = server(|number| match number % 4 {
        0 => Some("HTTP/1.1 200 OK\r\nX-Revision: shop-7\r\nContent-Length: 4\r\n\r\nbody".into()),
        1 => Some("HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nbusy\n".into()),
        _ => ok("first\nsecond"),
    });
    let outcome = run(options(address), std::future::pending()).await;
    let counted: u64 = outcome.outcomes.values().sum();
    assert_eq!(counted, outcome.requests);
    assert!(outcome.requests >= 16, "{outcome}");
    assert_eq!(outcome.outcomes.keys().collect::<Vec<_>>(), ["200", "503"]);
    assert_eq!(outcome.answers.keys().collect::<Vec<_>>(), ["busy", "first", "shop-7"]);
    assert_eq!(outcome.answers.values().sum::<u64>(), outcome.requests);
    assert_eq!(outcome.failures(), outcome.outcomes["503"]);
    assert!(outcome.p50 <= outcome.p99 && outcome.p99 <= outcome.max, "{outcome}");
}

#[tokio::test]
async fn a_rate_is_kept_to() {
    let address = server(|_| ok("x"));
    let outcome = run(Options { rate: 200, seconds: 1.0, ..options(address) }, std::future::pending()).await;
    assert!((150..=205).contains(&outcome.requests), "{outcome}");
}

#[tokio::test]
async fn a_stall_shows_in_the_requests_it_delayed() {
    let address = server(|number| {
        if number == 5 {
            std::thread::sleep(Duration::from_millis(300));
        }
        ok("x")
    });
    let options = Options { rate: 200, connections: 1, seconds: 0.45, ..options(address) };
    let outcome = run(options, std::future::pending()).await;
    assert!(outcome.max >= Duration::from_millis(300), "{outcome}");
    let delayed = |outcome: &Outcome| outcome.p50 >= Duration::from_millis(10);
    assert!(delayed(&outcome), "most requests were due during the stall: {outcome}");
}

#[tokio::test]
async fn what_is_no_answer_is_counted_as_what_it_was() {
    let torn = server(|_| Some("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".into()));
    let silent = server(|_| Some(String::new()));
    let closing = server(|number| if number == 0 { ok("x") } else { None });
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listener.local_addr().expect("it is bound")
    };
    for (address, timeout, expected) in
        [(torn, 0.05, "timeout"), (silent, 0.05, "timeout"), (closing, 5.0, "reset"), (nobody, 5.0, "connect")]
    {
        let outcome = run(Options { timeout, rate: 40, ..options(address) }, std::future::pending()).await;
        assert!(outcome.outcomes.get(expected).is_some_and(|count| *count > 0), "{expected}: {outcome}");
        assert!(outcome.failures() > 0, "{expected}: {outcome}");
    }
}

#[tokio::test]
async fn a_stop_file_or_a_signal_ends_it() {
    let address = server(|_| ok("x"));
    let file = std::env::temp_dir().join(format!("load-stops-{}", std::process::id()));
    std::fs::write(&file, "").expect("the temporary directory can be written");
    let hour = Options { seconds: 3600.0, rate: 10, ..options(address) };
    let stopped = run(Options { stop_file: Some(file.clone()), ..hour.clone() }, std::future::pending());
    let signalled = run(hour, std::future::ready(()));
    let both = tokio::time::timeout(Duration::from_secs(20), async { (stopped.await, signalled.await) }).await;
    std::fs::remove_file(file).expect("it was there");
    assert!(both.is_ok(), "it goes on");
}

#[test]
fn only_this_machine_is_a_target() {
    for url in ["http://127.0.0.1:80/a?b=c", "http://localhost", "http://[::1]:8080/", "http://127.8.9.1"] {
        assert!(url.parse::<Target>().is_ok(), "{url}");
    }
    for (url, words) in [
        ("http://example.org/", "loopback"),
        ("http://10.0.0.1/", "loopback"),
        ("http://127.0.0.1.example.org/", "loopback"),
        ("https://127.0.0.1/", "http://"),
        ("127.0.0.1:80", "http://"),
        ("/x", "http://"),
    ] {
        let error = url.parse::<Target>().expect_err(url).to_string();
        assert!(error.contains(words), "{url}: {error}");
    }
}

#[test]
fn more_distinct_answers_than_fit_are_counted_together() {
    let mut tally = Tally::default();
    for number in 0..20 {
        let body = format!("answer {number}").into();
        tally.note(&connection::Answer::Whole(http::StatusCode::OK, body), Duration::from_millis(number));
    }
    let outcome = Outcome::new(tally, Duration::from_secs(2));
    assert_eq!((outcome.answers.len(), outcome.answers["(others)"]), (9, 12));
    assert_eq!(outcome.rate(), 10.0);
    assert!(outcome.p50.abs_diff(Duration::from_millis(9)) < Duration::from_millis(1), "{outcome}");
}
