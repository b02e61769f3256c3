//! Times beside stock restic, on the same data and machine: `cargo test -p repository speed -- --ignored --nocapture`.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::backup::{
    ParentChoice,
    testing::{Fixture, PASSWORD, noise},
};

/// Some 200 MB: small files, text that compresses, and data that does not.
fn make_mixed(root: &Path) {
    for directory in 0..100_u64 {
        let path = root.join(format!("small/{directory:03}"));
        fs::create_dir_all(&path).unwrap();
        for file in 0..100_u64 {
            let seed = directory * 100 + file;
            fs::write(path.join(format!("{file:03}")), noise(seed, 500 + (seed * 37 % 7_000) as usize)).unwrap();
        }
    }
    fs::create_dir_all(root.join("text")).unwrap();
    for file in 0..4_u64 {
        let lines: String = (0..260_000_u64)
            .map(|line| {
                format!(
                    "2026-01-01T00:00:{:02}Z level=info request={} status=200 path=/api/v1/items/{}\n",
                    line % 60,
                    line * 7919 + file,
                    line * 31 % 997
                )
            })
            .collect();
        fs::write(root.join(format!("text/{file}")), lines).unwrap();
    }
    fs::create_dir_all(root.join("random")).unwrap();
    for file in 0..4_u64 {
        fs::write(root.join(format!("random/{file}")), noise(file + 1_000_000, 20 << 20)).unwrap();
    }
}

fn restic(arguments: &[&str], repository: &Path) -> Duration {
    let started = Instant::now();
    let program = std::env::var_os("ORLOP_TOOLS").map_or_else(|| "restic".into(), |folder| Path::new(&folder).join("restic"));
    let status = Command::new(program)
        .args(["--no-cache", "--quiet", "--repo", repository.to_str().unwrap()])
        .args(arguments)
        .env("RESTIC_PASSWORD", PASSWORD)
        .status()
        .unwrap();
    assert!(status.success());
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures; needs restic and a quiet machine"]
async fn beside_restic_on_mixed_data() {
    let fixture = Fixture::new().await;
    make_mixed(&fixture.source());
    let source = fixture.source();
    let source = source.to_str().unwrap();
    for round in 0..3 {
        let repository = fixture.path(&format!("restic{round}"));
        let opening = {
            restic(&["init"], &repository);
            restic(&["cat", "config"], &repository)
        };
        let first = restic(&["backup", source], &repository);
        let unchanged = restic(&["backup", source], &repository);
        let target = fixture.path(&format!("out{round}"));
        let restored = restic(&["restore", "latest", "--target", target.to_str().unwrap()], &repository);
        println!("restic: open {opening:?}, first {first:?}, unchanged {unchanged:?}, restore {restored:?}");
        fs::remove_dir_all(target).unwrap();

        let ours = Fixture::new().await;
        let mut request = ours.request();
        request.paths = vec![source.into()];
        request.parent = ParentChoice::Auto;
        let first = ours.backup(request.clone()).await;
        let unchanged = ours.backup(request).await;
        assert_eq!(unchanged.bytes_read, 0);
        let mut request = ours.restore_request(first.snapshot);
        let restored = ours.restore(request.clone()).await;
        assert!(restored.is_complete());
        request.root = ours.path("unsynced");
        request.sync = false;
        fs::create_dir(&request.root).unwrap();
        let unsynced = ours.restore(request).await;
        println!(
            "ours: first {:?}, unchanged {:?}, restore {:?}, without sync {:?}; {} of {} bytes stored",
            first.duration, unchanged.duration, restored.duration, unsynced.duration, first.bytes_stored, first.bytes_processed
        );
    }
}
