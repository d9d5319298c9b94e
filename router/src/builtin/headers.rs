//! The headers that change on the way: those of one hop are taken out, those that name the client are put in.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request, Version};
use hyper::upgrade::OnUpgrade;

use super::body::Upload;
use super::client::Client;
use super::endpoint::locked;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// A `Forwarded` value and the host it was made for.
#[derive(Debug)]
pub(super) struct Forwarded {
    host: HeaderValue,
    value: HeaderValue,
}

/// A client's wish to speak another protocol over its connection.
#[derive(Debug)]
pub(super) struct Upgrade {
    protocol: HeaderValue,
    pub(super) client: OnUpgrade,
}

/// The host a request is for, empty for an old client that names none; `None` when it is missing, doubled or no host name.
pub(super) fn host_of<B>(request: &Request<B>) -> Option<HeaderValue> {
    let mut named = request.headers().get_all(header::HOST).iter();
    let host = match (request.uri().authority(), named.next()) {
        (Some(authority), _) => HeaderValue::from_str(authority.as_str()).ok()?,
        (None, Some(host)) => host.clone(),
        (None, None) if request.version() < Version::HTTP_11 => HeaderValue::from_static(""),
        (None, None) => return None,
    };
    let is_legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte);
    (named.next().is_none() && host.as_bytes().iter().all(is_legal)).then_some(host)
}

/// Takes the wish to upgrade out of a request, if it has one that can be granted.
pub(super) fn take_upgrade<B>(request: &mut Request<B>) -> Option<Upgrade> {
    let protocol = request.headers().get(header::UPGRADE)?.clone();
    let is_meant = names_in(request.headers(), &header::CONNECTION).any(|name| name.eq_ignore_ascii_case("upgrade"));
    let is_possible = request.version() == Version::HTTP_11 && !protocol.as_bytes().eq_ignore_ascii_case(b"h2c");
    (is_meant && is_possible).then(|| Upgrade { protocol, client: hyper::upgrade::on(request) })
}

/// Makes a client's request one of ours to an endpoint.
pub(super) fn to_endpoint(client: &Client, request: &mut Request<Upload>, host: &HeaderValue, upgrade: Option<&Upgrade>) {
    let wants_trailers = names_in(request.headers(), &header::TE).any(|name| name.eq_ignore_ascii_case("trailers"));
    strip_hop(request.headers_mut());
    let has_body = !request.body().is_empty();
    *request.version_mut() = Version::HTTP_11;
    if request.uri().authority().is_some() {
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);
    }
    let headers = request.headers_mut();
    headers.remove(header::EXPECT);
    if headers.get(header::HOST) != Some(host) {
        headers.insert(header::HOST, host.clone());
    }
    if has_body && !headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    if let Some(upgrade) = upgrade {
        set_upgrade(headers, upgrade.protocol.clone());
    }
    set_forwarded(client, headers, host);
}

/// Makes an endpoint's answer one of ours to a client.
pub(super) fn to_client(headers: &mut HeaderMap) {
    // A length beside chunks is a lie that only the chunks kept harmless.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    strip_hop(headers);
}

/// As [`to_client`], for an answer that grants an upgrade.
pub(super) fn to_client_upgraded(headers: &mut HeaderMap, wish: Upgrade) -> OnUpgrade {
    let protocol = headers.get(header::UPGRADE).cloned().unwrap_or(wish.protocol);
    strip_hop(headers);
    set_upgrade(headers, protocol);
    wish.client
}

/// Whether sending a request twice does what sending it once does (RFC 9110, 9.2.2).
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE)
}

fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::UPGRADE, protocol);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
}

/// The comma-separated words of a header.
fn names_in<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}

/// Takes out what concerns one connection only, and what `Connection` names besides. Most messages have nothing of the
/// kind, so one look over the names comes first.
fn strip_hop(headers: &mut HeaderMap) {
    if !headers.keys().any(is_hop) {
        return;
    }
    let is_framing = |name: &HeaderName| *name == header::HOST || *name == header::CONTENT_LENGTH;
    let named: Vec<HeaderName> = names_in(headers, &header::CONNECTION).filter_map(|name| name.parse().ok()).collect();
    for name in named.iter().filter(|name| !is_framing(name)) {
        headers.remove(name);
    }
    for name in HOP {
        headers.remove(name);
    }
}

const HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    KEEP_ALIVE,
    PROXY_CONNECTION,
];

fn is_hop(name: &HeaderName) -> bool {
    HOP.contains(name)
}

/// Says who asks and for what. What a client says of itself is believed only from a trusted proxy, and continued then.
fn set_forwarded(client: &Client, headers: &mut HeaderMap, host: &HeaderValue) {
    let forwarded = forwarded_value(client, host);
    if !client.is_trusted {
        headers.insert(X_FORWARDED_FOR, client.address.clone());
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
        headers.insert(X_FORWARDED_HOST, host.clone());
        headers.insert(header::FORWARDED, forwarded);
        return;
    }
    let chain = continued(headers, &X_FORWARDED_FOR, &client.address);
    headers.insert(X_FORWARDED_FOR, chain);
    let chain = continued(headers, &header::FORWARDED, &forwarded);
    headers.insert(header::FORWARDED, chain);
    headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
    headers.entry(X_FORWARDED_HOST).or_insert_with(|| host.clone());
}

fn continued(headers: &HeaderMap, name: &HeaderName, last: &HeaderValue) -> HeaderValue {
    let mut chain = Vec::new();
    for value in headers.get_all(name) {
        chain.extend_from_slice(value.as_bytes());
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(last.as_bytes());
    HeaderValue::from_bytes(&chain).unwrap_or_else(|_| last.clone())
}

fn forwarded_value(client: &Client, host: &HeaderValue) -> HeaderValue {
    let mut latest = locked(&client.forwarded);
    if let Some(forwarded) = &*latest
        && forwarded.host == *host
    {
        return forwarded.value.clone();
    }
    let address = client.address.to_str().unwrap_or_default();
    let node = if address.contains(':') { format!("\"[{address}]\"") } else { address.to_owned() };
    let text = format!("for={node};host=\"{}\";proto=http", host.to_str().unwrap_or_default());
    let value = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("for=unknown"));
    *latest = Some(Forwarded { host: host.clone(), value: value.clone() });
    value
}
