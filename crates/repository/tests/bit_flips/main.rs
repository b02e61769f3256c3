//! E8, R8: every bit of a repository is flipped, one at a time. Each flip is detected, by opening or by `check` with all data, which
//! name the damaged object; or it is harmless. No read returns wrong bytes with success.
//!
//! A flip changes one object, so only what reads that object can behave differently; everything else gets the same answers from the
//! store as without the flip, and was seen to be well once. So for each flip only this is asked:
//!
//! * config, key: opening the repository, which is all that reads them.
//! * lock: taking a lock, which is all that reads it.
//! * snapshot: `check`, and listing the snapshots. What was damaged is left out; the others come from other objects.
//! * index: `check`, and loading the index. It must be the index of the other files alone, for then everything else follows from it as if
//!   the file were not there, which is asked once.
//! * pack: `check` of its data, reading of the blob whose bytes hold the flip, alone and as a restore does it, and for flips in the
//!   header a repair, which is all that reads it. Blobs beside the flip are read from ranges of bytes that are what they were.
//!
//! `ORLOP_FLIP_BYTES=1048576` takes a repository of that size.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../engine/support/mod.rs"]
mod support;

mod bench;
mod flip;
mod sample;

use std::time::Instant;

use flip::{Flips, flip};
use repository::planted::Bug;
use sample::Sample;

/// Size of the repository in a run of all tests.
const BYTES: usize = 32 << 10;

#[test]
fn every_flipped_bit_is_detected_or_harmless() {
    let bytes = std::env::var("ORLOP_FLIP_BYTES").map_or(BYTES, |text| text.parse().expect("ORLOP_FLIP_BYTES is a number"));
    let sample = Sample::new(bytes);
    let begin = Instant::now();
    let flips = flip(&sample, None, &sample.all_bytes());
    if let Some(violation) = flips.violation {
        panic!("{violation}");
    }
    let total: usize = flips.detected.values().sum();
    println!(
        "{total} flips of a repository of {} bytes, each detected, in {:.0} s",
        sample.size(),
        begin.elapsed().as_secs_f64()
    );
    for (folder, flips) in &flips.detected {
        println!("{flips:>9} {folder}");
    }
    assert_eq!(total, sample.size() * 8, "a bit was left out");
    assert!(sample.size() >= bytes * 3 / 4, "the repository has only {} bytes", sample.size());
    assert_eq!(flips.detected.len(), 6, "config, keys, locks, index, snapshots, data");
}

/// A client that looks at neither authenticators nor sums must be found out.
#[test]
fn blobs_that_nobody_verifies_are_found_out() {
    let sample = Sample::new(8 << 10);
    let packs: Vec<_> = sample.all_bytes().into_iter().filter(|piece| piece.key.as_ref().starts_with("data/")).collect();
    let Flips { violation, .. } = flip(&sample, Some(Bug::BlobsUnverified), &packs);
    let violation = violation.expect("wrong bytes were read, and nobody noticed");
    println!("{violation}");
}
