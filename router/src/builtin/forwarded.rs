//! Who asks, from where and for what, as the headers say it that programs behind a proxy read.
//!
//! What a client says of itself is believed only from a trusted proxy, and continued then; everybody else's word is taken out,
//! in every spelling that a program may read as the same header (`X_Forwarded_For` is one and the same to CGI and WSGI).

use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::client::Client;
use super::endpoint::locked;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What else programs read an address, a scheme or a host from; all that begins with `x-forwarded-` besides.
const CLAIMS: [&str; 14] = [
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-proto",
    "x-scheme",
    "x-url-scheme",
    "front-end-https",
    "x-proxyuser-ip",
];

/// A `Forwarded` value and the host it was made for.
#[derive(Debug)]
pub(super) struct Forwarded {
    host: HeaderValue,
    value: HeaderValue,
}

/// Says who asks and for what.
pub(super) fn set_forwarded(client: &Client, headers: &mut HeaderMap, host: &HeaderValue) {
    strip_claims(headers, client.is_trusted);
    if client.is_trusted {
        return continue_chain(client, headers, host);
    }
    headers.insert(X_FORWARDED_FOR, client.address.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    headers.insert(X_FORWARDED_HOST, host.clone());
    headers.insert(header::FORWARDED, forwarded_value(client, host));
}

/// The address of the client itself: behind trusted proxies the nearest one in their chain that is no such proxy.
pub(super) fn client_address(client: &Client, headers: &HeaderMap) -> IpAddr {
    let mut nearest = client.peer;
    if !client.is_trusted {
        return nearest;
    }
    for text in chain(headers).iter().rev() {
        let Some(address) = address_of(text) else { break };
        nearest = address;
        if !client.core.options.trusts(address) {
            break;
        }
    }
    nearest
}

/// Takes out what only a trusted proxy may say, and from those too what is spelt so that no proxy says it.
fn strip_claims(headers: &mut HeaderMap, is_trusted: bool) {
    let is_out = |name: &&HeaderName| is_claim(name.as_str()) && (!is_trusted || name.as_str().contains('_'));
    let out: Vec<HeaderName> = headers.keys().filter(is_out).cloned().collect();
    for name in out {
        headers.remove(name);
    }
}

fn is_claim(name: &str) -> bool {
    // Most names are none by their first letter.
    if !matches!(name.as_bytes().first(), Some(b'x' | b'f' | b't' | b'c')) {
        return false;
    }
    let is_same = |one: &str, other: &str| {
        one.len() == other.len() && one.bytes().zip(other.bytes()).all(|(one, other)| one == other || (one == b'_' && other == b'-'))
    };
    const FAMILY: &str = "x-forwarded-";
    name.get(..FAMILY.len()).is_some_and(|begin| is_same(begin, FAMILY)) || CLAIMS.iter().any(|claim| is_same(name, claim))
}

/// Adds our hop to what the proxy before us said. Of the two ways to say it, the one that it did not use is made from the other,
/// so that a program finds the same in both.
fn continue_chain(client: &Client, headers: &mut HeaderMap, host: &HeaderValue) {
    let said = joined(headers, &header::FORWARDED);
    let proto = first(headers, &X_FORWARDED_PROTO).or_else(|| parameter(&said, "proto"));
    let asked = first(headers, &X_FORWARDED_HOST).or_else(|| parameter(&said, "host"));
    let proto = proto.unwrap_or_else(|| "http".to_owned());
    let asked = asked.unwrap_or_else(|| text(host).to_owned());
    let before = chain(headers);
    let own = client.address.to_str().unwrap_or_default();
    let list: Vec<&str> = before.iter().map(String::as_str).chain([own]).collect();
    let forwarded = if said.is_empty() {
        let nodes = list.iter().enumerate().map(|(at, of)| match at {
            0 => format!("for={};host=\"{}\";proto={proto}", node(of), asked.replace(['"', '\\'], "")),
            _ => format!("for={}", node(of)),
        });
        nodes.collect::<Vec<_>>().join(", ")
    } else {
        format!("{said}, {}", text(&forwarded_value(client, host)))
    };
    insert_text(headers, X_FORWARDED_FOR, &list.join(", "));
    insert_text(headers, header::FORWARDED, &forwarded);
    if !headers.contains_key(X_FORWARDED_PROTO) {
        insert_text(headers, X_FORWARDED_PROTO, &proto);
    }
    if !headers.contains_key(X_FORWARDED_HOST) {
        insert_text(headers, X_FORWARDED_HOST, &asked);
    }
}

fn insert_text(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The addresses that came before, farthest first, from whichever header has them.
fn chain(headers: &HeaderMap) -> Vec<String> {
    let listed = joined(headers, &X_FORWARDED_FOR);
    if !listed.is_empty() {
        return listed.split(',').map(|address| address.trim().to_owned()).filter(|address| !address.is_empty()).collect();
    }
    let said = joined(headers, &header::FORWARDED);
    elements(&said).iter().filter_map(|element| parameter(element, "for")).map(|node| plain(&node).to_owned()).collect()
}

/// All values of a header in one.
fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<&str> =
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).filter(|value| !value.is_empty()).collect();
    values.join(", ")
}

fn first(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.split(',').next()?.trim().to_owned()).filter(|value| !value.is_empty())
}

/// The elements of a `Forwarded` value: parted by commas, but not by those inside quotes.
fn elements(value: &str) -> Vec<&str> {
    split_unquoted(value, ',')
}

/// A parameter of the first element.
fn parameter(value: &str, name: &str) -> Option<String> {
    let element = *elements(value).first()?;
    let pairs = split_unquoted(element, ';');
    let value = pairs.iter().filter_map(|pair| pair.split_once('=')).find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?.1.trim();
    let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    Some(unquoted.map_or_else(|| value.to_owned(), |value| value.replace('\\', ""))).filter(|value| !value.is_empty())
}

fn split_unquoted(text: &str, at: char) -> Vec<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parted = text.split(move |letter| {
        let parts = letter == at && !is_quoted;
        is_quoted ^= letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && is_quoted && !is_escaped;
        parts
    });
    parted.collect()
}

/// A node as `X-Forwarded-For` names it: without brackets, and without a port.
fn plain(node: &str) -> &str {
    match node.strip_prefix('[').and_then(|node| node.split_once(']')) {
        Some((address, _)) => address,
        None => node.split_once(':').filter(|(_, port)| !port.contains(':')).map_or(node, |(address, _)| address),
    }
}

/// A node as `Forwarded` names it.
fn node(address: &str) -> String {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("\"[{address}]\""),
        _ if address.bytes().all(is_token) => address.to_owned(),
        _ => format!("\"{}\"", address.replace(['"', '\\'], "")),
    }
}

fn address_of(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.or_else(|| plain(text).parse().ok()).map(|address: IpAddr| address.to_canonical())
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

fn forwarded_value(client: &Client, host: &HeaderValue) -> HeaderValue {
    let mut latest = locked(&client.forwarded);
    if let Some(forwarded) = &*latest
        && forwarded.host == *host
    {
        return forwarded.value.clone();
    }
    let words = format!("for={};host=\"{}\";proto=http", node(text(&client.address)), text(host));
    let value = HeaderValue::try_from(words).unwrap_or(HeaderValue::from_static("for=unknown"));
    *latest = Some(Forwarded { host: host.clone(), value: value.clone() });
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_claim_is_one() {
        for name in
            ["x-forwarded-for", "x_forwarded_for", "x-forwarded_proto", "x_forwarded-port", "x-forwarded-user", "x_real_ip", "forwarded"]
        {
            assert!(is_claim(name), "{name}");
        }
        for name in ["x-forwarded", "x-forward", "host", "cookie", "content-type", "x-request-id", "forwarded-for"] {
            assert!(!is_claim(name), "{name}");
        }
    }

    #[test]
    fn elements_are_parted_outside_quotes_only() {
        let value = "for=\"[2001:db8::1]:80\";proto=https;host=\"a,b\\\";c\", for=10.0.0.1";
        assert_eq!(elements(value).len(), 2);
        assert_eq!(parameter(value, "host").as_deref(), Some("a,b\";c"));
        assert_eq!(parameter(value, "for").as_deref().map(plain), Some("2001:db8::1"));
        assert_eq!(parameter(value, "by"), None);
    }

    #[test]
    fn addresses_are_read_with_and_without_a_port() {
        for (text, expected) in
            [("10.0.0.1", "10.0.0.1"), ("10.0.0.1:80", "10.0.0.1"), ("::1", "::1"), ("[::1]:80", "::1"), ("[::1]", "::1")]
        {
            assert_eq!(address_of(text), Some(expected.parse().unwrap()), "{text}");
        }
        assert_eq!(address_of("unknown"), None);
        assert_eq!((node("::1"), node("10.0.0.1:80"), node("_x")), ("\"[::1]\"".into(), "\"10.0.0.1:80\"".into(), "_x".into()));
    }
}
