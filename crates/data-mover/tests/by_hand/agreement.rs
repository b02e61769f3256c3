//! What one program writes the other reads, and what both say of it is the same.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::bench::{Bench, PASSWORD, bench, fill, lines, noise, text, tree};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_writes_the_other_reads() {
    let Some(bench) = bench().await else { return };
    let (source, target) = (bench.path("source"), bench.path("target"));
    fill(&source);
    let source = source.to_str().unwrap();
    // A repository made by hand, with what a real password costs.
    fs::remove_dir_all(bench.path("repository")).unwrap();
    let made = lines(&bench.ours(&["init", "--json"]));
    assert_eq!(made[0]["message_type"], "initialized");
    let told = lines(&bench.ours(&["backup", "--tag", "one,two", "--host", "box", "--exclude", "*.md", source]));
    let summary = told.last().unwrap();
    assert_eq!((&summary["message_type"], &summary["total_files_processed"]), (&"summary".into(), &5.into()));
    let listed = lines(&bench.theirs(&["snapshots", "--json"]))[0].clone();
    assert_eq!((&listed[0]["id"], &listed[0]["tags"]), (&summary["snapshot_id"], &serde_json::json!(["one", "two"])));
    assert_eq!((&listed[0]["hostname"], &listed[0]["excludes"]), (&"box".into(), &serde_json::json!(["*.md"])));
    bench.theirs(&["check", "--read-data"]);

    let theirs = lines(&bench.theirs(&["backup", "--json", "--host", "box", source]));
    let theirs = theirs.last().unwrap();
    for key in theirs.as_object().unwrap().keys() {
        assert!(summary.get(key).is_some(), "our summary lacks {key}");
    }
    let listed = lines(&bench.ours(&["snapshots", "--json"]))[0].clone();
    assert_eq!(listed, lines(&bench.theirs(&["snapshots", "--json"]))[0], "both list the same");
    let first = summary["snapshot_id"].as_str().unwrap();
    let restored = bench.ours(&["restore", "latest", "--host", "box", "--target", target.to_str().unwrap(), "--verify"]);
    assert_eq!(lines(&restored).last().unwrap()["message_type"], "summary");
    assert_eq!(tree(&target.join(&source[1..])), tree(Path::new(source)));

    assert!(bench.refused(&["forget", "latest"], 1).contains("takes ids"));
    assert!(text(&bench.ours(&["forget", "--dry-run", &first[..8]])).contains(first));
    bench.ours(&["forget", "--prune", "--max-unused", "0", &first[..8]]);
    bench.theirs(&["check", "--read-data"]);
    assert_eq!(lines(&bench.ours(&["snapshots", "--json"]))[0].as_array().unwrap().len(), 1);
    assert_eq!(bench.locks(), 0);
}

/// What is removed and what stays is the same with both, as far as patterns go.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_deletes_agrees_with_restic() {
    let Some(bench) = bench().await else { return };
    let source = bench.path("source");
    fill(&source);
    let source = source.to_str().unwrap();
    bench.ours(&["backup", source]);
    let plant = |target: &Path| {
        let out = target.join(&source[1..]);
        fs::create_dir_all(out.join("surplus/deep")).unwrap();
        for name in ["surplus/deep/file", "deep/er/file", "kept.log"] {
            fs::create_dir_all(out.join(name).parent().unwrap()).unwrap();
            fs::write(out.join(name), "x").unwrap();
        }
        symlink("/etc", out.join("deep/out")).unwrap();
    };
    let [own, theirs] = ["target", "their target"].map(|name| bench.path(name));
    let both = |patterns: &[&str]| {
        let restored = [&own, &theirs].map(|target| {
            plant(target);
            let target = target.to_str().unwrap();
            let arguments = [&["restore", "latest", "--json", "--delete", "--target", target], patterns].concat();
            let told = if target == own.to_str().unwrap() { bench.ours(&arguments) } else { bench.theirs(&arguments) };
            lines(&told).last().unwrap()["files_deleted"].clone()
        });
        assert_eq!(restored[0], restored[1]);
        assert_eq!(tree(&own), tree(&theirs));
    };
    both(&["--exclude", "*.log"]);
    assert!(own.join(&source[1..]).join("kept.log").exists());
    both(&[]);
    assert_eq!(tree(&own.join(&source[1..])), tree(Path::new(source)));
    assert!(bench.refused(&["restore", "latest", "--delete", "--target", "/"], 1).contains("--include"));
}

/// Two snapshots by restic, with every kind of change between them; their ids.
pub fn two_snapshots(bench: &Bench) -> [String; 2] {
    let source = bench.path("source");
    fill(&source);
    let backup = || {
        let told = lines(&bench.theirs(&["backup", "--json", "--host", "box", source.to_str().unwrap()]));
        told.last().unwrap()["snapshot_id"].as_str().unwrap().to_owned()
    };
    let first = backup();
    fs::remove_dir_all(source.join("deep/er")).unwrap();
    fs::create_dir(source.join("new")).unwrap();
    fs::write(source.join("new/file"), noise(5, 100_000)).unwrap();
    fs::write(source.join("a.txt"), "other text").unwrap();
    fs::set_permissions(source.join("none"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(source.join("fifo")).unwrap();
    symlink("elsewhere", source.join("fifo")).unwrap();
    [first, backup()]
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_and_searches_agree_with_restic() {
    let Some(bench) = bench().await else { return };
    let [first, second] = two_snapshots(&bench);
    let source = bench.path("source").to_str().unwrap().to_owned();
    let deep = format!("{source}/deep");
    for arguments in [
        vec!["ls", "--json", &first],
        vec!["ls", "--json", "latest"],
        vec!["ls", "--json", "latest", &source],
        vec!["ls", "--json", "--recursive", &second[..10], &deep],
        vec!["ls", "--json", "latest", &deep, &source],
    ] {
        let (ours, theirs) = (lines(&bench.ours(&arguments)), lines(&bench.theirs(&arguments)));
        assert!(ours.len() > 2, "{arguments:?}");
        assert_eq!(ours, theirs, "{arguments:?}");
    }
    for arguments in [vec!["ls", "latest"], vec!["ls", "--long", "latest"]] {
        let listed = |bytes: &[u8]| text(bytes).lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(listed(&bench.ours(&arguments)), listed(&bench.theirs(&arguments)), "{arguments:?}");
    }
    let part = format!("latest:{deep}");
    assert_eq!(lines(&bench.ours(&["ls", "--json", &part]))[1..], lines(&bench.theirs(&["ls", "--json", &part]))[1..]);

    for arguments in [
        vec!["find", "--json", "*.txt"],
        vec!["find", "--json", "-i", "leaf.*"],
        vec!["find", "--json", "deep"],
        vec!["find", "--json", "-s", &first, "LEAF.md", "*.txt"],
        vec!["find", "--json", "--newest", "2001-01-01", "*"],
        vec!["find", "--json", "nothing at all"],
        vec!["find", "*.txt"],
    ] {
        let (ours, theirs) = (text(&bench.ours(&arguments)), text(&bench.theirs(&arguments)));
        let parsed = |text: &str| serde_json::from_str::<Value>(text);
        match parsed(&ours) {
            Ok(ours) => assert_eq!(ours, parsed(&theirs).unwrap(), "{arguments:?}"),
            Err(_) => assert_eq!(ours.trim(), theirs.trim(), "{arguments:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn comparisons_and_measures_agree_with_restic() {
    let Some(bench) = bench().await else { return };
    let [first, second] = two_snapshots(&bench);
    let source = bench.path("source").to_str().unwrap().to_owned();
    let parts = [format!("{first}:{source}/deep"), format!("{second}:{source}/deep")];
    for arguments in [
        vec!["diff", "--json", &first, &second],
        vec!["diff", "--json", "--metadata", &first, &second],
        vec!["diff", "--json", &second, &first],
        vec!["diff", "--json", &first, &first],
        vec!["diff", "--json", &parts[0], &parts[1]],
    ] {
        assert_eq!(lines(&bench.ours(&arguments)), lines(&bench.theirs(&arguments)), "{arguments:?}");
    }
    let told = text(&bench.ours(&["diff", &first, &second]));
    for line in text(&bench.theirs(&["diff", &first, &second])).lines().filter(|line| !line.is_empty()) {
        assert!(told.contains(line), "{line:?} is not in:\n{told}");
    }
    for arguments in [
        vec!["stats", "--json"],
        vec!["stats", "--json", &first],
        vec!["stats", "--json", "--mode", "raw-data"],
        vec!["stats", "--json", "--mode", "raw-data", "latest"],
    ] {
        let (ours, theirs) = (&lines(&bench.ours(&arguments))[0], &lines(&bench.theirs(&arguments))[0]);
        for (key, value) in theirs.as_object().unwrap() {
            let difference = (ours[key].as_f64().unwrap() - value.as_f64().unwrap()).abs();
            assert!(difference < 1e-6, "{arguments:?}: {key} is {} instead of {value}", ours[key]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dumps_agree_with_restic() {
    let Some(bench) = bench().await else { return };
    let source = bench.path("source");
    fill(&source);
    let long = "n".repeat(120);
    fs::create_dir_all(source.join(&long).join(&long)).unwrap();
    fs::write(source.join(&long).join(&long).join("leaf"), "far down").unwrap();
    bench.ours(&["backup", source.to_str().unwrap()]);
    let large = source.join("deep/large");
    assert!(bench.ours(&["dump", "latest", large.to_str().unwrap()]) == noise(1, 3_000_000));
    let extracted = |name: &str, archive: &[u8]| {
        let folder = bench.path(name);
        fs::create_dir(&folder).unwrap();
        let mut tar = Command::new("tar").arg("-xpf").arg("-").current_dir(&folder).stdin(Stdio::piped()).spawn().unwrap();
        tar.stdin.take().unwrap().write_all(archive).unwrap();
        assert!(tar.wait().unwrap().success());
        tree(&folder)
    };
    for (number, path) in ["/", source.to_str().unwrap(), source.join("deep").to_str().unwrap()].into_iter().enumerate() {
        let ours = extracted(&format!("ours{number}"), &bench.ours(&["dump", "latest", path]));
        let mut theirs = extracted(&format!("theirs{number}"), &bench.theirs(&["dump", "latest", path]));
        // restic leaves out what is neither file nor directory nor link, but not if it stands directly in the dumped directory.
        theirs.retain(|path, _| !path.ends_with("fifo"));
        assert!(ours.len() > 2 && ours == theirs, "{path}: {:?} {:?}", ours.keys(), theirs.keys());
    }
    let file = bench.path("out");
    bench.ours(&["dump", "--target", file.to_str().unwrap(), "latest", source.join("a.txt").to_str().unwrap()]);
    assert_eq!(fs::read(&file).unwrap(), fs::read(source.join("a.txt")).unwrap());
    assert!(bench.refused(&["dump", "latest", "/nothing"], 1).contains("does not exist"));
    // A reader who goes away is no reason for words.
    let mut child = bench.mover(&["dump", "latest", large.to_str().unwrap()]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(141), ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_exchanged_and_both_programs_open() {
    let Some(bench) = bench().await else { return };
    let file = |name: &str| {
        fs::write(bench.path(name), format!("{name}\n")).unwrap();
        bench.path(name).to_str().unwrap().to_owned()
    };
    let (second, third) = (file("second"), file("third"));
    bench.ours(&["key", "add", "--new-password-file", &second, "--user", "me", "--host", "there"]);
    let keys = lines(&bench.ours(&["key", "list", "--json"]))[0].clone();
    let added = keys.as_array().unwrap().iter().find(|key| key["current"] == false).unwrap();
    assert_eq!((&added["userName"], &added["hostName"]), (&"me".into(), &"there".into()));
    let opens = |password: &str| {
        let theirs =
            bench.command(&bench.restic, &["--no-cache", "snapshots"]).env("RESTIC_PASSWORD", password).output().unwrap();
        let ours = bench.mover(&["snapshots"]).env("RESTIC_PASSWORD", password).output().unwrap();
        assert_eq!(theirs.status.code(), ours.status.code(), "{password}");
        ours.status.success()
    };
    assert!(opens("second") && opens(PASSWORD) && !opens("third"));
    bench.ours(&["key", "passwd", "--password-file", &second, "--new-password-file", &third]);
    assert!(opens("third") && opens(PASSWORD) && !opens("second"));
    let keys = lines(&bench.ours(&["key", "list", "--json"]))[0].clone();
    let id =
        |current: bool| keys.as_array().unwrap().iter().find(|key| key["current"] == current).unwrap()["id"].as_str().unwrap();
    assert!(bench.refused(&["key", "remove", id(true)], 1).contains("stays"));
    bench.ours(&["key", "remove", &id(false)[..16]]);
    assert!(!opens("third") && opens(PASSWORD));
}
