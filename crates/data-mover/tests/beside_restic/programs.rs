//! The two programs with one repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use object_store::ObjectStore;
use repository::crypto::ScryptCost;
use repository::{Control, InitOptions, Repository};
use secrecy::SecretString;
use serde_json::Value;
use storage::LocalStore;

const PASSWORD: &str = "correct horse battery staple";

/// Exit status of both programs when others hold the repository's lock.
const LOCKED: i32 = 11;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Ours,
    Restic,
}

/// A repository in a folder of its own, with room beside it.
pub struct Place {
    folder: tempfile::TempDir,
    restic: PathBuf,
}

impl Place {
    /// `None`, having said so, if there is no restic. The key is cheap: each step opens the repository several times.
    pub async fn new() -> Option<Self> {
        let restic = find_restic()?;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("repository");
        std::fs::create_dir(&root).unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(LocalStore::new(root));
        let options = InitOptions { scrypt: ScryptCost::for_tests(), ..InitOptions::default() };
        Repository::init(store, &SecretString::from(PASSWORD), &options, &Control::default()).await.unwrap();
        Some(Self { folder, restic })
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, program: Program, arguments: &[&str]) -> Command {
        let mut command = match program {
            Program::Ours => Command::new(env!("CARGO_BIN_EXE_data-mover")),
            Program::Restic => {
                let mut command = Command::new(&self.restic);
                command.arg("--no-cache");
                command
            }
        };
        command
            .args(arguments)
            .env("RESTIC_REPOSITORY", self.join("repository"))
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("RESTIC_PROGRESS_FPS", "0.01")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs it to its end, which must be a good one.
    #[track_caller]
    pub fn ok(&self, program: Program, arguments: &[&str]) -> String {
        let output = self.command(program, arguments).output().unwrap();
        assert!(output.status.success(), "{program:?} {arguments:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Tag to id of every snapshot, by stock restic.
    pub fn snapshots(&self) -> BTreeMap<String, String> {
        let listed: Value = serde_json::from_str(&self.ok(Program::Restic, &["snapshots", "--json", "--no-lock"])).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        listed.as_array().unwrap().iter().map(|snapshot| (text(&snapshot["tags"][0]), text(&snapshot["id"]))).collect()
    }

    /// Stock restic reads everything there is. Without a lock: one that a killed process left must not matter to a reader.
    #[track_caller]
    pub fn check_by_restic(&self) {
        self.ok(Program::Restic, &["check", "--read-data", "--no-lock"]);
    }

    /// What a restore of the snapshot gives for the folder that it was taken of.
    pub fn restored(&self, program: Program, id: &str, source: &Path) -> crate::tree::Files {
        let target = tempfile::tempdir_in(self.folder.path()).unwrap();
        self.ok(program, &["restore", id, "--target", target.path().to_str().unwrap()]);
        crate::tree::read(&target.path().join(source.strip_prefix("/").unwrap()))
    }
}

/// Everything a program wrote.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Whether it did its work; `false` if others kept it from beginning.
#[track_caller]
pub fn worked(output: &Output, what: &str) -> bool {
    assert!(output.status.success() || output.status.code() == Some(LOCKED), "{what}: {}", said(output));
    output.status.success()
}

fn find_restic() -> Option<PathBuf> {
    let tools = std::env::var_os("ORLOP_TOOLS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = tools.into_iter().chain(std::env::split_paths(&path));
    let found = folders.find_map(|folder| Some(folder.join("restic")).filter(|file| file.is_file()));
    if found.is_none() {
        assert!(std::env::var_os("ORLOP_REQUIRE_TOOLS").is_none(), "restic is neither under ORLOP_TOOLS nor in the path");
        println!("skipped: restic is neither under ORLOP_TOOLS nor in the path");
    }
    found
}
