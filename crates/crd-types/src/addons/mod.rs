//! Versions of the group `addons.kubestash.com`.

pub mod v1alpha1;
