//! A seam for tests: failures that a healthy file system does not give on demand.

use std::{fmt, io, path::Path, sync::Arc};

/// What is about to be done with a path of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceStep {
    /// Its metadata is about to be read.
    Stat,
    /// A directory is about to be opened and listed.
    List,
    /// A file is about to be opened.
    Open,
    /// Content is about to be read from this offset on.
    Read {
        /// Offset in bytes.
        offset: u64,
    },
}

/// Called before each step; what it does to the tree meanwhile, or the error it returns, is what the backup must cope with.
pub trait SourceFaults: Send + Sync {
    /// The step happens if this is `Ok`, else it counts as having failed with the error.
    ///
    /// # Errors
    /// Whatever failure the test wants to see.
    fn before(&self, step: SourceStep, path: &Path) -> io::Result<()>;
}

/// No faults, or those of a test.
#[derive(Clone, Default)]
pub struct FaultHook(pub Option<Arc<dyn SourceFaults>>);

impl FaultHook {
    /// Asks the hook; the path is only put together if there is one.
    ///
    /// # Errors
    /// The hook's.
    pub fn before<P: AsRef<Path>>(&self, step: SourceStep, path: impl FnOnce() -> P) -> io::Result<()> {
        match &self.0 {
            Some(faults) => faults.before(step, path().as_ref()),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for FaultHook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("FaultHook").field(&self.0.is_some()).finish()
    }
}
