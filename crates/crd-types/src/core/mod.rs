//! Versions of the group `core.kubestash.com`.

pub mod v1alpha1;
