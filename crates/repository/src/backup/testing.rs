//! What the tests of backup and restore need: a repository in a directory, trees to back up, and a look at trees that is
//! independent of the engine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use object_store::ObjectStore;
use secrecy::SecretString;
use storage::{Backend, BackendConfig, LocalConfig};

use super::{BackupReport, BackupRequest, backup};
use crate::{
    Control, InitOptions, LockGuard, LockIdentity, LockMode, LockRequest, LockTimes, OpenOptions, Repository, Result, SnapshotId,
    crypto::ScryptCost,
    restore::{RestoreReport, RestoreRequest, restore},
};

pub(crate) const PASSWORD: &str = "correct horse";

/// A directory with a repository, a source and a target.
pub(crate) struct Fixture {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) repository: Repository,
    pub(crate) guard: LockGuard,
    pub(crate) control: Control,
}

pub(crate) fn lock_request() -> LockRequest {
    let mut request =
        LockRequest::new(LockMode::Shared, LockIdentity { hostname: "test.pod".to_owned(), pid: 1, ..LockIdentity::default() });
    request.times = LockTimes { settle: Duration::from_millis(1), ..LockTimes::default() };
    request
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["repository", "source", "target"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let options = InitOptions { scrypt: ScryptCost::for_tests(), ..InitOptions::default() };
        let control = Control::default();
        let password = SecretString::from(PASSWORD);
        let repository =
            Repository::init(store(&directory.path().join("repository")), &password, &options, &control).await.unwrap();
        let guard = repository.lock(lock_request(), &control).await.unwrap();
        Self { directory, repository, guard, control }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.path("source")
    }

    /// Where the source comes out when the target is the root.
    pub(crate) fn restored(&self) -> PathBuf {
        let mut path = self.path("target").into_os_string();
        path.push(self.source());
        path.into()
    }

    pub(crate) fn request(&self) -> BackupRequest {
        let mut request = BackupRequest::new(vec![self.source()]);
        request.hostname = "host-0".to_owned();
        request
    }

    pub(crate) async fn backup(&self, request: BackupRequest) -> BackupReport {
        self.try_backup(request).await.unwrap()
    }

    pub(crate) async fn try_backup(&self, request: BackupRequest) -> Result<BackupReport> {
        backup(&self.repository, &self.guard.handle(), request, &self.control).await
    }

    pub(crate) fn restore_request(&self, snapshot: SnapshotId) -> RestoreRequest {
        RestoreRequest::new(snapshot, self.path("target"))
    }

    pub(crate) async fn restore(&self, request: RestoreRequest) -> RestoreReport {
        restore(&self.repository, &self.guard.handle(), request, &self.control).await.unwrap()
    }

    /// The same repository as another process would open it.
    pub(crate) async fn reopened(&self) -> Repository {
        let password = SecretString::from(PASSWORD);
        Repository::open(store(&self.path("repository")), &password, &OpenOptions::default(), &self.control).await.unwrap()
    }
}

pub(crate) fn store(path: &Path) -> Arc<dyn ObjectStore> {
    storage::open(&BackendConfig::new(Backend::Local(LocalConfig { root: path.to_owned() }))).unwrap()
}

/// Whether the tests may make devices, give files away and the like.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Bytes without structure, the same in every run.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
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

/// A tree with one of everything that a file system may hold.
pub(crate) fn make_everything(root: &Path) {
    let file = |name: &[u8], content: &[u8]| {
        let path = root.join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    };
    file(b"plain", b"plain content");
    file(b"empty", b"");
    file(b"name with spaces", b"1");
    file("gr\u{fc}n \u{1f980}".as_bytes(), b"2");
    file(b"not utf-8 \xff\xfe", b"3");
    file(b"line\nfeed\tand \"quotes\" \\ back", b"4");
    file(b"-rf", b"5");
    file(&[b'n'; 255], b"6");
    file(b"deep/er/and/deeper/leaf", b"7");
    fs::create_dir_all(root.join("empty directory")).unwrap();
    file(b"half a mebibyte", &noise(1, 512 * 1024));
    file(b"just below", &noise(2, 512 * 1024 - 1));
    file(b"large", &noise(3, 5 << 20));
    file(b"zeros", &vec![0; 3 << 20]);

    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.write_all_at(b"head", 0).unwrap();
    sparse.write_all_at(&noise(4, 700_000), 40 << 20).unwrap();
    sparse.set_len(100 << 20).unwrap();

    let linked = file(b"linked/first", &noise(5, 600_000));
    fs::hard_link(&linked, root.join("linked/second")).unwrap();
    fs::hard_link(&linked, root.join("another name")).unwrap();

    std::os::unix::fs::symlink("plain", root.join("link")).unwrap();
    std::os::unix::fs::symlink("/nowhere/at all", root.join("dangling link")).unwrap();
    std::os::unix::fs::symlink(OsStr::from_bytes(b"target \xff"), root.join("link to bytes")).unwrap();
    std::os::unix::fs::symlink("..", root.join("link to directory")).unwrap();

    rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), rustix::fs::FileType::Fifo, 0o640.into(), 0).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.join("socket"), rustix::fs::FileType::Socket, 0o600.into(), 0).unwrap();

    for (name, mode) in
        [("plain", 0o640), ("empty", 0o000), ("name with spaces", 0o4755), ("-rf", 0o2711), ("empty directory", 0o1777)]
    {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    if is_root() {
        std::os::unix::fs::chown(root.join("plain"), Some(1234), Some(4321)).unwrap();
        fs::set_permissions(root.join("plain"), fs::Permissions::from_mode(0o6755)).unwrap();
        std::os::unix::fs::lchown(root.join("link"), Some(77), Some(78)).unwrap();
        std::os::unix::fs::chown(root.join("deep/er"), Some(99), Some(98)).unwrap();
        let device = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(rustix::fs::CWD, root.join("null"), rustix::fs::FileType::CharacterDevice, 0o666.into(), device)
            .unwrap();
        let disk = rustix::fs::makedev(250, 7);
        rustix::fs::mknodat(rustix::fs::CWD, root.join("disk"), rustix::fs::FileType::BlockDevice, 0o600.into(), disk).unwrap();
    }
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(root.join("plain"), "user.colour", b"blue\0\xff", flags).unwrap();
    rustix::fs::setxattr(root.join("deep"), "user.depth", &noise(6, 2_000), flags).unwrap();
    rustix::fs::setxattr(root.join("large"), "user.empty", b"", flags).unwrap();
    // Read and write for user 1000: an access control list in the kernel's binary form.
    let entry =
        |tag: u16, permissions: u16, id: u32| [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat();
    let none = u32::MAX;
    let list = [
        2_u32.to_le_bytes().to_vec(),
        entry(1, 6, none),
        entry(2, 6, 1000),
        entry(4, 4, none),
        entry(16, 6, none),
        entry(32, 0, none),
    ]
    .concat();
    rustix::fs::setxattr(root.join("half a mebibyte"), "system.posix_acl_access", &list, flags).unwrap();

    let old = |name: &str, seconds: i64, nanos: i64| {
        let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanos };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, root.join(name), &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    fs::write(root.join("before 1970"), b"8").unwrap();
    old("large", 1, 1);
    old("link", 86_400, 999_999_999);
    old("fifo", 1_000_000_000, 5);
    old("before 1970", -5, 7);
    old("empty directory", 4_000_000_000, 123_456_789);
    old("deep/er", 1_234_567_890, 0);
}

/// Everything that can be seen of a tree, by path below its root, without the engine's help. Times of access and change are left
/// out: no restore can set the latter.
pub(crate) fn describe(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut entries = BTreeMap::new();
    let mut names: BTreeMap<(u64, u64), Vec<u8>> = BTreeMap::new();
    let mut stack = vec![root.to_owned()];
    while let Some(path) = stack.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let relative = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let kind = metadata.file_type();
        let content = if kind.is_dir() {
            stack.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            "directory".to_owned()
        } else if kind.is_symlink() {
            format!("link to {:?}", fs::read_link(&path).unwrap())
        } else if kind.is_file() {
            format!("file of {} with {}", metadata.len(), crate::Id::of(&fs::read(&path).unwrap()))
        } else {
            let is_device = kind.is_char_device() || kind.is_block_device();
            format!("{kind:?} {}", if is_device { metadata.rdev() } else { 0 })
        };
        let same_as = if kind.is_dir() { None } else { Some((metadata.dev(), metadata.ino())) };
        // Of several names the first one stands for all, whatever order they are met in.
        if let Some(inode) = same_as {
            let first = names.entry(inode).or_insert_with(|| relative.clone());
            if relative < *first {
                first.clone_from(&relative);
            }
        }
        let mut attributes = Vec::new();
        let mut list = vec![0_u8; 65_536];
        let length = rustix::fs::llistxattr(&path, list.as_mut_slice()).unwrap_or(0);
        for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let mut value = vec![0_u8; 65_536];
            let length = rustix::fs::lgetxattr(&path, name, value.as_mut_slice()).unwrap();
            attributes.push((String::from_utf8_lossy(name).into_owned(), value[..length].to_vec()));
        }
        attributes.sort();
        let links = if kind.is_dir() { 0 } else { metadata.nlink() };
        let line = format!(
            "{content} mode {:o} owner {}:{} mtime {}.{:09} links {links} {attributes:?}",
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            metadata.mtime(),
            metadata.mtime_nsec()
        );
        entries.insert(relative, line);
    }
    for (relative, line) in &mut entries {
        let path = if relative.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(relative)) };
        let metadata = fs::symlink_metadata(path).unwrap();
        if metadata.nlink() > 1
            && let Some(first) = names.get(&(metadata.dev(), metadata.ino()))
        {
            *line += &format!(" same as {:?}", String::from_utf8_lossy(first));
        }
    }
    entries
}

/// Fails with the entries that differ.
#[track_caller]
pub(crate) fn assert_same(left: &Path, right: &Path) {
    let (left, right) = (describe(left), describe(right));
    let keys: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
    let differing: Vec<String> = keys
        .into_iter()
        .filter(|key| left.get(*key) != right.get(*key))
        .map(|key| format!("{:?}:\n  {:?}\n  {:?}", String::from_utf8_lossy(key), left.get(key), right.get(key)))
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
