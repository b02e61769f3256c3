//! What the tests share.
#![allow(dead_code, unused_imports, reason = "each target uses its part")]

mod counting_store;
mod fixture;
mod lying_store;
mod restic;
mod spoil;

pub use counting_store::CountingStore;
pub use fixture::{
    Files, backup, copy_of, exclusive, identity, noise, open, password, read_everything, read_snapshot, repository, shared, text,
};
pub use lying_store::{Garbling, GarblingStore, HidingStore, IgnoringStore, LyingStore};
pub use restic::Restic;
pub use spoil::{cut, exists, flip, locate, pack_key};
