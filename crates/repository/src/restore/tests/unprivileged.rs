//! A restore by somebody who is not root (reliability G5). The tests run as root in most places, so they start themselves again as
//! another user.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use secrecy::SecretString;

use crate::{
    Control, OpenOptions, Repository,
    backup::{
        BackupRequest, backup,
        testing::{Fixture, PASSWORD, is_root, lock_request, noise, store},
    },
    restore::{Ownership, RestoreRequest, tests::batches::restore_in_batches},
};

const NOBODY: u32 = 65_534;
const FOLDER: &str = "REPOSITORY_TEST_UNPRIVILEGED_FOLDER";

/// Runs one of the ignored tests below as a user without rights.
fn as_nobody(test: &str, folder: &Path) {
    // The test binary may stand where nobody may enter.
    let binary = folder.join("tests");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(&binary)
        .args(["--exact", &format!("restore::tests::unprivileged::{test}"), "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .current_dir(folder)
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

fn open_to_all(fixture: &Fixture) {
    fs::set_permissions(fixture.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut stack = vec![fixture.path("repository"), fixture.path("target")];
    while let Some(path) = stack.pop() {
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        if path.is_dir() {
            stack.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_that_cannot_be_set_are_told_and_a_volume_s_root_is_the_platform_s() {
    if !is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let fixture = Fixture::new().await;
    let source = fixture.source();
    for (name, owner) in [("mine", NOBODY), ("other", 4_711)] {
        fs::write(source.join(name), noise(1, 1_000)).unwrap();
        chown(source.join(name), Some(owner), Some(owner)).unwrap();
    }
    fs::create_dir(source.join("read-only")).unwrap();
    fs::write(source.join("read-only/inside"), b"x").unwrap();
    for path in ["read-only/inside", "read-only"] {
        chown(source.join(path), Some(NOBODY), Some(NOBODY)).unwrap();
        fs::set_permissions(source.join(path), fs::Permissions::from_mode(0o555)).unwrap();
    }
    // A directory that nobody may enter, with the first name of a file that has another one far behind it.
    fs::create_dir_all(source.join("closed/below")).unwrap();
    fs::write(source.join("closed/below/first"), noise(2, 1_000)).unwrap();
    fs::hard_link(source.join("closed/below/first"), source.join("second")).unwrap();
    for (path, mode) in [("second", 0o644), ("closed/below", 0o000), ("closed", 0o000)] {
        chown(source.join(path), Some(NOBODY), Some(NOBODY)).unwrap();
        fs::set_permissions(source.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(&source, fs::Permissions::from_mode(0o2775)).unwrap();
    chown(&source, Some(0), Some(NOBODY)).unwrap();
    let backup = fixture.backup(fixture.request()).await;
    // The root of the volume: it belongs to root, and our group may write there, as a kubelet arranges it.
    fs::create_dir_all(fixture.restored()).unwrap();
    open_to_all(&fixture);
    chown(fixture.restored(), Some(0), Some(NOBODY)).unwrap();
    fs::set_permissions(fixture.restored(), fs::Permissions::from_mode(0o2775)).unwrap();
    fs::write(fixture.path("snapshot"), backup.snapshot.to_string()).unwrap();
    as_nobody("restore_as_nobody", &fixture.path(""));
    let restored = fixture.restored();
    assert_eq!(fs::metadata(restored.join("other")).unwrap().uid(), NOBODY);
    assert_eq!(fs::metadata(restored.join("read-only")).unwrap().mode() & 0o777, 0o555);
    assert_eq!(fs::read(restored.join("mine")).unwrap(), noise(1, 1_000));
    assert_eq!(fs::metadata(restored.join("closed")).unwrap().mode() & 0o777, 0);
    let [first, second] = ["closed/below/first", "second"].map(|name| fs::metadata(restored.join(name)).unwrap().ino());
    assert_eq!(first, second);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the test above as another user"]
async fn restore_as_nobody() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let control = Control::default();
    let password = SecretString::from(PASSWORD);
    let repository =
        Repository::open(store(&folder.join("repository")), &password, &OpenOptions::default(), &control).await.unwrap();
    let guard = repository.lock(lock_request(), &control).await.unwrap();
    let snapshot = fs::read_to_string(folder.join("snapshot")).unwrap().parse().unwrap();
    let mut request = RestoreRequest::new(snapshot, folder.join("target"));
    for (ownership, errors) in [(Ownership::Required, 1), (Ownership::BestEffort, 0), (Ownership::Skip, 0)] {
        request.ownership = ownership;
        let report = restore_in_batches(&repository, guard.handle(), &request, 1).await;
        assert_eq!(report.errors.total, errors, "{ownership:?} {:?}", report.errors);
        if let Some(problem) = report.errors.listed.first() {
            assert!(problem.path.ends_with("other") && problem.reason.contains("4711"), "{problem:?}");
        }
    }
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_without_permission_are_named() {
    if !is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let fixture = Fixture::new().await;
    for (name, mode) in [("open", 0o644), ("closed", 0o600)] {
        fs::write(fixture.source().join(name), b"x").unwrap();
        fs::set_permissions(fixture.source().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(fixture.source().join("closed directory")).unwrap();
    fs::set_permissions(fixture.source().join("closed directory"), fs::Permissions::from_mode(0o700)).unwrap();
    open_to_all(&fixture);
    as_nobody("back_up_as_nobody", &fixture.path(""));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the test above as another user"]
async fn back_up_as_nobody() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let control = Control::default();
    let password = SecretString::from(PASSWORD);
    let repository =
        Repository::open(store(&folder.join("repository")), &password, &OpenOptions::default(), &control).await.unwrap();
    let guard = repository.lock(lock_request(), &control).await.unwrap();
    let request = BackupRequest::new(vec![folder.join("source")]);
    let report = backup(&repository, &guard.handle(), request, &control).await.unwrap();
    let named: Vec<_> =
        report.errors.listed.iter().map(|problem| (problem.path.file_name().unwrap().to_owned(), problem.class)).collect();
    assert_eq!(named, [("closed".into(), "permission"), ("closed directory".into(), "permission")]);
    assert_eq!(report.files.total(), 1);
    guard.release().await.unwrap();
}
