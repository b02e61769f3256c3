//! Labels of the objects we read and write: KubeStash's own (specification 1.7), and `orlop.dev/…` for the rest.

/// Says which product looks after an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`].
pub const MANAGED_BY_VALUE: &str = "kubestash.com";
/// Says what part an object plays; values in [`component`].
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Name of the object that an offshoot was made for.
pub const INVOKER_NAME: &str = "kubestash.com/invoker-name";
/// Namespace of that object.
pub const INVOKER_NAMESPACE: &str = "kubestash.com/invoker-namespace";
/// Kind of that object.
pub const INVOKER_KIND: &str = "kubestash.com/invoker-kind";
/// Name of the session in its configuration.
pub const SESSION_NAME: &str = "kubestash.com/session-name";
/// Repository of a Snapshot.
pub const REPO_NAME: &str = "kubestash.com/repo-name";
/// Kind of a Snapshot's application.
pub const APP_REF_KIND: &str = "kubestash.com/app-ref-kind";
/// Namespace of a Snapshot's application.
pub const APP_REF_NAMESPACE: &str = "kubestash.com/app-ref-namespace";
/// Name of a Snapshot's application.
pub const APP_REF_NAME: &str = "kubestash.com/app-ref-name";

/// UID of the session that a Job works for.
pub const SESSION_UID: &str = "orlop.dev/session-uid";
/// Kind of that session: `BackupSession` or `RestoreSession`.
pub const SESSION_KIND: &str = "orlop.dev/session-kind";
/// Component that a Job works on.
pub const SESSION_COMPONENT: &str = "orlop.dev/component";
/// Number of the attempt that a Job is, from 1.
pub const ATTEMPT: &str = "orlop.dev/attempt";
/// What a Job does; values in [`work`].
pub const WORK: &str = "orlop.dev/work";
/// Namespace of the Repository that an object of our namespace is about.
pub const REPOSITORY_NAMESPACE: &str = "orlop.dev/repository-namespace";
/// Name of the Repository that an object of our namespace is about.
pub const REPOSITORY_NAME: &str = "orlop.dev/repository-name";

/// Values of [`COMPONENT`](super::labels::COMPONENT).
pub mod component {
    /// Jobs that back up.
    pub const BACKUP: &str = "kubestash-backup";
    /// Jobs that restore.
    pub const RESTORE: &str = "kubestash-restore";
    /// Jobs that prepare a storage.
    pub const INITIALIZER: &str = "kubestash-initializer";
    /// Jobs that write metadata.
    pub const UPLOADER: &str = "kubestash-uploader";
    /// Jobs that remove data.
    pub const CLEANER: &str = "kubestash-cleaner";
    /// Jobs that apply a retention policy.
    pub const RETENTION_POLICY: &str = "kubestash-retention-policy";
    /// Jobs that run hooks.
    pub const HOOK: &str = "kubestash-hook";
    /// Jobs that fill claims.
    pub const POPULATOR: &str = "kubestash-populator";
    /// Jobs that verify.
    pub const BACKUP_VERIFIER: &str = "kubestash-backup-verifier";
    /// Trigger pods of a schedule; a value of ours, as KubeStash has none.
    pub const TRIGGER: &str = "kubestash-trigger";
}

/// Values of [`WORK`](super::labels::WORK).
pub mod work {
    /// A backup.
    pub const BACKUP: &str = "backup";
    /// A restore.
    pub const RESTORE: &str = "restore";
    /// A retention run.
    pub const RETENTION: &str = "retention";
}

/// A label by which several GitOps tools track what they made.
pub const GITOPS_INSTANCE: &str = "app.kubernetes.io/instance";

/// Whether a label or annotation key is a GitOps tool's tracking mark.
///
/// Such marks are never passed on to objects that we make: the tool would take those for its own and remove them.
///
/// ```
/// assert!(crd_types::labels::is_gitops_mark("argocd.argoproj.io/tracking-id"));
/// assert!(!crd_types::labels::is_gitops_mark("team"));
/// ```
#[must_use]
pub fn is_gitops_mark(key: &str) -> bool {
    key == GITOPS_INSTANCE
        || key.starts_with("argocd.")
        || key.split('/').next().is_some_and(|domain| domain.ends_with(".toolkit.fluxcd.io"))
}
