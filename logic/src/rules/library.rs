//! Kubernetes' own types in CEL: quantities, URLs, addresses, networks and versions.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

use cel::extractors::{Arguments, This};
use cel::objects::Opaque;
use cel::{Context, ExecutionError, Value};

use super::macros::{IS_SPECIAL, SPECIAL_TEXT};
use crate::quantity;

type Result<T> = std::result::Result<T, ExecutionError>;
type Text = Arc<String>;

/// A value of one of the types.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Special {
    /// In billionths.
    Quantity(i128),
    Url(Url),
    Ip(IpAddr),
    Cidr(IpAddr, u8),
    Semver(Semver),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Url {
    scheme: String,
    host: String,
    path: String,
    query: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Semver {
    numbers: [u64; 3],
    before: Vec<String>,
}

impl Opaque for Special {
    fn runtime_type_name(&self) -> &str {
        match self {
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Url(_) => "kubernetes.URL",
            Self::Ip(_) => "net.IP",
            Self::Cidr(..) => "net.CIDR",
            Self::Semver(_) => "kubernetes.Semver",
        }
    }
}

impl From<Special> for Value {
    fn from(special: Special) -> Self {
        Self::Opaque(Arc::new(special))
    }
}

/// Adds the functions to a context.
pub(super) fn add(context: &mut Context<'_, '_>) {
    let added = [
        context.add_function("quantity", |text: Text| parsed("quantity", &text, quantity_of)),
        context.add_function("sign", |This(of): This<Value>| amount("sign", &of).map(|amount| amount.signum() as i64)),
        context.add_function("isInteger", |This(of): This<Value>| amount("isInteger", &of).map(|amount| whole(amount).is_some())),
        context.add_function("asInteger", |This(of): This<Value>| {
            whole(amount("asInteger", &of)?).ok_or_else(|| refuse("asInteger", "cannot convert value to integer"))
        }),
        context.add_function("asApproximateFloat", |This(of): This<Value>| {
            amount("asApproximateFloat", &of).map(|amount| amount as f64 / 1e9)
        }),
        context.add_function("add", |This(of): This<Value>, other: Value| sum("add", &of, &other, 1)),
        context.add_function("sub", |This(of): This<Value>, other: Value| sum("sub", &of, &other, -1)),
        context
            .add_function("compareTo", |This(of): This<Value>, other: Value| compare("compareTo", &of, &other).map(|order| order as i64)),
        context.add_function("isGreaterThan", |This(of): This<Value>, other: Value| {
            Ok::<_, ExecutionError>(compare("isGreaterThan", &of, &other)? == Ordering::Greater)
        }),
        context.add_function("isLessThan", |This(of): This<Value>, other: Value| {
            Ok::<_, ExecutionError>(compare("isLessThan", &of, &other)? == Ordering::Less)
        }),
        context.add_function("semver", |Arguments(given): Arguments| {
            let (text, normalized) = version_text("semver", &given)?;
            parsed("semver", &text, |text| semver_of(&if normalized { normal(text) } else { text.to_owned() }))
        }),
        context.add_function("isSemver", |Arguments(given): Arguments| {
            let (text, normalized) = version_text("isSemver", &given)?;
            Ok::<_, ExecutionError>(semver_of(&if normalized { normal(&text) } else { text.to_string() }).is_some())
        }),
        context.add_function(IS_SPECIAL, |of: Value| matches!(of, Value::Opaque(_))),
        context.add_function(SPECIAL_TEXT, |of: Value| match special("string", &of)? {
            Special::Ip(ip) => Ok::<_, ExecutionError>(Value::from(ip.to_string().as_str())),
            Special::Cidr(ip, length) => Ok(Value::from(format!("{ip}/{length}").as_str())),
            _ => Err(refuse("string", "no such overload")),
        }),
        context.add_function("ip.isCanonical", |text: Text| match text.parse::<IpAddr>() {
            Ok(ip) => Ok(ip.to_string() == *text),
            Err(_) => Err(refuse("ip.isCanonical", format!("{text:?} is no ip"))),
        }),
        context.add_function("major", |This(of): This<Value>| number("major", &of, 0)),
        context.add_function("minor", |This(of): This<Value>| number("minor", &of, 1)),
        context.add_function("patch", |This(of): This<Value>| number("patch", &of, 2)),
    ];
    debug_assert!(added.iter().all(|result| result.is_ok()), "no function is there twice");
    add_network(context);
}

fn add_network(context: &mut Context<'_, '_>) {
    let added = [
        context.add_function("url", |text: Text| parsed("url", &text, url_of)),
        context.add_function("getScheme", |This(of): This<Value>| url("getScheme", &of).map(|url| Value::from(url.scheme.as_str()))),
        context.add_function("getHost", |This(of): This<Value>| url("getHost", &of).map(|url| Value::from(url.host.as_str()))),
        context.add_function("getHostname", |This(of): This<Value>| {
            url("getHostname", &of).map(|url| Value::from(split_host(&url.host).0.as_str()))
        }),
        context
            .add_function("getPort", |This(of): This<Value>| url("getPort", &of).map(|url| Value::from(split_host(&url.host).1.as_str()))),
        context
            .add_function("getEscapedPath", |This(of): This<Value>| url("getEscapedPath", &of).map(|url| Value::from(url.path.as_str()))),
        context.add_function("getQuery", |This(of): This<Value>| url("getQuery", &of).map(query_map)),
        context.add_function("ip", |This(of): This<Value>| match &of {
            Value::String(text) => parsed("ip", text, |text| text.parse().ok().map(Special::Ip)),
            other => network("ip", other).map(|(ip, _)| Special::Ip(ip).into()),
        }),
        context.add_function("family", |This(of): This<Value>| address("family", &of).map(|ip| if ip.is_ipv4() { 4_i64 } else { 6 })),
        context.add_function("isUnspecified", |This(of): This<Value>| address("isUnspecified", &of).map(|ip| ip.is_unspecified())),
        context.add_function("isLoopback", |This(of): This<Value>| address("isLoopback", &of).map(|ip| ip.is_loopback())),
        context.add_function("isLinkLocalMulticast", |This(of): This<Value>| address("isLinkLocalMulticast", &of).map(is_local_multicast)),
        context.add_function("isLinkLocalUnicast", |This(of): This<Value>| address("isLinkLocalUnicast", &of).map(is_local)),
        context.add_function("isGlobalUnicast", |This(of): This<Value>| {
            address("isGlobalUnicast", &of)
                .map(|ip| !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_local(ip) || is_broadcast(ip)))
        }),
        context.add_function("cidr", |text: Text| parsed("cidr", &text, cidr_of)),
        context.add_function("isCIDR", |text: Text| cidr_of(&text).is_some()),
        context.add_function("containsIP", |This(of): This<Value>, other: Value| {
            let ip = match &other {
                Value::String(text) => text.parse().map_err(|_| refuse("containsIP", format!("{text:?} is no IP address")))?,
                other => address("containsIP", other)?,
            };
            network("containsIP", &of).map(|net| contains(net, ip))
        }),
        context.add_function("containsCIDR", |This(of): This<Value>, other: Value| {
            let inner = match &other {
                Value::String(text) => network("containsCIDR", &parsed("containsCIDR", text, cidr_of)?)?,
                other => network("containsCIDR", other)?,
            };
            network("containsCIDR", &of).map(|net| net.1 <= inner.1 && contains(net, inner.0))
        }),
        context.add_function("masked", |This(of): This<Value>| {
            network("masked", &of).map(|(ip, length)| Value::from(Special::Cidr(mask(ip, length), length)))
        }),
        context.add_function("prefixLength", |This(of): This<Value>| network("prefixLength", &of).map(|(_, length)| i64::from(length))),
    ];
    debug_assert!(added.iter().all(|result| result.is_ok()), "no function is there twice");
}

fn refuse(function: &str, message: impl Into<String>) -> ExecutionError {
    ExecutionError::FunctionError { function: function.into(), message: message.into() }
}

fn parsed(function: &str, text: &str, read: impl Fn(&str) -> Option<Special>) -> Result<Value> {
    read(text).map(Value::from).ok_or_else(|| refuse(function, format!("{text:?} is no {function}")))
}

fn special<'a>(function: &str, value: &'a Value) -> Result<&'a Special> {
    let found = if let Value::Opaque(opaque) = value { opaque.downcast_ref::<Special>() } else { None };
    found.ok_or_else(|| refuse(function, "no such overload"))
}

fn quantity_of(text: &str) -> Option<Special> {
    quantity::billionths(text).map(Special::Quantity)
}

fn amount(function: &str, value: &Value) -> Result<i128> {
    match value {
        Value::Int(number) => Ok(i128::from(*number) * 1_000_000_000),
        other => match special(function, other)? {
            Special::Quantity(amount) => Ok(*amount),
            _ => Err(refuse(function, "expected a quantity")),
        },
    }
}

fn whole(amount: i128) -> Option<i64> {
    if amount % 1_000_000_000 == 0 { i64::try_from(amount / 1_000_000_000).ok() } else { None }
}

fn sum(function: &str, of: &Value, other: &Value, sign: i128) -> Result<Value> {
    let Special::Quantity(first) = special(function, of)? else { return Err(refuse(function, "expected a quantity")) };
    let total = amount(function, other)?.checked_mul(sign).and_then(|other| first.checked_add(other));
    let total = total.ok_or_else(|| refuse(function, "the sum is too large"))?;
    Ok(Special::Quantity(total).into())
}

fn compare(function: &str, of: &Value, other: &Value) -> Result<Ordering> {
    match (special(function, of)?, special(function, other)?) {
        (Special::Quantity(one), Special::Quantity(other)) => Ok(one.cmp(other)),
        (Special::Semver(one), Special::Semver(other)) => Ok(one.order(other)),
        _ => Err(refuse(function, "expected two quantities or two versions")),
    }
}

/// A version, and whether it may be written with `v`, with fewer numbers and with leading zeros.
fn version_text(function: &str, given: &[Value]) -> Result<(Text, bool)> {
    match given {
        [Value::String(text)] => Ok((Arc::clone(text), false)),
        [Value::String(text), Value::Bool(normalized)] => Ok((Arc::clone(text), *normalized)),
        _ => Err(refuse(function, "expected a text, and whether it is made a version")),
    }
}

/// A version as it is written strictly: `v1.02` is `1.2.0`.
fn normal(text: &str) -> String {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (numbers, rest) = text.split_at(text.find(['-', '+']).unwrap_or(text.len()));
    let plain = |number: &str| {
        let digits = number.trim_start_matches('0');
        if digits.is_empty() && !number.is_empty() { "0".to_owned() } else { digits.to_owned() }
    };
    let mut numbers: Vec<String> = numbers.split('.').map(plain).collect();
    if rest.is_empty() || numbers.len() == 3 {
        numbers.resize(numbers.len().max(3), "0".to_owned());
    }
    format!("{}{rest}", numbers.join("."))
}

fn semver_of(text: &str) -> Option<Special> {
    let (text, _) = text.split_once('+').unwrap_or((text, ""));
    let (numbers, before) = text.split_once('-').map_or((text, None), |(numbers, before)| (numbers, Some(before)));
    let number = |text: &str| {
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        text.parse::<u64>().ok().filter(|_| is_plain)
    };
    let numbers: Vec<u64> = numbers.split('.').map(number).collect::<Option<_>>()?;
    let before: Vec<String> = before.map(|before| before.split('.').map(str::to_owned).collect()).unwrap_or_default();
    let is_word = |word: &String| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    before.iter().all(is_word).then_some(())?;
    Some(Special::Semver(Semver { numbers: numbers.try_into().ok()?, before }))
}

impl Semver {
    /// What comes before a version is less than it; numbers are less than words.
    fn order(&self, other: &Self) -> Ordering {
        let words = |one: &String, other: &String| match (one.parse::<u64>(), other.parse::<u64>()) {
            (Ok(one), Ok(other)) => one.cmp(&other),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            _ => one.cmp(other),
        };
        let before = || match (self.before.is_empty(), other.before.is_empty()) {
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ => {
                let pairs = self.before.iter().zip(&other.before).map(|(one, other)| words(one, other));
                pairs.fold(Ordering::Equal, Ordering::then).then(self.before.len().cmp(&other.before.len()))
            }
        };
        self.numbers.cmp(&other.numbers).then_with(before)
    }
}

fn number(function: &str, value: &Value, at: usize) -> Result<i64> {
    match special(function, value)? {
        Special::Semver(version) => i64::try_from(version.numbers[at]).map_err(|_| refuse(function, "the number is too large")),
        _ => Err(refuse(function, "expected a version")),
    }
}

fn url_of(text: &str) -> Option<Special> {
    if !super::functions::is_url(text) {
        return None;
    }
    let (text, _) = text.split_once('#').unwrap_or((text, ""));
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let (host, path) = if scheme.is_empty() { ("", rest) } else { rest.find('/').map_or((rest, ""), |at| rest.split_at(at)) };
    let host = host.rsplit('@').next().unwrap_or(host);
    let pair =
        |part: &str| part.split_once('=').map_or((part.to_owned(), String::new()), |(key, value)| (key.to_owned(), value.to_owned()));
    let query = query.split('&').filter(|part| !part.is_empty()).map(pair).collect();
    Some(Special::Url(Url { scheme: scheme.to_lowercase(), host: host.into(), path: path.into(), query }))
}

fn url(function: &str, value: &Value) -> Result<Url> {
    match special(function, value)? {
        Special::Url(url) => Ok(url.clone()),
        _ => Err(refuse(function, "expected a URL")),
    }
}

fn query_map(url: Url) -> Value {
    let mut map: std::collections::HashMap<String, Vec<Value>> = std::collections::HashMap::new();
    for (key, value) in url.query {
        map.entry(key).or_default().push(Value::from(value.as_str()));
    }
    Value::from(map.into_iter().map(|(key, values)| (key, Value::from(values))).collect::<std::collections::HashMap<_, _>>())
}

/// Name and port of a host as a URL has it.
fn split_host(host: &str) -> (String, String) {
    let (name, port) = match host.rfind(']') {
        Some(end) => (host[..end].trim_start_matches('['), host[end + 1..].trim_start_matches(':')),
        None => host.split_once(':').unwrap_or((host, "")),
    };
    (name.to_owned(), port.to_owned())
}

fn address(function: &str, value: &Value) -> Result<IpAddr> {
    match special(function, value)? {
        Special::Ip(ip) => Ok(*ip),
        _ => Err(refuse(function, "expected an IP address")),
    }
}

fn network(function: &str, value: &Value) -> Result<(IpAddr, u8)> {
    match special(function, value)? {
        Special::Cidr(ip, length) => Ok((*ip, *length)),
        _ => Err(refuse(function, "expected a network")),
    }
}

fn cidr_of(text: &str) -> Option<Special> {
    let (ip, length) = text.split_once('/')?;
    let (ip, length): (IpAddr, u8) = (ip.parse().ok()?, length.parse().ok()?);
    (length <= if ip.is_ipv4() { 32 } else { 128 }).then_some(Special::Cidr(ip, length))
}

fn mask(ip: IpAddr, length: u8) -> IpAddr {
    let length = u32::from(length);
    match ip {
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() & u32::MAX.checked_shl(32 - length).unwrap_or(0)).into()),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & u128::MAX.checked_shl(128 - length).unwrap_or(0)).into()),
    }
}

fn contains((net, length): (IpAddr, u8), ip: IpAddr) -> bool {
    net.is_ipv4() == ip.is_ipv4() && mask(net, length) == mask(ip, length)
}

fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn is_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}
