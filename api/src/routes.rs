//! What Kubernetes' router refuses before a request of one of its own kinds is read: no route has such a path, a patch of no known
//! type, an answer in no known media type. Kinds that people define have one route for all, and their handler says it in its own words.

use http::{HeaderMap, Method};

use crate::path::Place;
use crate::registry::Served;
use crate::status::{Result, Status};
use crate::verbs::patch_types;
use crate::{answer, body, protobuf};

/// What every route gives.
const PRODUCED: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];
/// What a route that lists, and so may watch, gives too.
const STREAMED: [&str; 2] = ["application/json;stream=watch", protobuf::WATCH_MEDIA_TYPE];

/// Subresources whose routes take and give anything.
const STREAMS: [&str; 4] = ["log", "exec", "attach", "portforward"];

/// Errors: 406 and 415 of a request to one of Kubernetes' own kinds whose media types no route has.
pub fn check(served: &Served, place: &Place, method: &Method, headers: &HeaderMap) -> Result<()> {
    let streams = place.subresource.as_deref().is_some_and(|name| STREAMS.contains(&name));
    if !served.protobuf || streams {
        return Ok(());
    }
    if method == Method::PATCH && !patch_types(&served.kind).contains(&body::plain_media_type(headers)) {
        return Err(Status::no_such_consumption());
    }
    let lists = method == Method::GET && place.name.is_none();
    let produced: Vec<&str> = PRODUCED.into_iter().chain(STREAMED.into_iter().filter(|_| lists)).collect();
    if is_any_produced(&produced, &answer::ranges(headers)) { Ok(()) } else { Err(Status::no_such_representation(&produced)) }
}

/// Whether one of the media types asked for is given, whatever their parameters. That of any subtype is not known to the router.
fn is_any_produced(produced: &[&str], ranges: &[&str]) -> bool {
    let is_produced = |range: &&str| {
        let media = range.split(';').next().unwrap_or_default().trim();
        media == "*/*" || produced.contains(&media)
    };
    ranges.is_empty() || ranges.iter().any(is_produced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_gives_what_it_says_whatever_the_parameters() {
        for (accept, expected) in [
            (&[][..], true),
            (&["text/html", "*/*;q=0.1"][..], true),
            (&["application/json;as=Chair;v=v9"][..], true),
            (&["application/yaml"][..], true),
            (&["text/html"][..], false),
            (&["application/*"][..], false),
            (&["application/cbor", "text/*"][..], false),
        ] {
            assert_eq!(is_any_produced(&PRODUCED, accept), expected, "{accept:?}");
        }
    }
}
