//! Kinds of the group `addons.kubestash.com`.

mod addon;
mod function;

pub use addon::*;
pub use function::*;
