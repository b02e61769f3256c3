//! What has to be known of a BackupSession before anything is decided about it.

use crd_types::BackupSession;
use kube::ResourceExt as _;
use planner::names::Owner;

use super::Error;

/// A session whose identity is certain.
#[derive(Debug, Clone)]
pub struct Validated {
    /// The session.
    pub session: BackupSession,
    /// Its namespace, name and UID.
    pub owner: Owner,
}

impl Validated {
    /// Checks a session.
    ///
    /// # Errors
    /// [`Error::Incomplete`] for an object that the API server did not complete.
    pub fn new(session: BackupSession) -> Result<Self, Error> {
        let namespace = session.namespace().ok_or(Error::Incomplete("namespace"))?;
        let uid = session.uid().ok_or(Error::Incomplete("UID"))?;
        let name = session.metadata.name.clone().ok_or(Error::Incomplete("name"))?;
        Ok(Self { session, owner: Owner::new(namespace, name, uid) })
    }

    /// How messages name it.
    pub fn display(&self) -> String {
        format!("BackupSession {}/{}", self.owner.namespace, self.owner.name)
    }

    /// The same session after a write.
    #[must_use]
    pub fn with(self, session: BackupSession) -> Self {
        Self { session, ..self }
    }
}
