//! How people write which object they mean: `shop`, `service/shop`, `services.conductor.dev/shop`, as commands print it with `-o name`;
//! and lengths of time.

use std::fmt;

use model::{KINDS, Kind};

/// The name of a Service. Errors: it says another kind.
pub fn service(text: &str) -> Result<String, String> {
    of_kind(text, &model::service::kind())
}

/// The name of a Revision, or its number. Errors: it says another kind.
pub fn revision(text: &str) -> Result<String, String> {
    of_kind(text, &model::revision::kind())
}

/// What is left of `kind/name` when the kind is this one, or is not said. What follows a name, as in `shop/web`, stays.
pub fn of_kind(text: &str, kind: &Kind) -> Result<String, String> {
    let Some((word, rest)) = text.split_once('/') else { return Ok(text.to_owned()) };
    if is_called(kind, word) {
        return Ok(rest.to_owned());
    }
    match KINDS.iter().map(|other| other()).find(|other| is_called(other, word)) {
        Some(other) => Err(format!("expected a {}, found the {} {rest}", kind.kind, other.kind)),
        None => Ok(text.to_owned()),
    }
}

/// A Pod by `pod/NAME`, or whatever is named without a kind or as a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `pod/NAME`.
    Pod(String),
    /// `service/NAME` or `service/NAME/PART`.
    Service(String),
    /// `NAME` or `NAME/PART`.
    Either(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Pod(name) | Self::Service(name) | Self::Either(name)) = self;
        f.write_str(name)
    }
}

/// A Pod or a Service. Errors: it says another kind.
pub fn target(text: &str) -> Result<Target, String> {
    let Some((word, rest)) = text.split_once('/') else { return Ok(Target::Either(text.to_owned())) };
    if is_called(&model::pod::kind(), word) {
        return Ok(Target::Pod(rest.to_owned()));
    }
    let named = of_kind(text, &model::service::kind()).map_err(|said| said.replacen("a Service", "a Service or a Pod", 1))?;
    Ok(if named == text { Target::Either(named) } else { Target::Service(named) })
}

/// Whether people call a kind so: its names, long and short, with and without group and version.
pub fn is_called(kind: &Kind, word: &str) -> bool {
    let short = kind.short_names.iter().map(|name| name.to_string());
    let plain: Vec<String> =
        [kind.plural.to_string(), kind.singular.to_string(), kind.kind.to_lowercase()].into_iter().chain(short).collect();
    let (name, group) = word.split_once('.').map_or((word, None), |(name, group)| (name, Some(group)));
    let is_of_group = group.is_none_or(|group| group == kind.group || group == format!("{}.{}", kind.version, kind.group));
    is_of_group && plain.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// A length of time such as 90s or 5m; a number alone counts seconds. Errors: it is none.
pub fn time(text: &str) -> Result<model::Duration, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = if is_number { format!("{text}s") } else { text.to_owned() };
    text.parse().map_err(|error| format!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_say_its_kind_and_no_other() {
        for text in
            ["shop", "service/shop", "services/shop", "Service/shop", "service.conductor.dev/shop", "services.v1.conductor.dev/shop"]
        {
            assert_eq!(service(text).as_deref(), Ok("shop"), "{text}");
        }
        assert_eq!(service("shop/web").as_deref(), Ok("shop/web"));
        assert_eq!(service("service/shop/web").as_deref(), Ok("shop/web"));
        assert_eq!(service("pod/shop-web-1-0"), Err("expected a Service, found the Pod shop-web-1-0".into()));
        assert_eq!(service("services.other.dev/shop").as_deref(), Ok("services.other.dev/shop"));
        assert_eq!(target("pod/a"), Ok(Target::Pod("a".into())));
        assert_eq!(target("po/a"), Ok(Target::Pod("a".into())));
        assert_eq!(
            target("svc/a/web"),
            if is_called(&model::service::kind(), "svc") {
                Ok(Target::Service("a/web".into()))
            } else {
                Ok(Target::Either("svc/a/web".into()))
            }
        );
        assert_eq!(target("a/web"), Ok(Target::Either("a/web".into())));
        assert!(target("configmap/a").is_err_and(|said| said.contains("expected a Service or a Pod, found the ConfigMap a")));
    }

    #[test]
    fn every_kind_is_called_as_commands_print_it() {
        for kind in KINDS.iter().map(|kind| kind()) {
            let printed = super::super::output::kind_and_name(&serde_json::json!({"kind": kind.kind, "metadata": {"name": "x"}}));
            assert_eq!(of_kind(&printed, &kind).as_deref(), Ok("x"), "{printed}");
        }
    }

    #[test]
    fn a_number_counts_seconds() {
        for (text, seconds) in [("5", 5), ("5s", 5), ("2m", 120), ("0", 0)] {
            assert_eq!(time(text).unwrap().get().as_secs(), seconds, "{text}");
        }
        for text in ["", "soon", "-5", "5x"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
