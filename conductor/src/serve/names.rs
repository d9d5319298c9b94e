//! The names and addresses at which others reach the control API: its certificate holds them, and the kubeconfig names one.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nix::ifaddrs::getifaddrs;

/// Where the API listens, and what else it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiNames {
    /// Names and addresses that the certificate is for; the name that others are given first.
    pub all: Vec<String>,
    /// The address that others are given, such as `server.test:6443`.
    pub public: String,
}

/// The names of an API that listens on `address`; `given` are those that the settings name.
pub fn of_api(address: SocketAddr, given: &[String]) -> ApiNames {
    let machine = nix::sys::utsname::uname().map_or_else(|_| String::new(), |names| names.nodename().to_string_lossy().into_owned());
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    collect(address, given, &machine, &interfaces(), default_interface(&routes))
}

fn collect(address: SocketAddr, given: &[String], machine: &str, interfaces: &[(String, IpAddr)], outward: Option<&str>) -> ApiNames {
    let mut all: Vec<String> = given.to_vec();
    if address.ip().is_unspecified() {
        // An address that leads out of the machine before those of bridges that only containers see.
        let (first, others): (Vec<_>, Vec<_>) = interfaces.iter().partition(|(name, _)| Some(name.as_str()) == outward);
        all.extend(first.iter().chain(&others).filter(|(_, address)| !address.is_loopback()).map(|(_, address)| address.to_string()));
        all.extend(Some(machine.to_lowercase()).filter(|name| model::check_subdomain(name).is_empty()));
    } else {
        all.push(address.ip().to_string());
    }
    let public = all.first().cloned().unwrap_or_else(|| Ipv4Addr::LOCALHOST.to_string());
    let public = match public.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, address.port()).to_string(),
        Err(_) => format!("{public}:{}", address.port()),
    };
    all.extend(["localhost", "conductor", "kubernetes", "127.0.0.1", "::1"].map(str::to_owned));
    let mut seen = BTreeSet::new();
    all.retain(|name| seen.insert(name.clone()));
    ApiNames { all, public }
}

/// The interfaces of this machine that are up, IPv4 first. Link-local addresses are left out: they need an interface's name to be used.
fn interfaces() -> Vec<(String, IpAddr)> {
    let mut found: Vec<(String, IpAddr)> = getifaddrs()
        .into_iter()
        .flatten()
        .filter_map(|interface| {
            let address = interface.address?;
            let ip = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
            let ip = ip.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))?;
            let is_link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
            (!is_link_local).then_some((interface.interface_name, ip))
        })
        .collect();
    found.sort_by_key(|(_, address)| address.is_ipv6());
    found
}

/// The interface of the default route in `/proc/net/route`: its destination is zero.
fn default_interface(routes: &str) -> Option<&str> {
    routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (name, destination) = (fields.next()?, fields.next()?);
        (destination == "00000000").then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_on_every_address_is_known_by_the_machines_names_and_reached_by_the_one_that_leads_out() {
        let interfaces: Vec<(String, IpAddr)> = [("lo", "127.0.0.1"), ("docker0", "172.17.0.1"), ("eth0", "192.0.2.7")]
            .map(|(name, address)| (name.to_owned(), address.parse().unwrap()))
            .into();
        let routes = "Iface\tDestination\tGateway\neth0\t00000000\t010011AC\ndocker0\t000011AC\t0\n";
        let named = |address: &str, given: &[&str]| {
            let given: Vec<String> = given.iter().map(|name| (*name).to_owned()).collect();
            collect(address.parse().unwrap(), &given, "Web-1", &interfaces, default_interface(routes))
        };
        let own = ["localhost", "conductor", "kubernetes", "127.0.0.1", "::1"];
        let every = named("0.0.0.0:6443", &[]);
        assert_eq!(
            (every.public.as_str(), &every.all[..3]),
            ("192.0.2.7:6443", &["192.0.2.7".into(), "172.17.0.1".into(), "web-1".into()][..])
        );
        assert_eq!(every.all[3..], own);
        assert_eq!(named("[::]:6443", &["api.test"]).public, "api.test:6443");
        let local = named("127.0.0.1:6443", &[]);
        assert_eq!((local.public.as_str(), local.all.len()), ("127.0.0.1:6443", 5));
        assert_eq!(named("[2001:db8::1]:6443", &[]).public, "[2001:db8::1]:6443");
        assert!(!of_api("0.0.0.0:1".parse().unwrap(), &[]).all.is_empty());
    }
}
