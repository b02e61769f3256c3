//! Sessions: names, schedules, addons.

use std::collections::BTreeSet;

use crd_types::{BackupConfiguration, SchedulerSpec, Session, duration};
use planner::{
    resolve::{self, Verb},
    schedule::{CronSchedule, slots::Concurrency},
    workload::check_template,
};

use super::{super::dereference::Dereferenced, Checked, CheckedSession};
use crate::references::{namespace, session_name};

pub(super) fn check<'a>(checked: &mut Checked<'a>, configuration: &'a BackupConfiguration, found: &Dereferenced) {
    if configuration.spec.sessions.is_empty() {
        checked.problem("NoSession", "spec.sessions is empty; name at least one session");
    }
    let mut names = BTreeSet::new();
    for session in &configuration.spec.sessions {
        let name = session_name(session);
        if name.is_empty() {
            checked.problem("SessionNotNamed", "a session has no name; give each spec.sessions[] a name");
        } else if !names.insert(name) {
            checked.problem("SessionNotUnique", format!("two sessions are named {name:?}; give each its own name"));
        }
        check_durations(checked, session, name);
        check_schedule(checked, session, name);
        check_addon(checked, session, name, &namespace(configuration), found);
        let hooks = session.hooks.as_ref();
        if hooks.is_some_and(|hooks| !hooks.pre_backup.is_empty() || !hooks.post_backup.is_empty()) {
            checked.problem(
                "HooksNotSupported",
                format!("session {name:?} has hooks, which are not supported yet; remove them or run them yourself"),
            );
        }
    }
}

fn check_durations(checked: &mut Checked<'_>, session: &Session, name: &str) {
    let delay = session.retry_config.as_ref().and_then(|retry| retry.delay.as_deref());
    for (field, text) in [("backupTimeout", session.backup_timeout.as_deref()), ("retryConfig.delay", delay)] {
        if let Some(Err(error)) = text.filter(|text| !text.is_empty()).map(duration::parse) {
            checked.problem("DurationInvalid", format!("{field} of session {name:?}: {error}"));
        }
    }
}

fn check_schedule<'a>(checked: &mut Checked<'a>, session: &'a Session, name: &str) {
    let Some(scheduler) = &session.scheduler else {
        checked.problem("SchedulerMissing", format!("session {name:?} has no scheduler; set its schedule"));
        return;
    };
    let SchedulerSpec { schedule, concurrency_policy, starting_deadline_seconds, .. } = scheduler;
    if Concurrency::parse(concurrency_policy.as_deref()).is_none() {
        let written = concurrency_policy.as_deref().unwrap_or_default();
        checked.problem(
            "ConcurrencyPolicyInvalid",
            format!("concurrencyPolicy {written:?} of session {name:?} is none of Allow, Forbid and Replace"),
        );
    }
    if starting_deadline_seconds.is_some_and(|seconds| seconds < 0) {
        checked.problem(
            "StartingDeadlineInvalid",
            format!("startingDeadlineSeconds of session {name:?} is negative; use 0 or more"),
        );
    }
    match CronSchedule::parse(schedule) {
        Ok(schedule) => checked.sessions.push(CheckedSession { session, scheduler, schedule }),
        Err(error) => checked.problem("ScheduleInvalid", format!("session {name:?}: {error}")),
    }
}

fn check_addon(checked: &mut Checked<'_>, session: &Session, name: &str, here: &str, found: &Dereferenced) {
    let Some(info) = &session.addon else {
        checked.problem("AddonNotNamed", format!("session {name:?} has no addon; name one and its task"));
        return;
    };
    let addon_name = info.name.as_deref().unwrap_or_default();
    if addon_name.is_empty() {
        checked.problem("AddonNotNamed", format!("the addon of session {name:?} has no name; name an Addon"));
        return;
    }
    let Some(addon) = found.addons.get(addon_name) else {
        checked.problem(
            "AddonNotFound",
            format!("Addon {addon_name} of session {name:?} does not exist; install it or correct the name"),
        );
        return;
    };
    if let Err(error) = check_template(info, here, false) {
        checked.problem("TemplateRefused", format!("session {name:?}: {error}"));
    }
    match resolve::check(Verb::Backup, addon, info) {
        Err(error) => checked.problem(error.reason(), format!("session {name:?}: {error}")),
        Ok(known) if !found.functions.contains_key(&known.function) => match resolve::select(Verb::Backup, addon, info) {
            Ok(task) => {
                let error = resolve::function_missing(&task);
                checked.problem(error.reason(), format!("session {name:?}: {error}"));
            }
            Err(error) => checked.problem(error.reason(), format!("session {name:?}: {error}")),
        },
        Ok(_) => {}
    }
}
