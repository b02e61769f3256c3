//! SIGKILL at any moment of a backup, a prune or a restore. Stock restic then reads the whole repository without an error, nothing
//! that was a snapshot is lost, and the next run finishes the work without help, also past the lock that the killed one left.

use std::collections::BTreeMap;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::dice::Dice;
use crate::programs::{Place, Program};
use crate::tree::{Files, Tree, assert_same, read};

/// How often a process is killed; `ORLOP_KILLS` asks for more.
const KILLS: usize = 25;

/// Snapshots that a prune leaves.
const KEPT: usize = 3;

/// A kill that comes after the end is none. This many throws for each kill are enough unless something is wrong.
const THROWS_PER_KILL: usize = 6;

struct World {
    place: Place,
    tree: Tree,
    /// What each snapshot must hold, by its tag.
    expected: BTreeMap<String, Files>,
    dice: Dice,
    /// How long each kind of work takes when it is left alone.
    usual: BTreeMap<&'static str, Duration>,
    kills: BTreeMap<&'static str, usize>,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_nothing_is_lost_and_the_next_run_goes_on() {
    let Some(place) = Place::new().await else { return };
    let wanted = std::env::var("ORLOP_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let mut dice = Dice::seeded_by("ORLOP_KILLS_SEED");
    let tree = Tree::new(place.join("source"), &mut dice);
    let mut world = World { place, tree, expected: BTreeMap::new(), dice, usual: BTreeMap::new(), kills: BTreeMap::new() };
    let started = Instant::now();
    for number in 0..wanted * THROWS_PER_KILL {
        world.back_up(number);
        match number % 3 {
            0 => world.prune(),
            1 => world.restore(),
            _ => {}
        }
        if world.kills.values().sum::<usize>() >= wanted {
            break;
        }
    }
    world.everything_is_there();
    println!("killed {:?} in {:.0?}", world.kills, started.elapsed());
    assert!(world.kills.values().sum::<usize>() >= wanted, "too few were hit: {:?}", world.kills);
    assert!(["backup", "prune", "restore"].iter().all(|work| world.kills.contains_key(work)), "{:?}", world.kills);
}

impl World {
    fn back_up(&mut self, number: usize) {
        self.tree.change(&mut self.dice);
        let tag = format!("backup-{number}");
        let source = self.tree.root.to_str().unwrap().to_owned();
        let arguments = ["backup", "--tag", &tag, &source];
        self.killed("backup", &arguments, None);
        // Killed after it was saved, the snapshot is there, and must hold everything.
        if !self.place.snapshots().contains_key(&tag) {
            self.place.ok(Program::Ours, &arguments);
        }
        self.expected.insert(tag, self.tree.files.clone());
    }

    fn prune(&mut self) {
        let ids = self.place.snapshots();
        let surplus = self.expected.len().saturating_sub(KEPT);
        let forgotten: Vec<String> = self.expected.keys().take(surplus).cloned().collect();
        for tag in forgotten {
            let arguments = ["forget", "--prune", "--max-unused", "0%", ids[&tag].as_str()];
            let was_killed = self.killed("prune", &arguments, Some(&tag));
            self.expected.remove(&tag);
            if was_killed {
                let left = self.place.snapshots();
                match left.get(&tag) {
                    Some(id) => self.place.ok(Program::Ours, &["forget", "--prune", "--max-unused", "0%", id]),
                    None => self.place.ok(Program::Ours, &["prune", "--max-unused", "0%"]),
                };
                self.place.check_by_restic();
            }
        }
    }

    fn restore(&mut self) {
        let ids = self.place.snapshots();
        let tags: Vec<String> = self.expected.keys().cloned().collect();
        let tag = self.dice.one_of(&tags).clone();
        let target = tempfile::tempdir().unwrap();
        let arguments = ["restore", ids[&tag].as_str(), "--target", target.path().to_str().unwrap()];
        if self.killed("restore", &arguments, None) {
            self.place.ok(Program::Ours, &arguments);
        }
        let restored = read(&target.path().join(self.tree.root.strip_prefix("/").unwrap()));
        assert_same(&restored, &self.expected[&tag], &format!("{tag}, restored again after a kill"));
    }

    /// Starts the work and kills it at some moment of its usual time. Returns whether it was still at it; then restic has read
    /// the repository and found all the snapshots but the one that the work is to remove.
    fn killed(&mut self, work: &'static str, arguments: &[&str], may_go: Option<&str>) -> bool {
        let started = Instant::now();
        let mut child = self.place.command(Program::Ours, arguments).spawn().unwrap();
        let Some(usual) = self.usual.get(work).copied() else {
            // The first of its kind is left alone and timed.
            finish(child, arguments);
            self.usual.insert(work, started.elapsed());
            return false;
        };
        let moment = usual * u32::try_from(self.dice.below(1000)).unwrap() / 1000;
        std::thread::sleep(moment);
        if child.try_wait().unwrap().is_some() {
            finish(child, arguments);
            self.usual.insert(work, (usual + started.elapsed()) / 2);
            return false;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        *self.kills.entry(work).or_default() += 1;
        self.place.check_by_restic();
        let found = self.place.snapshots();
        for tag in self.expected.keys().filter(|tag| may_go != Some(tag.as_str())) {
            assert!(found.contains_key(tag), "{tag} is lost by a {work} that was killed after {moment:?}");
        }
        true
    }

    fn everything_is_there(&self) {
        for (tag, id) in &self.place.snapshots() {
            let restored = self.place.restored(Program::Restic, id, &self.tree.root);
            assert_same(&restored, &self.expected[tag], tag);
        }
        assert_eq!(self.place.snapshots().len(), self.expected.len());
        // One that was killed right after its snapshot was saved has left its lock, and nobody has minded since.
        self.place.ok(Program::Ours, &["prune"]);
        let locks = self.place.ok(Program::Restic, &["list", "locks", "--no-lock"]);
        assert_eq!(locks.trim(), "", "no lock stays");
    }
}

fn finish(child: Child, arguments: &[&str]) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", crate::programs::said(&output));
}
