//! What a reviewer would otherwise have to look for: long files, missing rooms of a controller, unfinished work.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::{read, shown, verdict};

/// Above this a file should be split soon.
const LONG: usize = 400;
/// Above this it must be.
const TOO_LONG: usize = 600;
/// A `main.rs` only parses arguments and calls the library.
const LONGEST_MAIN: usize = 30;
/// The rooms of a controller, one file each; `mod.rs` is their table of contents.
const ROOMS: [&str; 5] = ["mod.rs", "dereference.rs", "validate.rs", "apply.rs", "update_status.rs"];
/// Crates with controllers.
const SERVICES: [&str; 3] = ["storage-initializer", "scheduler", "session-controller"];
/// Marks of unfinished work. Written apart, so that this file does not find itself.
const MARKS: [&str; 4] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimplemented", "!(")];
/// Folders with text of ours.
const FOLDERS: [&str; 6] = ["crates", "e2e", "proto", "charts", "docs", ".ci"];
/// Suffixes of files that people write.
const WRITTEN: [&str; 8] = ["rs", "toml", "proto", "yaml", "tpl", "sh", "md", "py"];

/// Fails when something has the wrong shape.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        collect(&root.join(folder), &mut files)?;
    }
    let mut problems = Vec::new();
    for path in &files {
        look_at(root, path, &mut problems)?;
    }
    for service in SERVICES {
        problems.extend(missing_rooms(root, &root.join("crates").join(service).join("src"))?);
    }
    verdict("the layout needs a look", &problems)
}

fn look_at(root: &Path, path: &Path, problems: &mut Vec<String>) -> anyhow::Result<()> {
    let text = read(path)?;
    let name = shown(root, path);
    for (index, line) in text.lines().enumerate() {
        if let Some(mark) = MARKS.iter().find(|mark| line.contains(**mark)) {
            problems.push(format!("{name}:{} has {mark}", index + 1));
        }
    }
    if path.extension().is_some_and(|extension| extension == "rs") {
        let lines = text.lines().count();
        if lines > TOO_LONG {
            problems.push(format!("{name} has {lines} lines; split it, {TOO_LONG} is the most"));
        } else if lines > LONG {
            eprintln!("warning: {name} has {lines} lines; think of splitting it");
        }
        if path.ends_with("src/main.rs") && lines >= LONGEST_MAIN {
            problems.push(format!("{name} has {lines} lines; a main is under {LONGEST_MAIN}"));
        }
    }
    Ok(())
}

/// Rooms that controllers of a service lack. A folder is a controller as soon as it has one of the rooms that only
/// controllers have.
fn missing_rooms(root: &Path, source: &Path) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    if !source.exists() {
        return Ok(problems);
    }
    for entry in fs::read_dir(source).with_context(|| format!("cannot list {}", source.display()))? {
        let folder = entry?.path();
        if !folder.is_dir() {
            continue;
        }
        let names: BTreeSet<String> =
            fs::read_dir(&folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        let is_controller = names.contains("dereference.rs") || names.contains("update_status.rs");
        if is_controller {
            problems.extend(
                ROOMS.iter().filter(|room| !names.contains(**room)).map(|room| format!("{} lacks {room}", shown(root, &folder))),
            );
        }
    }
    Ok(problems)
}

/// Files that people write, below a folder.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let generated = path.ends_with("templates/crds");
        if path.is_dir() && !hidden && !generated {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| WRITTEN.iter().any(|written| extension == *written)) {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{LONGEST_MAIN, TOO_LONG, check};

    #[test]
    fn long_files_missing_rooms_and_marks_are_found() {
        let root = tempfile::tempdir().unwrap();
        let source = root.path().join("crates/scheduler/src");
        let controller = source.join("repository");
        fs::create_dir_all(&controller).unwrap();
        check(root.path()).unwrap();

        fs::write(source.join("main.rs"), "\n".repeat(LONGEST_MAIN)).unwrap();
        fs::write(source.join("long.rs"), "\n".repeat(TOO_LONG + 1)).unwrap();
        fs::write(source.join("mark.rs"), super::MARKS[0]).unwrap();
        fs::write(controller.join("dereference.rs"), "").unwrap();
        let said = check(root.path()).unwrap_err().to_string();
        for part in ["main.rs has", "long.rs has", "mark.rs:1", "lacks validate.rs", "lacks mod.rs"] {
            assert!(said.contains(part), "{part} is missing in: {said}");
        }
    }
}
