//! Every key in the bucket, in one place (specification §3.1).
//!
//! ```text
//! <root>                         bucket + prefix, or the mount path of a local storage
//! ├── metadata.yaml
//! └── <directory>/               Repository.spec.path
//!     ├── repository.yaml
//!     ├── snapshots/             marker, then <snapshot>.yaml each
//!     └── repository/v1/<session>/<component>/    one restic repository
//! ```
//!
//! Keys are relative to the root. Whatever reaches a key has been parsed first: a [`Directory`] or
//! a [`ComponentPath`] cannot leave the root nor name anything twice (reliability S-03).

mod claim;
mod component;
pub mod documents;
mod path;

pub use claim::{DirectoryClaim, Overlap, check_directories};
pub use component::{COMPONENT_PREFIX, ComponentPath, LAYOUT_VERSION, match_component};
pub use path::{Directory, PathError, StoragePrefix};

/// The object that says a storage was initialised.
pub const METADATA_KEY: &str = "metadata.yaml";

/// The Repository object of a directory.
pub fn repository_key(directory: &Directory) -> String {
    format!("{directory}/repository.yaml")
}

/// The empty object that stands for the `snapshots` folder.
pub fn snapshots_marker_key(directory: &Directory) -> String {
    format!("{directory}/snapshots/")
}

/// The copy of a Snapshot object. `snapshot` is the name of a Kubernetes object, hence safe.
pub fn snapshot_key(directory: &Directory, snapshot: &str) -> String {
    format!("{directory}/snapshots/{snapshot}.yaml")
}

/// Where one component's restic repository begins; no slash at the end.
pub fn restic_prefix(directory: &Directory, component: &ComponentPath) -> String {
    format!("{directory}/{component}")
}

#[cfg(test)]
mod tests;
