//! A repository, a tree to back up, and a look at trees that is independent of the engine.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use repository::backup::{BackupReport, BackupRequest, backup};
use repository::crypto::ScryptCost;
use repository::maintenance::{CheckOptions, ReadData};
use repository::restore::{RestoreReport, RestoreRequest, restore};
use repository::source::Problems;
use repository::{
    Control, InitOptions, LockGuard, LockIdentity, LockMode, LockRequest, OpenOptions, Repository, Result, SnapshotId,
};
use secrecy::SecretString;
use storage::{Backend, BackendConfig, LocalConfig};

fn password() -> SecretString {
    SecretString::from("correct horse battery staple")
}

/// A folder as a store that does not wait for better times.
pub fn store(root: &Path) -> Arc<dyn ObjectStore> {
    let config = BackendConfig::new(Backend::Local(LocalConfig { root: root.to_owned() }));
    storage::open(&config.with_patience(Duration::ZERO)).unwrap()
}

pub async fn try_init(root: &Path) -> Result<Repository> {
    let options = InitOptions { scrypt: ScryptCost::for_tests(), ..InitOptions::default() };
    Repository::init(store(root), &password(), &options, &Control::default()).await
}

/// A new repository in a new folder.
pub async fn init(root: &Path) -> Repository {
    fs::create_dir_all(root).unwrap();
    try_init(root).await.unwrap()
}

/// The repository as another process would open it.
pub async fn open(root: &Path) -> Repository {
    Repository::open(store(root), &password(), &OpenOptions::default(), &Control::default()).await.unwrap()
}

pub async fn try_lock(repository: &Repository, mode: LockMode) -> Result<LockGuard> {
    let identity = LockIdentity { hostname: "test.pod".to_owned(), pid: 1, ..LockIdentity::default() };
    let mut request = LockRequest::new(mode, identity).waiting(Duration::from_secs(5));
    request.times.settle = Duration::from_millis(1);
    repository.lock(request, &Control::default()).await
}

pub async fn try_backup(repository: &Repository, source: &Path) -> Result<BackupReport> {
    let guard = try_lock(repository, LockMode::Shared).await?;
    let mut request = BackupRequest::new(vec![source.to_owned()]);
    request.hostname = "host-0".to_owned();
    let done = backup(repository, &guard.handle(), request, &Control::default()).await;
    let released = guard.release().await;
    done.and_then(|report| released.map(|()| report))
}

/// Restores what lay in `source` directly into `target`.
pub async fn try_restore(
    repository: &Repository,
    snapshot: SnapshotId,
    root: &Path,
    change: impl FnOnce(&mut RestoreRequest),
) -> Result<RestoreReport> {
    let guard = try_lock(repository, LockMode::Shared).await?;
    let mut request = RestoreRequest::new(snapshot, root.to_owned());
    change(&mut request);
    let done = restore(repository, &guard.handle(), request, &Control::default()).await;
    let released = guard.release().await;
    done.and_then(|report| released.map(|()| report))
}

/// Restores a snapshot and compares it with what was backed up.
pub async fn assert_restorable(repository: &Repository, snapshot: SnapshotId, expected: &Tree, source: &Path) {
    let directory = tempfile::tempdir().unwrap();
    let report = try_restore(repository, snapshot, directory.path(), |_| ()).await.unwrap();
    assert!(report.is_complete(), "{:?}", report.errors);
    assert_eq!(differing(expected, &describe(&below(directory.path(), source))), [""; 0]);
}

/// Nothing of the repository is damaged or missing, all data read.
pub async fn assert_sound(repository: &Repository) {
    let guard = try_lock(repository, LockMode::Shared).await.unwrap();
    let options = CheckOptions { read: ReadData::All };
    let report = repository.check(&guard.handle(), options, &Control::default()).await.unwrap();
    guard.release().await.unwrap();
    assert!(report.errors.is_empty(), "{:?}", report.errors);
}

/// Where an absolute path comes out below the root of a restore.
pub fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap())
}

/// Bytes without structure, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Three directories with files of all sizes, links, a FIFO and attributes.
pub fn make_tree(root: &Path) {
    for directory in ["a", "b", "c"] {
        fs::create_dir_all(root.join(directory)).unwrap();
        for number in 0..12_u64 {
            let seed = number + u64::from(directory.as_bytes()[0]) * 100;
            fs::write(root.join(format!("{directory}/file-{number}")), noise(seed, number as usize * 1_000)).unwrap();
        }
    }
    fs::write(root.join("b/large"), noise(7, 6 << 20)).unwrap();
    fs::write(root.join("c/middle"), noise(8, 700_000)).unwrap();
    fs::hard_link(root.join("a/file-3"), root.join("c/second name")).unwrap();
    std::os::unix::fs::symlink("../b/large", root.join("c/link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.join("c/fifo"), rustix::fs::FileType::Fifo, 0o640.into(), 0).unwrap();
    fs::set_permissions(root.join("a/file-5"), fs::Permissions::from_mode(0o4751)).unwrap();
    let time = rustix::fs::Timespec { tv_sec: 1_234_567_890, tv_nsec: 987_654_321 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    for name in ["a/file-1", "b/large", "b", "c"] {
        rustix::fs::utimensat(rustix::fs::CWD, root.join(name), &times, rustix::fs::AtFlags::empty()).unwrap();
    }
}

/// What can be seen of a tree, by path below its root.
pub type Tree = BTreeMap<String, String>;

/// Looks at a tree, if it is there, without the engine's help, but for the number of links: the other names of a file are entries of their own.
/// Entries that cannot be read fail the test.
pub fn describe(root: &Path) -> Tree {
    let mut entries = Tree::new();
    let mut stack: Vec<PathBuf> = root.exists().then(|| root.to_owned()).into_iter().collect();
    while let Some(path) = stack.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        let content = if kind.is_dir() {
            stack.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            "directory".to_owned()
        } else if kind.is_symlink() {
            format!("link to {}", fs::read_link(&path).unwrap().display())
        } else if kind.is_file() {
            format!("file of {} with {}", metadata.len(), repository::Id::of(&fs::read(&path).unwrap()).short())
        } else {
            format!("{kind:?}")
        };
        let line = format!(
            "{content}, mode {:o}, owner {}:{}, time {}.{:09}",
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            metadata.mtime(),
            metadata.mtime_nsec()
        );
        entries.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), line);
    }
    entries
}

/// The paths at which two trees differ.
pub fn differing(left: &Tree, right: &Tree) -> Vec<String> {
    let paths: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
    paths.into_iter().filter(|path| left.get(*path) != right.get(*path)).cloned().collect()
}

/// The paths of a report's problems below `root`, with their reasons.
pub fn named(problems: &Problems, root: &Path) -> BTreeMap<String, String> {
    let relative = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_str().unwrap().to_owned();
    problems.listed.iter().map(|problem| (relative(&problem.path), problem.reason.clone())).collect()
}
