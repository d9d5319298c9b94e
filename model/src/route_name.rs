//! Which hosts a route can be for.
//!
//! What is compared is the `Host` that clients send, without its port and in lower case. So a name must be one that clients send: in
//! ASCII, and an address only in the one form to which they bring it.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What is wrong with the host of a route, because of which no request would match it as it is meant.
pub fn problem(host: &str) -> Option<&'static str> {
    if host.is_empty() {
        return None;
    }
    if host.contains("://") || host.contains('/') {
        return Some("a host is a name alone, without scheme or path");
    }
    if host.parse::<Ipv6Addr>().is_ok() || host.starts_with('[') {
        return Some("addresses of IPv6 are no hosts of routes; leave the host out to answer for every host");
    }
    if host.contains(':') {
        return Some("a host is a name without a port: every port of the router is meant");
    }
    if !host.is_ascii() {
        return Some(
            "clients send a name of other letters in ASCII: write it as they do, such as xn--bcher-kva.example for bücher.example",
        );
    }
    if host == "*" {
        return Some("leave the host out to answer for every host that no other route names");
    }
    let wildcard = host.strip_prefix("*.");
    let name = wildcard.unwrap_or(host).to_ascii_lowercase();
    if name.contains('*') {
        return Some("* stands for whole labels at the beginning alone, as in *.example.org");
    }
    if name.ends_with('.') {
        return Some("write the name without the dot at its end; it is taken off what clients send, too");
    }
    if !crate::check_subdomain(&name).is_empty() || name.split('.').any(|label| label.len() > 63) {
        return Some("is no host name: labels of letters, digits and -, joined by dots");
    }
    let ends_in_number = is_number(name.rsplit('.').next().unwrap_or_default());
    (ends_in_number && (wildcard.is_some() || name.parse::<Ipv4Addr>().is_err()))
        .then_some("a host that ends in a number is an address of IPv4, which clients send as four numbers without zeros before them")
}

/// Whether clients read a last label as part of an address: WHATWG's URL, 3.5.
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x");
    label.bytes().all(|byte| byte.is_ascii_digit()) || hexadecimal.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_that_clients_send() {
        for host in ["", "shop.test", "Shop.Test", "*.shop.test", "localhost", "127.0.0.1", "1and1.com", "a.1b", "xn--bcher-kva.example"] {
            assert_eq!(problem(host), None, "{host}");
        }
        let long = format!("{}.test", "a".repeat(64));
        for (host, expected) in [
            ("http://shop.test", "without scheme"),
            ("shop.test/a", "without scheme"),
            ("shop.test:8080", "without a port"),
            ("::1", "IPv6"),
            ("[::1]", "IPv6"),
            ("[::1]:80", "IPv6"),
            ("bücher.example", "in ASCII"),
            ("*", "leave the host out"),
            ("a.*.test", "at the beginning alone"),
            ("*shop.test", "at the beginning alone"),
            ("*.*.test", "at the beginning alone"),
            ("shop.test.", "dot at its end"),
            ("a b", "no host name"),
            ("a_b", "no host name"),
            ("-a.test", "no host name"),
            ("a..test", "no host name"),
            ("*.", "no host name"),
            (long.as_str(), "no host name"),
            ("1.2.3", "IPv4"),
            ("1.2.3.256", "IPv4"),
            ("1.2.3.04", "IPv4"),
            ("0x7f.1", "IPv4"),
            ("a.0x7f", "IPv4"),
            ("shop.1", "IPv4"),
            ("*.1.2.3.4", "IPv4"),
        ] {
            assert!(problem(host).is_some_and(|found| found.contains(expected)), "{host}: {:?}", problem(host));
        }
    }
}
