//! Every crash of an operation on a scenario, and for each a second one in the run that recovers from it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use object_store::ObjectStore;
use repository::maintenance::ReadData;
use repository::{Control, LockHandle, LockMode, Result};

use crate::crash_store::{Change, Crash, CrashStore, Variant};
use crate::harness::{Dice, Interposed, MapStore, PASSWORD, Stage, alone, locked, mend, mix, open};
use crate::judge::{Judge, Torn, needs_mending};
use crate::operation::Operation;
use crate::scenario::Scenario;

/// Puts something between the client and its store.
pub type Wrap = fn(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>;

/// A crash, and perhaps a second one while the next run recovers from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub first: Crash,
    pub second: Option<Crash>,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.second.iter().try_for_each(|second| write!(f, ",{second}"))
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, second) = text.split_once(',').map_or((text, None), |(first, second)| (first, Some(second)));
        Ok(Self { first: first.parse()?, second: second.map(str::parse).transpose()? })
    }
}

/// Points that were survived, by operation.
pub type Tally = BTreeMap<Operation, usize>;

/// The state after a run, what it asked for, and what of it is torn.
struct Run {
    state: Arc<MapStore>,
    changes: Vec<Change>,
    torn: Torn,
    is_done: bool,
    outcome: Result<()>,
}

/// One operation on one scenario.
pub struct Enumeration<'a> {
    stage: &'a Stage,
    scenario: &'a Scenario,
    operation: Operation,
    judge: Judge<'a>,
    wrap: Option<Wrap>,
    /// Told before each point, so that a panic can be blamed.
    announce: &'a dyn Fn(&str),
}

impl<'a> Enumeration<'a> {
    pub async fn new(
        stage: &'a Stage,
        scenario: &'a Scenario,
        operation: Operation,
        wrap: Option<Wrap>,
        announce: &'a dyn Fn(&str),
    ) -> Result<Self, String> {
        Ok(Self { stage, scenario, operation, judge: Judge::new(scenario, operation).await?, wrap, announce })
    }

    /// Visits every point, or the one that is asked for. Returns how many were survived.
    ///
    /// # Errors
    /// What was violated, after the point.
    pub async fn run(&mut self, only: Option<Point>) -> Result<usize, String> {
        (self.announce)("uninterrupted");
        let begin = self.operation.begin(self.scenario);
        let golden = self.run_once(&begin, None, &Torn::new(), 0).await;
        let uninterrupted = |reason: String| format!("uninterrupted: {reason}");
        golden.outcome.as_ref().map_err(|error| uninterrupted(error.to_string()))?;
        if let Some(lock) = golden.state.keys("locks").iter().find(|lock| begin.bytes(lock).is_none()) {
            return Err(uninterrupted(format!("it leaves its lock {lock}")));
        }
        self.judge.survives(&golden.state, true, &Torn::new()).await.map_err(uninterrupted)?;
        let mut crashes = Vec::new();
        for (change, asked) in golden.changes.iter().enumerate() {
            crashes.extend(self.variants(asked).map(|variant| Crash { variant, change }));
        }
        let mut points = 0;
        for first in crashes {
            if only.is_none_or(|only| only.first == first) {
                points += self.visit(&begin, first, only.map(|only| only.second)).await?;
            }
        }
        Ok(points)
    }

    /// A config that is torn is a repository that may have been one: it is never built over (D7), and somebody has to decide.
    fn variants(&self, change: &Change) -> impl Iterator<Item = Variant> + use<> {
        let tears = self.operation != Operation::Init;
        change.variants().iter().copied().filter(move |variant| tears || *variant != Variant::Torn)
    }

    /// The crash, the recovery from it, and a second crash in a recovery: one of all that there are, or the one asked for.
    async fn visit(&mut self, begin: &Arc<MapStore>, first: Crash, second: Option<Option<Crash>>) -> Result<usize, String> {
        let point = Point { first, second: None };
        (self.announce)(&point.to_string());
        let crashed = self.run_once(begin, Some(first), &Torn::new(), 0).await;
        let blame = |reason: String| format!("{point} ({}): {reason}", history(&crashed.changes));
        self.judge.survives(&crashed.state, crashed.is_done, &crashed.torn).await.map_err(blame)?;
        let recovery_changes = self.recovers(&crashed, 1).await.map_err(blame)?;

        let mut dice = Dice::new(mix(&[self.scenario.seed, self.operation as u64, first.change as u64, first.variant as u64]));
        let second = match second {
            Some(None) => None,
            Some(Some(second)) => Some(second),
            None if recovery_changes.is_empty() => None,
            None => {
                let change = dice.below(recovery_changes.len());
                let variants: Vec<_> = self.variants(&recovery_changes[change]).collect();
                Some(Crash { variant: *dice.pick(&variants), change })
            }
        };
        let Some(second) = second else { return Ok(1) };
        let point = Point { first, second: Some(second) };
        (self.announce)(&point.to_string());
        let again = self.run_once(&crashed.state, Some(second), &crashed.torn, 1).await;
        let blame =
            |reason: String| format!("{point} ({}; then {}): {reason}", history(&crashed.changes), history(&again.changes));
        self.judge.survives(&again.state, crashed.is_done || again.is_done, &again.torn).await.map_err(blame)?;
        self.recovers(&again, 2).await.map_err(blame)?;
        Ok(2)
    }

    /// The next run succeeds and leaves nothing behind. Returns what it changed.
    async fn recovers(&mut self, crashed: &Run, attempt: u64) -> Result<Vec<Change>, String> {
        self.judge.refuses(&crashed.state, &crashed.torn).await?;
        let next = self.run_once(&crashed.state, None, &crashed.torn, attempt).await;
        next.outcome.as_ref().map_err(|error| format!("the next run fails: {error}"))?;
        self.judge.survives(&next.state, true, &next.torn).await.map_err(|reason| format!("after the next run: {reason}"))?;
        let mut dice = Dice::new(crashed.changes.len() as u64 + self.scenario.seed);
        let read = if dice.one_in(8) { ReadData::All } else { ReadData::None };
        self.judge
            .clears_up(&next.state, &next.torn, read)
            .await
            .map_err(|reason| format!("after the next run and a prune: {reason}"))?;
        Ok(next.changes)
    }

    /// One client's life, from its first change to its end or death. `attempt` counts the runs before it.
    async fn run_once(&self, begin: &MapStore, crash: Option<Crash>, torn: &Torn, attempt: u64) -> Run {
        let state = begin.fork();
        let seed = mix(&[self.scenario.seed, self.operation as u64, attempt]);
        self.stage.seed(seed);
        let dying = CrashStore::new(state.clone(), crash, seed, self.operation == Operation::Read);
        let store = Interposed::store(&dying);
        let store = self.wrap.map_or(Arc::clone(&store), |wrap| wrap(store));
        let outcome = self.perform(store, torn).await;
        // What was mended is no longer torn.
        let torn = torn.iter().cloned().chain(dying.torn()).filter(|key| state.bytes(key).is_some()).collect();
        Run { state, changes: dying.changes(), torn, is_done: outcome.is_ok(), outcome }
    }

    /// The operation; where it would refuse to work because of something torn, that is mended first.
    async fn perform(&self, store: Arc<dyn ObjectStore>, torn: &Torn) -> Result<()> {
        if self.operation.prunes() && needs_mending(torn) {
            let repository = open(Arc::clone(&store), PASSWORD).await?;
            let control = Control::default();
            let work = async |lock: &LockHandle| mend(&repository, lock, &control).await;
            locked(&repository, alone(LockMode::Exclusive), &control, work).await?;
        }
        self.operation.perform(self.scenario, store).await
    }
}

fn history(changes: &[Change]) -> String {
    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
