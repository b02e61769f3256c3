//! D3, E6: stores that ignore `If-None-Match`, on which several initialise at once while answers are lost and calls refused.
//!
//! The engine was told by the probe that the store ignores conditions. What it then does rests on calls that are over within the time it
//! waits; on a store that is slower and ignores conditions as well no protocol helps.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use object_store::ObjectStore;
use repository::{Control, CreateMode, InitOptions, Repository, RepositoryId, Result};
use secrecy::SecretString;

use crate::faulty_store::FaultyStore;
use crate::harness::{Dice, MapStore, caught, key_options, open, play_seeds};
use crate::menu::{Fault, Menu};
use crate::support::IgnoringStore;
use crate::world::World;

const SEEDS: usize = 300;

async fn initialise(store: Arc<dyn ObjectStore>, password: &str) -> Result<RepositoryId> {
    let options = InitOptions { create_mode: CreateMode::ListBased, ..key_options() };
    let made = Repository::init(store, &SecretString::from(password), &options, &Control::default()).await;
    made.map(|repository| repository.id())
}

async fn race(seed: u64) -> Result<usize, String> {
    let mut dice = Dice::new(seed);
    let world = World::new(MapStore::new());
    let menu = match dice.below(3) {
        0 => Menu::of(&[]),
        1 => Menu::of(&[(Fault::AnswerLost, 10)]),
        _ => Menu::of(&[(Fault::AnswerLost, 20), (Fault::Refused, 20)]),
    };
    let share_a_password = dice.one_in(2);
    let passwords: Vec<String> =
        (0..dice.between(2, 4)).map(|number| if share_a_password { "all".to_owned() } else { format!("{number}") }).collect();
    let racers: Vec<_> = (0..passwords.len())
        .map(|number| FaultyStore::new(&world, &format!("pod-{number}"), true, &menu, Dice::new(dice.next())))
        .collect();
    let race = racers.iter().zip(&passwords).map(|(racer, password)| async move {
        let made = initialise(Arc::new(IgnoringStore { inner: racer.store() }), password).await;
        racer.ends();
        made.ok().map(|id| (id, password))
    });
    let won: Vec<_> = join_all(race).await.into_iter().flatten().collect();
    let ids: BTreeSet<RepositoryId> = won.iter().map(|(id, _)| *id).collect();
    if ids.len() > 1 {
        return Err(format!("{} made {} repositories at one place{}", won.len(), ids.len(), world.history()));
    }
    for (id, password) in &won {
        let opened = open(world.truth.clone(), password)
            .await
            .map_err(|error| format!("I2: it was made and does not open: {error}{}", world.history()))?;
        if opened.id() != *id {
            return Err(format!("I2: {id} was made and {} is there", opened.id()));
        }
    }
    // Whoever comes next with the password of one of them finds a repository or makes one.
    for password in &passwords {
        let store: Arc<dyn ObjectStore> = Arc::new(IgnoringStore { inner: world.truth.clone() });
        if open(world.truth.clone(), password).await.is_ok() || initialise(store, password).await.is_ok() {
            return Ok(won.len());
        }
    }
    Err("nobody can open it and nobody can make it".into())
}

#[test]
fn of_many_that_initialise_at_most_one_repository_comes() {
    let (started, won) = (std::sync::atomic::AtomicUsize::new(0), parking_lot::Mutex::new([0; 5]));
    let wants_more = || started.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < SEEDS;
    let violation = play_seeds(None, wants_more, |stage, seed| {
        stage.seed(seed);
        let winners = caught(|| stage.play(race(seed))).map_err(|reason| format!("seed {seed}: {reason}"))?;
        won.lock()[winners] += 1;
        Ok(())
    });
    assert_eq!(violation, None);
    let won = won.into_inner();
    println!("races by their number of winners: {won:?}");
    assert!(won[1] > SEEDS / 4, "hardly anybody ever made a repository: {won:?}");
}
