//! `conductor scale`: how many copies of a part run.

use std::collections::BTreeMap;
use std::str::FromStr;

use clap::Args;
use serde_json::{Value, json};

use super::failure::{Exit, Failure, Result};
use super::output::{self, Output, kind_and_name};
use super::reach::Reach;
use super::rollout::{self, Awaited, Patience};
use super::server::absent;

/// What `scale` can be told.
#[derive(Debug, Args)]
pub struct Scale {
    /// Which part, and how many copies of it; a Service's only part need not be named
    #[arg(value_name = "SERVICE[/PART]=N", required = true)]
    sizes: Vec<Size>,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    reach: Reach,
}

/// How many copies of a part are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Size {
    service: String,
    part: Option<String>,
    replicas: i32,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected SERVICE=N or SERVICE/PART=N with N from 0 to {}", model::service::REPLICAS_MAX);
        let (target, number) = text.split_once('=').ok_or_else(expected)?;
        let replicas = number.parse().ok().filter(|number| (0..=model::service::REPLICAS_MAX).contains(number)).ok_or_else(expected)?;
        let target = super::named::service(target)?;
        let (service, part) = target.split_once('/').map_or((target.as_str(), None), |(service, part)| (service, Some(part.to_owned())));
        if service.is_empty() || part.as_deref() == Some("") {
            return Err(expected());
        }
        Ok(Self { service: service.to_owned(), part, replicas })
    }
}

/// Sets the number of copies, of all Services or, where one of them has no such part, of none; and waits.
pub async fn scale(args: Scale) -> Result<()> {
    let server = args.reach.connect().await?;
    let mut sizes: BTreeMap<&str, Vec<&Size>> = BTreeMap::new();
    for size in &args.sizes {
        sizes.entry(&size.service).or_default().push(size);
    }
    for (name, sizes) in &sizes {
        let service = server.service(name).await?;
        let mut object = json!({"metadata": {"name": name}, "spec": service.spec});
        resize(&mut object, sizes)?;
    }
    let (mut objects, mut awaited) = (Vec::new(), Vec::new());
    for (name, sizes) in &sizes {
        let (object, is_changed) = server.change_service(name, |object| resize(object, sizes)).await?;
        if args.output.is_for_people() {
            output::done(&format!("{} {}\n", kind_and_name(&object), if is_changed { "scaled" } else { "unchanged" }))?;
        }
        awaited.push(Awaited { namespace: server.namespace.clone(), name: (*name).to_owned(), is_changed });
        objects.push(object);
    }
    let settled = rollout::settle(&server, &awaited, &args.patience, &args.output).await;
    if !args.output.is_for_people() {
        args.output.objects(&objects, String::new)?;
    }
    settled
}

fn resize(service: &mut Value, sizes: &[&Size]) -> Result<()> {
    for size in sizes {
        let parts = service["spec"]["parts"].as_array_mut().map_or(&mut [][..], Vec::as_mut_slice);
        let names: Vec<String> = parts.iter().map(|part| part["name"].as_str().unwrap_or_default().to_owned()).collect();
        let part = match (&size.part, parts) {
            (None, [only]) => only,
            (None, []) => return Err(Failure::new(Exit::NotFound, format!("Service {} has no parts", size.service))),
            (None, _) => return Err(several(size, &names)),
            (Some(name), parts) => parts.iter_mut().find(|part| part["name"] == **name).ok_or_else(|| {
                let what = format!("Service {} has no part {name}; it has {}", size.service, names.join(", "));
                absent(&what, name, names.iter().map(String::as_str))
            })?,
        };
        // What is left out means 1; writing it would be a change of text and of nothing else.
        if part["replicas"].as_i64().unwrap_or(1) != i64::from(size.replicas) {
            part["replicas"] = json!(size.replicas);
        }
    }
    Ok(())
}

fn several(size: &Size, names: &[String]) -> Failure {
    let ways: Vec<String> = names.iter().map(|name| format!("{}/{name}={}", size.service, size.replicas)).collect();
    Failure::usage(format!("Service {} has several parts: say which, as in {}", size.service, ways.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> Size {
        text.parse().unwrap()
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(size("shop=3"), Size { service: "shop".into(), part: None, replicas: 3 });
        assert_eq!(size("service/shop/web=0"), size("shop/web=0"));
        assert_eq!(size("shop/web=0"), Size { service: "shop".into(), part: Some("web".into()), replicas: 0 });
        for text in ["shop", "shop=", "shop=-1", "shop=1001", "shop=x", "=3", "shop/=3", "/web=3"] {
            assert!(text.parse::<Size>().unwrap_err().contains("expected SERVICE=N"), "{text}");
        }
    }

    #[test]
    fn a_part_is_found_and_resized() {
        let shop = |parts: &Value| json!({"spec": {"parts": parts}});
        let one = json!([{"name": "web"}]);
        let two = json!([{"name": "web", "replicas": 2}, {"name": "worker"}]);
        for (parts, sizes, expected) in [
            (&one, &["shop=3"][..], Ok(json!([{"name": "web", "replicas": 3}]))),
            (&one, &["shop=1"], Ok(json!([{"name": "web"}]))),
            (&two, &["shop/worker=4", "shop/web=0"], Ok(json!([{"name": "web", "replicas": 0}, {"name": "worker", "replicas": 4}]))),
            (&two, &["shop=3"], Err((Exit::Usage, "say which, as in shop/web=3 or shop/worker=3"))),
            (&two, &["shop/wbe=3"], Err((Exit::NotFound, "it has web, worker: did you mean web?"))),
            (&json!([]), &["shop=3"], Err((Exit::NotFound, "has no parts"))),
        ] {
            let sizes: Vec<Size> = sizes.iter().map(|text| size(text)).collect();
            let mut service = shop(parts);
            match (resize(&mut service, &sizes.iter().collect::<Vec<_>>()), expected) {
                (Ok(()), Ok(expected)) => assert_eq!(service, shop(&expected)),
                (Err(failure), Err((exit, words))) => {
                    assert_eq!(failure.exit(), exit);
                    assert!(failure.message().contains(words), "{}", failure.message());
                }
                (got, expected) => panic!("{got:?} where {expected:?} was expected"),
            }
        }
    }
}
