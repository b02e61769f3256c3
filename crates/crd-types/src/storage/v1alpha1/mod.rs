//! Kinds of the group `storage.kubestash.com`.

mod backup_storage;
mod component;
mod repository;
mod retention_policy;
mod snapshot;

pub use backup_storage::*;
pub use component::*;
pub use repository::*;
pub use retention_policy::*;
pub use snapshot::*;
