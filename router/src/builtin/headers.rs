//! The headers that change on the way: those of one hop are taken out, those of the next put in.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request, StatusCode, Version};
use hyper::upgrade::OnUpgrade;

use super::body::Upload;
use super::client::Client;
use super::forwarded::set_forwarded;

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// A client's wish to speak another protocol over its connection.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// The protocols it names, without HTTP/2.
    protocols: HeaderValue,
    pub(super) client: OnUpgrade,
}

/// The host a request is for, empty for an old client that names none; `None` when it is missing, doubled, no host name, or in
/// HTTP/2 not the one that the request is said to be for (RFC 9113, 8.3.1).
pub(super) fn host_of<B>(request: &Request<B>) -> Option<HeaderValue> {
    let mut named = request.headers().get_all(header::HOST).iter();
    let is_http_2 = request.version() == Version::HTTP_2;
    let host = match (request.uri().authority(), named.next()) {
        (Some(authority), Some(host)) if is_http_2 && !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => return None,
        (Some(_), None) if request.version() == Version::HTTP_11 => return None,
        (Some(authority), _) => HeaderValue::from_str(authority.as_str()).ok()?,
        (None, Some(host)) => host.clone(),
        (None, None) if request.version() < Version::HTTP_11 => HeaderValue::from_static(""),
        (None, None) => return None,
    };
    let is_legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte);
    (named.next().is_none() && host.as_bytes().iter().all(is_legal)).then_some(host)
}

/// Takes the wish to upgrade out of a request, if it has one that can be granted. HTTP/2 is none: its connection would be one of
/// many requests that nobody routes.
pub(super) fn take_upgrade<B>(request: &mut Request<B>) -> Option<Upgrade> {
    if !request.headers().contains_key(header::UPGRADE) || request.version() != Version::HTTP_11 {
        return None;
    }
    let is_meant = names_in(request.headers(), &header::CONNECTION).any(|name| name.eq_ignore_ascii_case("upgrade"));
    let protocols: Vec<&str> = names_in(request.headers(), &header::UPGRADE).filter(|name| !name.is_empty() && !is_http_2(name)).collect();
    let protocols = HeaderValue::try_from(protocols.join(", ")).ok().filter(|protocols| is_meant && !protocols.is_empty())?;
    Some(Upgrade { protocols, client: hyper::upgrade::on(request) })
}

fn is_http_2(protocol: &str) -> bool {
    let name = protocol.split('/').next().unwrap_or_default();
    ["h2c", "h2"].iter().any(|other| name.eq_ignore_ascii_case(other)) || name.eq_ignore_ascii_case("http")
}

/// Whether the client waits to be told to send its body.
pub(super) fn expects_continue<B>(request: &Request<B>) -> bool {
    let expects = request.headers().get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    expects && request.version() == Version::HTTP_11
}

/// Whether the body is coded in a way that is understood: not at all, or in chunks (RFC 9112, 6.1). What else there is would be
/// passed on without a word of it.
pub(super) fn is_coding_known(headers: &HeaderMap) -> bool {
    let mut codings = names_in(headers, &header::TRANSFER_ENCODING);
    codings.next().is_none_or(|coding| coding.eq_ignore_ascii_case("chunked")) && codings.next().is_none()
}

/// Makes a client's request one of ours to an endpoint.
pub(super) fn to_endpoint(client: &Client, request: &mut Request<Upload>, host: &HeaderValue, upgrade: Option<&Upgrade>) {
    let version = request.version();
    let wants_trailers = names_in(request.headers(), &header::TE).any(|name| name.eq_ignore_ascii_case("trailers"));
    let expects = request.body().is_held();
    strip_hop(request.headers_mut());
    let has_body = !request.body().is_empty();
    *request.version_mut() = Version::HTTP_11;
    if request.uri().authority().is_some() {
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);
    }
    let headers = request.headers_mut();
    if !expects {
        headers.remove(header::EXPECT);
    }
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
        set_upgrade(headers, upgrade.protocols.clone());
    }
    if version == Version::HTTP_2 {
        join_cookies(headers);
    }
    let via = if version == Version::HTTP_2 { "2.0 conductor" } else { "1.1 conductor" };
    headers.append(header::VIA, HeaderValue::from_static(via));
    set_forwarded(client, headers, host);
}

/// The pieces that HTTP/2 may send a cookie header in are one in HTTP/1.1 (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let pieces: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        headers.insert(header::COOKIE, whole);
    }
}

/// Makes an endpoint's answer one of ours to a client.
pub(super) fn to_client(version: Version, status: StatusCode, headers: &mut HeaderMap) {
    // A length beside chunks is a lie that only the chunks kept harmless.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    // It must say which protocol would do, and we carry any (RFC 9110, 15.5.22).
    let is_wanted = status == StatusCode::UPGRADE_REQUIRED && version == Version::HTTP_11;
    let wanted = if is_wanted { headers.get(header::UPGRADE).cloned() } else { None };
    strip_hop(headers);
    if let Some(wanted) = wanted {
        set_upgrade(headers, wanted);
    }
}

/// Whether an answer changes to a protocol that the client named (RFC 9110, 7.8).
pub(super) fn is_granted(answer: &HeaderMap, wish: &Upgrade) -> bool {
    let asked = |name: &str| wish.protocols.to_str().unwrap_or_default().split(',').any(|other| other.trim().eq_ignore_ascii_case(name));
    names_in(answer, &header::UPGRADE).all(asked)
}

/// As [`to_client`], for an answer that grants an upgrade.
pub(super) fn to_client_upgraded(headers: &mut HeaderMap, wish: Upgrade) -> OnUpgrade {
    let protocol = headers.get(header::UPGRADE).cloned().unwrap_or(wish.protocols);
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

const HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HTTP2_SETTINGS,
    KEEP_ALIVE,
    PROXY_CONNECTION,
];

fn is_hop(name: &HeaderName) -> bool {
    HOP.contains(name)
}
