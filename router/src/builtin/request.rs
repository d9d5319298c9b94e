//! Whether a request can be carried at all, and the path by which its route is found.

use std::borrow::Cow;

use http::header::{HeaderValue, MAX_FORWARDS};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request, Version};
use model::route_path;

use super::headers;
use super::options::Options;
use super::refusal::Refusal;
use crate::target;

/// Refuses what we do not carry.
pub(super) fn check<B>(request: &mut Request<B>, options: &Options) -> Result<(), Refusal> {
    if request.headers().len() > options.headers_max {
        return Err(Refusal::HeadTooLarge);
    }
    if request.method() == Method::CONNECT {
        return Err(Refusal::NotAllowed);
    }
    if request.version() == Version::HTTP_2 {
        replace_letters(request);
    }
    let path = request.uri().path();
    // The form of a server as a whole is for OPTIONS only (RFC 9112, 3.2.4), that of an authority for CONNECT only.
    let is_whole = path == "*" && request.method() == Method::OPTIONS;
    let target = request.uri().path_and_query().map_or("", PathAndQuery::as_str);
    // A fragment is no part of a target (RFC 9112, 3.2), and programs disagree on what one means.
    if !(path.starts_with('/') || is_whole) || target::restore(target).contains(&b'#') {
        return Err(Refusal::BadRequest);
    }
    if !headers::is_coding_known(request.headers()) {
        return Err(Refusal::UnknownCoding);
    }
    forward(request)
}

/// Takes one from the number of times that a request may be passed on (RFC 9110, 7.6.2).
fn forward<B>(request: &mut Request<B>) -> Result<(), Refusal> {
    if !matches!(*request.method(), Method::OPTIONS | Method::TRACE) {
        return Ok(());
    }
    let left = request.headers().get(MAX_FORWARDS).and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok());
    match left {
        None => Ok(()),
        Some(0) if request.method() == Method::TRACE => Err(Refusal::NotAllowed),
        Some(0) => Err(Refusal::OptionsHere),
        Some(left) => {
            request.headers_mut().insert(MAX_FORWARDS, HeaderValue::from(left - 1));
            Ok(())
        }
    }
}

/// HTTP/2 comes with letters that are not ASCII as they are; from here on they look as those of HTTP/1.1 do.
fn replace_letters<B>(request: &mut Request<B>) {
    let Some(target) = request.uri().path_and_query().filter(|target| !target.as_str().is_ascii()) else { return };
    let replaced = PathAndQuery::try_from(target::replaced(target.as_str()));
    let mut parts = request.uri().clone().into_parts();
    if let Ok(replaced) = replaced {
        parts.path_and_query = Some(replaced);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
}

/// The path by which the route is found. What is asked of the server as a whole goes where its root leads.
pub(super) fn route_path<B>(request: &Request<B>) -> Cow<'_, str> {
    match request.uri().path() {
        "*" => Cow::Borrowed("/"),
        path => match target::restore(path) {
            Cow::Borrowed(bytes) => route_path::normal(bytes),
            Cow::Owned(bytes) => Cow::Owned(route_path::normal(&bytes).into_owned()),
        },
    }
}
