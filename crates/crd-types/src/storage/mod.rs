//! Versions of the group `storage.kubestash.com`.

pub mod v1alpha1;
