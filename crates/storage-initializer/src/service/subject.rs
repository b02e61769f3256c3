//! What a mover claims to work for, held against what its Job was made for.

use crd_types::labels::work;
use planner::{layout::match_component, names::label_value};
use proto_api::{
    common::v1alpha1::ObjectRef,
    status::ApiError,
    storage::v1alpha1::{
        AccessSubject, BackupSessionAccess, RestoreSessionAccess, RetentionAccess, access_subject::Subject as Wire,
    },
};

use super::{mover::Mover, unsupported};

/// Component label of retention Jobs.
const RETENTION_COMPONENT: &str = "retention";

/// A subject that is the caller's own.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Subject {
    /// Back up one component into one Repository.
    Backup { session: String, repository: String, component: String },
    /// Restore one component of a Snapshot, maybe of another namespace.
    Restore { session: String, snapshot: (String, String), component: String },
    /// Forget and prune.
    Retention { session: String, repository: String, component_paths: Vec<String> },
}

impl Subject {
    /// Label for metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Backup { .. } => "backup",
            Self::Restore { .. } => "restore",
            Self::Retention { .. } => "retention",
        }
    }
}

/// The claimed subject, if it is what the caller's Job was made for.
///
/// # Errors
/// `InvalidArgument` for a subject that says too little, `PermissionDenied` for somebody else's, `Unimplemented` for
/// kinds of work that do not exist yet.
pub(super) fn own(subject: Option<&AccessSubject>, mover: &Mover) -> Result<Subject, ApiError> {
    let wire = subject.and_then(|subject| subject.subject.as_ref());
    match wire.ok_or_else(|| missing("subject"))? {
        Wire::BackupSession(BackupSessionAccess { backup_session, repository, component }) => {
            let session = own_session(backup_session.as_ref(), "BackupSession", work::BACKUP, mover)?;
            own_component(component, mover)?;
            let repository = in_namespace(repository.as_ref(), "repository", mover)?;
            Ok(Subject::Backup { session, repository, component: component.clone() })
        }
        Wire::RestoreSession(RestoreSessionAccess { restore_session, snapshot, component }) => {
            let session = own_session(restore_session.as_ref(), "RestoreSession", work::RESTORE, mover)?;
            own_source(component, mover)?;
            let snapshot = snapshot.as_ref().filter(|snapshot| !snapshot.name.is_empty());
            let snapshot = snapshot.ok_or_else(|| missing("snapshot"))?;
            let namespace = if snapshot.namespace.is_empty() { &mover.namespace } else { &snapshot.namespace };
            let snapshot = (namespace.clone(), snapshot.name.clone());
            Ok(Subject::Restore { session, snapshot, component: component.clone() })
        }
        Wire::Retention(RetentionAccess { backup_session, repository, component_paths }) => {
            let session = own_session(backup_session.as_ref(), "BackupSession", work::RETENTION, mover)?;
            own_component(RETENTION_COMPONENT, mover)?;
            let repository = in_namespace(repository.as_ref(), "repository", mover)?;
            if component_paths.is_empty() {
                return Err(missing("component_paths"));
            }
            Ok(Subject::Retention { session, repository, component_paths: component_paths.clone() })
        }
        Wire::Cleanup(_) => Err(unsupported("clean-up")),
        Wire::LocalMetadata(_) => Err(unsupported("metadata of local storages")),
        Wire::Browse(_) => Err(unsupported("browsing")),
    }
}

/// The session's name, if it is the one that owns the caller's Job.
fn own_session(session: Option<&ObjectRef>, kind: &str, work: &str, mover: &Mover) -> Result<String, ApiError> {
    let session = session.ok_or_else(|| missing("session"))?;
    let is_own = mover.work == work
        && mover.session.kind == kind
        && mover.session.uid == session.uid
        && mover.session.name == session.name
        && (session.namespace.is_empty() || session.namespace == mover.namespace);
    if !is_own {
        return Err(ApiError::permission_denied(format!(
            "Job {}/{} was not made for {work} of {}",
            mover.namespace,
            mover.job,
            session.display()
        )));
    }
    Ok(session.name.clone())
}

fn own_component(component: &str, mover: &Mover) -> Result<(), ApiError> {
    if component.is_empty() {
        return Err(missing("component"));
    }
    if label_value(component) != mover.component {
        return Err(ApiError::permission_denied(format!(
            "Job {}/{} was made for component {}, not {component}",
            mover.namespace, mover.job, mover.component
        )));
    }
    Ok(())
}

/// A restore names the Snapshot's component, which older Snapshots call otherwise than today's Jobs (specification §4.3).
fn own_source(component: &str, mover: &Mover) -> Result<(), ApiError> {
    match match_component(component, [mover.component.as_str()]) {
        Some(_) => Ok(()),
        None => own_component(component, mover),
    }
}

/// The name of an object in the session's own namespace.
fn in_namespace(reference: Option<&ObjectRef>, field: &str, mover: &Mover) -> Result<String, ApiError> {
    let reference = reference.filter(|reference| !reference.name.is_empty()).ok_or_else(|| missing(field))?;
    if !reference.namespace.is_empty() && reference.namespace != mover.namespace {
        return Err(ApiError::permission_denied(format!(
            "{} is not in the session's namespace {}",
            reference.display(),
            mover.namespace
        )));
    }
    Ok(reference.name.clone())
}

fn missing(field: &str) -> ApiError {
    ApiError::invalid_argument(format!("the request does not say its {field}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use proto_api::{status::ErrorCode, status::ServiceError as _, storage::v1alpha1::BrowseAccess};

    use super::*;

    fn mover(work: &str, component: &str) -> Mover {
        let kind = if work == "restore" { "RestoreSession" } else { "BackupSession" };
        Mover {
            namespace: "demo".to_owned(),
            pod: "pod".to_owned(),
            job: "job".to_owned(),
            session: OwnerReference {
                kind: kind.to_owned(),
                name: "web-nightly-1".to_owned(),
                uid: "uid-1".to_owned(),
                ..OwnerReference::default()
            },
            component: component.to_owned(),
            work: work.to_owned(),
        }
    }

    fn backup(session: ObjectRef, repository: ObjectRef, component: &str) -> AccessSubject {
        AccessSubject {
            subject: Some(Wire::BackupSession(BackupSessionAccess {
                backup_session: Some(session),
                repository: Some(repository),
                component: component.to_owned(),
            })),
        }
    }

    fn session() -> ObjectRef {
        ObjectRef::named("BackupSession", "demo", "web-nightly-1").with_uid("uid-1")
    }

    fn repository() -> ObjectRef {
        ObjectRef::named("Repository", "demo", "web-repo")
    }

    #[test]
    fn the_own_session_is_accepted() {
        let subject = backup(session(), repository(), "dump");
        assert_eq!(
            own(Some(&subject), &mover("backup", "dump")).unwrap(),
            Subject::Backup {
                session: "web-nightly-1".to_owned(),
                repository: "web-repo".to_owned(),
                component: "dump".to_owned()
            }
        );
    }

    /// I12: another session's id, another namespace, another component, another kind of work are all refused.
    #[test]
    fn everything_else_is_refused() {
        let own_mover = mover("backup", "dump");
        let cases = [
            (backup(session().with_uid("uid-2"), repository(), "dump"), own_mover.clone()),
            (backup(ObjectRef { name: "other".to_owned(), ..session() }, repository(), "dump"), own_mover.clone()),
            (backup(ObjectRef { namespace: "other".to_owned(), ..session() }, repository(), "dump"), own_mover.clone()),
            (backup(session(), ObjectRef { namespace: "other".to_owned(), ..repository() }, "dump"), own_mover.clone()),
            (backup(session(), repository(), "dump-pod-1"), own_mover.clone()),
            (backup(session(), repository(), "dump"), mover("retention", "dump")),
            (backup(session(), repository(), "dump"), mover("restore", "dump")),
        ];
        for (subject, mover) in cases {
            let error = own(Some(&subject), &mover).unwrap_err();
            assert_eq!(error.code(), ErrorCode::PermissionDenied, "{error}");
        }
    }

    /// Specification §4.3: what is `pod-0` in an old Snapshot is `dump-pod-0` in a Job.
    #[test]
    fn a_restore_may_name_an_older_component() {
        let restore = |component: &str| AccessSubject {
            subject: Some(Wire::RestoreSession(RestoreSessionAccess {
                restore_session: Some(ObjectRef::named("RestoreSession", "demo", "web-nightly-1").with_uid("uid-1")),
                snapshot: Some(ObjectRef::named("Snapshot", "prod", "s-1")),
                component: component.to_owned(),
            })),
        };
        let own_mover = mover("restore", "dump-pod-0");
        for component in ["dump-pod-0", "pod-0"] {
            assert!(own(Some(&restore(component)), &own_mover).is_ok(), "{component}");
        }
        for component in ["dump-pod-1", "pod-1", "", "dump"] {
            assert!(own(Some(&restore(component)), &own_mover).is_err(), "{component}");
        }
    }

    #[test]
    fn incomplete_and_future_subjects_say_so() {
        let own_mover = mover("backup", "dump");
        assert_eq!(own(None, &own_mover).unwrap_err().code(), ErrorCode::InvalidArgument);
        let nameless = backup(session(), ObjectRef::default(), "dump");
        assert_eq!(own(Some(&nameless), &own_mover).unwrap_err().code(), ErrorCode::InvalidArgument);
        let browse = AccessSubject { subject: Some(Wire::Browse(BrowseAccess::default())) };
        assert_eq!(own(Some(&browse), &own_mover).unwrap_err().code(), ErrorCode::Unimplemented);
    }
}
