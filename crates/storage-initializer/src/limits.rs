//! How long and how often. Each number outlives its author, so each says why.

use std::time::Duration;

/// How long one request to a store is repeated before a controller takes it for unreachable. Controllers come back by
/// themselves, so this only has to outlast a hiccup.
pub const STORE_PATIENCE: Duration = Duration::from_secs(10);

/// A Ready storage is looked at this often, so that a bucket that vanished or a key that was revoked shows before the
/// next backup does (architecture §3, row 2-3).
pub const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// First pause after a storage was found unusable; KubeStash asks again every ten seconds (specification §2.1).
pub const FIRST_RETRY: Duration = Duration::from_secs(5);

/// Longest pause: a storage that is repaired is Ready within a minute.
pub const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Pause between looks at what a deletion waits for.
pub const DELETION_POLL: Duration = Duration::from_secs(1);

/// How long a finalizer waits for its dependents or for an unreachable store before it lets go (reliability B8).
pub const DELETION_PATIENCE: Duration = Duration::from_secs(30);

/// How long after its components a Snapshot's metadata may take to reach the bucket. Shorter than the thirty minutes
/// without progress after which a session ends, so that the cause is said before the deadline speaks.
pub const METADATA_UPLOAD_PATIENCE: Duration = Duration::from_secs(20 * 60);

/// Pause between attempts to upload a Snapshot's metadata: a session waits for it.
pub const METADATA_UPLOAD_RETRY: Duration = Duration::from_secs(5);

/// Largest metadata object that is read. The largest that is written, a Snapshot with a thousand components, has less
/// than one MiB; anything larger is not ours.
pub const LARGEST_METADATA: u64 = 4 << 20;

/// Snapshots listed in a Repository's status (specification §1.3.2).
pub const RECENT_SNAPSHOTS: usize = 5;

/// Longest wait for the API server while a call of a mover or of platform tooling is answered.
pub const API_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause after so many failures in a row.
pub fn retry_pause(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(LONGEST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let pauses: Vec<u64> = (1..=6).map(|failures| retry_pause(failures).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
        assert_eq!(retry_pause(u32::MAX), LONGEST_RETRY);
    }
}
