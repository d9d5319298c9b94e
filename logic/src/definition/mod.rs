//! Kinds that people define themselves: what a CustomResourceDefinition says, and what follows for its objects.
//!
//! [`check::problems`] refuses a definition that cannot be served, [`names::accept`] decides which names it gets, and
//! [`Structural`] is its schema, compiled: what is kept of an object, what is filled in, what is wrong with it.

pub mod check;
mod check_schema;
pub mod conversion;
mod default;
mod formats;
pub mod json_path;
pub mod names;
mod prune;
pub mod scale;
mod structural;
mod values;

#[cfg(test)]
mod tests;

pub(crate) use formats::fits;
pub use structural::Structural;
