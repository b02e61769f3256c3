//! Fixed names that are neither labels nor annotations (specification 1.7).

/// Finalizer of every kind that has clean-up work.
pub const FINALIZER: &str = "kubestash.com/cleanup";

/// API group of storages, repositories, snapshots and retention policies.
pub const STORAGE_GROUP: &str = "storage.kubestash.com";
/// API group of configurations, sessions, hooks and verifiers.
pub const CORE_GROUP: &str = "core.kubestash.com";
/// API group of the catalogue.
pub const ADDONS_GROUP: &str = "addons.kubestash.com";
/// The one version of all groups.
pub const VERSION: &str = "v1alpha1";
/// Group that a Repository names when its configuration has no target.
pub const NO_TARGET: &str = "na";

/// Field managers of server-side apply, one for each process.
pub mod manager {
    /// The storage-initializer's.
    pub const STORAGE_INITIALIZER: &str = "orlop-storage-initializer";
    /// The scheduler's.
    pub const SCHEDULER: &str = "orlop-scheduler";
    /// The session-controller's.
    pub const SESSION_CONTROLLER: &str = "orlop-session-controller";
}

/// Layout version that new Snapshots carry.
pub const LAYOUT_VERSION: &str = "v1";
/// Type of every Snapshot that is made.
pub const FULL_BACKUP: &str = "FullBackup";
/// Name of a Snapshot that stands for the newest successful one.
pub const LATEST: &str = "latest";

/// Host name that restic snapshots carry.
pub const RESTIC_HOST: &str = "host-0";
/// Scratch volume of Jobs.
pub const TMP_VOLUME: &str = "kubestash-tmp-volume";
/// Where the scratch volume is mounted.
pub const TMP_MOUNT_PATH: &str = "/kubestash-tmp";
/// Volume for data that a Job only passes on.
pub const INTERIM_VOLUME: &str = "kubestash-interim-volume";
/// Volume with the data of a claim that is a target itself.
pub const DATA_VOLUME: &str = "kubestash-data-volume";
/// Where that volume is mounted.
pub const DATA_MOUNT_PATH: &str = "/kubestash-data";
/// Container of a trigger pod.
pub const TRIGGER_CONTAINER: &str = "trigger";

/// Keys of credential and password Secrets (specification 3.5).
pub mod secret_key {
    /// Password of a restic repository.
    pub const RESTIC_PASSWORD: &str = "RESTIC_PASSWORD";
    /// Access key of an S3 store.
    pub const AWS_ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
    /// Secret key of an S3 store.
    pub const AWS_SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
    /// Certificates to trust, in PEM.
    pub const CA_CERT_DATA: &str = "CA_CERT_DATA";
    /// Key of an Azure storage account.
    pub const AZURE_ACCOUNT_KEY: &str = "AZURE_ACCOUNT_KEY";
    /// Key of a Google service account, in JSON.
    pub const GOOGLE_SERVICE_ACCOUNT_JSON_KEY: &str = "GOOGLE_SERVICE_ACCOUNT_JSON_KEY";
}

/// Secrets and ConfigMaps that Orlop keeps in its own namespace.
pub mod own {
    /// Certificate and key of Orlop's own certificate authority.
    pub const CA_SECRET: &str = "orlop-ca";
    /// Key that proves which Jobs are Orlop's.
    pub const JOB_PROOF_SECRET: &str = "orlop-job-proof";
    /// Key of the data in [`JOB_PROOF_SECRET`].
    pub const JOB_PROOF_KEY: &str = "key";
    /// Pods that were seen terminated.
    pub const TERMINATED_PODS_CONFIG_MAP: &str = "orlop-terminated-pods";
}
