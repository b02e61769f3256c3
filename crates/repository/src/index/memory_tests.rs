//! What an index takes in memory: decision 0008.

use std::sync::Arc;
use std::time::Instant;

use super::Index;
use super::write::IndexWriter;
use crate::format::{BlobType, Id, IndexBlob, IndexPack};

/// Blobs of a repository: how many, how long, how many to a pack.
struct Content {
    blob_type: BlobType,
    blobs: u64,
    length: u32,
    to_a_pack: u64,
}

/// Files of 4 KiB, as a mail store has.
const SMALL: Content = Content { blob_type: BlobType::Data, blobs: 200_000, length: 2_500, to_a_pack: 6_000 };
/// Pieces of large files.
const LARGE: Content = Content { blob_type: BlobType::Data, blobs: 200_000, length: 1_400_000, to_a_pack: 12 };
/// Directories with two files each.
const TREES: Content = Content { blob_type: BlobType::Tree, blobs: 200_000, length: 500, to_a_pack: 30_000 };

fn id(number: u64) -> Id {
    Id::of(&number.to_le_bytes())
}

impl Content {
    fn packs(&self, first: u64) -> impl Iterator<Item = IndexPack> {
        (first..first + self.blobs).step_by(usize::try_from(self.to_a_pack).unwrap_or(1)).map(move |start| {
            let end = (start + self.to_a_pack).min(first + self.blobs);
            let mut offset = 0;
            let blobs = (start..end).map(|number| {
                // Lengths of all sizes around the mean.
                let length = self.length / 2 + u32::try_from(number.wrapping_mul(7_919) % u64::from(self.length)).unwrap_or(0);
                let blob =
                    IndexBlob { id: id(number), blob_type: self.blob_type, offset, length, uncompressed_length: length * 2 };
                offset += length;
                blob
            });
            IndexPack { id: id(u64::MAX - start), blobs: blobs.collect() }
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes a blob")]
fn bytes_a_blob(index: &Index) -> f64 {
    index.heap_bytes() as f64 / index.len() as f64
}

/// The greatest number of bytes a blob while an index grows, once it is large enough for that to matter.
fn most_bytes(index: &Index, content: &Content) -> f64 {
    let mut most = 0.0f64;
    for pack in content.packs(0) {
        index.publish(&pack);
        if index.len() > 100_000 {
            most = most.max(bytes_a_blob(index));
        }
    }
    most
}

#[test]
fn a_blob_takes_few_bytes_at_any_time() {
    for (content, bound) in [(SMALL, 28.0), (TREES, 28.0), (LARGE, 37.0)] {
        let most = most_bytes(&Index::default(), &content);
        assert!(
            (16.0..bound).contains(&most),
            "{} {:?} blobs of {} bytes: {most}",
            content.blobs,
            content.blob_type,
            content.length
        );
    }
    let with_ids = most_bytes(&Index::with_ids(), &SMALL);
    // Of 100,000 blobs the pieces that are not full yet are some eighth.
    assert!((48.0..66.0).contains(&with_ids), "with ids: {with_ids}");
}

/// What a claim takes until its pack is there, and a pack that is named twice.
#[test]
fn claims_and_repeated_packs_take_no_more() {
    let index = Index::default();
    for number in 0..SMALL.blobs {
        assert!(index.claim(SMALL.blob_type, &id(number), SMALL.length));
    }
    assert!(bytes_a_blob(&index) < 23.0, "{}", bytes_a_blob(&index));
    for _ in 0..2 {
        SMALL.packs(0).for_each(|pack| {
            index.publish(&pack);
        });
        assert!(bytes_a_blob(&index) < 28.0, "{}", bytes_a_blob(&index));
    }
    assert_eq!(index.len() as u64, SMALL.blobs);
}

/// Resident bytes of this process, now and at most.
fn resident() -> (usize, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap_or(0) << 10
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// Ten million blobs, and the row of 4.2 million files in 2.4 million directories: the process takes what the index says, and
/// hardly more while it grows. Run each alone.
fn measure(contents: &[Content], most: usize) {
    let (before, _) = resident();
    let index = Index::default();
    let mut first = 0;
    let started = Instant::now();
    for content in contents {
        content.packs(first).for_each(|pack| {
            index.publish(&pack);
        });
        first += content.blobs;
    }
    let grown = started.elapsed();
    let (after, peak) = resident();
    let (taken, spike) = (after - before, peak - after);
    let hits = Instant::now();
    assert!(
        (0..first).step_by(10).all(|number| index.contains(contents[0].blob_type, &id(number)) || number >= contents[0].blobs)
    );
    let hits = hits.elapsed();
    let misses = Instant::now();
    assert!((first..2 * first).step_by(10).all(|number| !index.contains(contents[0].blob_type, &id(number))));
    let misses = misses.elapsed();
    let nothing = Instant::now();
    assert!((0..first).step_by(10).all(|number| id(number) != Id([0; 32])));
    let nothing = nothing.elapsed();
    eprintln!(
        "{first} blobs: {} bytes, {taken} resident, {spike} more on the way; grown in {grown:?}; {} looked up in {hits:?}, not \
         found in {misses:?}, of which {nothing:?} for their ids; {:.2} bytes a blob",
        index.heap_bytes(),
        first / 10,
        bytes_a_blob(&index)
    );
    assert!(index.heap_bytes() <= most && taken <= most + (8 << 20) && spike <= 16 << 20);
}

#[test]
#[ignore = "nightly: ten million blobs, alone in its process"]
fn nightly_ten_million_blobs_fit() {
    measure(&[Content { blobs: 10_000_000, ..SMALL }], 280_000_000);
}

#[test]
#[ignore = "nightly: 6.6 million blobs, alone in its process"]
fn nightly_four_million_files_fit() {
    measure(&[Content { blobs: 4_194_304, ..SMALL }, Content { blobs: 2_400_000, ..TREES }], 185_000_000);
}

/// Loading takes little more than the index, however many files there are.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "nightly: writes and loads two million blobs, alone in its process"]
#[allow(clippy::unwrap_used)]
async fn nightly_loading_takes_little_more_than_the_index() {
    let options = crate::InitOptions { scrypt: crate::crypto::ScryptCost::for_tests(), ..crate::InitOptions::default() };
    let (password, control) = (secrecy::SecretString::from("x"), crate::Control::default());
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(storage::LocalStore::new(folder.path()));
    let repository = crate::Repository::init(store, &password, &options, &control).await.unwrap();
    let writer = IndexWriter::default();
    for pack in (Content { blobs: 2_000_000, ..SMALL }).packs(0) {
        if let Some(packs) = writer.add(pack) {
            writer.write(&repository, packs).await.unwrap();
        }
    }
    writer.write_rest(&repository).await.unwrap();
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let (before, _) = resident();
    let started = Instant::now();
    let index = repository.load_index(&control).await.unwrap();
    let (after, peak) = resident();
    eprintln!(
        "{} blobs of {} files loaded in {:?}: {} bytes, {} resident, {} at most",
        index.len(),
        index.files().len(),
        started.elapsed(),
        index.heap_bytes(),
        after.saturating_sub(before),
        peak.saturating_sub(before)
    );
    // By the mover's own way of handing memory out: see MOVER_ENVIRONMENT in e2e/cluster/lib/common.sh.
    assert!(peak - before <= index.heap_bytes() + (48 << 20));
}
