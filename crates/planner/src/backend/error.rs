//! What can be wrong with a BackupStorage or its Secret.

use thiserror::Error;

use crate::layout::PathError;

/// Why a backend cannot be described. Every message names the object and the remedy, none a value
/// of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BackendError {
    /// A field that is needed is not there.
    #[error("BackupStorage {storage} does not set {field}; set it")]
    FieldMissing {
        /// Namespace and name of the BackupStorage.
        storage: String,
        /// The field.
        field: &'static str,
    },
    /// A provider nobody knows.
    #[error("BackupStorage {storage}: unknown provider {provider:?}; use s3, gcs, azure or local")]
    UnknownProvider {
        /// Namespace and name of the BackupStorage.
        storage: String,
        /// The provider as written.
        provider: String,
    },
    /// A field says something that cannot be.
    #[error("BackupStorage {storage}: {field} {value:?} {problem}")]
    FieldInvalid {
        /// Namespace and name of the BackupStorage.
        storage: String,
        /// The field.
        field: &'static str,
        /// What it says.
        value: String,
        /// What is wrong and what is right.
        problem: &'static str,
    },
    /// The prefix leads elsewhere.
    #[error("BackupStorage {storage}: {cause}")]
    Prefix {
        /// Namespace and name of the BackupStorage.
        storage: String,
        /// What is wrong.
        cause: PathError,
    },
    /// The Secret is not there.
    #[error("BackupStorage {storage}: its Secret {secret} does not exist; create it with the key {keys}")]
    SecretMissing {
        /// Namespace and name of the BackupStorage.
        storage: String,
        /// Namespace and name of the Secret.
        secret: String,
        /// Keys it must have.
        keys: &'static str,
    },
    /// A key of the Secret is not there.
    #[error("{user}: its Secret {secret} lacks the key {key}; add it")]
    KeyMissing {
        /// Kind, namespace and name of the object that uses the Secret.
        user: String,
        /// Namespace and name of the Secret.
        secret: String,
        /// The key.
        key: &'static str,
    },
    /// A key of the Secret holds what cannot be used.
    #[error("{user}: the key {key} of its Secret {secret} {problem}")]
    KeyInvalid {
        /// Kind, namespace and name of the object that uses the Secret.
        user: String,
        /// Namespace and name of the Secret.
        secret: String,
        /// The key.
        key: &'static str,
        /// What is wrong and what is right.
        problem: &'static str,
    },
}

impl BackendError {
    /// The error as one word for conditions, events and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::FieldMissing { .. } | Self::FieldInvalid { .. } | Self::Prefix { .. } => "InvalidStorage",
            Self::UnknownProvider { .. } => "UnknownProvider",
            Self::SecretMissing { .. } => "BackendSecretNotAvailable",
            Self::KeyMissing { .. } | Self::KeyInvalid { .. } => "InvalidSecret",
        }
    }

    /// Whether the Secret itself is what is missing (condition `BackendSecretFound`).
    pub fn is_missing_secret(&self) -> bool {
        matches!(self, Self::SecretMissing { .. })
    }
}
