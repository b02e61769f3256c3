//! The directories in a directory, when its own tree is put away: that may be a large one, and those below it are as many again.

use crate::TreeId;
use crate::error::{Error, Result};
use crate::source::names::Names;

/// Directories by name, in stored order. Each takes its name and 40 bytes.
#[derive(Debug, Default)]
pub(super) struct Subtrees {
    names: Names,
    ids: Vec<TreeId>,
}

impl Subtrees {
    /// Adds a directory at the end.
    ///
    /// # Errors
    /// [`Error::Internal`] if its names are longer than those of any tree.
    pub fn push(&mut self, name: &[u8], id: &TreeId) -> Result<()> {
        self.names.push(name).map_err(Error::internal)?;
        self.ids.push(*id);
        Ok(())
    }

    /// The directory at this place.
    pub fn get(&self, at: usize) -> Option<(&[u8], TreeId)> {
        self.ids.get(at).map(|id| (self.names.get(at), *id))
    }
}
