//! A folder that changes from one backup to the next, and what it held.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::dice::Dice;

/// Path to content.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Folders of a tree.
const FOLDERS: usize = 5;

/// A folder on disk with a copy of it in memory.
pub struct Tree {
    pub root: PathBuf,
    pub files: Files,
}

impl Tree {
    /// Some dozens of small files and a few that are cut into several blobs.
    pub fn new(root: PathBuf, dice: &mut Dice) -> Self {
        let mut tree = Self { root, files: Files::new() };
        for number in 0..40 {
            let length = dice.below(20_000);
            tree.write(&format!("folder-{}/file {number}", number % FOLDERS), dice.bytes(length));
        }
        for number in 0..3 {
            let length = 1_500_000 + dice.below(2_000_000);
            tree.write(&format!("folder-{number}/large"), dice.bytes(length));
        }
        tree
    }

    /// Adds, replaces and removes some files.
    pub fn change(&mut self, dice: &mut Dice) {
        for _ in 0..6 {
            let number = dice.below(60);
            let path = format!("folder-{}/file {number}", number % FOLDERS);
            if dice.below(4) == 0 {
                if self.files.remove(&path).is_some() {
                    fs::remove_file(self.root.join(&path)).unwrap();
                }
            } else {
                let length = dice.below(60_000);
                self.write(&path, dice.bytes(length));
            }
        }
        let length = 1_000_000 + dice.below(2_000_000);
        self.write(&format!("folder-{}/large", dice.below(FOLDERS)), dice.bytes(length));
    }

    fn write(&mut self, path: &str, content: Vec<u8>) {
        let place = self.root.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, &content).unwrap();
        self.files.insert(path.to_owned(), content);
    }
}

/// All files below a folder.
pub fn read(root: &Path) -> Files {
    let mut files = Files::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                files.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Says which files differ, without printing their content.
#[track_caller]
pub fn assert_same(found: &Files, expected: &Files, when: &str) {
    let differ = |path: &&String| found.get(*path) != expected.get(*path);
    let paths: Vec<_> = expected.keys().chain(found.keys()).filter(differ).collect();
    assert!(paths.is_empty(), "{when}: these differ: {paths:?}");
}
