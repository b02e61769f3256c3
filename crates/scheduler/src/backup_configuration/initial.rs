//! The first backup of each session, at once when the configuration is Ready (specification §2.3 step 9).

use std::collections::BTreeMap;

use crd_types::{
    BackupConfiguration, BackupConfigurationStatus,
    annotations::triggered_by,
    conditions::{INITIAL_BACKUP_TRIGGERED, reason},
};
use jiff::Timestamp;
use kube_kit::conditions::{Wanted, is_true, set};
use planner::names;

use crate::{
    context::Context,
    references::{owner, session},
    sessions::{Cause, CreateError, ensure, retries},
};

/// Creates what is missing and notes it in `status`; answers the first failure.
///
/// The session's name is a function of the configuration's creation, so a crash between the creation and the note makes
/// no second one.
pub async fn trigger(
    context: &Context,
    configuration: &BackupConfiguration,
    status: &mut BackupConfigurationStatus,
    now: Timestamp,
) -> Result<(), CreateError> {
    let Some(created) = configuration.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second()) else {
        return Ok(());
    };
    let mut failure = None;
    for entry in &mut status.sessions {
        if is_true(&entry.conditions, INITIAL_BACKUP_TRIGGERED) {
            continue;
        }
        let Some(session) = entry.name.as_deref().and_then(|name| session(configuration, name)) else { continue };
        let name = entry.name.as_deref().unwrap_or_default();
        let cause = Cause {
            configuration,
            session,
            name: names::backup_session(&owner(configuration), name, created),
            retry_left: retries(session),
            triggered_by: triggered_by::INITIAL,
            notes: BTreeMap::new(),
        };
        let wanted = match ensure(context, cause).await {
            Ok(_) => Wanted::yes(
                INITIAL_BACKUP_TRIGGERED,
                reason::SUCCESSFULLY_TRIGGERED_INITIAL_BACKUP,
                "Initial backup has been triggered successfully.",
            ),
            Err(error) => {
                let wanted = Wanted::no(INITIAL_BACKUP_TRIGGERED, reason::FAILED_TO_TRIGGER_INITIAL_BACKUP, error.to_string());
                failure.get_or_insert(error);
                wanted
            }
        };
        set(&mut entry.conditions, wanted, now);
    }
    failure.map_or(Ok(()), Err)
}
