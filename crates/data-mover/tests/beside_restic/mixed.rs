//! Orlop and stock restic at the same repository at the same time: any two of backup, forget, prune, check and restore, by either
//! program. What one of them saved is lost to nobody (reliability R7, E1-E4). One may refuse to begin because the other holds the
//! lock; nothing else may fail.

use std::collections::BTreeMap;
use std::process::Output;

use crate::dice::Dice;
use crate::programs::{Place, Program, worked};
use crate::tree::{Files, Tree, assert_same};

/// Pairs of runs; `ORLOP_MIXED_RUNS` asks for more.
const PAIRS: usize = 16;

/// Pairs after which everything is read.
const CHECK_EVERY: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Backup,
    Forget,
    Prune,
    Check,
    Restore,
}

const WORKS: [Work; 7] = [Work::Backup, Work::Backup, Work::Backup, Work::Forget, Work::Prune, Work::Check, Work::Restore];

/// One run of one program.
#[derive(Debug)]
struct Run {
    program: Program,
    work: Work,
    arguments: Vec<String>,
    /// The snapshot that is made or removed.
    tag: String,
}

struct World {
    place: Place,
    /// One for each side, so that both may change theirs.
    trees: [Tree; 2],
    /// Tag to the side that made it and what it must hold.
    expected: BTreeMap<String, (usize, Files)>,
    dice: Dice,
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_restic_nothing_is_lost() {
    let Some(place) = Place::new().await else { return };
    let pairs = std::env::var("ORLOP_MIXED_RUNS").map_or(PAIRS, |text| text.parse::<usize>().unwrap() / 2);
    let mut dice = Dice::seeded_by("ORLOP_MIXED_SEED");
    let trees = ["left", "right"].map(|name| Tree::new(place.join(name), &mut dice));
    let mut world = World { place, trees, expected: BTreeMap::new(), dice };
    let (mut refused, mut runs) = (0, 0);
    for number in 0..pairs {
        let pair = [world.throw(number, 0), world.throw(number, 1)];
        // Of one snapshot only one of them may be the forgetter, or the other would rightly complain.
        if pair[0].work == Work::Forget && pair[1].work == Work::Forget && pair[0].tag == pair[1].tag {
            continue;
        }
        let children = pair.each_ref().map(|run| world.start(run));
        for (side, (run, child)) in pair.into_iter().zip(children).enumerate() {
            runs += 1;
            let output = child.wait_with_output().unwrap();
            refused += usize::from(!world.note(side, &run, &output));
        }
        if number % CHECK_EVERY == CHECK_EVERY - 1 {
            world.check();
        }
    }
    world.check();
    world.everything_restores();
    println!("{runs} runs, {refused} of them kept out by a lock, {} snapshots at the end", world.expected.len());
    assert!(refused * 2 < runs, "too many were kept out for this to say anything: {refused} of {runs}");
}

impl World {
    fn throw(&mut self, number: usize, side: usize) -> Run {
        let program = *self.dice.one_of(&[Program::Ours, Program::Restic]);
        let mut work = *self.dice.one_of(&WORKS);
        let tags: Vec<String> = self.expected.keys().cloned().collect();
        // Something must be there to be forgotten or restored, and to be there at the end.
        if tags.len() < 3 && matches!(work, Work::Forget | Work::Restore) {
            work = Work::Backup;
        }
        let tag =
            if work == Work::Backup || tags.is_empty() { format!("{number}-{side}") } else { self.dice.one_of(&tags).clone() };
        let arguments = match work {
            Work::Backup => {
                self.trees[side].change(&mut self.dice);
                vec!["backup".into(), "--tag".into(), tag.clone(), self.trees[side].root.to_str().unwrap().to_owned()]
            }
            Work::Forget => vec!["forget".into(), self.id(&tag)],
            Work::Prune => vec!["prune".into(), "--max-unused".into(), "0%".into()],
            Work::Check => vec!["check".into(), "--read-data".into()],
            Work::Restore => {
                let target = self.place.join(&format!("restored-{number}-{side}"));
                vec!["restore".into(), self.id(&tag), "--target".into(), target.to_str().unwrap().to_owned()]
            }
        };
        Run { program, work, arguments, tag }
    }

    fn id(&self, tag: &str) -> String {
        self.place.snapshots()[tag].clone()
    }

    fn start(&self, run: &Run) -> std::process::Child {
        let mut arguments: Vec<&str> = run.arguments.iter().map(String::as_str).collect();
        arguments.extend(["--retry-lock", "20s"]);
        self.place.command(run.program, &arguments).spawn().unwrap()
    }

    /// Keeps what the run made or took away. Returns whether it did anything.
    fn note(&mut self, side: usize, run: &Run, output: &Output) -> bool {
        // A snapshot that the other side forgets meanwhile may be missing for who restores it.
        let may_fail = run.work == Work::Restore && !self.place.snapshots().contains_key(&run.tag);
        let worked = may_fail || worked(output, &format!("{run:?}"));
        match run.work {
            Work::Backup if worked => {
                self.expected.insert(run.tag.clone(), (side, self.trees[side].files.clone()));
            }
            Work::Forget if worked => {
                self.expected.remove(&run.tag);
            }
            _ => {}
        }
        worked
    }

    /// Both programs read everything, and the snapshots are those that were made and not forgotten.
    fn check(&self) {
        self.place.check_by_restic();
        self.place.ok(Program::Ours, &["check", "--read-data"]);
        let found: Vec<String> = self.place.snapshots().into_keys().collect();
        assert_eq!(found, self.expected.keys().cloned().collect::<Vec<_>>());
    }

    fn everything_restores(&self) {
        for (number, (tag, id)) in self.place.snapshots().iter().enumerate() {
            let (side, files) = &self.expected[tag];
            let program = if number % 2 == 0 { Program::Ours } else { Program::Restic };
            assert_same(&self.place.restored(program, id, &self.trees[*side].root), files, &format!("{tag} by {program:?}"));
        }
    }
}
