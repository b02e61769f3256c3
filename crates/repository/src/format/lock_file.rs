//! Lock objects.

use serde::{Deserialize, Serialize};

/// A lock: restic's fields, and three of ours.
///
/// restic decodes locks with Go's `encoding/json` in its default mode, which passes over fields it does not know, so ours
/// do not disturb it; the interop tests prove it against the binary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockFile {
    /// When the lock was written or last refreshed, RFC 3339.
    pub time: String,
    /// Whether nobody else may hold a lock.
    #[serde(default)]
    pub exclusive: bool,
    /// The holder's host; ours writes `<pod>.<pod UID>`.
    #[serde(default)]
    pub hostname: String,
    /// The holder's user.
    #[serde(default)]
    pub username: String,
    /// The holder's process on that host.
    #[serde(default)]
    pub pid: i64,
    /// The holder's user id.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uid: u32,
    /// The holder's group id.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gid: u32,
    /// Ours: identity of the cluster that the holder runs in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster_uid: String,
    /// Ours: UID of the holder's pod.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod_uid: String,
    /// Ours: machine id of the holder's node, which a cloned cluster does not share.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub machine_id: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's attribute passes a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_lock_of_restic_reads_and_ours_adds_only_fields() {
        let text = r#"{"time":"2026-01-02T03:04:05.123456789+01:00","exclusive":true,"hostname":"h","username":"root","pid":42,"later":[1]}"#;
        let lock: LockFile = serde_json::from_str(text).unwrap();
        assert!(lock.exclusive && lock.pid == 42 && lock.cluster_uid.is_empty());
        let written = serde_json::to_string(&lock).unwrap();
        assert_eq!(
            written,
            r#"{"time":"2026-01-02T03:04:05.123456789+01:00","exclusive":true,"hostname":"h","username":"root","pid":42}"#
        );
    }
}
