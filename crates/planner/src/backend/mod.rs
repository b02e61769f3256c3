//! From a BackupStorage and its Secret to a description of the backend (specification §1.3.1,
//! §3.5). No I/O: the storage-initializer and the mover turn the description into a connection.

mod description;
mod error;
mod place;
mod secret;

pub use description::{BackendDescription, Credentials, Location, describe, secret_name};
pub use error::BackendError;
pub use place::same_place;
pub use secret::{PASSWORD_KEY, SecretData, password};

#[cfg(test)]
mod tests;
