//! A repository with a history, and what will be done to it: all of it follows from a seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use repository::limits::MIN_PACK_SIZE;
use repository::maintenance::PruneOptions;
use repository::{Control, LockMode, Repository, Result, SaverOptions, SnapshotId};
use secrecy::SecretString;

use crate::crash_store::{Crash, CrashStore, Variant};
use crate::harness::{
    Content, Dice, Interposed, MapStore, NEW_PASSWORD, Names, PASSWORD, Pool, Saving, alone, back_up, init, key_options, locked,
    names, open, prune, save,
};

pub struct Scenario {
    pub seed: u64,
    /// The repository at rest. Never changed: who works forks it.
    pub start: Arc<MapStore>,
    /// The same with index files that are torn or gone.
    pub damaged: Arc<MapStore>,
    /// The same with a key for the new password as well.
    pub two_keys: Arc<MapStore>,
    pub names: Names,
    pub ids: BTreeMap<String, SnapshotId>,
    /// What is backed up next.
    pub fresh: Content,
    pub saving: Saving,
    /// Which snapshots are forgotten next.
    pub forget: Vec<String>,
    pub prune: PruneOptions,
}

impl Scenario {
    pub async fn new(seed: u64) -> Result<Self> {
        let mut dice = Dice::new(seed);
        let start = MapStore::new();
        let repository = init(start.clone()).await?;
        let (pieces, longest) = (dice.between(3, 14), *dice.pick(&[300, 2000, 6000]));
        let pool = Pool::new(&mut dice, pieces, 1..=longest);
        let saving = saving(&mut dice);
        live_through(&mut dice, &start, &repository, &pool, saving).await?;

        let list = repository.snapshots(&Control::default()).await?;
        let names = names(&list).unwrap();
        let ids: BTreeMap<_, _> = list.snapshots.iter().map(|(id, snapshot)| (snapshot.tags[0].clone(), *id)).collect();
        let everything = dice.one_in(8);
        let mut forget: Vec<String> = names.keys().filter(|_| everything || dice.one_in(2)).cloned().collect();
        if forget.is_empty() {
            forget.extend(names.keys().next().cloned());
        }
        Ok(Self {
            seed,
            damaged: damaged(&mut dice, &start),
            two_keys: two_keys(&start).await?,
            fresh: Content::new(&mut dice, &pool),
            prune: PruneOptions {
                max_unused: *dice.pick(&[0.0, 0.05, 0.5]),
                small_pack: *dice.pick(&[200, 4 << 20]),
                small_packs: *dice.pick(&[2, 3, 16]),
                pack_size: MIN_PACK_SIZE,
                unindexed_age: *dice.pick(&[Duration::ZERO, Duration::from_secs(24 * 3600)]),
            },
            start,
            names,
            ids,
            saving,
            forget,
        })
    }

    /// The snapshots that are not forgotten next.
    pub fn kept(&self) -> Names {
        self.names.iter().filter(|(name, _)| !self.forget.contains(name)).map(|(name, root)| (name.clone(), *root)).collect()
    }
}

fn saving(dice: &mut Dice) -> Saving {
    let options = SaverOptions {
        pack_size: MIN_PACK_SIZE,
        open_packs: dice.between(1, 2),
        compress: !dice.one_in(4),
        ..SaverOptions::default()
    };
    Saving { options, flushes: dice.between(1, 3) }
}

/// Backups, some of them two at a time that do not know of each other's blobs; some snapshots are forgotten again, a prune or a killed
/// backup may have been there.
async fn live_through(
    dice: &mut Dice,
    store: &Arc<MapStore>,
    repository: &Repository,
    pool: &Pool,
    saving: Saving,
) -> Result<()> {
    let control = Control::default();
    let mut saved = Vec::new();
    for number in 0..dice.between(1, 5) {
        let (one, two) = (Content::new(dice, pool), Content::new(dice, pool));
        let is_pair = dice.one_in(4);
        let (name, twin) = (format!("s{number}"), format!("s{number}-twin"));
        let both = locked(repository, alone(LockMode::Shared), &control, async |lock| {
            let (index, other) = (repository.load_index(&control).await?, repository.load_index(&control).await?);
            let mut ids = vec![save(repository, lock, index, &one, &name, saving, &control).await?];
            if is_pair {
                ids.push(save(repository, lock, other, &two, &twin, saving, &control).await?);
            }
            Ok(ids)
        });
        saved.extend(both.await?);
    }
    // One at least stays.
    let forgotten: Vec<SnapshotId> = saved.into_iter().skip(1).filter(|_| dice.one_in(3)).collect();
    let is_pruned = dice.one_in(4);
    let options = PruneOptions { max_unused: 0.0, pack_size: MIN_PACK_SIZE, ..PruneOptions::default() };
    locked(repository, alone(LockMode::Exclusive), &control, async |lock| {
        repository.forget(lock, &forgotten, &control).await?;
        if is_pruned {
            prune(repository, lock, &options, &control).await?;
        }
        Ok(())
    })
    .await?;
    if dice.one_in(3) {
        let crash = Crash { variant: Variant::After, change: dice.between(1, 6) };
        let dying: Arc<dyn ObjectStore> = Interposed::store(&CrashStore::new(store.clone(), Some(crash), dice.next(), false));
        let killed = Content::new(dice, pool);
        if let Ok(repository) = open(dying, PASSWORD).await {
            let work = async |lock: &_| back_up(&repository, lock, &killed, "killed", saving, &control).await;
            let _ = locked(&repository, alone(LockMode::Shared), &control, work).await;
        }
    }
    Ok(())
}

fn damaged(dice: &mut Dice, start: &MapStore) -> Arc<MapStore> {
    let store = start.fork();
    for (number, key) in start.keys("index").into_iter().enumerate() {
        if number > 0 && dice.one_in(2) {
            continue;
        }
        let bytes = start.bytes(&key).unwrap_or_default();
        match dice.below(3) {
            0 => store.remove(&key),
            1 => store.insert(&key, &bytes[..bytes.len() / 2]),
            _ => store.insert(&key, b""),
        }
    }
    store
}

async fn two_keys(start: &MapStore) -> Result<Arc<MapStore>> {
    let store = start.fork();
    let repository = open(store.clone(), PASSWORD).await?;
    repository.add_key(&SecretString::from(NEW_PASSWORD), &key_options(), &Control::default()).await?;
    Ok(store)
}
