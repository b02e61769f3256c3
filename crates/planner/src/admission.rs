//! Which waiting session may start (architecture §3): limits for the cluster, for each storage and
//! for each node, first come first served.
//!
//! A session that waits for a full storage does not hold up one that needs another. So that one
//! which needs several things at once is not passed over for ever, a session that has waited for
//! [`PATIENCE`] also holds the places that are free for it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::decision::{Decision, Reason};

const STEP: &str = "admission";

/// How long a session lets later ones take what it needs besides the thing it waits for.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(15);

/// How many sessions may run at a time; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// In the whole cluster.
    pub cluster: Option<u32>,
    /// On one BackupStorage.
    pub storage: Option<u32>,
    /// On one node.
    pub node: Option<u32>,
}

/// What a session takes up while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Occupant {
    /// What it is, such as `BackupSession demo/web-nightly-1760000000`.
    pub session: String,
    /// BackupStorages it reads or writes, `namespace/name`.
    pub storages: BTreeSet<String>,
    /// Nodes its Jobs are bound to; empty when any node will do.
    pub nodes: BTreeSet<String>,
}

/// A session that has not started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What it will take up.
    pub occupant: Occupant,
    /// Since when it waits: its creation. Ties are settled by its name.
    pub waiting_since: Timestamp,
}

/// What becomes of a waiting session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may start.
    Admit,
    /// It stays Pending.
    Wait,
}

/// Something limited.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Resource {
    Cluster,
    Storage(String),
    Node(String),
}

impl Resource {
    fn of(occupant: &Occupant) -> impl Iterator<Item = Self> + '_ {
        std::iter::once(Self::Cluster)
            .chain(occupant.storages.iter().cloned().map(Self::Storage))
            .chain(occupant.nodes.iter().cloned().map(Self::Node))
    }

    fn limit(&self, limits: &Limits) -> Option<u32> {
        match self {
            Self::Cluster => limits.cluster,
            Self::Storage(_) => limits.storage,
            Self::Node(_) => limits.node,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Cluster => "in the cluster".to_owned(),
            Self::Storage(name) => format!("on BackupStorage {name}"),
            Self::Node(name) => format!("on node {name}"),
        }
    }
}

/// Decides over all waiting sessions at once, longest waiting first.
pub fn admit(limits: &Limits, running: &[Occupant], waiting: &[Candidate], now: Timestamp) -> Vec<(String, Decision<Admission>)> {
    let mut taken: BTreeMap<Resource, u32> = BTreeMap::new();
    for resource in running.iter().flat_map(Resource::of) {
        *taken.entry(resource).or_default() += 1;
    }
    let mut queue: Vec<&Candidate> = waiting.iter().collect();
    queue.sort_by(|one, other| (one.waiting_since, &one.occupant.session).cmp(&(other.waiting_since, &other.occupant.session)));

    // Who waits for a resource, first of them.
    let mut reserved: BTreeMap<Resource, String> = BTreeMap::new();
    queue
        .into_iter()
        .map(|candidate| {
            let session = candidate.occupant.session.clone();
            let decision = judge(limits, &taken, &reserved, &candidate.occupant);
            match decision.action {
                Admission::Admit => {
                    for resource in Resource::of(&candidate.occupant) {
                        *taken.entry(resource).or_default() += 1;
                    }
                }
                Admission::Wait => {
                    let impatient = now.duration_since(candidate.waiting_since) >= PATIENCE;
                    for resource in Resource::of(&candidate.occupant) {
                        if is_full(limits, &taken, &resource) {
                            reserved.entry(resource).or_insert_with(|| session.clone());
                        } else if impatient {
                            *taken.entry(resource).or_default() += 1;
                        }
                    }
                }
            }
            (session, decision)
        })
        .collect()
}

fn is_full(limits: &Limits, taken: &BTreeMap<Resource, u32>, resource: &Resource) -> bool {
    resource.limit(limits).is_some_and(|limit| taken.get(resource).copied().unwrap_or_default() >= limit)
}

fn judge(
    limits: &Limits,
    taken: &BTreeMap<Resource, u32>,
    reserved: &BTreeMap<Resource, String>,
    occupant: &Occupant,
) -> Decision<Admission> {
    for resource in Resource::of(occupant) {
        let Some(limit) = resource.limit(limits) else {
            continue;
        };
        let running = taken.get(&resource).copied().unwrap_or_default();
        let place = resource.describe();
        if running >= limit {
            let ahead = reserved.get(&resource).map(|first| format!(", and {first} waits before it")).unwrap_or_default();
            return Decision::new(
                Admission::Wait,
                Reason::new(
                    STEP,
                    "LimitReached",
                    format!("waits for its turn: {running} of {limit} places are taken {place}{ahead}"),
                ),
            );
        }
    }
    Decision::new(
        Admission::Admit,
        Reason::new(STEP, "Admitted", "no limit of the cluster, its storages or its nodes is reached"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn occupant(session: &str, storages: &[&str], nodes: &[&str]) -> Occupant {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Occupant { session: session.to_owned(), storages: set(storages), nodes: set(nodes) }
    }

    fn candidate(session: &str, since: i64, storages: &[&str], nodes: &[&str]) -> Candidate {
        Candidate { occupant: occupant(session, storages, nodes), waiting_since: Timestamp::from_second(since).unwrap() }
    }

    fn admitted(verdicts: &[(String, Decision<Admission>)]) -> Vec<&str> {
        verdicts.iter().filter(|(_, decision)| decision.action == Admission::Admit).map(|(session, _)| session.as_str()).collect()
    }

    #[test]
    fn without_limits_everybody_starts() {
        let waiting = [candidate("b", 2, &["s"], &[]), candidate("a", 1, &["s"], &[])];
        assert_eq!(admitted(&admit(&Limits::default(), &[], &waiting, START)), ["a", "b"]);
    }

    #[test]
    fn the_longest_waiting_goes_first_and_the_rest_are_told_why() {
        let limits = Limits { cluster: Some(2), ..Limits::default() };
        let waiting = [candidate("late", 9, &[], &[]), candidate("early", 1, &[], &[]), candidate("middle", 5, &[], &[])];
        let verdicts = admit(&limits, &[occupant("running", &[], &[])], &waiting, START);
        assert_eq!(admitted(&verdicts), ["early"]);
        assert_eq!(verdicts[1].1.message(), "waits for its turn: 2 of 2 places are taken in the cluster");
        assert_eq!(
            verdicts[2].1.message(),
            "waits for its turn: 2 of 2 places are taken in the cluster, and middle waits before it"
        );
    }

    #[test]
    fn a_full_storage_or_node_holds_only_those_that_need_it() {
        let limits = Limits { cluster: None, storage: Some(1), node: Some(1) };
        let running = [occupant("running", &["demo/main"], &["worker-1"])];
        let waiting = [
            candidate("same-storage", 1, &["demo/main"], &["worker-2"]),
            candidate("same-node", 2, &["demo/other"], &["worker-1"]),
            candidate("neither", 3, &["demo/third"], &["worker-2"]),
        ];
        let verdicts = admit(&limits, &running, &waiting, START);
        assert_eq!(admitted(&verdicts), ["neither"]);
        assert!(verdicts[0].1.message().contains("on BackupStorage demo/main"));
        assert!(verdicts[1].1.message().contains("on node worker-1"));
    }

    /// A session that needs two things is not passed over each time only one of them is free.
    #[test]
    fn patience_ends() {
        let limits = Limits { cluster: None, storage: Some(1), node: Some(1) };
        let running = [occupant("running", &["demo/main"], &[])];
        let waiting = [candidate("both", 0, &["demo/main"], &["worker-1"]), candidate("node-only", 1, &[], &["worker-1"])];
        assert_eq!(admitted(&admit(&limits, &running, &waiting, START)), ["node-only"]);
        let later = START + PATIENCE;
        assert!(admitted(&admit(&limits, &running, &waiting, later)).is_empty());
    }

    fn any_occupants() -> impl Strategy<Value = Vec<Candidate>> {
        let names = || prop::collection::btree_set("[ab]", 0..3);
        prop::collection::vec((0_i64..5, names(), names()), 0..12).prop_map(|drawn| {
            drawn
                .into_iter()
                .enumerate()
                .map(|(index, (since, storages, nodes))| Candidate {
                    occupant: Occupant { session: format!("session-{index:02}"), storages, nodes },
                    waiting_since: Timestamp::from_second(since).unwrap(),
                })
                .collect()
        })
    }

    proptest! {
        /// No limit is passed, nobody is overtaken by one that takes what it waits for, and the
        /// head of the queue starts whenever something it needs is free for it.
        #[test]
        fn admission_is_within_limits_and_fair(
            waiting in any_occupants(),
            cluster in prop::option::of(0_u32..4),
            storage in prop::option::of(0_u32..3),
            node in prop::option::of(0_u32..3),
        ) {
            let limits = Limits { cluster, storage, node };
            let verdicts = admit(&limits, &[], &waiting, START);
            let of = |session: &str| {
                waiting.iter().find(|candidate| candidate.occupant.session == session).unwrap()
            };
            let mut taken: BTreeMap<Resource, u32> = BTreeMap::new();
            let mut wanted: Vec<Resource> = Vec::new();
            for (session, decision) in &verdicts {
                let resources: Vec<Resource> = Resource::of(&of(session).occupant).collect();
                match decision.action {
                    Admission::Admit => {
                        for resource in &resources {
                            prop_assert!(!wanted.contains(resource), "{session} overtook");
                            *taken.entry(resource.clone()).or_default() += 1;
                        }
                    }
                    Admission::Wait => {
                        let full: Vec<Resource> = resources
                            .into_iter()
                            .filter(|resource| is_full(&limits, &taken, resource))
                            .collect();
                        prop_assert!(!full.is_empty(), "{session} waits for nothing");
                        wanted.extend(full);
                    }
                }
            }
            for (resource, count) in &taken {
                prop_assert!(resource.limit(&limits).is_none_or(|limit| *count <= limit));
            }
        }
    }
}
