//! Hostile snapshots restored into a folder: nothing is written outside of it, and no restore hangs (reliability G6, S-40, R17).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use repository::format::{BlobType, Id};
use repository::restore::{Ownership, Privileged, RestoreRequest, restore};
use repository::{Control, Error, LockMode, SnapshotId};

use crate::allocator::turn;
use crate::chance::Chance;
use crate::forge::Forge;

const FORGERIES: u64 = 12;
const TREES_OF_EACH: u64 = 100;

/// A restore that takes longer hangs: each has a few dozen entries.
const MOST_TIME: Duration = Duration::from_secs(60);

/// Forges the entries of a tree.
struct Enemy<'a> {
    forge: &'a mut Forge,
    chance: Chance,
    /// A folder that must not be touched, beside the target.
    sentinel: String,
    /// Blobs to refer to.
    data: Vec<Id>,
    trees: Vec<Id>,
}

impl<'a> Enemy<'a> {
    fn new(forge: &'a mut Forge, seed: u64, sentinel: &Path) -> Self {
        let data = [&b"evil"[..], &[0; 512 << 10], &[7; 3_000], b""].map(|plain| forge.blob(BlobType::Data, plain)).to_vec();
        // A tree that holds itself, as far as its id goes, and one that is a piece of a file.
        let cycle = Id::of(b"a tree that holds itself");
        let text = format!("{{\"nodes\":[{{\"name\":\"again\",\"type\":\"dir\",\"mode\":2147484141,\"subtree\":\"{cycle}\"}}]}}");
        forge.blob_as(cycle, BlobType::Tree, text.as_bytes());
        let trees = vec![cycle, data[0], Id::of(b"a tree that nobody has")];
        Self { forge, chance: Chance::new(seed), sentinel: sentinel.to_str().unwrap().to_owned(), data, trees }
    }

    /// A name as it stands in the JSON: quoted twice.
    fn name(&mut self) -> String {
        let below = format!("../{}/f", Path::new(&self.sentinel).file_name().unwrap().to_str().unwrap());
        let names = [
            "a",
            "b",
            "f",
            "link",
            "target",
            "sentinel",
            "..",
            ".",
            "",
            "/",
            "a/b",
            "../x",
            "../../x",
            "/etc/orlop-was-here",
            "\\\\x00",
            "a\\\\x00b",
            "\\\\xff\\\\xfe",
            "\\\\u202e",
            "\\\\n",
            "..\\\\x00",
            "\\\\x2e\\\\x2e",
            "\\\\056\\\\056",
            "...",
            "-rf",
            "lost+found",
            ".orlop-1-1-1.tmp",
            "\\u0000",
            "a\\\\x2fb",
            &below,
            &self.sentinel,
        ];
        match self.chance.below(40) {
            0 => "n".repeat(255),
            1 => "n".repeat(256),
            2 => "n".repeat(70_000),
            3 => "../".repeat(40),
            _ => (*self.chance.of(&names)).to_owned(),
        }
    }

    fn number(&mut self) -> u64 {
        let numbers = [0, 1, 2, 3, 4, 100, 4_095, 1 << 20, 1 << 40, 1 << 62, i64::MAX as u64, u64::MAX - 1, u64::MAX];
        *self.chance.of(&numbers)
    }

    fn target(&mut self) -> String {
        let targets =
            ["..", "../..", "/", ".", "a", "", "../sentinel", "/proc/self/root", "/proc/self/cwd", "/dev/null", &self.sentinel];
        (*self.chance.of(&targets)).to_owned()
    }

    fn content(&mut self) -> String {
        let mut ids: Vec<Id> = (0..self.chance.below(4)).map(|_| *self.chance.of(&self.data)).collect();
        match self.chance.below(12) {
            0 => ids.push(Id::of(b"a blob that nobody has")),
            1 => ids.push(self.trees[0]),
            2 => ids = vec![self.data[0]; 2_000],
            _ => {}
        }
        serde_json::to_string(&ids).unwrap()
    }

    fn attributes(&mut self) -> String {
        let names = [
            "user.x",
            "",
            "user.",
            "trusted.overlay.opaque",
            "security.capability",
            "security.selinux",
            "system.posix_acl_access",
            "system.posix_acl_default",
            "..",
            "user.\\u0000",
        ];
        let values = ["", "AQID", "AgAAAAEABgD/////", "AAAA", "!"];
        let name = if self.chance.below(10) == 0 { "user.".repeat(80) } else { (*self.chance.of(&names)).to_owned() };
        let value = if self.chance.below(10) == 0 { "AAAA".repeat(30_000) } else { (*self.chance.of(&values)).to_owned() };
        format!("[{{\"name\":\"{name}\",\"value\":\"{value}\"}}]")
    }

    /// Directories below are forged first, so that their trees can be named.
    fn entry(&mut self, depth: usize) -> String {
        let types = ["file", "dir", "symlink", "fifo", "socket", "dev", "chardev", "irregular", "door", ""];
        let kind = if self.chance.below(4) < 3 { types[self.chance.below(3)] } else { *self.chance.of(&types) };
        let mut fields = vec![format!("\"name\":\"{}\"", self.name()), format!("\"type\":\"{kind}\"")];
        let modes: [u32; 8] = [0o644, 0o755, 0, 0o7777, 0x8000_01ff, 0x0800_01ff, 0x00c0_01ff, 0xffff_ffff];
        fields.push(format!("\"mode\":{}", self.chance.of(&modes)));
        if kind == "dir" || self.chance.below(20) == 0 {
            let subtree = if depth > 0 && self.chance.below(5) > 0 { self.tree(depth - 1) } else { *self.chance.of(&self.trees) };
            fields.push(format!("\"subtree\":\"{subtree}\""));
        }
        if kind == "file" || self.chance.below(20) == 0 {
            fields.push(format!("\"content\":{}", self.content()));
            fields.push(format!("\"size\":{}", self.number()));
        }
        if kind == "symlink" || self.chance.below(20) == 0 {
            fields.push(format!("\"linktarget\":\"{}\"", self.target()));
        }
        for field in ["inode", "device_id", "links", "device"] {
            if self.chance.below(3) == 0 {
                fields.push(format!("\"{field}\":{}", self.number()));
            }
        }
        if self.chance.below(3) == 0 {
            let times =
                ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.5Z", "2026-01-01T00:00:00+23:59"];
            fields.push(format!("\"mtime\":\"{}\"", self.chance.of(&times)));
        }
        if self.chance.below(6) == 0 {
            fields.push(format!("\"extended_attributes\":{}", self.attributes()));
        }
        if self.chance.below(6) == 0 {
            let owner = *self.chance.of(&[0, 65_534, u32::MAX - 1, u32::MAX]);
            fields.push(format!("\"uid\":{owner},\"gid\":{owner}"));
        }
        format!("{{{}}}", fields.join(","))
    }

    fn tree(&mut self, depth: usize) -> Id {
        let mut entries: Vec<String> = (0..self.chance.below(8)).map(|_| self.entry(depth)).collect();
        if self.chance.below(3) == 0 {
            // A link, and a directory of the same name to be written through it.
            let inner =
                format!("{{\"nodes\":[{{\"name\":\"f\",\"type\":\"file\",\"content\":[\"{}\"],\"size\":4}}]}}", self.data[0]);
            let inner = self.forge.blob(BlobType::Tree, inner.as_bytes());
            let link = format!("{{\"name\":\"x\",\"type\":\"symlink\",\"linktarget\":\"{}\"}}", self.sentinel);
            let directory = format!("{{\"name\":\"x\",\"type\":\"dir\",\"subtree\":\"{inner}\"}}");
            entries.extend(if self.chance.below(2) == 0 { [link, directory] } else { [directory, link] });
        }
        let id = self.forge.blob(BlobType::Tree, format!("{{\"nodes\":[{}]}}", entries.join(",")).as_bytes());
        self.trees.push(id);
        id
    }
}

/// All that can be seen of a folder.
fn look(root: &Path) -> BTreeMap<String, String> {
    let (mut seen, mut stack) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(path) = stack.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_dir() {
            stack.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else {
            fs::read(&path).unwrap()
        };
        let (mode, owner, links) = (metadata.mode(), metadata.uid(), metadata.nlink());
        let times = (metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec());
        seen.insert(path.display().to_string(), format!("{content:?} {mode:o} {owner} {links} {times:?}"));
    }
    seen
}

async fn restore_within_bounds(forge: &Forge, snapshot: SnapshotId, target: &Path, chance: &mut Chance, what: &str) {
    let guard = forge.lock(LockMode::Shared).await.unwrap();
    let mut request = RestoreRequest::new(snapshot, target.to_owned());
    request.sync = false;
    request.privileged = *chance.of(&[Privileged::Restore, Privileged::Drop]);
    request.ownership = *chance.of(&[Ownership::Required, Ownership::BestEffort, Ownership::Skip]);
    let control = Control::default();
    let restored = tokio::time::timeout(MOST_TIME, restore(&forge.repository, &guard.handle(), request, &control)).await;
    // An error of the whole is as good as errors of entries, as long as nothing outside is reached.
    match restored.unwrap_or_else(|_| panic!("{what}: the restore hangs")) {
        Ok(_) | Err(Error::InvalidTree { .. } | Error::BlobUnreadable { .. } | Error::Damaged { .. }) => {}
        Err(error) => panic!("{what}: {error}"),
    }
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_hundred_forged_snapshots_reach_nothing_outside() {
    let _turn = turn().await;
    let directory = tempfile::tempdir().unwrap();
    let sentinel = directory.path().join("sentinel");
    fs::create_dir_all(sentinel.join("a/b")).unwrap();
    for name in ["f", "a/f", "a/b/f", "link"] {
        fs::write(sentinel.join(name), b"untouched").unwrap();
    }
    let before = look(&sentinel);
    fs::create_dir(directory.path().join("target")).unwrap();
    for seed in 0..FORGERIES {
        let mut forge = Forge::new().await;
        let mut enemy = Enemy::new(&mut forge, seed + 1, &sentinel);
        let mut snapshots = Vec::new();
        for _ in 0..TREES_OF_EACH {
            let depth = enemy.chance.below(5);
            let tree = enemy.tree(depth);
            let path = *enemy.chance.of(&["/", "/a", "/a/b", "/..", "", "relative/../..", "/x/../../sentinel"]);
            snapshots.push(format!("{{\"time\":\"2026-01-01T00:00:00Z\",\"tree\":\"{tree}\",\"paths\":[\"{path}\"]}}"));
        }
        let mut chance = enemy.chance.clone();
        forge.flush().await;
        for (number, snapshot) in snapshots.iter().enumerate() {
            let id = forge.put("snapshots", snapshot.as_bytes()).await;
            let id: SnapshotId = id.filename().unwrap().parse().unwrap();
            // Some find what the ones before have planted.
            let target =
                directory.path().join(if number % 2 == 0 { "target".to_owned() } else { format!("target/{seed}-{number}") });
            if fs::create_dir_all(&target).is_err() {
                continue;
            }
            restore_within_bounds(&forge, id, &target, &mut chance, &format!("seed {seed}, tree {number}")).await;
            assert_eq!(look(&sentinel), before, "seed {seed}, tree {number}");
        }
        let mut beside: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        beside.sort();
        assert_eq!(beside, ["sentinel", "target"], "seed {seed}");
        assert!(!Path::new("/etc/orlop-was-here").exists(), "seed {seed}");
    }
}

/// Forty trees that hold each other twice are a million million directories. The restore of them ends when it is told to.
#[tokio::test(flavor = "multi_thread")]
async fn trees_that_multiply_can_be_cancelled() {
    let _turn = turn().await;
    let mut forge = Forge::new().await;
    let mut tree = forge.blob(BlobType::Tree, b"{\"nodes\":[]}\n");
    for _ in 0..40 {
        let entry = |name: &str| format!("{{\"name\":\"{name}\",\"type\":\"dir\",\"mode\":2147484141,\"subtree\":\"{tree}\"}}");
        tree = forge.blob(BlobType::Tree, format!("{{\"nodes\":[{},{}]}}", entry("a"), entry("b")).as_bytes());
    }
    forge.flush().await;
    let snapshot = format!("{{\"time\":\"2026-01-01T00:00:00Z\",\"tree\":\"{tree}\",\"paths\":[\"/\"]}}");
    let path = forge.put("snapshots", snapshot.as_bytes()).await;
    let target = tempfile::tempdir().unwrap();
    let guard = forge.lock(LockMode::Shared).await.unwrap();
    let mut request = RestoreRequest::new(path.filename().unwrap().parse().unwrap(), target.path().to_owned());
    request.sync = false;
    let cancellation = tokio_util::sync::CancellationToken::new();
    let control = Control::new(cancellation.clone());
    let handle = guard.handle();
    let restoring = restore(&forge.repository, &handle, request, &control);
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cancellation.cancel();
        Instant::now()
    };
    let (restored, cancelled) = tokio::join!(restoring, cancel);
    assert!(matches!(restored, Err(Error::Cancelled)), "{restored:?}");
    assert!(cancelled.elapsed() < Duration::from_secs(5), "{:?}", cancelled.elapsed());
    // Each tree is looked at once where nothing has to be made of it.
    let checked = forge.repository.check(&guard.handle(), Default::default(), &Control::default()).await.unwrap();
    assert_eq!((checked.errors.len(), checked.trees), (0, 41));
}
