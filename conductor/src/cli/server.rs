//! A server, and objects of any kind in it, as JSON.

use client::Objects;
use http::Request;
use k8s_openapi::NamespaceResourceScope;
use kube::{Client, Resource};
use model::{Kind, Service};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::{Exit, Failure, Result};

/// How often a write is tried when other writers come between.
const TRIES_MAX: usize = 32;

/// A server that answers, and where in it people look.
pub struct Server {
    /// The way there.
    pub client: Client,
    /// The namespace of what is named without one.
    pub namespace: String,
    /// Where its Services are reached, when that is known: `http://127.0.0.1:8080`.
    pub http: Option<String>,
}

/// Whether a write is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It is checked only.
    No,
    /// It is kept.
    Yes,
}

/// Objects as JSON. Errors: what the server sent has no such form.
pub fn values(objects: &[impl Serialize]) -> Result<Vec<Value>> {
    let values = objects.iter().map(serde_json::to_value).collect::<Result<_, _>>();
    values.map_err(|error| Failure::failed(format!("what the server sent cannot be shown: {error}")))
}

impl Server {
    /// Typed objects of this namespace.
    pub fn objects<K>(&self) -> Objects<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
    {
        Objects::namespaced(&self.client, &self.namespace)
    }

    /// The same server, in another namespace.
    pub fn within(&self, namespace: &str) -> Self {
        Self { client: self.client.clone(), namespace: namespace.to_owned(), http: self.http.clone() }
    }

    /// An object, or `None`.
    pub async fn get(&self, kind: &Kind, name: &str) -> kube::Result<Option<Value>> {
        match self.client.request(request("GET", &self.path(kind, Some(name)), Vec::new())?).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an object. Fields that its kind does not have are refused.
    pub async fn create(&self, kind: &Kind, object: &Value, keep: Keep) -> kube::Result<Value> {
        let path = format!("{}?{}", self.path(kind, None), keep.query());
        self.client.request(request("POST", &path, object.to_string().into_bytes())?).await
    }

    /// Replaces an object at the version it carries. Fields that its kind does not have are refused.
    pub async fn replace(&self, kind: &Kind, object: &Value, keep: Keep) -> kube::Result<Value> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("{}?{}", self.path(kind, Some(name)), keep.query());
        self.client.request(request("PUT", &path, object.to_string().into_bytes())?).await
    }

    /// Deletes an object. One that is gone is no error.
    pub async fn delete(&self, kind: &Kind, name: &str) -> kube::Result<()> {
        match self.client.request::<Value>(request("DELETE", &self.path(kind, Some(name)), Vec::new())?).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// The Service of this name. Errors: not there, with the name that was most likely meant.
    pub async fn service(&self, name: &str) -> Result<Service> {
        check_name(name)?;
        let services = self.objects::<Service>();
        if let Some(service) = services.get(name).await? {
            return Ok(service);
        }
        let all = services.list("").await?;
        Err(absent(&format!("Service {name} is not in namespace {}", self.namespace), name, all.iter().filter_map(name_of)))
    }

    /// Reads a Service, changes it and writes it, again when another writer came between. Returns it as it is then, and whether
    /// that is a change. Errors: those of `change`; not there; the server refuses it.
    pub async fn change_service(&self, name: &str, change: impl Fn(&mut Value) -> Result<()>) -> Result<(Value, bool)> {
        let (kind, tried) = (model::service::kind(), format!("could not change Service {name}"));
        for _ in 0..TRIES_MAX {
            let stored = self.get(&kind, name).await.map_err(|error| Failure::of_call(&tried, &error))?;
            let Some(stored) = stored else { return Err(Failure::new(Exit::NotFound, format!("{tried}: it is not there"))) };
            let mut wanted = stored.clone();
            change(&mut wanted)?;
            if wanted == stored {
                return Ok((stored, false));
            }
            match self.replace(&kind, &wanted, Keep::Yes).await {
                Ok(object) => return Ok((object, true)),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(Failure::of_call(&tried, &error)),
            }
        }
        Err(Failure::new(Exit::Conflict, format!("{tried}: others change it all the time; try again")))
    }

    fn path(&self, kind: &Kind, name: Option<&str>) -> String {
        path(kind, &self.namespace, name)
    }
}

impl Keep {
    fn query(self) -> &'static str {
        match self {
            Self::No => "dryRun=All&fieldValidation=Strict",
            Self::Yes => "fieldValidation=Strict",
        }
    }
}

fn name_of(service: &Service) -> Option<&str> {
    service.metadata.name.as_deref()
}

/// Something is not there; the nearest of the names that are may have been meant.
pub fn absent<'a>(what: &str, name: &str, there: impl Iterator<Item = &'a str>) -> Failure {
    let meant = logic::nearest::nearest(name, there).map(|meant| format!(": did you mean {meant}?"));
    Failure::new(Exit::NotFound, format!("{what}{}", meant.unwrap_or_default()))
}

/// A name becomes part of a path. Errors: it is none.
pub fn check_name(name: &str) -> Result<()> {
    match model::check_subdomain(name).into_iter().next() {
        Some(problem) => Err(Failure::usage(format!("{name:?} is no name: {problem}"))),
        None => Ok(()),
    }
}

fn path(kind: &Kind, namespace: &str, name: Option<&str>) -> String {
    let root = if kind.group.is_empty() { "/api" } else { "/apis" };
    let within = if kind.is_namespaced() { format!("/namespaces/{namespace}") } else { String::new() };
    let name = name.map(|name| format!("/{name}")).unwrap_or_default();
    format!("{root}/{}{within}/{}{name}", kind.api_version(), kind.plural)
}

fn request(method: &str, path: &str, body: Vec<u8>) -> kube::Result<Request<Vec<u8>>> {
    let request = Request::builder().method(method).uri(path).header(http::header::CONTENT_TYPE, "application/json");
    request.body(body).map_err(kube::Error::HttpError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_path() {
        for (kind, name, expected) in [
            (model::service::kind(), Some("shop"), "/apis/conductor.dev/v1/namespaces/a/services/shop"),
            (model::pod::kind(), None, "/api/v1/namespaces/a/pods"),
            (model::namespace::kind(), Some("b"), "/api/v1/namespaces/b"),
        ] {
            assert_eq!(path(&kind, "a", name), expected);
        }
    }

    #[test]
    fn what_is_absent_may_have_been_meant_otherwise() {
        assert_eq!(
            absent("Service shpo is not there", "shpo", ["shop"].into_iter()).message(),
            "Service shpo is not there: did you mean shop?"
        );
        assert_eq!(absent("Service x is not there", "x", ["shop"].into_iter()).message(), "Service x is not there");
    }

    #[test]
    fn a_name_that_would_leave_its_path_is_refused() {
        for name in ["../nodes/a", "a?b", "", "A"] {
            assert_eq!(check_name(name).unwrap_err().exit(), Exit::Usage, "{name}");
        }
        assert!(check_name("shop-web-1-0").is_ok());
    }
}
