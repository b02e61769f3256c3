//! Annotations that we read and write. Settings of ours are annotations because KubeStash's schema has no place for
//! them and the API server would prune new fields.

/// Names the blueprint that a workload wants.
pub const BLUEPRINT_NAME: &str = "blueprint.kubestash.com/name";
/// Namespace of that blueprint.
pub const BLUEPRINT_NAMESPACE: &str = "blueprint.kubestash.com/namespace";
/// Sessions of the blueprint to take, comma-separated.
pub const BLUEPRINT_SESSION_NAMES: &str = "blueprint.kubestash.com/session-names";
/// Prefix of the variables of a blueprint.
pub const BLUEPRINT_VARIABLES: &str = "variables.kubestash.com/";

/// On a Secret: namespaces that may use it, comma-separated, or `*`.
pub const ALLOW_NAMESPACES: &str = "orlop.dev/allow-namespaces";
/// On a session: end it. Any value but `false` counts.
pub const CANCEL: &str = "orlop.dev/cancel";
/// On a BackupConfiguration or a BackupSession: `report` lets a component succeed although files of it could not be read; `fail`
/// lets it fail also for files that changed or vanished while it was backed up, which are only told otherwise.
pub const SOURCE_ERRORS: &str = "orlop.dev/source-errors";
/// On a session or a BackupConfiguration: most bytes per second that a mover sends to the store, as a quantity such as `10Mi`. The
/// session's own word comes first. Changes are in force at once.
pub const UPLOAD_LIMIT: &str = "orlop.dev/upload-limit";
/// The same for what a mover reads from the store.
pub const DOWNLOAD_LIMIT: &str = "orlop.dev/download-limit";
/// On a BackupConfiguration: time in which all stored data is read back once by the checks after its backups, such as `30d`; `off`
/// for never.
pub const DATA_CHECK_PERIOD: &str = "orlop.dev/data-check-period";
/// On a RestoreSession: `report` lets a component succeed although owners of files could not be set.
pub const OWNERSHIP: &str = "orlop.dev/ownership";
/// On a RestoreSession: what happens to what the target holds already. `merge` leaves alone what the snapshot does not have, `replace`
/// removes it when everything else is restored, `refuse` restores into empty directories only.
pub const EXISTING: &str = "orlop.dev/existing";
/// On a RestoreSession: `drop` leaves out set-id bits, devices and privileged attributes; `restore` restores them.
pub const PRIVILEGED: &str = "orlop.dev/privileged";
/// On a BackupSession: what made it; values in [`triggered_by`].
pub const TRIGGERED_BY: &str = "orlop.dev/triggered-by";
/// On a BackupSession: the slot it serves, in RFC 3339.
pub const SLOT: &str = "orlop.dev/slot";
/// On a retry: name of the BackupSession that failed.
pub const RETRY_OF: &str = "orlop.dev/retry-of";
/// On a CronJob: the highest slot that was served, in RFC 3339.
pub const SERVED_SLOT: &str = "orlop.dev/served-slot";
/// On a CronJob: when its slots last began to count, in RFC 3339: it was resumed, or its schedule was changed. Earlier
/// slots are never made up for.
pub const SETTLED_SLOT: &str = "orlop.dev/settled-slot";
/// On a CronJob: the latest slot that was given up, in RFC 3339.
pub const MISSED_SLOT: &str = "orlop.dev/missed-slot";
/// On a Job: proof that the session-controller made it.
pub const JOB_PROOF: &str = "orlop.dev/job-proof";
/// On a Snapshot: when its data was removed, in RFC 3339.
pub const DATA_REMOVED: &str = "orlop.dev/data-removed";
/// In `repository.yaml`: identifiers of the restic repositories, by component path.
pub const REPOSITORY_IDS: &str = "orlop.dev/repository-ids";
/// On sessions and Jobs: trace context, as the W3C header has it.
pub const TRACEPARENT: &str = "orlop.dev/traceparent";
/// On objects with computed names: digest of what the name stands for.
pub const NAME_TUPLE: &str = "orlop.dev/name-tuple";

/// Set by the CronJob controller on its Jobs: the slot a Job was made for, in RFC 3339.
pub const CRON_JOB_SLOT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// Values of [`TRIGGERED_BY`](super::annotations::TRIGGERED_BY).
pub mod triggered_by {
    /// The trigger pod of a CronJob's slot.
    pub const CRON_JOB: &str = "cronjob";
    /// The scheduler, making up for a slot whose trigger did not come.
    pub const WATCHDOG: &str = "watchdog";
    /// The first time a configuration was ready.
    pub const INITIAL: &str = "initial";
    /// A person or a tool.
    pub const MANUAL: &str = "manual";
    /// A failed session with retries left.
    pub const RETRY: &str = "retry";
}
