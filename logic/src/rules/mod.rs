//! Rules in CEL: what people say of their own objects in a definition or an admission policy.
//!
//! Nothing a rule says can hold the server up or bring it down: an expression is bounded when it is read ([`Program`]), and
//! what its loops could cost over the values at hand is reckoned before it runs ([`Budget`]).

mod authorizer;
mod check;
mod collections;
mod functions;
mod library;
mod macros;
mod named_formats;
mod objects;
mod overloads;
mod program;
mod types;

pub use authorizer::{Authorizer, Target};
pub use cel::Value as CelValue;
pub use check::{Rule, Rules, check, compile};
pub use objects::to_json;
pub use program::{BROKEN, Budget, Program, Variables, duration, time, to_cel};
pub use types::{Known, problem as type_problem, rule_problem, text_problem};

#[cfg(test)]
mod overload_tests;
#[cfg(test)]
mod tests;
