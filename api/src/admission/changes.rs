//! Who changes an object before it is stored: policies, then webhooks; and once more those that ask for it, when something changed
//! the object after them.

use logic::admission::{Policy, Request, matching};
use serde_json::Value;

use super::policies::{self, Parameters};
use super::{Asked, webhooks};
use crate::query::FieldValidation;
use crate::serve::Call;
use crate::status::{Result, Status};
use crate::{addressed, admit, conversion};

/// One that may change an object.
#[derive(Clone, Copy)]
enum Step<'a> {
    /// A policy, the name of a binding that puts it in force, and that binding's spec.
    Policy(&'a Policy, &'a str, &'a Value),
    /// A webhook.
    Webhook(&'a Value),
}

fn steps(asked: &Asked) -> Vec<Step<'_>> {
    let bound = asked.mutating_bindings.iter().filter_map(|(name, binding)| {
        let spec = &binding["spec"];
        Some(Step::Policy(asked.mutating_policies.get(spec["policyName"].as_str()?)?, name, spec))
    });
    bound.chain(webhooks::each(&asked.mutating).map(Step::Webhook)).collect()
}

impl Asked {
    /// Whether there is anything that changes objects.
    pub fn may_change(&self) -> bool {
        !self.mutating.is_empty() || !self.mutating_bindings.is_empty()
    }

    /// Whether anything that changes objects concerns a request.
    pub fn concerns(&self, request: &Request) -> bool {
        steps(self).into_iter().any(|step| step.concerns(request))
    }
}

/// Has all that concern a request change its object; whether it changed. Errors: what a webhook refuses, and what fails.
pub async fn change(call: &Call, asked: &Asked, request: &mut Request) -> Result<bool> {
    let first = request.object.clone();
    let mut seen = Vec::new();
    for step in steps(asked) {
        if step.take(call, request).await? {
            seen.push((step, request.object.clone()));
        }
    }
    for (step, left) in seen {
        if step.is_repeated() && left != request.object {
            step.take(call, request).await?;
        }
    }
    Ok(request.object != first)
}

impl Step<'_> {
    fn is_repeated(self) -> bool {
        match self {
            Self::Policy(policy, ..) => policy.is_repeated(),
            Self::Webhook(webhook) => webhook["reinvocationPolicy"] == "IfNeeded",
        }
    }

    fn concerns(self, request: &Request) -> bool {
        match self {
            Self::Policy(policy, _, spec) => {
                changes_such(request)
                    && matching::matched(&spec["matchResources"], "resourceRules", true, request).is_some()
                    && matching::matched(&policy.constraints, "resourceRules", false, request).is_some()
            }
            Self::Webhook(webhook) => matching::matched(webhook, "rules", false, request).is_some(),
        }
    }

    /// Has it change the object of a request; whether it was asked.
    async fn take(self, call: &Call, request: &mut Request) -> Result<bool> {
        match self {
            Self::Policy(policy, binding, spec) if self.concerns(request) => {
                take_policy(call, policy, binding, spec, request).await.map(|()| true)
            }
            Self::Policy(..) => Ok(false),
            Self::Webhook(webhook) => webhooks::apply(call, webhook, request).await,
        }
    }
}

/// What goes has no object to change; and what is sent to some subresources is no object that is stored.
fn changes_such(request: &Request) -> bool {
    request.object.is_object() && request.resource.kind_api.is_none()
}

async fn take_policy(call: &Call, policy: &Policy, binding: &str, spec: &Value, request: &mut Request) -> Result<()> {
    let refused = |why: &str| {
        let message = format!("policy '{}' with binding '{binding}' denied request: {why}", policy.name);
        Status::refused_by_policy(call.kind(), &request.name, message)
    };
    let all = match policies::parameters(call, policy, spec, request).await? {
        Parameters::None => vec![None],
        Parameters::Some(all) => all.into_iter().map(Some).collect(),
        Parameters::Missing(why) => {
            let failure = policy.failed(&format!("failed to configure binding: {why}")).failures.pop();
            return failure.map_or(Ok(()), |(why, _)| Err(refused(&why)));
        }
    };
    let Some(matched) = matching::matched(&policy.constraints, "resourceRules", false, request) else { return Ok(()) };
    let registry = call.server.kinds().await?;
    let other = registry.find(&matched.group, &matched.version, &matched.plural).filter(|_| conversion::is_needed(&call.served));
    let served = other.unwrap_or(&call.served);
    for params in all {
        let finish = |object: &mut Value| {
            addressed::place(&served.kind, &call.place, object).map_err(|status| status.message)?;
            admit::shape(served, object, FieldValidation::Strict).map_err(|status| status.message)?;
            admit::fill_in(served, object);
            Ok(())
        };
        let seen = conversion::seen(call, request, &matched).await?;
        let changed = policy.change(&seen, &matched, params.as_ref(), &served.shape, finish);
        if let Some(why) = changed.failures.first() {
            return Err(refused(why));
        }
        request.object = conversion::in_version(call, &request.resource.api_version(), changed.object).await?;
    }
    Ok(())
}
