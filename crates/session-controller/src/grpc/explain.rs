//! Why a session is where it is, from what the planner has written into its conditions.

use proto_api::common::v1alpha1::Condition;
use proto_api::session::v1alpha1 as pb;

/// The chain: the phase first, then every condition that holds the session up or ended it, then the components.
pub fn reasons(session: &pb::Session) -> Vec<pb::Reason> {
    let phase = pb::Reason { step: "Phase".into(), reason: session.phase.clone(), message: phase_sentence(session) };
    let conditions = session.conditions.iter().filter(|condition| explains(condition)).map(|condition| pb::Reason {
        step: condition.r#type.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    });
    let components = session.components.iter().filter(|component| !component.error.is_empty()).map(|component| pb::Reason {
        step: format!("Component {}", component.name),
        reason: component.phase.clone(),
        message: component.error.clone(),
    });
    std::iter::once(phase).chain(conditions).chain(components).collect()
}

/// A condition explains if it is False, or if it is one whose being True is the news.
fn explains(condition: &Condition) -> bool {
    const NEWS: [&str; 6] = [
        "BackupSkipped",
        "BackupIncomplete",
        "RestoreIncomplete",
        "SnapshotCleanupIncomplete",
        "PodHasBeenInPendingStateForLongerThanExpected",
        "orlop.dev/Progressing",
    ];
    condition.status == "False" || NEWS.contains(&condition.r#type.as_str())
}

fn phase_sentence(session: &pb::Session) -> String {
    let done = session.components.iter().filter(|component| component.phase == "Succeeded").count();
    match (session.complete, session.components.len()) {
        (true, _) => format!("the session is complete: {}", session.phase),
        (false, 0) => "the session has not begun to move data".to_owned(),
        (false, all) => format!("{done} of {all} components are done"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: &str, status: &str) -> Condition {
        Condition { r#type: kind.into(), status: status.into(), message: format!("about {kind}"), ..Condition::default() }
    }

    #[test]
    fn what_holds_a_session_up_is_told_and_what_went_well_is_not() {
        let session = pb::Session {
            phase: "Pending".into(),
            conditions: vec![condition("SnapshotsEnsured", "True"), condition("orlop.dev/Progressing", "False")],
            components: vec![pb::ComponentStatus { name: "dump".into(), error: "no space".into(), ..Default::default() }],
            ..pb::Session::default()
        };
        let steps: Vec<String> = reasons(&session).into_iter().map(|reason| reason.step).collect();
        assert_eq!(steps, ["Phase", "orlop.dev/Progressing", "Component dump"]);
    }
}
