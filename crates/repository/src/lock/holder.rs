//! Who holds a lock, and who can say whether the holder lives.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::format::{Id, LockFile};

/// Who we are, as our locks say it.
#[derive(Debug, Clone, Default)]
pub struct LockIdentity {
    /// `<pod>.<pod UID>`: restic takes a lock of its own host name for stale if no process has the lock's pid, and pods on the
    /// host network share the host's name.
    pub hostname: String,
    /// User name, may be empty.
    pub username: String,
    /// Process id.
    pub pid: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Identity of the cluster.
    pub cluster_uid: String,
    /// UID of the pod.
    pub pod_uid: String,
    /// Machine id of the node.
    pub machine_id: String,
}

impl LockIdentity {
    pub(super) fn lock_file(&self, time: Timestamp, exclusive: bool) -> LockFile {
        LockFile {
            time: time.to_string(),
            exclusive,
            hostname: self.hostname.clone(),
            username: self.username.clone(),
            pid: self.pid.into(),
            uid: self.uid,
            gid: self.gid,
            cluster_uid: self.cluster_uid.clone(),
            pod_uid: self.pod_uid.clone(),
            machine_id: self.machine_id.clone(),
        }
    }
}

/// A lock in the store, as far as it can be read. What it says about its holder is the holder's own word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockHolder {
    /// Id of the lock object.
    pub lock_id: Id,
    /// Whether it excludes everybody; assumed of a lock that cannot be read.
    pub exclusive: bool,
    /// When the store took the object, by the store's clock.
    pub modified: Timestamp,
    /// The time in the lock, by the holder's clock; empty if it cannot be read.
    pub time: String,
    /// Host name; empty if the lock cannot be read.
    pub hostname: String,
    /// User name.
    pub username: String,
    /// Process id on that host.
    pub pid: i64,
    /// Ours: identity of the holder's cluster; empty in locks of other programs.
    pub cluster_uid: String,
    /// Ours: UID of the holder's pod.
    pub pod_uid: String,
    /// Ours: machine id of the holder's node.
    pub machine_id: String,
}

impl LockHolder {
    pub(super) fn new(lock_id: Id, modified: Timestamp, lock: LockFile) -> Self {
        Self {
            lock_id,
            exclusive: lock.exclusive,
            modified,
            time: lock.time,
            hostname: lock.hostname,
            username: lock.username,
            pid: lock.pid,
            cluster_uid: lock.cluster_uid,
            pod_uid: lock.pod_uid,
            machine_id: lock.machine_id,
        }
    }

    /// The holder of a lock that cannot be read. It stays in the way, for it may be a newer version's.
    pub(super) fn unreadable(lock_id: Id, modified: Timestamp) -> Self {
        Self {
            lock_id,
            exclusive: true,
            modified,
            time: String::new(),
            hostname: String::new(),
            username: String::new(),
            pid: 0,
            cluster_uid: String::new(),
            pod_uid: String::new(),
            machine_id: String::new(),
        }
    }
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.time.is_empty() {
            return write!(f, "an unreadable lock {} of {}", self.lock_id.short(), self.modified);
        }
        // What stands in a lock comes from whoever can write to the bucket: control characters stay escaped.
        let (host, user) = (self.hostname.escape_debug(), self.username.escape_debug());
        let kind = if self.exclusive { "exclusive lock" } else { "lock" };
        write!(f, "PID {} on {host} by {user} ({kind} {} of {})", self.pid, self.lock_id.short(), self.time.escape_debug())
    }
}

/// Whether the holder of a lock lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockVerdict {
    /// It is certain that the process that held the lock is gone.
    Dead {
        /// Why, in a sentence; goes into events.
        proof: String,
    },
    /// It runs.
    Alive,
    /// Nobody knows.
    Unknown,
}

/// Asked about each lock that is in the way. Only `Dead`, with its proof, lets a lock be removed before it is stale.
#[async_trait]
pub trait LockJudge: Send + Sync {
    /// Judges the holder. May be asked again and again while we wait.
    async fn judge(&self, holder: &LockHolder) -> LockVerdict;
}

/// Knows nothing of anybody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoJudge;

#[async_trait]
impl LockJudge for NoJudge {
    async fn judge(&self, _: &LockHolder) -> LockVerdict {
        LockVerdict::Unknown
    }
}
