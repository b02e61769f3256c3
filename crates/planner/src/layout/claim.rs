//! Who owns which directory of a storage.

use super::path::{Directory, PathError};

/// How two directories of one storage lie to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// Apart.
    None,
    /// The same directory.
    Same,
    /// The first lies inside the second.
    Inside,
    /// The first contains the second.
    Contains,
}

impl Directory {
    /// How this directory lies to `other`.
    pub fn overlap(&self, other: &Directory) -> Overlap {
        let below = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
        if self == other {
            Overlap::Same
        } else if below(self.as_str(), other.as_str()) {
            Overlap::Inside
        } else if below(other.as_str(), self.as_str()) {
            Overlap::Contains
        } else {
            Overlap::None
        }
    }
}

/// A Repository's hold on a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryClaim {
    /// Namespace of the Repository.
    pub namespace: String,
    /// Name of the Repository.
    pub repository: String,
    /// Namespace and name of its BackupStorage.
    pub storage: (String, String),
    /// Its directory.
    pub directory: Directory,
}

/// Whether `own` may hold its directory beside `others` (specification §1.6, reliability S-03).
///
/// # Errors
/// If another Repository on the same storage has the same directory, or one inside the other:
/// deleting the outer one would take the inner one's data along.
pub fn check_directories(own: &DirectoryClaim, others: &[DirectoryClaim]) -> Result<(), PathError> {
    let elsewhere = |other: &&DirectoryClaim| {
        other.storage == own.storage && (other.namespace != own.namespace || other.repository != own.repository)
    };
    for other in others.iter().filter(elsewhere) {
        let relation = match own.directory.overlap(&other.directory) {
            Overlap::None => continue,
            Overlap::Same => "is also the directory",
            Overlap::Inside => "lies inside the directory",
            Overlap::Contains => "contains the directory",
        };
        let (storage_namespace, storage_name) = &own.storage;
        return Err(PathError::Taken(format!(
            "directory `{}` of Repository {}/{} {relation} `{}` of Repository {}/{} on BackupStorage \
             {storage_namespace}/{storage_name}; give each Repository a directory of its own",
            own.directory, own.namespace, own.repository, other.directory, other.namespace, other.repository,
        )));
    }
    Ok(())
}
