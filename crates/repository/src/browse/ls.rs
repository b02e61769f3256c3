//! Listing a snapshot.

use super::path::{is_at_or_below, normal};
use super::walk::{Choice, Step, Walk};
use crate::TreeId;
use crate::control::Control;
use crate::error::Result;
use crate::pack::BlobReader;

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct LsRequest {
    /// Absolute paths; what stands at them and directly in them is listed. Everything if there is none.
    pub directories: Vec<Vec<u8>>,
    /// Whether everything below the directories is listed.
    pub recursive: bool,
}

/// Lists a snapshot, or some of its directories, in the order of names.
pub fn ls(
    reader: &BlobReader,
    root: TreeId,
    request: &LsRequest,
    control: &Control,
) -> impl Iterator<Item = Result<Step>> + use<> {
    let directories: Vec<Vec<u8>> = request.directories.iter().map(|directory| normal(directory)).collect();
    let recursive = request.recursive || directories.is_empty();
    Walk::new(reader, root, control, move |path, _| {
        let within = directories.is_empty() || directories.iter().any(|directory| is_at_or_below(path, directory));
        let towards = directories.iter().any(|directory| is_at_or_below(directory, path));
        Choice { show: within, descend: within && recursive || towards }
    })
}
