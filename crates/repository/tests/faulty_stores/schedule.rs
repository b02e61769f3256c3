//! A history of clients on a store that gives trouble.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use repository::maintenance::{PruneOptions, ReadData};
use repository::{Control, LockHandle, LockMode, Result};

use crate::client::{Action, Client};
use crate::faulty_store::FaultyStore;
use crate::harness::{
    Content, Dice, MapStore, PASSWORD, Pool, Reader, alone, complaints, init, locked, mend, mix, names, open, prune_thoroughly,
};
use crate::menu::{Fault, Menu};
use crate::world::World;

/// Nothing takes so long: whoever is not done by then waits for ever.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Puts something between the client and its store.
pub type Wrap = fn(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>;

/// What a schedule is made of.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub seed: u64,
    pub menu: Menu,
    /// A mistake of the clients.
    pub wrap: Option<Wrap>,
    pub verify_uploads: bool,
}

/// How often what ended how.
pub type Outcomes = BTreeMap<(&'static str, &'static str), usize>;

/// What all steps of a schedule share.
struct Cast {
    world: Arc<World>,
    pool: Pool,
}

impl Schedule {
    /// Some of every trouble.
    pub fn any(seed: u64) -> Self {
        Self { seed, menu: Menu::any(&mut Dice::new(seed)), wrap: None, verify_uploads: true }
    }

    /// Plays it: at every moment what was promised holds, and when the store is well again it can be cleared up.
    ///
    /// # Errors
    /// What was violated.
    pub async fn play(&self) -> Result<Outcomes, String> {
        let mut dice = Dice::new(mix(&[self.seed, 1]));
        let truth = MapStore::new();
        init(truth.clone()).await.map_err(|error| error.to_string())?;
        let cast = Cast { world: World::new(truth), pool: Pool::new(&mut dice, 10, 1..=3000) };
        let (mut reader, mut outcomes) = (Reader::default(), Outcomes::new());
        for number in 0..dice.between(6, 14) {
            let ended = self.step(&cast, &mut dice, number).await;
            for outcome in ended {
                *outcomes.entry(outcome).or_default() += 1;
            }
            let blame = |reason: String| format!("step {number}: {reason}{}", cast.world.history());
            cast.world.holds(&mut reader).await.map_err(blame)?;
        }
        clears_up(&cast.world, &mut reader).await.map_err(|reason| format!("at the end: {reason}"))?;
        Ok(outcomes)
    }

    /// One client works, or two at a time; perhaps somebody removes locks meanwhile.
    async fn step(&self, cast: &Cast, dice: &mut Dice, number: usize) -> Vec<(&'static str, &'static str)> {
        let comes = |dice: &mut Dice, often: usize| often > 0 && dice.one_in(often);
        let (is_pair, is_forced) = (comes(dice, self.menu.pairs), comes(dice, self.menu.force));
        let mut client = |name: String| self.client(cast, dice, name);
        let (first, second) = (client(format!("pod-{number}")), client(format!("pod-{number}-b")));
        let moment = Duration::from_millis(dice.below(300 * self.menu.delay.max(1)) as u64);
        if is_forced {
            // Whoever removes locks by force wants to begin now; or somebody else does it while both are at work.
            let waits = dice.one_in(2);
            let force = async {
                tokio::time::sleep(moment).await;
                cast.world.force_unlock();
            };
            let second = async {
                if waits {
                    tokio::time::sleep(moment).await;
                }
                self.works(cast, second, true).await
            };
            let (first, (), second) = tokio::join!(self.works(cast, first, true), force, second);
            vec![first, second]
        } else if is_pair {
            let (first, second) = tokio::join!(self.works(cast, first, true), self.works(cast, second, true));
            vec![first, second]
        } else {
            vec![self.works(cast, first, false).await]
        }
    }

    fn client(&self, cast: &Cast, dice: &mut Dice, name: String) -> Client {
        let action = *dice.pick(&[
            Action::Backup,
            Action::Backup,
            Action::Backup,
            Action::Forget,
            Action::Prune,
            Action::Prune,
            Action::Check,
            Action::Read,
            Action::Read,
            Action::Repair,
            Action::AddKey,
        ]);
        let prune = PruneOptions {
            max_unused: *dice.pick(&[0.0, 0.05]),
            small_packs: *dice.pick(&[2, 16]),
            unindexed_age: *dice.pick(&[Duration::ZERO, Duration::from_secs(24 * 3600)]),
            ..crate::harness::thorough()
        };
        // Some are far from the store, so that others do all their work between two calls.
        let menu = Menu { delay: self.menu.delay * *dice.pick(&[1, 1, 30]), ..self.menu.clone() };
        Client {
            world: Arc::clone(&cast.world),
            store: FaultyStore::new(&cast.world, &name, action.is_shared(), &menu, Dice::new(dice.next())),
            content: Content::new(dice, &cast.pool),
            patience: if dice.one_in(2) { Duration::ZERO } else { DAY },
            victims: dice.between(1, 2),
            verify_uploads: self.verify_uploads,
            trusts_lists: !(self.menu.has(Fault::ListGap) || self.menu.has(Fault::ListLate)),
            // A prune goes by the snapshots that are listed, so one that comes back loses nothing.
            trusts_deletes: !self.menu.has(Fault::Undeleted),
            name,
            action,
            prune,
        }
    }

    /// The client's whole life. It ends as a process does: what it still had in flight does not arrive.
    async fn works(&self, cast: &Cast, client: Client, is_beside_others: bool) -> (&'static str, &'static str) {
        let store = client.store.store();
        let store = self.wrap.map_or(Arc::clone(&store), |wrap| wrap(store));
        let ended = tokio::time::timeout(DAY, client.act(store, is_beside_others)).await;
        client.store.ends();
        let outcome = match ended {
            Ok(Ok(())) => "success",
            Ok(Err(error)) => error.category(),
            Err(_) => {
                cast.world.violated(format!("{} ({:?}) waits for ever", client.name, client.action));
                "hung"
            }
        };
        (client.action.name(), outcome)
    }
}

/// The store is well and everybody is gone: what was torn is mended, a prune clears the rest, and everything promised is there.
async fn clears_up(world: &Arc<World>, reader: &mut Reader) -> Result<(), String> {
    let said = |error: repository::Error| error.to_string();
    let control = Control::default();
    let repository = open(world.truth.clone(), PASSWORD).await.map_err(said)?;
    let promised: Vec<String> = world.standing().into_iter().map(|(name, ..)| name).collect();
    let work = async |lock: &LockHandle| {
        mend(&repository, lock, &control).await?;
        if world.was_forced() {
            let list = repository.snapshots(&control).await?;
            let broken = list.snapshots.iter().filter(|(_, snapshot)| !promised.contains(&snapshot.tags[0])).map(|(id, _)| *id);
            repository.forget(lock, &broken.collect::<Vec<_>>(), &control).await?;
        }
        prune_thoroughly(&repository, lock, &control).await
    };
    let left = locked(&repository, alone(LockMode::Exclusive), &control, work).await.map_err(said)?;
    if left > 0 {
        return Err(format!("after a thorough prune another one would still touch {left} packs"));
    }
    if let Some(complaint) = complaints(&repository, ReadData::All).await.map_err(said)?.first() {
        return Err(format!("check: {complaint}"));
    }
    if let Some(lock) = world.truth.keys("locks").first() {
        return Err(format!("nobody removes {lock}"));
    }
    let found = names(&repository.snapshots(&control).await.map_err(said)?)?;
    if let Some(lost) = promised.iter().find(|name| !found.contains_key(*name)) {
        return Err(format!("I1: snapshot {lost} is lost"));
    }
    world.holds(reader).await
}
