//! What the tests share.

mod crash_store;
mod fixture;
mod restic;

pub use crash_store::{CrashAt, CrashStore, copy_of};
pub use fixture::{
    Files, backup, exclusive, identity, noise, open, password, read_everything, read_snapshot, repository, shared, text,
};
pub use restic::Restic;
