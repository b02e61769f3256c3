//! Both directions with stock restic: what it writes we restore, what we write it checks and restores.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{
    backup::testing::{Fixture, PASSWORD, assert_same, make_everything, noise},
    restore::RestoreRequest,
};

/// Stock restic: from the folder of tools, or the search path. Must be there where `ORLOP_REQUIRE_TOOLS` is set.
fn restic() -> Option<PathBuf> {
    let folder = std::env::var_os("ORLOP_TOOLS").map(PathBuf::from);
    let folders = folder.into_iter().chain(std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect::<Vec<_>>());
    let found = folders.map(|folder| folder.join("restic")).find(|path| path.is_file());
    if found.is_none() {
        assert!(
            std::env::var_os("ORLOP_REQUIRE_TOOLS").is_none(),
            "restic is not installed: set ORLOP_TOOLS to the folder that holds it"
        );
        println!("skipped: restic is neither in ORLOP_TOOLS nor in PATH");
    }
    found
}

fn run(restic: &Path, fixture: &Fixture, arguments: &[&str]) -> Output {
    let output = Command::new(restic)
        .args(["--repo", fixture.path("repository").to_str().unwrap(), "--no-cache", "--quiet"])
        .args(arguments)
        .env("RESTIC_PASSWORD", PASSWORD)
        .env("RESTIC_HOST", "host-0")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "restic {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A tree of which restic keeps everything: it leaves sockets out.
fn make_source(fixture: &Fixture) {
    make_everything(&fixture.source());
    fs::remove_file(fixture.source().join("socket")).unwrap();
    fs::write(fixture.source().join("text"), "the same line over and over\n".repeat(300_000)).unwrap();
    fs::write(fixture.source().join("many chunks"), noise(77, 30 << 20)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_checks_and_restores_what_we_write() {
    let Some(restic) = restic() else { return };
    let fixture = Fixture::new().await;
    make_source(&fixture);
    let backup = fixture.backup(fixture.request()).await;
    run(&restic, &fixture, &["check", "--read-data", "--no-lock"]);
    run(&restic, &fixture, &["restore", &backup.snapshot.to_string(), "--target", fixture.path("target").to_str().unwrap()]);
    assert_same(&fixture.source(), &fixture.restored());
}

#[tokio::test(flavor = "multi_thread")]
async fn we_restore_what_restic_writes() {
    let Some(restic) = restic() else { return };
    let fixture = Fixture::new().await;
    make_source(&fixture);
    run(&restic, &fixture, &["backup", fixture.source().to_str().unwrap()]);
    let snapshots = fixture.repository.snapshots(&fixture.control).await.unwrap().snapshots;
    let report = fixture.restore(RestoreRequest::new(snapshots[0].0, fixture.path("target"))).await;
    assert!(report.is_complete(), "{:?}", report.errors);
    assert_same(&fixture.source(), &fixture.restored());
}

/// The cuts are restic's: whoever comes second stores nothing new but trees, and takes unchanged files over from the other's snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn restic_and_we_share_chunks_and_parents() {
    let Some(restic) = restic() else { return };
    let ours_first = Fixture::new().await;
    make_source(&ours_first);
    let ours = ours_first.backup(ours_first.request()).await;
    let output = run(&restic, &ours_first, &["backup", "--json", "--force", ours_first.source().to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    let summary: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(summary["data_blobs"], 0, "{summary}");
    assert_eq!(summary["total_bytes_processed"], ours.bytes_processed);

    let restic_first = Fixture::new().await;
    make_source(&restic_first);
    run(&restic, &restic_first, &["backup", restic_first.source().to_str().unwrap()]);
    let mut request = restic_first.request();
    request.parent = crate::backup::ParentChoice::None;
    let whole = restic_first.backup(request).await;
    assert_eq!(whole.blobs_new_data, 0);
    let mut request = restic_first.request();
    let snapshots = restic_first.repository.snapshots(&restic_first.control).await.unwrap().snapshots;
    request.parent = crate::backup::ParentChoice::Snapshot(snapshots[0].0);
    let incremental = restic_first.backup(request).await;
    assert_eq!((incremental.bytes_read, incremental.files.unmodified), (0, incremental.files.total()));
    // And the other way round: restic takes our snapshot as the parent.
    let output = run(&restic, &restic_first, &["backup", "--json", restic_first.source().to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    let summary: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&summary["files_new"], &summary["files_changed"]), (&0.into(), &0.into()), "{summary}");
}
