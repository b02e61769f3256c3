//! Reading the keys of a Secret.

use std::collections::BTreeMap;

use crd_types::names::secret_key;
use k8s_openapi::ByteString;
use secrecy::SecretString;

use super::error::BackendError;

/// `data` of a Secret.
pub type SecretData = BTreeMap<String, ByteString>;

/// The key that holds a repository's password.
pub const PASSWORD_KEY: &str = secret_key::RESTIC_PASSWORD;

/// A Secret in the hands of the object that uses it; what it holds is never shown.
pub(super) struct Keys<'a> {
    /// Kind, namespace and name of the user.
    pub(super) user: String,
    /// Namespace and name of the Secret.
    pub(super) secret: String,
    pub(super) data: &'a SecretData,
}

impl Keys<'_> {
    /// A key's text without blanks around it: a line break behind a pasted key is not part of it.
    pub(super) fn find(&self, key: &'static str) -> Result<Option<String>, BackendError> {
        Ok(self.text(key)?.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
    }

    pub(super) fn require(&self, key: &'static str) -> Result<SecretString, BackendError> {
        self.find(key)?.map(SecretString::from).ok_or_else(|| self.missing(key))
    }

    pub(super) fn missing(&self, key: &'static str) -> BackendError {
        BackendError::KeyMissing { user: self.user.clone(), secret: self.secret.clone(), key }
    }

    pub(super) fn invalid(&self, key: &'static str, problem: &'static str) -> BackendError {
        BackendError::KeyInvalid { user: self.user.clone(), secret: self.secret.clone(), key, problem }
    }

    fn text(&self, key: &'static str) -> Result<Option<&str>, BackendError> {
        self.data
            .get(key)
            .map(|bytes| std::str::from_utf8(&bytes.0))
            .transpose()
            .map_err(|_| self.invalid(key, "is not text; store it as UTF-8"))
    }
}

/// The repository's password in a Secret, byte for byte: stock restic is given the same.
///
/// `user` is the object the password is for, such as `Repository demo/web`.
///
/// # Errors
/// If the key is missing, empty or not text.
pub fn password(data: &SecretData, secret: &str, user: &str) -> Result<SecretString, BackendError> {
    let keys = Keys { user: user.to_owned(), secret: secret.to_owned(), data };
    let password = keys.text(PASSWORD_KEY)?.ok_or_else(|| keys.missing(PASSWORD_KEY))?;
    if password.is_empty() {
        return Err(keys.invalid(PASSWORD_KEY, "is empty; store a password"));
    }
    Ok(SecretString::from(password))
}
