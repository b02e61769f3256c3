//! What is true: the objects, who lives, whose lock is whose, and what was promised.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use object_store::path::Path;
use parking_lot::Mutex;
use repository::{LockHolder, LockJudge, LockVerdict, SnapshotId, TreeId};

use crate::harness::{MapStore, PASSWORD, Reader, names, open};

/// Calls that are remembered.
const MOST_CALLS: usize = 150;

#[derive(Debug)]
pub struct World {
    pub truth: Arc<MapStore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Pods, and whether they run.
    runs: HashMap<String, bool>,
    /// Whose they are, and whether they are shared.
    locks: HashMap<Path, (String, bool)>,
    /// Objects that the store has spoiled.
    spoiled: BTreeSet<String>,
    /// Locks were removed by force: who does that may lose what was not promised.
    was_forced: bool,
    ledger: Ledger,
    /// The last calls, for whoever looks for a reason.
    history: VecDeque<String>,
    violation: Option<String>,
}

/// Who was told what.
#[derive(Debug, Clone, Default)]
struct Ledger {
    /// Backups that succeeded.
    promised: BTreeMap<String, (SnapshotId, TreeId)>,
    /// Every backup that was tried.
    tried: BTreeMap<String, TreeId>,
    /// Snapshots that somebody tried to forget.
    doomed: BTreeSet<String>,
    /// Snapshots that were forgotten with success.
    gone: BTreeSet<SnapshotId>,
}

impl World {
    pub fn new(truth: Arc<MapStore>) -> Arc<Self> {
        Arc::new(Self { truth, state: Mutex::default() })
    }

    /// Notes a call and what became of it.
    #[allow(clippy::needless_pass_by_value, reason = "it is made for this alone")]
    pub fn tells(&self, call: String) {
        let since = self.truth.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut state = self.state.lock();
        if state.history.len() == MOST_CALLS {
            state.history.pop_front();
        }
        state.history.push_back(format!("{:>10}.{:03} {call}", since.as_secs(), since.subsec_millis()));
    }

    /// What was said last, a line each.
    pub fn history(&self) -> String {
        self.state.lock().history.iter().fold(String::new(), |text, call| text + "\n" + call)
    }

    pub fn is_born(&self, pod: &str) {
        self.state.lock().runs.insert(pod.to_owned(), true);
    }

    pub fn ends(&self, pod: &str) {
        self.state.lock().runs.insert(pod.to_owned(), false);
    }

    /// Notes the first thing that must not be.
    pub fn violated(&self, reason: String) {
        self.state.lock().violation.get_or_insert(reason);
    }

    pub fn violation(&self) -> Option<String> {
        self.state.lock().violation.clone()
    }

    pub fn takes_lock(&self, pod: &str, is_shared: bool, key: &Path) {
        self.state.lock().locks.insert(key.clone(), (pod.to_owned(), is_shared));
    }

    /// I7: nobody removes the lock of one who lives.
    pub fn removes_lock(&self, pod: &str, key: &Path) {
        let mut state = self.state.lock();
        if let Some((owner, _)) = state.locks.get(key).cloned()
            && owner != pod
            && state.runs.get(&owner) == Some(&true)
        {
            state.violation.get_or_insert(format!("I7: {pod} removes the lock of {owner}, which lives"));
        }
    }

    /// Somebody wants to prune and removes the locks that are in the way, whoever holds them.
    pub fn force_unlock(&self) {
        let mut state = self.state.lock();
        state.was_forced = true;
        for key in self.truth.keys("locks") {
            if state.locks.get(&key).is_some_and(|(_, is_shared)| *is_shared) {
                self.truth.remove(&key);
            }
        }
    }

    /// Whether a backup that was not promised may have been broken.
    pub fn was_forced(&self) -> bool {
        self.state.lock().was_forced
    }

    pub fn spoils(&self, key: &Path) {
        self.state.lock().spoiled.insert(key.to_string());
    }

    pub fn tries(&self, name: &str, root: TreeId) {
        self.state.lock().ledger.tried.insert(name.to_owned(), root);
    }

    pub fn promises(&self, name: &str, id: SnapshotId, root: TreeId) {
        self.state.lock().ledger.promised.insert(name.to_owned(), (id, root));
    }

    /// Promised snapshots that nobody has tried to forget.
    pub fn standing(&self) -> Vec<(String, SnapshotId, TreeId)> {
        let state = self.state.lock();
        let standing = state.ledger.promised.iter().filter(|(name, _)| !state.ledger.doomed.contains(*name));
        standing.map(|(name, (id, root))| (name.clone(), *id, *root)).collect()
    }

    pub fn dooms(&self, name: &str) {
        self.state.lock().ledger.doomed.insert(name.to_owned());
    }

    pub fn is_gone(&self, id: SnapshotId) {
        self.state.lock().ledger.gone.insert(id);
    }

    /// I1, I2: what was promised reads in full, what was forgotten is gone, and nothing is there that is not whole.
    pub async fn holds(&self, reader: &mut Reader) -> Result<(), String> {
        if let Some(violation) = self.violation() {
            return Err(violation);
        }
        let (ledger, spoiled, was_forced) = {
            let state = self.state.lock();
            (state.ledger.clone(), state.spoiled.clone(), state.was_forced)
        };
        // A fork, for others may be at work.
        let truth = self.truth.fork();
        let repository = open(truth.clone(), PASSWORD).await.map_err(|error| format!("it does not open: {error}"))?;
        let control = repository::Control::default();
        let list = repository.snapshots(&control).await.map_err(|error| error.to_string())?;
        let index = repository.load_index(&control).await.map_err(|error| error.to_string())?;
        if let Some(damage) = list.damaged.iter().chain(index.damaged()).find(|damage| !spoiled.contains(&damage.key)) {
            return Err(format!("{} is damaged: {}", damage.key, damage.reason));
        }
        let found = names(&list)?;
        for (name, (_, root)) in ledger.promised.iter().filter(|(name, _)| !ledger.doomed.contains(*name)) {
            if found.get(name) != Some(root) {
                return Err(format!("I1: snapshot {name} is lost"));
            }
        }
        if let Some((id, _)) = list.snapshots.iter().find(|(id, _)| ledger.gone.contains(id)) {
            return Err(format!("I2: snapshot {id} was forgotten with success and is there"));
        }
        for (name, root) in &found {
            if ledger.tried.get(name) != Some(root) {
                return Err(format!("snapshot {name} is there, which nobody saved"));
            }
            if was_forced && !ledger.promised.contains_key(name) {
                continue;
            }
            let read = reader.read(&repository, &index, &truth, *root).await;
            read.map_err(|reason| format!("I1: snapshot {name} cannot be read: {reason}"))?;
        }
        Ok(())
    }
}

/// Knows which pods have ended.
pub struct Registry(pub Arc<World>);

#[async_trait]
impl LockJudge for Registry {
    async fn judge(&self, holder: &LockHolder) -> LockVerdict {
        let pod = holder.pod_uid.strip_suffix("-uid").unwrap_or_default();
        match self.0.state.lock().runs.get(pod) {
            Some(true) => LockVerdict::Alive,
            Some(false) => LockVerdict::Dead { proof: "the harness saw it end".into() },
            None => LockVerdict::Unknown,
        }
    }
}
