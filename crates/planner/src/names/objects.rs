//! One function per kind of object we name.

use super::{CRON_JOB_NAME_LIMIT, Charset, NAME_LIMIT, Name, SHOWN_DIGITS, digest};

/// ConfigMap of Orlop's namespace that remembers containers seen terminated (architecture §4.7).
pub const TERMINATED_PODS: &str = crd_types::names::own::TERMINATED_PODS_CONFIG_MAP;

/// An object others are named after.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: an object made anew under the same name is another owner.
    pub uid: String,
}

impl Owner {
    /// The owner `namespace`/`name` with that UID.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, uid: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into(), uid: uid.into() }
    }
}

/// The CronJob that triggers one session of a BackupConfiguration: `trigger-<bc>-<session>`.
pub fn trigger_cron_job(configuration: &Owner, session: &str) -> Name {
    let familiar = format!("trigger-{}-{session}", configuration.name);
    Name::new(
        familiar.clone(),
        &familiar,
        String::new(),
        &["CronJob", &configuration.uid, session],
        CRON_JOB_NAME_LIMIT,
        Charset::Subdomain,
    )
}

/// The BackupSession of a slot, in seconds since 1970: `<bc>-<session>-<unix>`.
pub fn backup_session(configuration: &Owner, session: &str, slot: i64) -> Name {
    let slot_text = slot.to_string();
    session_name(configuration, session, slot, &["BackupSession", &configuration.uid, session, &slot_text])
}

/// The BackupSession that platform tooling asked for under an idempotency key: the same for every repetition of the
/// call, whenever it comes.
pub fn keyed_session(configuration: &Owner, session: &str, key: &str) -> Name {
    let head = format!("{}-{session}", configuration.name);
    let tuple = ["BackupSession", &configuration.uid, session, "key", key];
    let shown: String = digest(&tuple).chars().take(SHOWN_DIGITS).collect();
    Name::new(format!("{head}-{shown}"), &head, String::new(), &tuple, NAME_LIMIT, Charset::Subdomain)
}

/// The BackupSession that tries again after `failed`, due at `unix`.
pub fn retry_session(failed: &Owner, configuration: &Owner, session: &str, unix: i64) -> Name {
    let tuple = ["BackupSession", &configuration.uid, session, "retry-of", &failed.uid];
    session_name(configuration, session, unix, &tuple)
}

fn session_name(configuration: &Owner, session: &str, unix: i64, tuple: &[&str]) -> Name {
    let head = format!("{}-{session}", configuration.name);
    let suffix = format!("-{unix}");
    Name::new(format!("{head}{suffix}"), &head, suffix, tuple, NAME_LIMIT, Charset::Subdomain)
}

/// The Snapshot of a BackupSession in a Repository: `<repository>-<bc>-<session>-<unix>`.
pub fn snapshot(repository: &Owner, backup_session: &Owner) -> Name {
    let (head, suffix) = split_unix(&backup_session.name);
    let head = format!("{}-{head}", repository.name);
    Name::new(
        format!("{head}{suffix}"),
        &head,
        suffix.to_owned(),
        &["Snapshot", &repository.uid, &backup_session.uid],
        NAME_LIMIT,
        Charset::Subdomain,
    )
}

/// The Job of attempt `attempt` (from 1) at one component of a BackupSession:
/// `<namespace>-<backupsession>[-<index>][-r<attempt>]`.
pub fn backup_job(session: &Owner, component: &str, index: Option<&str>, attempt: u32) -> Name {
    let familiar = format!("{}-{}", session.namespace, session.name);
    component_job("BackupJob", &familiar, session, component, index, attempt)
}

/// The Job of attempt `attempt` at one component of a RestoreSession: `<restoresession>[-<index>]`.
pub fn restore_job(session: &Owner, component: &str, index: Option<&str>, attempt: u32) -> Name {
    component_job("RestoreJob", &session.name, session, component, index, attempt)
}

/// The Job that applies retention after a BackupSession: `retention-policy-<backupsession>`.
pub fn retention_job(session: &Owner, attempt: u32) -> Name {
    let familiar = format!("retention-policy-{}", session.name);
    component_job("RetentionJob", &familiar, session, "retention", None, attempt)
}

fn component_job(kind: &str, familiar: &str, session: &Owner, component: &str, index: Option<&str>, attempt: u32) -> Name {
    let attempt_text = attempt.to_string();
    let retry = if attempt > 1 { format!("-r{attempt}") } else { String::new() };
    let place = index.map(|index| format!("-{index}")).unwrap_or_default();
    let (head, unix) = split_unix(familiar);
    Name::new(
        format!("{familiar}{place}{retry}"),
        &format!("{head}{place}"),
        format!("{unix}{retry}"),
        &[kind, &session.uid, component, &attempt_text],
        NAME_LIMIT,
        Charset::Label,
    )
}

/// ConfigMap of Orlop's namespace with the ids of a Repository's restic repositories.
pub fn repository_ids_config_map(namespace: &str, repository: &str) -> String {
    let whole = digest(&["repository-ids", namespace, repository]);
    let shown = whole.get(..SHOWN_DIGITS).unwrap_or(&whole);
    format!("repository-ids-{shown}")
}

/// Key of a component path in that ConfigMap, where a slash is not allowed.
pub fn repository_ids_key(component_path: &str) -> String {
    component_path.replace('/', ".")
}

/// The Unix time at the end of a session's name.
pub fn trailing_unix(name: &str) -> Option<i64> {
    let (_, suffix) = split_unix(name);
    suffix.strip_prefix('-')?.parse().ok()
}

/// A name and its trailing `-<digits>`, if it has one.
fn split_unix(name: &str) -> (&str, &str) {
    let split = name.rfind('-').filter(|&dash| {
        let digits = &name[dash + 1..];
        dash > 0 && !digits.is_empty() && digits.len() <= 19 && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    match split {
        Some(dash) => name.split_at(dash),
        None => (name, ""),
    }
}
