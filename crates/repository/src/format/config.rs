//! The `config` object.

use serde::{Deserialize, Serialize};

use super::Id;

/// A repository's configuration: sealed, never compressed, written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Format version, 1 or 2.
    pub version: u32,
    /// Random id of the repository.
    pub id: Id,
    /// The chunker's polynomial in hexadecimal.
    pub chunker_polynomial: String,
}
