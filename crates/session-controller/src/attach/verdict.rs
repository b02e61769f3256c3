//! Whether the holder of a lock is dead (architecture §4.7). Only what a kubelet of this cluster reported proves a death;
//! a pod that is missing proves nothing.

use proto_api::mover::v1alpha1::{HolderState, LockHolder, LockSeen, LockVerdict};

use crate::pods::Record;

/// What is known of a pod.
#[derive(Debug, Clone, Default)]
pub(super) struct Knowledge {
    /// The record of its container's end.
    pub record: Option<Record>,
    /// Namespace and name, if it is seen running.
    pub running: Option<(String, String)>,
}

/// Answers a mover's question.
pub(super) fn answer(seen: &LockSeen, cluster_uid: &str, knowledge: &Knowledge) -> LockVerdict {
    let holder = seen.holder.clone().unwrap_or_default();
    let (state, proof) = judge(&holder, cluster_uid, knowledge);
    LockVerdict { target_id: seen.target_id.clone(), lock_id: holder.lock_id, state: state.into(), proof }
}

fn judge(holder: &LockHolder, cluster_uid: &str, knowledge: &Knowledge) -> (HolderState, String) {
    let unknown = |why: String| (HolderState::Unknown, why);
    if holder.cluster_uid.is_empty() || holder.pod_uid.is_empty() || holder.machine_id.is_empty() {
        return unknown("another program wrote the lock".to_owned());
    }
    if cluster_uid.is_empty() || holder.cluster_uid != cluster_uid {
        return unknown("a mover of another cluster wrote the lock".to_owned());
    }
    let pod = &holder.pod_uid;
    if let Some(record) = &knowledge.record {
        if record.machine_id != holder.machine_id {
            return unknown(format!("pod {pod} ended on another machine than the one that wrote the lock"));
        }
        let proof = format!("the kubelet of node {} reported the end of pod {pod} at {}", record.node, record.at);
        return (HolderState::Dead, proof);
    }
    match &knowledge.running {
        Some((namespace, name)) => (HolderState::Alive, format!("pod {namespace}/{name} runs")),
        None => unknown(format!("nothing is known of the end of pod {pod}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder() -> LockHolder {
        LockHolder {
            lock_id: "lock".into(),
            cluster_uid: "cluster".into(),
            pod_uid: "pod".into(),
            machine_id: "machine".into(),
            ..LockHolder::default()
        }
    }

    fn record(machine_id: &str) -> Option<Record> {
        Some(Record { at: jiff::Timestamp::UNIX_EPOCH, machine_id: machine_id.into(), node: "worker".into() })
    }

    fn state(holder: LockHolder, knowledge: &Knowledge) -> HolderState {
        answer(&LockSeen { target_id: "web".into(), holder: Some(holder) }, "cluster", knowledge).state()
    }

    /// I7: no answer but a proven end lets a lock be removed.
    #[test]
    fn only_a_reported_end_on_that_machine_is_a_death() {
        let ended = Knowledge { record: record("machine"), running: None };
        assert_eq!(state(holder(), &ended), HolderState::Dead);
        for stranger in [
            LockHolder { cluster_uid: "clone".into(), ..holder() },
            LockHolder { cluster_uid: String::new(), ..holder() },
            LockHolder { pod_uid: String::new(), ..holder() },
            LockHolder { machine_id: String::new(), ..holder() },
            LockHolder { machine_id: "other".into(), ..holder() },
        ] {
            assert_eq!(state(stranger.clone(), &ended), HolderState::Unknown, "{stranger:?}");
        }
        assert_eq!(state(holder(), &Knowledge::default()), HolderState::Unknown, "a missing pod proves nothing");
        let running = Knowledge { record: None, running: Some(("demo".into(), "mover".into())) };
        assert_eq!(state(holder(), &running), HolderState::Alive);
        let nobody = answer(&LockSeen::default(), "", &ended);
        assert_eq!(nobody.state(), HolderState::Unknown);
    }

    #[test]
    fn an_answer_names_its_question_and_its_proof() {
        let ended = Knowledge { record: record("machine"), running: None };
        let verdict = answer(&LockSeen { target_id: "web".into(), holder: Some(holder()) }, "cluster", &ended);
        assert_eq!((verdict.target_id.as_str(), verdict.lock_id.as_str()), ("web", "lock"));
        assert!(verdict.proof.contains("node worker"), "{}", verdict.proof);
    }
}
