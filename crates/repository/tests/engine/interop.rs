//! With stock restic, both ways: what one writes the other lists, checks, restores and prunes.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use repository::crypto::ScryptCost;
use repository::maintenance::{CheckOptions, PruneOptions, ReadData};
use repository::{Control, Error, InitOptions, LockMode, LockRequest, OpenOptions, Repository};
use secrecy::SecretString;
use storage::LocalStore;

use crate::support::{Files, Restic, backup, exclusive, identity, noise, open, read_everything, repository, shared, text};

struct Bench {
    directory: tempfile::TempDir,
    restic: Restic,
    store: Arc<dyn ObjectStore>,
}

fn bench() -> Option<Bench> {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("repository");
    fs::create_dir(&root).unwrap();
    let restic = Restic::at(&root)?;
    let store: Arc<dyn ObjectStore> = Arc::new(LocalStore::new(root));
    Some(Bench { directory, restic, store })
}

fn sample() -> Files {
    Files::from([
        ("dir/noise".to_owned(), noise(1, 900_000)),
        ("dir/deeper/text".to_owned(), text(2, 400_000)),
        ("dir/<&>\"\\ name\u{e9}\n".to_owned(), text(3, 10)),
        ("empty".to_owned(), Vec::new()),
    ])
}

fn write(files: &Files, root: &Path) {
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn read(root: &Path) -> Files {
    let mut files = Files::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                files.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap());
            }
        }
    }
    files
}

async fn check_well(repository: &Repository) {
    let guard = shared(repository).await;
    let report = repository.check(&guard.handle(), CheckOptions { read: ReadData::All }, &Control::default()).await.unwrap();
    assert_eq!((report.errors, report.unindexed_packs), (vec![], vec![]));
    guard.release().await.unwrap();
}

async fn prune(repository: &Repository) {
    let control = Control::default();
    let guard = exclusive(repository).await;
    let options = PruneOptions { max_unused: 0.0, unindexed_age: Duration::ZERO, small_packs: 2, ..PruneOptions::default() };
    let plan = repository.plan_prune(&guard.handle(), &options, &control).await.unwrap();
    repository.prune(&guard.handle(), plan, &control).await.unwrap();
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_reads_checks_restores_and_prunes_ours() {
    let Some(bench) = bench() else { return };
    let repository = repository(&bench.store).await;
    let guard = shared(&repository).await;
    let first = backup(&repository, &guard, &Files::from([("gone".to_owned(), noise(9, 500_000))]), "first").await.unwrap();
    let second = backup(&repository, &guard, &sample(), "second").await.unwrap();
    guard.release().await.unwrap();

    let listed = bench.restic.ok(&["snapshots", "--json"]);
    assert!(listed.contains(&first.to_string()) && listed.contains(&second.to_string()));
    bench.restic.ok(&["check", "--read-data"]);
    let target = bench.directory.path().join("restored");
    bench.restic.ok(&["restore", &second.to_string(), "--target", target.to_str().unwrap()]);
    assert_eq!(read(&target), sample());

    bench.restic.ok(&["forget", &first.to_string(), "--prune", "--max-unused", "0"]);
    let repository = open(&bench.store).await;
    check_well(&repository).await;
    let all = read_everything(&repository).await.unwrap();
    assert_eq!((all.len(), &all["second"]), (1, &sample()));
}

#[tokio::test(flavor = "multi_thread")]
async fn we_read_check_and_prune_restics_of_both_versions() {
    for version in ["1", "2"] {
        let Some(bench) = bench() else { return };
        let source = bench.directory.path().join("source");
        write(&sample(), &source);
        bench.restic.ok(&["init", "--repository-version", version]);
        bench.restic.ok(&["backup", "--tag", "first", source.to_str().unwrap()]);
        fs::remove_file(source.join("dir/noise")).unwrap();
        bench.restic.ok(&["backup", "--tag", "second", source.to_str().unwrap()]);

        let repository = open(&bench.store).await;
        assert_eq!(repository.version().to_string(), version);
        check_well(&repository).await;
        let control = Control::default();
        let list = repository.snapshots(&control).await.unwrap();
        let prefix = source.strip_prefix("/").unwrap().to_str().unwrap().to_owned();
        let below = |files: Files| -> Files {
            files.into_iter().map(|(path, content)| (path[prefix.len() + 1..].to_owned(), content)).collect()
        };
        assert_eq!(below(read_everything(&repository).await.unwrap()["first"].clone()), sample());

        // A snapshot of ours beside theirs, one of theirs forgotten, and a prune by us.
        let guard = shared(&repository).await;
        backup(&repository, &guard, &sample(), "ours").await.unwrap();
        guard.release().await.unwrap();
        let first = list.with_tags(&["first"]).next().unwrap().0;
        let guard = exclusive(&repository).await;
        repository.forget(&guard.handle(), &[first], &control).await.unwrap();
        guard.release().await.unwrap();
        prune(&repository).await;
        bench.restic.ok(&["check", "--read-data"]);
        let all = read_everything(&repository).await.unwrap();
        assert_eq!((all.len(), &all["ours"]), (2, &sample()));
        let target = bench.directory.path().join("restored");
        bench.restic.ok(&["restore", "latest", "--tag", "second", "--target", target.to_str().unwrap()]);
        let restored = read(&target.join(&prefix));
        assert_eq!(restored, read(&source));
    }
}

/// The same directory has the same tree in both programs, so that neither stores it again after the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_tree_of_restics_written_by_us_has_the_same_id() {
    let Some(bench) = bench() else { return };
    let source = bench.directory.path().join("source");
    let mut files = sample();
    for name in [
        "a'b`c",
        "tab\there",
        "\u{1f600} smile",
        "caf\u{e9}",
        "\u{a0}nbsp",
        "\u{2028}line",
        "\u{feff}bom",
        "\u{200d}zwj",
        "\u{202e}rtl",
        "\u{e000}private",
        "\u{7f}del",
        "%20",
    ] {
        files.insert(format!("names/{name}"), b"x".to_vec());
    }
    write(&files, &source);
    std::os::unix::fs::symlink("some\u{e9}where", source.join("link")).unwrap();
    bench.restic.ok(&["init"]);
    bench.restic.ok(&["backup", source.to_str().unwrap()]);
    let repository = open(&bench.store).await;
    let control = Control::default();
    let list = repository.snapshots(&control).await.unwrap();
    let reader = repository.blob_reader(repository.load_index(&control).await.unwrap(), &control);
    let (mut waiting, mut seen) = (vec![list.snapshots[0].1.tree], 0);
    while let Some(id) = waiting.pop() {
        let tree = reader.load_tree(&id).await.unwrap();
        let stored = reader.load_blob(repository::BlobType::Tree, &id).await.unwrap();
        // restic writes times in its own zone; the rest must agree byte for byte.
        let written = String::from_utf8(repository::format::Tree::serialise(&tree.nodes).unwrap()).unwrap();
        let normal = |text: &str| text.replace("+00:00\"", "Z\"");
        assert_eq!(written, normal(std::str::from_utf8(&stored).unwrap()));
        waiting.extend(tree.nodes.iter().filter_map(|node| node.subtree));
        seen += 1;
    }
    assert!(seen >= 5);
}

/// Our locks keep restic out and restic's `unlock` leaves them alone, with the fields that it does not know.
#[tokio::test(flavor = "multi_thread")]
async fn restic_respects_our_locks() {
    let Some(bench) = bench() else { return };
    let source = bench.directory.path().join("source");
    write(&sample(), &source);
    let repository = repository(&bench.store).await;
    let guard = exclusive(&repository).await;
    assert!(bench.restic.fails(&["backup", source.to_str().unwrap()]).contains("locked"));
    bench.restic.ok(&["unlock"]);
    guard.handle().verify().await.unwrap();
    let shown = bench.restic.ok(&["cat", "lock", &guard.handle().current_id().to_string(), "--no-lock"]);
    assert!(shown.contains("test.test-uid"), "{shown}");
    guard.release().await.unwrap();

    let guard = shared(&repository).await;
    bench.restic.ok(&["backup", source.to_str().unwrap()]);
    assert!(bench.restic.fails(&["prune"]).contains("locked"));
    guard.handle().verify().await.unwrap();
    guard.release().await.unwrap();
    bench.restic.ok(&["prune"]);
}

/// A lock of restic's keeps us out, and we read it.
#[tokio::test(flavor = "multi_thread")]
async fn we_respect_restics_locks() {
    let Some(bench) = bench() else { return };
    repository(&bench.store).await;
    let mut waiting = std::process::Command::new(bench.restic.binary())
        .args(["--no-cache", "--repo", bench.restic.repository(), "backup", "--stdin"])
        .env("RESTIC_PASSWORD", "correct horse battery staple")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let repository = open(&bench.store).await;
    let mut locks = Vec::new();
    for _ in 0..200 {
        locks = repository.locks(None, &Control::default()).await.unwrap();
        if !locks.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((locks.len(), locks[0].exclusive, locks[0].cluster_uid.as_str()), (1, false, ""));
    assert_eq!(locks[0].pid, i64::from(waiting.id()));
    let refused = repository.lock(LockRequest::new(LockMode::Exclusive, identity("us")), &Control::default()).await;
    assert!(matches!(refused, Err(Error::Locked { .. })));
    waiting.stdin.take().unwrap().write_all(b"what it was waiting for").unwrap();
    assert!(waiting.wait().unwrap().success());
    exclusive(&repository).await.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_one_open_in_the_other() {
    let Some(bench) = bench() else { return };
    let repository = repository(&bench.store).await;
    let options = InitOptions { scrypt: ScryptCost::Calibrated, ..InitOptions::default() };
    repository.add_key(&SecretString::from("second"), &options, &Control::default()).await.unwrap();
    assert!(bench.restic.run_with(&["snapshots"], "second").status.success());
    assert!(!bench.restic.run_with(&["snapshots"], "third").status.success());
    let file = bench.directory.path().join("third");
    fs::write(&file, "third").unwrap();
    bench.restic.ok(&["key", "add", "--new-password-file", file.to_str().unwrap()]);
    let opened =
        Repository::open(Arc::clone(&bench.store), &SecretString::from("third"), &OpenOptions::default(), &Control::default())
            .await;
    assert_eq!(opened.unwrap().id(), repository.id());
}
