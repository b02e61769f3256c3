//! Exit codes, interruptions, plans and repairs.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use repository::{Control, LockIdentity, LockMode, LockRequest, OpenOptions, Repository};
use rustix::process::{Pid, Signal, getuid, kill_process};
use secrecy::SecretString;

use crate::bench::{PASSWORD, bench, expect, fill, lines, packs, text, tree, until};

const NOBODY: u32 = 65_534;

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_are_restics() {
    let Some(bench) = bench().await else { return };
    fill(&bench.path("source"));
    let source = bench.path("source").to_str().unwrap().to_owned();
    bench.ours(&["backup", &source]);
    let missing = bench.path("missing").to_str().unwrap().to_owned();
    assert!(bench.refused(&["-r", &missing, "snapshots"], 10).starts_with("data-mover: there is no repository"));
    let empty = bench.folder.path().to_str().unwrap();
    assert!(bench.refused(&["snapshots", "--repo", empty], 10).contains("init"));
    let wrong = bench.mover(&["snapshots"]).env("RESTIC_PASSWORD", "guess").output().unwrap();
    expect(&wrong, 12, &["snapshots"]);
    assert!(!text(&wrong.stderr).contains("guess"));
    assert!(bench.refused(&["ls", "abcdef0123"], 1).contains("abcdef0123"));
    assert!(bench.refused(&["-r", "sftp:host:/x", "snapshots"], 1).contains("no backend"));
    assert!(bench.refused(&["frobnicate"], 1).contains("frobnicate"));
    assert!(bench.refused(&["init"], 1).contains("already"));
    let failed = bench.mover(&["-r", &missing, "--json", "snapshots"]).output().unwrap();
    assert_eq!(lines(&failed.stderr)[0]["code"], 10);

    let password = SecretString::from(PASSWORD);
    let repository = Repository::open(bench.store(), &password, &OpenOptions::default(), &Control::default()).await.unwrap();
    let identity = LockIdentity { hostname: "elsewhere".to_owned(), pid: 1, ..LockIdentity::default() };
    let guard = repository.lock(LockRequest::new(LockMode::Exclusive, identity), &Control::default()).await.unwrap();
    assert!(bench.refused(&["snapshots"], 11).contains("elsewhere"));
    assert!(bench.refused(&["--retry-lock", "1s", "backup", &source], 11).contains("waiting for a lock"));
    // What a killed writer left long ago goes when somebody lists the folder who may write.
    let left = bench.path("repository/snapshots/.orlop-1-a-0.tmp");
    fs::File::create(&left).unwrap().set_modified(SystemTime::now() - Duration::from_secs(25 * 60 * 60)).unwrap();
    bench.ours(&["snapshots", "--no-lock"]);
    bench.ours(&["check", "--no-lock", "--read-data"]);
    bench.ours(&["prune", "--no-lock", "--dry-run"]);
    assert!(left.exists(), "nothing is written without a lock");
    assert!(bench.refused(&["prune", "--no-lock"], 1).contains("only read"));
    guard.release().await.unwrap();

    let unreadable = bench.path("source/unreadable");
    fs::write(&unreadable, "secret").unwrap();
    fs::set_permissions(&unreadable, fs::Permissions::from_mode(0o000)).unwrap();
    // A copy for who has no rights and may not even enter the folder that it was built in.
    let program = bench.path("data-mover");
    fs::copy(env!("CARGO_BIN_EXE_data-mover"), &program).unwrap();
    let mut backup = bench.command(&program, &["backup", &source]);
    if getuid().is_root() {
        fs::set_permissions(bench.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(
            Command::new("chown").arg("-R").arg(NOBODY.to_string()).arg(bench.path("repository")).status().unwrap().success()
        );
        backup.uid(NOBODY).gid(NOBODY);
    }
    let output = backup.output().unwrap();
    let told = lines(&expect(&output, 3, &["backup"]));
    assert_eq!(told.last().unwrap()["message_type"], "summary");
    assert!(text(&output.stderr).contains("unreadable"), "{}", text(&output.stderr));
}

/// What is cancelled stops within five seconds; its lock is gone, and what was packed is kept. Reliability I7, E5: a lock goes with
/// proof only.
#[tokio::test(flavor = "multi_thread")]
async fn interruptions_leave_no_lock_and_kills_a_provable_one() {
    let Some(bench) = bench().await else { return };
    let mut child = bench.slow_backup();
    let interrupted = Instant::now();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(interrupted.elapsed() < Duration::from_secs(5), "{:?}", interrupted.elapsed());
    assert_eq!(bench.locks(), 0);
    bench.theirs(&["check"]);

    let mut child = bench.slow_backup();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(bench.locks(), 1, "nobody could remove it");
    // restic waits for its input and lives.
    let mut waiting = bench.command(&bench.restic, &["--no-cache", "backup", "--stdin"]);
    let mut waiting = waiting.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    until("restic holds its lock", || bench.locks() == 2);
    let told = text(&bench.ours(&["unlock"]));
    assert!(told.contains("1 locks were removed") && told.contains(&format!("PID {}", waiting.id())), "{told}");
    assert_eq!(bench.locks(), 1);
    assert!(bench.refused(&["prune"], 11).contains("--retry-lock"));
    assert!(text(&bench.ours(&["prune", "--dry-run"])).contains("nothing was done"), "looking is for everybody");
    waiting.stdin.take().unwrap().write_all(b"what it was waiting for").unwrap();
    assert!(waiting.wait().unwrap().success());

    let mut child = bench.slow_backup();
    child.kill().unwrap();
    child.wait().unwrap();
    bench.ours(&["prune", "--unindexed-age", "0s"]);
    assert_eq!(bench.locks(), 0, "the next one on this machine knows that the holder is gone");
    bench.theirs(&["check", "--read-data"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_can_be_looked_at_before_it_is_done() {
    let Some(bench) = bench().await else { return };
    let [first, _] = crate::agreement::two_snapshots(&bench);
    bench.ours(&["forget", &first]);
    let before = tree(&bench.path("repository"));
    let told = lines(&bench.ours(&["prune", "--dry-run", "--json", "--max-unused", "0"]));
    assert_eq!(tree(&bench.path("repository")), before, "nothing was done");
    let (summary, shown) = told.split_last().unwrap();
    assert_eq!(summary["dry_run"], true);
    let ids: BTreeSet<_> = shown.iter().map(|pack| pack["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), packs(&bench.path("repository")), "every pack has its fate");
    assert!(
        shown.iter().any(|pack| pack["action"] != "keep" && pack["reason"].as_str().is_some_and(|reason| !reason.is_empty()))
    );
    let plan = text(&bench.ours(&["prune", "--dry-run", "--max-unused", "0"]));
    assert!(plan.contains("nothing was done") && ids.iter().all(|id| plan.contains(id)), "{plan}");

    let done = lines(&bench.ours(&["prune", "--json", "--max-unused", "0"]));
    assert_eq!(done[0]["bytes_freed"], summary["bytes_freed"]);
    bench.theirs(&["check", "--read-data"]);
    for limit in ["unlimited", "1G", "10%"] {
        bench.ours(&["prune", "--max-unused", limit]);
    }
    assert!(bench.refused(&["prune", "--max-unused", "much"], 1).contains("unlimited"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_is_found_and_repaired() {
    let Some(bench) = bench().await else { return };
    fill(&bench.path("source"));
    bench.ours(&["backup", bench.path("source").to_str().unwrap()]);
    assert!(text(&bench.ours(&["check", "--read-data"])).contains("no errors"));
    assert!(text(&bench.ours(&["check", "--read-data-subset", "1/1"])).contains("no errors"));
    fs::remove_dir_all(bench.path("repository/index")).unwrap();
    let complained = bench.refused(&["check"], 1);
    assert!(complained.contains("data-mover: the repository has"), "{complained}");
    assert!(bench.refused(&["ls", "latest"], 1).contains("not"), "nothing can be listed, and that is said");
    bench.ours(&["repair", "index"]);
    bench.ours(&["check", "--read-data"]);
    bench.theirs(&["check", "--read-data"]);
}

/// D8, D10: a flipped bit is named by file and bytes, costs only what it hits, and everything is well again afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_pack_is_traced_and_repaired() {
    let Some(bench) = bench().await else { return };
    fill(&bench.path("source"));
    let source = bench.path("source").to_str().unwrap().to_owned();
    bench.ours(&["backup", &source]);
    // The middle of the largest pack is one of the blobs of `deep/large`.
    let pack = largest_pack(&bench.path("repository"));
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::set_permissions(&pack, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&pack, bytes).unwrap();
    let id = pack.file_name().unwrap().to_str().unwrap();

    let failed = bench.mover(&["check", "--read-data", "--json"]).output().unwrap();
    let told = lines(&expect(&failed, 1, &["check"]));
    let [damage, summary] = told.as_slice() else { panic!("{told:?}") };
    let place = &damage["places"][0];
    assert_eq!((damage["message_type"].as_str(), damage["num_snapshots"].as_u64()), (Some("damage"), Some(1)));
    assert!(place["path"].as_str().unwrap().ends_with("/deep/large"), "{place}");
    let (offset, length) = (place["offset"].as_u64().unwrap(), place["length"].as_u64().unwrap());
    assert!(length > 0 && offset + length <= 3_000_000, "{place}");
    assert_eq!((&summary["broken_packs"][0], &summary["num_damaged_blobs"]), (&id.into(), &1.into()));
    let complained = bench.refused(&["check", "--read-data"], 1);
    let line = format!("/deep/large: bytes {offset} to {}", offset + length);
    assert!(complained.contains(&line), "{complained}");

    assert!(bench.refused(&["repair", "packs"], 1).contains("PACK"));
    assert!(bench.refused(&["repair", "packs", id], 1).contains("--remove"));
    assert!(pack.exists());
    assert!(bench.refused(&["repair", "packs", "--remove", id], 1).contains("repair snapshots"));
    assert!(!pack.exists());
    let look = text(&bench.ours(&["repair", "snapshots", "--dry-run"]));
    assert!(look.contains("/deep/large: 1 blobs") && look.contains("would be"), "{look}");
    let done = lines(&bench.ours(&["repair", "snapshots", "--forget", "--json"]));
    assert_eq!((&done[0]["num_lost"], done[0]["removed"].as_array().unwrap().len()), (&1.into(), 1));
    bench.ours(&["prune", "--max-unused", "0"]);
    bench.ours(&["check", "--read-data"]);
    bench.ours(&["repair", "index", "--read-all-packs"]);
    bench.theirs(&["check", "--read-data"]);
    let target = bench.path("restored");
    bench.theirs(&["restore", "latest", "--target", target.to_str().unwrap()]);
    let restored = target.join(source.trim_start_matches('/')).join("deep/large");
    assert_eq!(fs::read(restored).unwrap().len() as u64, 3_000_000 - length);
}

fn largest_pack(repository: &Path) -> PathBuf {
    let folders = fs::read_dir(repository.join("data")).unwrap().flatten();
    let packs = folders.flat_map(|folder| fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.path()));
    packs.max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap()
}
