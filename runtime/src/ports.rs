//! Which port of the machine a pod's port gets.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, TcpListener};

use crate::check_pod::refuse;
use crate::{Error, Pod, Port, Result};

/// The first port that is allotted.
const FIRST: u16 = 20_000;
/// How many may be allotted.
const COUNT: u16 = 10_000;

/// Chooses a port for each of the pod's, none of them in `held`. A pod's ports are tried in an order that its uid decides, so
/// that a pod made again mostly gets the same ones. `try_bind` tells whether this machine would let somebody listen.
pub(crate) fn allot(pod: &Pod, held: &BTreeSet<u16>, try_bind: impl Fn(u16) -> io::Result<()>) -> Result<BTreeMap<String, u16>> {
    let mut allotted = BTreeMap::new();
    let mut held = held.clone();
    // Fixed ports first, or an allotted one might be in their place.
    for (container_at, container) in pod.containers.iter().enumerate() {
        for (at, port) in container.ports.iter().enumerate() {
            let Some(number) = port.host_port else { continue };
            if !held.insert(number) {
                return Err(Error::PortTaken { port: number });
            }
            fixed(number, &format!("spec.containers[{container_at}].ports[{at}].hostPort"), &try_bind)?;
            allotted.insert(port.name.clone(), number);
        }
    }
    for port in pod.containers.iter().flat_map(|container| &container.ports) {
        if port.host_port.is_none() {
            let number = free(pod, port, &held, &try_bind)?;
            held.insert(number);
            allotted.insert(port.name.clone(), number);
        }
    }
    Ok(allotted)
}

/// Whether somebody may listen on a port of the loopback address.
pub(crate) fn try_bind(port: u16) -> io::Result<()> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop)
}

fn fixed(number: u16, field: &str, try_bind: impl Fn(u16) -> io::Result<()>) -> Result<()> {
    match try_bind(number) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(Error::PortTaken { port: number }),
        Err(error) => refuse(field, format!("a port that this user may listen on, but {number} gives: {error}")),
    }
}

fn free(pod: &Pod, port: &Port, held: &BTreeSet<u16>, try_bind: impl Fn(u16) -> io::Result<()>) -> Result<u16> {
    let start = hash(&pod.uid, &port.name) % u64::from(COUNT);
    (0..u64::from(COUNT))
        .filter_map(|step| u16::try_from((start + step) % u64::from(COUNT)).ok())
        .map(|offset| FIRST + offset)
        .find(|number| !held.contains(number) && try_bind(*number).is_ok())
        .ok_or_else(|| Error::Failed {
            tried: format!("allot a port for {} of pod {}", port.name, pod.name),
            reason: format!("all from {FIRST} to {} are taken", FIRST + (COUNT - 1)),
        })
}

/// FNV-1a, 64 bits: short, and the same in every build.
pub(crate) fn hash(first: &str, second: &str) -> u64 {
    let bytes = first.bytes().chain([0]).chain(second.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The variable that tells a program of a port.
pub(crate) fn variable(name: &str) -> String {
    let name = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    format!("PORT_{}", name.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Container;

    fn pod(uid: &str, ports: &[(&str, Option<u16>)]) -> Pod {
        let ports = ports.iter().map(|(name, host_port)| Port { name: (*name).into(), container_port: 80, host_port: *host_port });
        let container = Container { name: "web".into(), ports: ports.collect(), ..Container::default() };
        Pod {
            uid: uid.into(),
            namespace: "default".into(),
            name: "web-1".into(),
            containers: vec![container],
            runs_as: crate::RunsAs::Server,
        }
    }

    #[test]
    fn the_same_uid_gets_the_same_port_and_another_one_when_that_is_held() {
        let pod = pod("a", &[("http", None)]);
        let first = allot(&pod, &BTreeSet::new(), |_| Ok(())).unwrap()["http"];
        assert_eq!(allot(&pod, &BTreeSet::new(), |_| Ok(())).unwrap()["http"], first);
        let second = allot(&pod, &BTreeSet::from([first]), |_| Ok(())).unwrap()["http"];
        assert!(second != first && (20_000..30_000).contains(&second), "{first}, {second}");
    }

    #[test]
    fn a_port_that_cannot_be_bound_is_passed_over() {
        let pod = pod("a", &[("http", None)]);
        let first = allot(&pod, &BTreeSet::new(), |_| Ok(())).unwrap()["http"];
        let taken = |port| if port == first { Err(io::ErrorKind::AddrInUse.into()) } else { Ok(()) };
        assert_ne!(allot(&pod, &BTreeSet::new(), taken).unwrap()["http"], first);
    }

    #[test]
    fn when_every_port_is_taken_the_range_is_named() {
        let error = allot(&pod("a", &[("http", None)]), &BTreeSet::new(), |_| Err(io::ErrorKind::AddrInUse.into())).unwrap_err();
        assert!(error.to_string().contains("all from 20000 to 29999 are taken"), "{error}");
    }

    #[test]
    fn a_fixed_port_is_given_or_named_as_taken() {
        let pod = pod("a", &[("admin", Some(9090)), ("http", None)]);
        assert_eq!(allot(&pod, &BTreeSet::new(), |_| Ok(())).unwrap()["admin"], 9090);
        let held = allot(&pod, &BTreeSet::from([9090]), |_| Ok(())).unwrap_err();
        assert!(matches!(held, Error::PortTaken { port: 9090 }), "{held}");
        let busy = allot(&pod, &BTreeSet::new(), |_| Err(io::ErrorKind::AddrInUse.into())).unwrap_err();
        assert!(matches!(busy, Error::PortTaken { port: 9090 }), "{busy}");
        let denied = allot(&pod, &BTreeSet::new(), |_| Err(io::ErrorKind::PermissionDenied.into())).unwrap_err();
        assert!(denied.to_string().starts_with("spec.containers[0].ports[0].hostPort: "), "{denied}");
    }
}
