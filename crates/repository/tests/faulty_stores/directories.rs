//! The real backup and restore, with directories at one end and a store that gives trouble at the other: a backup that succeeded restores
//! to what was there, a restore that is complete is right (I9), and one that was not is made complete by running it again (R10).

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use object_store::ObjectStore;
use parking_lot::Mutex;
use repository::backup::{BackupRequest, backup};
use repository::planted::Bug;
use repository::restore::{RestoreReport, RestoreRequest, restore};
use repository::{Control, LockHandle, LockMode, Result, SnapshotId};

use crate::faulty_store::FaultyStore;
use crate::harness::{Dice, MapStore, PASSWORD, alone, caught, init, locked, open, play_seeds};
use crate::menu::{Fault, Menu, some_of};
use crate::support::{noise, text};
use crate::world::World;

const SEEDS: usize = 150;

/// Files by path, relative to what they are in.
type Tree = BTreeMap<PathBuf, Vec<u8>>;

/// Threads of the engine read the store here, and the clock stands still while they do: nothing may wait.
fn menu(dice: &mut Dice) -> Menu {
    let faults = [
        Fault::Refused,
        Fault::AnswerLost,
        Fault::TornAnswerLost,
        Fault::Truncated,
        Fault::Swallowed,
        Fault::BodyCut,
        Fault::BodyFlipped,
        Fault::ListBroken,
        Fault::ListGap,
        Fault::ListTwice,
    ];
    Menu { faults: some_of(&faults, &[5, 20, 50], dice), kills: *dice.pick(&[0, 3]), ..Menu::default() }
}

struct Scene {
    world: Arc<World>,
    directory: tempfile::TempDir,
    clients: usize,
}

impl Scene {
    async fn new() -> Self {
        let truth = MapStore::new();
        init(truth.clone()).await.unwrap();
        Self { world: World::new(truth), directory: tempfile::tempdir().unwrap(), clients: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.directory.path().canonicalize().unwrap().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn client(&mut self, menu: &Menu, dice: &mut Dice) -> Arc<FaultyStore> {
        self.clients += 1;
        FaultyStore::new(&self.world, &format!("pod-{}", self.clients), true, menu, Dice::new(dice.next()))
    }

    async fn backup(&self, store: Arc<dyn ObjectStore>) -> Result<Option<SnapshotId>> {
        let control = Control::default();
        let repository = open(store, PASSWORD).await?;
        let request = BackupRequest { workers: NonZeroUsize::new(2), ..BackupRequest::new(vec![self.path("source")]) };
        let work = async |lock: &LockHandle| backup(&repository, lock, request, &control).await;
        let report = locked(&repository, alone(LockMode::Shared), &control, work).await?;
        Ok(report.errors.is_empty().then_some(report.snapshot))
    }

    async fn restore(&self, store: Arc<dyn ObjectStore>, snapshot: SnapshotId, target: &Path) -> Result<RestoreReport> {
        let control = Control::default();
        let repository = open(store, PASSWORD).await?;
        let request = RestoreRequest { sync: false, ..RestoreRequest::new(snapshot, target.to_owned()) };
        let work = async |lock: &LockHandle| restore(&repository, lock, request, &control).await;
        locked(&repository, alone(LockMode::Shared), &control, work).await
    }

    /// What was restored of the source.
    fn restored(&self, target: &Path) -> Tree {
        let mut path = target.as_os_str().to_owned();
        path.push(self.path("source"));
        tree(Path::new(&path))
    }
}

fn tree(root: &Path) -> Tree {
    let (mut files, mut waiting) = (Tree::new(), vec![root.to_owned()]);
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(&path).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                files.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Writes some files, new ones and others over those that are there; now and then one that is cut into chunks.
fn change(dice: &mut Dice, root: &Path) {
    for _ in 0..dice.between(1, 4) {
        let directory = root.join(format!("d{}", dice.below(3)));
        fs::create_dir_all(&directory).unwrap();
        let length = *dice.pick(&[0, 10, 5000, 40_000, 1_700_000]);
        let content = if dice.one_in(2) { noise(dice.next(), length) } else { text(dice.next(), length) };
        fs::write(directory.join(format!("f{}", dice.below(4))), content).unwrap();
    }
}

/// Some backups, each restored with trouble and then again without. Returns how many backups and how many restores succeeded.
async fn live_through(seed: u64) -> Result<(usize, usize), String> {
    let mut dice = Dice::new(seed);
    let menu = menu(&mut dice);
    let mut scene = Scene::new().await;
    let (mut backups, mut restores) = (0, 0);
    for number in 0..3 {
        change(&mut dice, &scene.path("source"));
        let source = tree(&scene.path("source"));
        let client = scene.client(&menu, &mut dice);
        let saved = scene.backup(client.store()).await;
        client.ends();
        let Ok(Some(snapshot)) = saved else { continue };
        backups += 1;

        let target = scene.path(&format!("target{number}"));
        let client = scene.client(&menu, &mut dice);
        let restored = scene.restore(client.store(), snapshot, &target).await;
        client.ends();
        if restored.is_ok_and(|report| report.is_complete()) {
            restores += 1;
            if scene.restored(&target) != source {
                return Err(format!("I9: restore {number} is complete, and wrong"));
            }
        }
        let again = scene.restore(scene.world.truth.clone(), snapshot, &target).await;
        let again = again.map_err(|error| format!("I1: snapshot {number} cannot be restored: {error}"))?;
        if !again.is_complete() {
            return Err(format!("I1: snapshot {number} cannot be restored: {:?}", again.errors));
        }
        if scene.restored(&target) != source {
            return Err(format!("I2: backup {number} succeeded, and restores to something else"));
        }
        if let Some(violation) = scene.world.violation() {
            return Err(violation);
        }
    }
    Ok((backups, restores))
}

/// The first violation, and how many backups and restores succeeded.
fn hunt(bug: Option<Bug>) -> (Option<String>, (usize, usize)) {
    let only = std::env::var("ORLOP_FAULT_SEED").ok().map(|text| text.parse().expect("ORLOP_FAULT_SEED is a number"));
    let (started, succeeded) = (AtomicUsize::new(0), Mutex::new((0, 0)));
    let violation = play_seeds(
        only,
        || started.fetch_add(1, SeqCst) < SEEDS,
        |stage, seed| {
            stage.seed(seed);
            stage.plant(bug);
            let done = caught(|| stage.play(live_through(seed)));
            stage.plant(None);
            let again = "cargo test -p repository --test faulty_stores directories -- --nocapture";
            let (backups, restores) =
                done.map_err(|reason| format!("seed {seed}: {reason}\nplay it again: ORLOP_FAULT_SEED={seed} {again}"))?;
            let mut succeeded = succeeded.lock();
            succeeded.0 += backups;
            succeeded.1 += restores;
            Ok(())
        },
    );
    (violation, succeeded.into_inner())
}

#[test]
fn what_was_backed_up_with_success_is_restored_with_success() {
    let (violation, (backups, restores)) = hunt(None);
    assert_eq!(violation, None);
    println!("{backups} backups and {restores} restores succeeded in {SEEDS} schedules");
    assert!(backups > SEEDS / 2 && restores > SEEDS / 4, "{backups} backups, {restores} restores");
}

/// restic#3439: a restore that only warned.
#[test]
fn a_restore_that_forgets_its_errors_is_found_out() {
    let (violation, _) = hunt(Some(Bug::RestoreErrorsForgotten));
    println!("{}", violation.expect("nobody noticed that a restore was wrong"));
}
