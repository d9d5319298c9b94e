//! Who a client certificate is of: the subject's common name is the user, its organizations are the groups.
//!
//! The TLS listener has checked the certificate before; here it is only read.

use api::User;

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANIZATION: &[u8] = &[0x55, 4, 10];
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 6;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const IA5: u8 = 0x16;
const VERSION: u8 = 0xa0;

/// The user of a certificate in DER; `None` when its subject has no common name, or it cannot be read.
pub fn user(der: &[u8]) -> Option<User> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (mut rest, _) = expect(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        rest = element(rest)?.2;
    }
    let (mut subject, _) = expect(rest, SEQUENCE)?;
    let (mut name, mut groups) = (None, Vec::new());
    while !subject.is_empty() {
        let (mut set, after) = expect(subject, SET)?;
        subject = after;
        while !set.is_empty() {
            let (attribute, after) = expect(set, SEQUENCE)?;
            set = after;
            let (id, value) = expect(attribute, OBJECT_ID)?;
            let (tag, text, _) = element(value)?;
            let text = std::str::from_utf8(text).ok().filter(|_| [UTF8, PRINTABLE, IA5].contains(&tag))?;
            match id {
                COMMON_NAME if name.is_none() => name = Some(text),
                ORGANIZATION => groups.push(text.to_owned()),
                _ => {}
            }
        }
    }
    name.filter(|name| !name.is_empty()).map(|name| User::new(name, groups))
}

/// The content of an element of this tag, and what follows it.
fn expect(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(der)?;
    (found == tag).then_some((content, rest))
}

/// Tag, content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let bytes = usize::from(first & 0x7f);
        let (digits, rest) = rest.split_at_checked(bytes).filter(|_| (1..=4).contains(&bytes))?;
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn the_subject_says_the_user_and_the_groups() {
        let made = |entries: &[(DnType, &str)]| {
            let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::new();
            for (kind, text) in entries {
                params.distinguished_name.push(kind.clone(), *text);
            }
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
        };
        let der = made(&[(DnType::CommonName, "jane"), (DnType::OrganizationName, "crew")]);
        let user = user(&der).unwrap();
        assert_eq!((user.name.as_str(), user.groups), ("jane", vec!["crew".to_owned(), "system:authenticated".to_owned()]));
        assert!(super::user(&made(&[(DnType::OrganizationName, "crew")])).is_none());
        for end in 0..der.len() {
            // Whatever is cut off, nothing panics.
            let _ = super::user(&der[..end]);
        }
    }
}
