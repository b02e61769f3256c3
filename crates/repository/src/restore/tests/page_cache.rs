//! What a backup and a restore leave in the page cache (reliability F12).

use std::{fs::File, os::fd::AsFd};

use crate::{
    backup::testing::{Fixture, noise},
    source::page_cache::{
        is_cached,
        tests::{cold_file, is_cold},
    },
};

/// Restores of which one must leave the cache as it should.
const TRIES: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn large_files_pass_through_the_cache() {
    let fixture = Fixture::new().await;
    let Some(cold) = cold_file(&fixture.source().join("cold"), &noise(1, 6 << 20)) else { return };
    cold_file(&fixture.source().join("warm"), &noise(2, 6 << 20)).unwrap();
    std::fs::read(fixture.source().join("warm")).unwrap();
    let backup = fixture.backup(fixture.request()).await;
    let warm = File::open(fixture.source().join("warm")).unwrap();
    assert!(is_cold(&cold, 0, 6 << 20), "read once and never again");
    assert_eq!(is_cached(warm.as_fd(), 3 << 20), Some(true), "somebody works with it");

    // A page that the file system's journal still holds stays; on a busy machine that takes more than one look.
    for _ in 0..TRIES {
        assert!(fixture.restore(fixture.restore_request(backup.snapshot)).await.is_complete());
        let path = fixture.restored().join("cold");
        if is_cold(&File::open(&path).unwrap(), 0, 6 << 20) {
            return;
        }
        std::fs::remove_file(path).unwrap();
    }
    panic!("it is on the disk and stays in the cache");
}
