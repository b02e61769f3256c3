//! Why a session's slots do not run now. Derived each time from what is so, never remembered in a user's spec
//! (architecture §3).

use crd_types::{BackupConfiguration, BackupConfigurationPhase, RestorePhase, RestoreSession, Session};
use kube::ResourceExt as _;

use crate::references::{full_name, namespace, session_name, workload};

/// Running RestoreSessions into the target of `configuration`, by namespace and name.
pub fn restores_of_target<'a>(configuration: &BackupConfiguration, restores: &'a [RestoreSession]) -> Vec<&'a RestoreSession> {
    let here = namespace(configuration);
    let Some(target) = configuration.spec.target.as_ref().map(|target| workload(target, &here)) else {
        return Vec::new();
    };
    restores.iter().filter(|restore| holds(restore) && targets(restore).as_ref() == Some(&target)).collect()
}

/// Whether a restore is under way. One that has no status yet is about to be.
pub fn holds(restore: &RestoreSession) -> bool {
    let phase = restore.status.as_ref().and_then(|status| status.phase);
    matches!(phase, None | Some(RestorePhase::Pending | RestorePhase::Running))
}

/// What a restore restores into.
pub fn targets(restore: &RestoreSession) -> Option<(String, String, String)> {
    restore.spec.target.as_ref().map(|target| workload(target, &namespace(restore)))
}

/// Why slots of `session` do not run, in a sentence; `None` when they do.
pub fn cause(configuration: &BackupConfiguration, session: &Session, restores: &[RestoreSession]) -> Option<String> {
    if configuration.spec.paused == Some(true) {
        return Some(format!("BackupConfiguration {} is paused; set spec.paused to false", full_name(configuration)));
    }
    if session.scheduler.as_ref().and_then(|scheduler| scheduler.suspend) == Some(true) {
        return Some(format!(
            "session {} of BackupConfiguration {} is suspended",
            session_name(session),
            full_name(configuration)
        ));
    }
    let phase = configuration.status.as_ref().and_then(|status| status.phase);
    if phase == Some(BackupConfigurationPhase::Invalid) {
        return Some(format!("BackupConfiguration {} is Invalid; see its condition ValidationPassed", full_name(configuration)));
    }
    let restore = restores_of_target(configuration, restores).into_iter().next()?;
    Some(format!("RestoreSession {} restores into its target; slots run again when it has ended", restore.name_any()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crd_types::RestoreSessionStatus;
    use testkit::fixtures;

    use super::*;

    fn because(configuration: &BackupConfiguration, restores: &[RestoreSession]) -> Option<String> {
        cause(configuration, &configuration.spec.sessions[0], restores)
    }

    #[test]
    fn a_running_restore_holds_the_backups_of_its_target_only() {
        let configuration = fixtures::backup_configuration("shop", "web-backup");
        let mut restore = fixtures::restore_session("shop", "back");
        assert!(because(&configuration, std::slice::from_ref(&restore)).unwrap().contains("RestoreSession back"));
        restore.status = Some(RestoreSessionStatus { phase: Some(RestorePhase::Succeeded), ..Default::default() });
        assert_eq!(because(&configuration, std::slice::from_ref(&restore)), None);
        restore.status = Some(RestoreSessionStatus { phase: Some(RestorePhase::Running), ..Default::default() });
        restore.spec.target.as_mut().unwrap().name = "other".to_owned();
        assert_eq!(because(&configuration, &[restore]), None);
    }

    #[test]
    fn a_paused_or_suspended_schedule_says_so() {
        let mut configuration = fixtures::backup_configuration("shop", "web-backup");
        assert_eq!(because(&configuration, &[]), None);
        configuration.spec.sessions[0].scheduler.as_mut().unwrap().suspend = Some(true);
        assert!(because(&configuration, &[]).unwrap().contains("session nightly"));
        configuration.spec.paused = Some(true);
        assert!(because(&configuration, &[]).unwrap().contains("spec.paused"));
    }
}
