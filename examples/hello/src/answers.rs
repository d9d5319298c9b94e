//! What is answered to which request.

use std::convert::Infallible;
use std::io::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;

use crate::settings::Settings;

/// The longest that a slow answer takes.
const SLOW_MAX: Duration = Duration::from_secs(600);
/// The exit code of a crash.
const CRASH: i32 = 3;

/// Everything that answers need.
pub struct Answers {
    settings: Settings,
    started: Instant,
    hello: Bytes,
}

impl Answers {
    /// Answers of a program that was started then.
    pub fn new(settings: Settings, started: Instant) -> Self {
        let hello = format!("{} from {} version {}\n", settings.greeting, settings.name, settings.version);
        Self { settings, started, hello: hello.into() }
    }

    /// Answers one request.
    pub async fn answer<B>(&self, request: &Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into()));
        }
        Ok(match request.uri().path() {
            "/" => text(StatusCode::OK, self.hello.clone()),
            "/ready" => self.ready(),
            "/slow" => slow(request.uri().query()).await,
            "/crash" => crash(),
            _ => text(StatusCode::NOT_FOUND, "there is /, /ready, /slow?ms=N and /crash\n".into()),
        })
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        if self.started.elapsed() < self.settings.startup_delay {
            return text(StatusCode::SERVICE_UNAVAILABLE, "starting\n".into());
        }
        text(StatusCode::OK, "ready\n".into())
    }
}

async fn slow(query: Option<&str>) -> Response<Full<Bytes>> {
    let Some(milliseconds) = query.and_then(|query| query.strip_prefix("ms=")?.parse().ok()) else {
        return text(StatusCode::BAD_REQUEST, "expected /slow?ms=N\n".into());
    };
    let wait = Duration::from_millis(milliseconds).min(SLOW_MAX);
    tokio::time::sleep(wait).await;
    text(StatusCode::OK, format!("after {} ms\n", wait.as_millis()).into())
}

fn crash() -> ! {
    let _ = writeln!(std::io::stderr(), "hello: asked to crash");
    std::process::exit(CRASH)
}

fn text(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn check(startup_delay: Duration, method: Method, path: &str, status: u16, body: &str) {
        let settings = Settings {
            address: [127, 0, 0, 1].into(),
            port: 1,
            greeting: "hello".into(),
            version: "2".into(),
            name: "a-0".into(),
            startup_delay,
        };
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let response = Answers::new(settings, Instant::now()).answer(&request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body, "{path}");
    }

    #[tokio::test]
    async fn each_path_has_its_answer() {
        let (at_once, late) = (Duration::ZERO, Duration::from_secs(3600));
        check(late, Method::GET, "/", 200, "hello from a-0 version 2\n").await;
        check(at_once, Method::GET, "/ready", 200, "ready\n").await;
        check(late, Method::GET, "/ready", 503, "starting\n").await;
        check(at_once, Method::GET, "/slow?ms=1", 200, "after 1 ms\n").await;
        check(at_once, Method::GET, "/slow?ms=x", 400, "expected /slow?ms=N\n").await;
        check(at_once, Method::GET, "/other", 404, "there is /, /ready, /slow?ms=N and /crash\n").await;
        check(at_once, Method::POST, "/", 405, "only GET and HEAD\n").await;
    }
}
