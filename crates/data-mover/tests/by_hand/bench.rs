//! What the tests share: a repository, both programs, and trees to back up.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use repository::crypto::ScryptCost;
use repository::{Control, InitOptions, Repository};
use secrecy::SecretString;
use serde_json::Value;
use storage::LocalStore;

pub const PASSWORD: &str = "correct horse battery staple";

/// A folder with a source and a repository that is cheap to open, and restic.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub restic: PathBuf,
}

/// `None` where restic is not on this machine and nobody requires it.
pub async fn bench() -> Option<Bench> {
    let tools = std::env::var_os("ORLOP_TOOLS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = tools.into_iter().chain(std::env::split_paths(&path)).map(|folder| folder.join("restic"));
    let Some(restic) = candidates.find(|file| file.is_file()) else {
        assert!(std::env::var_os("ORLOP_REQUIRE_TOOLS").is_none(), "restic is neither under ORLOP_TOOLS nor in the path");
        println!("skipped: restic is neither under ORLOP_TOOLS nor in the path");
        return None;
    };
    let bench = Bench { folder: tempfile::tempdir().unwrap(), restic };
    fs::create_dir(bench.path("repository")).unwrap();
    let options = InitOptions { scrypt: ScryptCost::for_tests(), ..InitOptions::default() };
    Repository::init(bench.store(), &SecretString::from(PASSWORD), &options, &Control::default()).await.unwrap();
    Some(bench)
}

impl Bench {
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    pub fn store(&self) -> std::sync::Arc<LocalStore> {
        std::sync::Arc::new(LocalStore::new(self.path("repository")))
    }

    pub fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("TZ", "UTC")
            .env("RESTIC_REPOSITORY", self.path("repository"))
            .env("RESTIC_PASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn mover(&self, arguments: &[&str]) -> Command {
        self.command(Path::new(env!("CARGO_BIN_EXE_data-mover")), arguments)
    }

    pub fn ours(&self, arguments: &[&str]) -> Vec<u8> {
        expect(&self.mover(arguments).output().unwrap(), 0, arguments)
    }

    pub fn theirs(&self, arguments: &[&str]) -> Vec<u8> {
        let arguments: Vec<_> = [&["--no-cache"], arguments].concat();
        expect(&self.command(&self.restic, &arguments).output().unwrap(), 0, &arguments)
    }

    /// Runs ours, expects this exit code, and returns what it complained.
    pub fn refused(&self, arguments: &[&str], code: i32) -> String {
        let output = self.mover(arguments).output().unwrap();
        expect(&output, code, arguments);
        String::from_utf8(output.stderr).unwrap()
    }

    pub fn locks(&self) -> usize {
        fs::read_dir(self.path("repository/locks")).map_or(0, Iterator::count)
    }

    /// Starts a slow backup of much data, and waits until it holds its lock and has stored something.
    pub fn slow_backup(&self) -> Child {
        fs::create_dir_all(self.path("much")).unwrap();
        for number in 0..8 {
            fs::write(self.path("much").join(number.to_string()), noise(number, 6_000_000)).unwrap();
        }
        let child = self.mover(&["backup", "--limit-upload", "4000", self.path("much").to_str().unwrap()]).spawn().unwrap();
        until("the backup is under way", || self.locks() == 1 && packs(&self.path("repository")) > 0);
        child
    }
}

#[track_caller]
pub fn expect(output: &Output, code: i32, arguments: &[&str]) -> Vec<u8> {
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}{complained}", String::from_utf8_lossy(&output.stdout));
    assert!(!complained.contains("panicked"), "{complained}");
    output.stdout.clone()
}

#[track_caller]
pub fn until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn packs(repository: &Path) -> usize {
    let folders = fs::read_dir(repository.join("data")).into_iter().flatten().flatten();
    folders.map(|folder| fs::read_dir(folder.path()).map_or(0, Iterator::count)).sum()
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ state >> 29).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Files, links and names that matter.
pub fn fill(source: &Path) {
    fs::create_dir_all(source.join("deep/er")).unwrap();
    fs::create_dir_all(source.join("empty")).unwrap();
    fs::write(source.join("a.txt"), "some text\n".repeat(2_000)).unwrap();
    fs::write(source.join("deep/large"), noise(1, 3_000_000)).unwrap();
    fs::write(source.join("deep/er/LEAF.md"), "leaf").unwrap();
    fs::write(source.join("none"), "").unwrap();
    fs::write(source.join("gr\u{fc}n and \"so\" on"), "odd name").unwrap();
    fs::hard_link(source.join("a.txt"), source.join("deep/again")).unwrap();
    symlink("a.txt", source.join("link")).unwrap();
    fs::set_permissions(source.join("none"), fs::Permissions::from_mode(0o4711)).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, source.join("fifo"), rustix::fs::FileType::Fifo, 0o640.into(), 0).unwrap();
}

pub fn lines(bytes: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(bytes).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Everything that stands below a folder: content of files, targets of links.
pub fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut waiting) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let (path, kind) = {
                let entry = entry.unwrap();
                (entry.path(), entry.file_type().unwrap())
            };
            let content = match () {
                () if kind.is_dir() => {
                    waiting.push(path.clone());
                    b"directory".to_vec()
                }
                () if kind.is_symlink() => fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
                () if kind.is_file() => fs::read(&path).unwrap(),
                () => b"special".to_vec(),
            };
            found.insert(path.strip_prefix(root).unwrap().to_owned(), content);
        }
    }
    found
}
