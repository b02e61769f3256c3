//! Directories of very many entries and files of very large holes: stock restic agrees, and memory stays within its budget.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use object_store::ObjectStore;
use repository::Control;
use repository::backup::{BackupRequest, backup};
use repository::maintenance::{CheckOptions, ReadData};
use repository::restore::{RestoreRequest, restore};
use storage::LocalStore;

use crate::support::{Restic, open, repository, shared};

/// Audit A1, D1 and D4: the most memory that a process may take.
const BUDGET: u64 = 256 << 20;

/// A repository, a source and a target in one directory.
struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    async fn new(above: &Path) -> Self {
        let directory = tempfile::tempdir_in(above).unwrap();
        for name in ["repository", "source", "target"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let bench = Self { directory };
        repository(&bench.store()).await;
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        store(&self.path(""))
    }

    fn restored(&self) -> PathBuf {
        self.path("target").join(self.path("source").strip_prefix("/").unwrap())
    }
}

fn store(directory: &Path) -> Arc<dyn ObjectStore> {
    Arc::new(LocalStore::new(directory.join("repository")))
}

/// One stage of a test: what a process does with the bench in `directory`.
async fn stage(stage: &str, directory: &Path) {
    let (repository, control) = (open(&store(directory)).await, Control::default());
    let guard = shared(&repository).await;
    match stage {
        "backup" => {
            let request = BackupRequest::new(vec![directory.join("source")]);
            let report = backup(&repository, &guard.handle(), request, &control).await.unwrap();
            assert!(report.is_complete(), "{:?}", report.errors);
            println!("{} files, {} unmodified, {} bytes read", report.files.total(), report.files.unmodified, report.bytes_read);
        }
        "restore" => {
            let latest = repository.snapshots(&control).await.unwrap().snapshots.pop().unwrap();
            let request = RestoreRequest::new(latest.0, directory.join("target"));
            let report = restore(&repository, &guard.handle(), request, &control).await.unwrap();
            assert!(report.is_complete(), "{:?}", report.errors);
            println!("{} files restored", report.files_restored);
        }
        _ => {
            let report = repository.check(&guard.handle(), CheckOptions { read: ReadData::All }, &control).await.unwrap();
            assert_eq!((report.errors, report.unindexed_packs), (vec![], vec![]));
        }
    }
    guard.release().await.unwrap();
}

/// A stage in a process of its own, whose memory is then known.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of the tests below, which start it"]
async fn one_stage() {
    let (Some(what), Some(directory)) = (std::env::var_os("ORLOP_STAGE"), std::env::var_os("ORLOP_STAGE_DIRECTORY")) else {
        return;
    };
    stage(what.to_str().unwrap(), Path::new(&directory)).await;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("peak {}", peak.trim().trim_end_matches(" kB"));
}

/// Runs a stage and says what it printed. Its memory must stay within the budget.
fn in_a_process(what: &str, directory: &Path) -> String {
    let started = Instant::now();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "huge::one_stage", "--ignored", "--nocapture"]);
    let output = command.env("ORLOP_STAGE", what).env("ORLOP_STAGE_DIRECTORY", directory).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{what}: {printed}{}", String::from_utf8_lossy(&output.stderr));
    let peak: u64 = printed.lines().find_map(|line| line.strip_prefix("peak ")).unwrap().trim().parse().unwrap();
    println!("{what}: {} MiB, {:.1} s", peak >> 10, started.elapsed().as_secs_f64());
    assert!(peak << 10 <= BUDGET, "{what} takes {} MiB", peak >> 10);
    printed
}

fn make_entries(directory: &Path, count: usize) {
    for number in 0..count {
        fs::File::create(directory.join(format!("entry-{number:07}"))).unwrap();
    }
}

/// A tree that was written as a stream is one that stock restic lists, checks and restores.
#[tokio::test(flavor = "multi_thread")]
async fn restic_reads_a_directory_that_was_written_as_a_stream() {
    const COUNT: usize = 20_000;
    let bench = Bench::new(&std::env::temp_dir()).await;
    let Some(restic) = Restic::at(&bench.path("repository")) else { return };
    make_entries(&bench.path("source"), COUNT);
    let mut first = fs::File::create(bench.path("source").join("entry-0000007")).unwrap();
    first.write_all(b"content").unwrap();
    let sparse = fs::File::create(bench.path("source").join("sparse")).unwrap();
    sparse.set_len(2 << 30).unwrap();
    stage("backup", &bench.path("")).await;
    let check = restic.ok(&["check", "--read-data"]);
    assert!(check.contains("no errors were found"), "{check}");
    assert_eq!(restic.ok(&["ls", "latest"]).lines().filter(|line| line.contains("entry-")).count(), COUNT);
    restic.ok(&["restore", "latest", "--sparse", "--target", bench.path("target").to_str().unwrap()]);
    assert_eq!(fs::read_dir(bench.restored()).unwrap().count(), COUNT + 1);
    assert_eq!(fs::read(bench.restored().join("entry-0000007")).unwrap(), b"content");
    // And what restic makes of the same directory has the same tree.
    let again = restic.ok(&["backup", "--json", "--force", "--ignore-inode", bench.path("source").to_str().unwrap()]);
    let summary = again.lines().rfind(|line| line.contains("\"summary\"")).unwrap().to_owned();
    assert!(summary.contains("\"data_blobs\":0"), "{summary}");
    stage("check", &bench.path("")).await;
    // Restic's own tree of that directory is read as a stream as well.
    stage("restore", &bench.path("")).await;
}

/// One directory of a million entries.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "nightly: a million entries in one directory, on a file system in memory"]
async fn nightly_a_million_entries_stay_within_the_budget() {
    const COUNT: usize = 1_000_000;
    let bench = Bench::new(Path::new("/dev/shm")).await;
    make_entries(&bench.path("source"), COUNT);
    let (directory, files) = (bench.path(""), format!("{COUNT} files"));
    assert!(in_a_process("backup", &directory).contains(&files));
    assert!(in_a_process("backup", &directory).contains(&format!("{COUNT} unmodified, 0 bytes read")));
    in_a_process("check", &directory);
    assert!(in_a_process("restore", &directory).contains(&format!("{COUNT} files restored")));
    assert_eq!(fs::read_dir(bench.restored()).unwrap().count(), COUNT);
}

/// One file of a tebibyte with holes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "nightly: a sparse file of a tebibyte"]
async fn nightly_a_tebibyte_of_holes_stays_within_the_budget_and_takes_a_minute() {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};
    const SIZE: u64 = 1 << 40;
    let bench = Bench::new(&std::env::temp_dir()).await;
    let file = fs::File::create(bench.path("source").join("sparse")).unwrap();
    file.write_all_at(b"head", 0).unwrap();
    file.write_all_at(b"middle", SIZE / 2 + 77).unwrap();
    file.set_len(SIZE).unwrap();
    let directory = bench.path("");
    let started = Instant::now();
    in_a_process("backup", &directory);
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    assert!(in_a_process("backup", &directory).contains("1 unmodified, 0 bytes read"));
    in_a_process("check", &directory);
    in_a_process("restore", &directory);
    let metadata = fs::metadata(bench.restored().join("sparse")).unwrap();
    assert!(metadata.len() == SIZE && metadata.blocks() * 512 < 16 << 20, "{} blocks", metadata.blocks());
    let mut middle = [0; 8];
    fs::File::open(bench.restored().join("sparse")).unwrap().read_exact_at(&mut middle, SIZE / 2 + 76).unwrap();
    assert_eq!(&middle, b"\0middle\0");
}
