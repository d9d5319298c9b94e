//! A server to ask, and a way to ask it.

use std::sync::Arc;

use api::{Access, AccountKey, Api, Limits, NodeConnector, User};
use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use serde_json::Value;
use tower::ServiceExt as _;

/// A clock that stands still.
struct Stopped;

impl model::Clock for Stopped {
    fn now(&self) -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }
}

/// No node at all.
struct NoNodes;

impl NodeConnector for NoNodes {
    fn connect(&self, _: &str) -> Option<Router> {
        None
    }
}

/// An API with one administrator, whose token is `secret`.
pub struct Server {
    pub api: Api,
    pub router: Router,
    pub stranger: Router,
    store: Arc<dyn store::Store>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub body: Value,
    pub text: String,
    pub warnings: Vec<String>,
}

impl Server {
    /// A server with the namespace `default`.
    pub async fn start() -> Self {
        Self::with_limits(Limits::default()).await
    }

    /// The same, where one user may ask only so much.
    pub async fn with_limits(limits: Limits) -> Self {
        let server = Self::over(Arc::new(store::memory::Memory::new()), limits);
        server.api.prepare().await.unwrap();
        server.post("/api/v1/namespaces", r#"{"metadata": {"name": "default"}}"#).await.expect(201);
        server
    }

    /// The same server, for a user in no group of note.
    pub fn as_user(&self, name: &str) -> Self {
        let (stranger, api, store) = (self.stranger.clone(), self.api.clone(), Arc::clone(&self.store));
        Self { router: self.api.router_for(User::new(name, [])), stranger, api, store }
    }

    /// Asks with a bearer token.
    pub async fn with_token(&self, token: &str, uri: &str) -> Answer {
        ask(&self.stranger, Request::get(uri).header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap()).await
    }

    /// Another server over the same store, as after a restart.
    pub fn again(&self) -> Self {
        Self::over(Arc::clone(&self.store), Limits::default())
    }

    fn over(store: Arc<dyn store::Store>, limits: Limits) -> Self {
        let key = AccountKey::from_pkcs8(&AccountKey::generate().unwrap()).unwrap();
        let access = Access::default().with_token("secret", User::master("admin")).with_account_key(key);
        let api = Api::new(Arc::clone(&store), Arc::new(Stopped), access, Arc::new(NoNodes));
        api.limit(limits);
        Self { router: api.router_for(User::master("admin")), stranger: api.router(), api, store }
    }

    /// Sends any request.
    pub async fn send(&self, method: &str, uri: &str, content_type: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(method).uri(uri).header("content-type", content_type).body(body.into()).unwrap();
        ask(&self.router, request).await
    }

    pub async fn get(&self, uri: &str) -> Answer {
        self.send("GET", uri, "", "").await
    }

    pub async fn post(&self, uri: &str, body: impl ToString) -> Answer {
        self.send("POST", uri, "application/json", body.to_string()).await
    }

    pub async fn put(&self, uri: &str, body: impl ToString) -> Answer {
        self.send("PUT", uri, "application/json", body.to_string()).await
    }

    pub async fn merge(&self, uri: &str, body: impl ToString) -> Answer {
        self.send("PATCH", uri, "application/merge-patch+json", body.to_string()).await
    }

    pub async fn delete(&self, uri: &str) -> Answer {
        self.send("DELETE", uri, "", "").await
    }
}

/// Sends a request to any router.
pub async fn ask(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let code = response.status().as_u16();
    let warnings = response.headers().get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned()).collect();
    let text = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Answer { code, body: serde_json::from_str(&text).unwrap_or_default(), text, warnings }
}

impl Answer {
    /// The answer, which must have this code.
    #[track_caller]
    pub fn expect(self, code: u16) -> Self {
        assert_eq!(self.code, code, "{}", self.text);
        self
    }

    /// The message of a refusal with this code and reason.
    #[track_caller]
    pub fn refused(self, code: u16, reason: &str) -> String {
        let answer = self.expect(code);
        assert_eq!(answer.body["kind"], "Status", "{}", answer.text);
        assert_eq!(answer.body["reason"].as_str().unwrap_or_default(), reason, "{}", answer.text);
        answer.body["message"].as_str().unwrap().to_owned()
    }
}
