//! What a container is told of resources: its own requests and limits, as `resourceFieldRef` asks.

use k8s_openapi::api::core::v1::{Pod, ResourceFieldSelector};

use crate::quantity::billionths;

/// What may be asked for.
pub const RESOURCES: [&str; 4] = ["limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];

/// What a node has to give: the limit of a container that says none.
#[derive(Debug, Clone, Copy)]
pub struct Allocatable {
    /// Processors.
    pub processors: usize,
    /// Memory, in bytes.
    pub memory_bytes: u64,
}

/// The amount that is asked for, divided and rounded up as Kubernetes does. `own` is the container that asks; the selector may
/// name another. Errors: what is wrong with the selector, in a sentence.
pub fn resource_value(pod: &Pod, own: &str, selector: &ResourceFieldSelector, node: Allocatable) -> Result<String, String> {
    let name = selector.container_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(own);
    let spec = pod.spec.as_ref();
    let mut containers = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let container = containers.find(|container| container.name == name).ok_or_else(|| format!("there is no container {name:?}"))?;
    let resource = selector.resource.as_str();
    let (side, of) = resource.split_once('.').filter(|_| RESOURCES.contains(&resource)).ok_or_else(|| unknown(resource))?;
    let resources = container.resources.as_ref();
    let list = resources.and_then(|resources| if side == "limits" { resources.limits.as_ref() } else { resources.requests.as_ref() });
    let said = list.and_then(|list| list.get(of)).map(|quantity| quantity.0.as_str());
    let of_node = || match of {
        "cpu" => node.processors.to_string(),
        _ => node.memory_bytes.to_string(),
    };
    let amount = match said {
        Some(said) => said.to_owned(),
        None if side == "limits" => of_node(),
        None => "0".into(),
    };
    let divisor = selector.divisor.as_ref().map(|divisor| divisor.0.as_str()).filter(|text| !["", "0"].contains(text)).unwrap_or("1");
    let read = |text: &str| billionths(text).filter(|amount| *amount >= 0).ok_or_else(|| format!("{text:?} is no amount"));
    let (amount, divisor) = (read(&amount)?, read(divisor)?);
    if divisor == 0 {
        return Err("divisor: must be more than 0".into());
    }
    Ok(((amount + divisor - 1) / divisor).to_string())
}

/// What is said of a resource that cannot be asked for.
pub fn unknown(resource: &str) -> String {
    format!("{resource:?}: supported values: {}", RESOURCES.map(|name| format!("{name:?}")).join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_divided_and_rounded_up() {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [
            {"name": "a", "resources": {"limits": {"memory": "64Mi", "cpu": "1500m"}, "requests": {"cpu": "250m"}}}, {"name": "b"}]}}))
        .unwrap();
        let check = |own: &str, selector: serde_json::Value, expected: Result<&str, &str>| {
            let selector = serde_json::from_value(selector).unwrap();
            let found = resource_value(&pod, own, &selector, Allocatable { processors: 4, memory_bytes: 1 << 30 });
            match expected {
                Ok(value) => assert_eq!(found.as_deref(), Ok(value), "{selector:?}"),
                Err(words) => assert!(found.as_ref().is_err_and(|why| why.contains(words)), "{selector:?}: {found:?}"),
            }
        };
        check("a", json!({"resource": "limits.memory"}), Ok("67108864"));
        check("a", json!({"resource": "limits.memory", "divisor": "1Mi"}), Ok("64"));
        check("a", json!({"resource": "limits.memory", "divisor": "60Mi"}), Ok("2"));
        check("a", json!({"resource": "limits.cpu"}), Ok("2"));
        check("a", json!({"resource": "limits.cpu", "divisor": "1m"}), Ok("1500"));
        check("a", json!({"resource": "requests.cpu", "divisor": "0"}), Ok("1"));
        check("a", json!({"resource": "requests.memory"}), Ok("0"));
        check("b", json!({"resource": "limits.cpu"}), Ok("4"));
        check("b", json!({"resource": "limits.memory", "divisor": "1Gi"}), Ok("1"));
        check("b", json!({"resource": "requests.cpu", "containerName": "a", "divisor": "1m"}), Ok("250"));
        check("b", json!({"resource": "requests.cpu", "containerName": "c"}), Err("no container \"c\""));
        check("b", json!({"resource": "limits.gpu"}), Err("supported values: \"limits.cpu\""));
        check("b", json!({"resource": "limits.cpu", "divisor": "-1"}), Err("is no amount"));
    }
}
