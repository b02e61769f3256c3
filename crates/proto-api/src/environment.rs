//! Environment variables and files by which the control plane tells a pod of ours where to call.
//!
//! None of them is a secret: tokens are projected files, everything else is handed out over gRPC (architecture §5).

/// `host:port` of the session-controller's headless service; a mover dials each of its addresses.
pub const SESSION_SERVICE: &str = "ORLOP_SESSION_SERVICE";
/// Name that the session-controller's certificate must bear.
pub const SESSION_SERVER_NAME: &str = "ORLOP_SESSION_SERVER_NAME";
/// `host:port` of the storage-initializer's service.
pub const STORAGE_SERVICE: &str = "ORLOP_STORAGE_SERVICE";
/// Name that the storage-initializer's certificate must bear.
pub const STORAGE_SERVER_NAME: &str = "ORLOP_STORAGE_SERVER_NAME";
/// Certificate authorities to trust, PEM text; may hold the old and the new one.
pub const CA_BUNDLE: &str = "ORLOP_CA_BUNDLE";
/// Path of the token file for the session-controller.
pub const SESSION_TOKEN_FILE: &str = "ORLOP_SESSION_TOKEN_FILE";
/// Path of the token file for the storage-initializer.
pub const STORAGE_TOKEN_FILE: &str = "ORLOP_STORAGE_TOKEN_FILE";
/// Kind of the session: `BackupSession` or `RestoreSession`.
pub const SESSION_KIND: &str = "ORLOP_SESSION_KIND";
/// Namespace of the session.
pub const SESSION_NAMESPACE: &str = "ORLOP_SESSION_NAMESPACE";
/// Name of the session.
pub const SESSION_NAME: &str = "ORLOP_SESSION_NAME";
/// UID of the session.
pub const SESSION_UID: &str = "ORLOP_SESSION_UID";
/// Component that the Job works on, for example `dump`; `retention` for a retention Job.
pub const COMPONENT: &str = "ORLOP_COMPONENT";
/// The component under the name that KubeStash gives it.
pub const COMPONENT_NAME: &str = "COMPONENT_NAME";
/// Attempt, from 1.
pub const ATTEMPT: &str = "ORLOP_ATTEMPT";
/// W3C trace context of the session.
pub const TRACEPARENT: &str = "TRACEPARENT";
/// Name of the pod, from the downward API.
pub const POD_NAME: &str = "POD_NAME";
/// UID of the pod, from the downward API.
pub const POD_UID: &str = "POD_UID";
/// Name of the node, from the downward API.
pub const NODE_NAME: &str = "NODE_NAME";

/// `host:port` of the scheduler's service, for trigger pods.
pub const SCHEDULE_SERVICE: &str = "ORLOP_SCHEDULE_SERVICE";
/// Name that the scheduler's certificate must bear.
pub const SCHEDULE_SERVER_NAME: &str = "ORLOP_SCHEDULE_SERVER_NAME";
/// Path of the token file for the scheduler.
pub const SCHEDULE_TOKEN_FILE: &str = "ORLOP_SCHEDULE_TOKEN_FILE";
/// Namespace of the BackupConfiguration to trigger.
pub const BACKUP_CONFIGURATION_NAMESPACE: &str = "ORLOP_BACKUP_CONFIGURATION_NAMESPACE";
/// Name of the BackupConfiguration to trigger.
pub const BACKUP_CONFIGURATION: &str = "ORLOP_BACKUP_CONFIGURATION";
/// Session of the BackupConfiguration to trigger.
pub const SESSION: &str = "ORLOP_SESSION";

/// Where pods of ours find the token for the session-controller.
pub const SESSION_TOKEN_PATH: &str = "/var/run/secrets/orlop.dev/session/token";
/// Where pods of ours find the token for the storage-initializer.
pub const STORAGE_TOKEN_PATH: &str = "/var/run/secrets/orlop.dev/storage/token";
/// Where trigger pods find the token for the scheduler.
pub const SCHEDULE_TOKEN_PATH: &str = "/var/run/secrets/orlop.dev/schedule/token";
/// Where a container leaves its last words for the kubelet.
pub const TERMINATION_LOG_PATH: &str = "/dev/termination-log";
