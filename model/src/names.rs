//! Which names objects may have: RFC 1123, as Kubernetes has it.

const LABEL_RULE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
     and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
     must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// What is wrong with `text` as a DNS label (at most 63 characters); empty when nothing is.
pub fn check_label(text: &str) -> Vec<String> {
    check(text, 63, LABEL_RULE, is_label)
}

/// What is wrong with `text` as a DNS subdomain (at most 253 characters); empty when nothing is.
pub fn check_subdomain(text: &str) -> Vec<String> {
    check(text, 253, SUBDOMAIN_RULE, |text| text.split('.').all(is_label))
}

/// What is wrong with `text` as the name of a port (RFC 6335, 5.1); empty when nothing is.
pub fn check_port_name(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let rules = [
        (text.len() <= 15, "must be no more than 15 characters"),
        (
            bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-'),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (bytes.iter().any(u8::is_ascii_lowercase), "must contain at least one letter (a-z)"),
        (!text.contains("--"), "must not contain consecutive hyphens"),
        (!text.starts_with('-') && !text.ends_with('-'), "must not begin or end with a hyphen"),
    ];
    rules.into_iter().filter(|(holds, _)| !holds).map(|(_, rule)| rule.to_owned()).collect()
}

/// What is wrong with `text` as one segment of a path, which is all that names of roles have to be; empty when nothing is.
pub fn check_path_segment(text: &str) -> Vec<String> {
    match text {
        "." | ".." => vec![format!("may not be '{text}'")],
        _ => ['/', '%'].into_iter().filter(|mark| text.contains(*mark)).map(|mark| format!("may not contain '{mark}'")).collect(),
    }
}

fn check(text: &str, limit: usize, rule: &str, holds: fn(&str) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > limit {
        problems.push(format!("must be no more than {limit} characters"));
    }
    if !holds(text) {
        problems.push(rule.to_owned());
    }
    problems
}

fn is_label(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_rfc_1123() {
        for good in ["a", "web-7", "0x"] {
            assert!(check_label(good).is_empty(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "é", &"x".repeat(64)] {
            assert!(!check_label(bad).is_empty(), "{bad}");
        }
        for good in ["http", "a", "h2-c", "8080-tcp"] {
            assert!(check_port_name(good).is_empty(), "{good}");
        }
        for bad in ["8080", "HTTP", "a_b", "-a", "a-", "a--b", "é", "a.b", "sixteen-letters-"] {
            assert!(!check_port_name(bad).is_empty(), "{bad}");
        }
        assert!(check_path_segment("system:a.B").is_empty());
        for bad in ["a/b", "a%b", ".", ".."] {
            assert!(!check_path_segment(bad).is_empty(), "{bad}");
        }
        assert!(check_subdomain("a.b-c.d").is_empty());
        assert!(!check_subdomain("a..b").is_empty());
    }
}
