//! What the tests share.

mod crash_store;
mod fixture;
mod lying_store;
mod restic;

pub use crash_store::{CrashAt, CrashStore, copy_of};
pub use fixture::{
    Files, backup, exclusive, identity, noise, open, password, read_everything, read_snapshot, repository, shared, text,
};
pub use lying_store::{IgnoringStore, LyingStore};
pub use restic::Restic;
