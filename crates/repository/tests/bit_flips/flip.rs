//! Flipping the bits of some pieces, on all cores.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use parking_lot::Mutex;
use repository::planted::Bug;

use crate::bench::Bench;
use crate::harness::{Stage, on_all_cores};
use crate::sample::{Piece, Sample};

/// What became of the flips.
#[derive(Debug, Default)]
pub struct Flips {
    /// How many were detected, by folder.
    pub detected: BTreeMap<String, usize>,
    /// The first that was not.
    pub violation: Option<String>,
}

/// Flips each bit of the pieces, with a mistake planted or not; stops at the first violation.
pub fn flip(sample: &Sample, bug: Option<Bug>, pieces: &[Piece]) -> Flips {
    let (next, flips) = (AtomicUsize::new(0), Mutex::new(Flips::default()));
    on_all_cores(|| {
        let stage = Stage::new();
        stage.plant(bug);
        stage.play(async {
            let mut bench = Bench::new(sample).await.unwrap();
            while let Some(piece) = pieces.get(next.fetch_add(1, Relaxed)) {
                if flips.lock().violation.is_some() {
                    return;
                }
                let done = flip_piece(&mut bench, sample, piece).await;
                let mut flips = flips.lock();
                match done {
                    Ok(()) => *flips.detected.entry(folder(piece)).or_default() += piece.bytes.len() * 8,
                    Err(violation) => drop(flips.violation.get_or_insert(violation)),
                }
            }
        });
    });
    flips.into_inner()
}

async fn flip_piece(bench: &mut Bench<'_>, sample: &Sample, piece: &Piece) -> Result<(), String> {
    let standing = sample.store.bytes(&piece.key).unwrap_or_default();
    let mut flipped = standing.to_vec();
    for byte in piece.bytes.clone() {
        for bit in 0..8 {
            flipped[byte] ^= 1 << bit;
            bench.replace(&piece.key, &Bytes::copy_from_slice(&flipped));
            let detected = bench.detects(&piece.key, byte).await;
            detected.map_err(|reason| format!("bit {bit} of byte {byte} of {}: {reason}", piece.key))?;
            flipped[byte] ^= 1 << bit;
        }
    }
    bench.replace(&piece.key, &standing);
    Ok(())
}

fn folder(piece: &Piece) -> String {
    piece.key.as_ref().split('/').next().unwrap_or_default().to_owned()
}
