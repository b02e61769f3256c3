//! Hostile objects in the store, sealed and named as they must be, so that the engine looks into them: it refuses or uses them, and
//! takes no more memory and time than an object of their size may.

use std::time::{Duration, Instant};

use object_store::ObjectStoreExt;
use object_store::path::Path;
use repository::format::{BlobType, HeaderEntry, Id, KeyFile, SEAL_OVERHEAD, write_header};
use repository::maintenance::{CheckOptions, ReadData};
use repository::{Control, Error, LockMode};

use crate::allocator::{peak_during, turn};
use crate::chance::Chance;
use crate::forge::Forge;
use crate::mutate::mutate;

const CHANGES: u64 = 300;

/// Compressed whitespace: some kilobytes that become so many.
fn bomb(bytes: usize) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(vec![2], 1).unwrap();
    let piece = vec![b' '; 1 << 20];
    for _ in 0..bytes >> 20 {
        std::io::Write::write_all(&mut encoder, &piece).unwrap();
    }
    encoder.finish().unwrap()
}

/// As a version 2 repository stores it: compressed.
fn framed(plain: &[u8]) -> Vec<u8> {
    [&[2], zstd::bulk::compress(plain, 3).unwrap().as_slice()].concat()
}

/// A snapshot of a tree that need not exist.
fn snapshot(tree: Id) -> Vec<u8> {
    format!("{{\"time\":\"2026-01-01T00:00:00Z\",\"tree\":\"{tree}\",\"paths\":[\"/\"]}}").into_bytes()
}

/// S-42: what a small object becomes is bounded by what an object of its kind may be.
#[tokio::test(flavor = "multi_thread")]
async fn bombs_take_no_more_than_their_kind_may() {
    let _turn = turn().await;
    let forge = Forge::new().await;
    let bomb = bomb(256 << 20);
    let path = forge.put("locks", &bomb).await;
    let (locked, peak) = peak_during(forge.lock(LockMode::Shared)).await;
    assert!(matches!(locked, Err(Error::Locked { .. })), "a lock that cannot be read stays in the way");
    assert!(peak < 16 << 20, "{peak} bytes for a lock of {}", bomb.len());
    forge.remove(&path).await;

    forge.put("snapshots", &bomb).await;
    let (listed, peak) = peak_during(forge.repository.snapshots(&Control::default())).await;
    assert_eq!(listed.unwrap().damaged.len(), 1);
    assert!(peak < 128 << 20, "{peak} bytes for a snapshot of {}", bomb.len());

    // One that is too large as it is costs only itself.
    forge.put_sealed("snapshots", vec![0; 33 << 20]).await;
    assert_eq!(forge.repository.snapshots(&Control::default()).await.unwrap().damaged.len(), 2);
}

/// A blob's lengths are whatever its header and the index say.
#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_lie_are_refused_before_they_are_believed() {
    let _turn = turn().await;
    let mut forge = Forge::new().await;
    let frame = zstd::bulk::compress(&vec![0; 1 << 20], 3).unwrap();
    let mut ids = Vec::new();
    for uncompressed_length in [1, 100, (1 << 20) - 1, (1 << 20) + 1, 63 << 20, 1 << 30, u32::MAX] {
        for blob_type in [BlobType::Data, BlobType::Tree] {
            let id = Id::of(format!("{blob_type} {uncompressed_length}").as_bytes());
            let length = (frame.len() + SEAL_OVERHEAD) as u32;
            let sealed = forge.cipher.seal(&frame).unwrap();
            forge.sealed_blob(HeaderEntry { id, blob_type, length, uncompressed_length }, sealed);
            ids.push((blob_type, id));
        }
    }
    forge.flush().await;
    let control = Control::default();
    let reader = forge.repository.blob_reader(forge.repository.load_index(&control).await.unwrap(), &control);
    for (blob_type, id) in ids {
        let (loaded, peak) = peak_during(reader.load_blob(blob_type, &id)).await;
        assert!(matches!(loaded, Err(Error::BlobUnreadable { .. })), "{loaded:?}");
        assert!(peak < 80 << 20, "{peak} bytes for a blob of {}", frame.len());
    }
}

/// Nodes of a kilobyte each, so many, as a compressed tree; and what it is before.
fn huge_tree(count: usize, name: impl Fn(usize) -> String) -> (Vec<u8>, Vec<u8>) {
    let mut plain = b"{\"nodes\":[".to_vec();
    for number in 0..count {
        let separator = if number == 0 { "" } else { "," };
        let pad = "x".repeat(950);
        let node = format!("{separator}{{\"name\":\"{}\",\"type\":\"symlink\",\"linktarget\":\"{pad}\"}}", name(number));
        plain.extend_from_slice(node.as_bytes());
    }
    plain.extend_from_slice(b"]}\n");
    (zstd::bulk::compress(&plain, 1).unwrap(), plain)
}

/// Audit A1: a tree of any size is read node by node in little memory, and what is wrong with it is found where it is.
#[tokio::test(flavor = "multi_thread")]
async fn huge_trees_are_read_in_little_memory_whatever_they_say() {
    const COUNT: usize = 300_000;
    let _turn = turn().await;
    let mut forge = Forge::new().await;
    let ordered = |number: usize| format!("{number:08}");
    let (well, plain) = huge_tree(COUNT, ordered);
    assert!(plain.len() > 256 << 20, "it could be read whole");
    let (plain_length, id) = (plain.len() as u32, Id::of(&plain));
    drop(plain);
    let (disordered, _) = huge_tree(COUNT, |number| ordered(number % (COUNT / 2)));
    let cut = well[..well.len() / 2].to_vec();
    let cases = [
        (id, &well, plain_length, COUNT, None),
        (Id::of(b"wrong sum"), &well, plain_length, COUNT, Some("sum")),
        (Id::of(b"longer"), &well, plain_length + 1, COUNT, Some("instead of")),
        (Id::of(b"shorter"), &well, plain_length - 1_000_000, COUNT - 2_000, Some("more than")),
        (Id::of(b"cut"), &cut, plain_length, COUNT / 4, Some("middle of a frame")),
        (Id::of(b"disordered"), &disordered, plain_length, COUNT / 2, Some("does not come after")),
    ];
    for (id, frame, uncompressed_length, ..) in &cases {
        let length = (frame.len() + SEAL_OVERHEAD) as u32;
        let entry = HeaderEntry { id: *id, blob_type: BlobType::Tree, length, uncompressed_length: *uncompressed_length };
        let sealed = forge.cipher.seal(frame).unwrap();
        forge.sealed_blob(entry, sealed);
    }
    forge.flush().await;
    let control = Control::default();
    let reader = forge.repository.blob_reader(forge.repository.load_index(&control).await.unwrap(), &control);
    for (id, frame, _, least, complaint) in cases {
        let (read, peak) = peak_during(async {
            let (mut count, mut failure) = (0, None);
            for node in reader.tree_nodes(&id).await.unwrap() {
                match node {
                    Ok(_) => count += 1,
                    Err(error) => failure = Some(error),
                }
            }
            (count, failure)
        })
        .await;
        let (count, failure) = read;
        assert!((least..=COUNT).contains(&count), "{count} nodes, {failure:?}");
        assert!(failure.as_ref().is_none_or(Error::is_damage));
        let told = failure.map(|error| error.to_string()).unwrap_or_default();
        assert!(complaint.map_or(told.is_empty(), |complaint| told.contains(complaint)), "{told}");
        assert!(peak < frame.len() + (24 << 20), "{peak} bytes for a tree of {}", frame.len());
    }
}

/// A key object may ask for as much work as it likes; twenty of them are tried.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cost_too_much_are_refused_at_once() {
    let _turn = turn().await;
    let forge = Forge::new().await;
    let genuine: KeyFile = serde_json::from_slice(&forge.raw_objects("keys").await[0]).unwrap();
    let start = Instant::now();
    for (n, r, p) in [(1 << 20, 8, 256), (1 << 17, 64, 256), (1 << 22, 1, 256), (1 << 15, 8, 200), (1 << 63, 64, 256)] {
        let key = KeyFile { n, r, p, created: format!("{n} {r} {p}"), ..genuine.clone() };
        forge.put_sealed("keys", serde_json::to_vec(&key).unwrap()).await;
    }
    // The genuine key opens it all the same.
    let (opened, peak) = peak_during(forge.reopen()).await;
    assert!(opened.is_ok());
    assert!(peak < 64 << 20, "{peak} bytes for refused keys");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?} for refused keys", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_configs_and_keys_are_refused_or_open() {
    let _turn = turn().await;
    let forge = Forge::new().await;
    let config = forge.open_unpacked(&forge.store_bytes("config").await);
    let key = forge.raw_objects("keys").await[0].clone();
    for seed in 0..CHANGES {
        let mut chance = Chance::new(seed);
        let hostile = mutate(&config, &key, &mut chance);
        forge.store.put(&Path::from("config"), forge.cipher.seal(&hostile).unwrap().into()).await.unwrap();
        let _ = forge.reopen().await;
    }
    forge.store.put(&Path::from("config"), forge.cipher.seal(&config).unwrap().into()).await.unwrap();
    for seed in 0..CHANGES {
        let mut chance = Chance::new(seed);
        let path = forge.put_sealed("keys", mutate(&key, &config, &mut chance)).await;
        let opened = forge.reopen().await;
        assert!(opened.is_ok(), "seed {seed}: a hostile key keeps the genuine one from opening: {:?}", opened.err());
        if path != Path::from(format!("keys/{}", Id::of(&key))) {
            forge.remove(&path).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_snapshots_locks_and_indexes_cost_only_themselves() {
    let _turn = turn().await;
    let mut forge = Forge::new().await;
    let tree = forge.blob(BlobType::Tree, b"{\"nodes\":[]}\n");
    forge.flush().await;
    forge.put("snapshots", &framed(&snapshot(tree))).await;
    let guard = forge.lock(LockMode::Shared).await.unwrap();
    let lock = forge.plain_objects("locks").await[0].clone();
    guard.release().await.unwrap();
    let index = forge.plain_objects("index").await[0].clone();
    let control = Control::default();
    for seed in 0..CHANGES {
        let mut chance = Chance::new(seed);
        // Changed before or after it is compressed, or not compressed at all.
        let mut hostile = |object: &[u8], other: &[u8]| match chance.below(3) {
            0 => mutate(&framed(object), other, &mut chance),
            1 => framed(&mutate(object, other, &mut chance)),
            _ => mutate(object, other, &mut chance),
        };
        let path = forge.put("snapshots", &hostile(&snapshot(tree), &index)).await;
        let listed = forge.repository.snapshots(&control).await.unwrap();
        assert!(listed.snapshots.iter().any(|(_, found)| found.tree == tree), "seed {seed}");
        forge.remove(&path).await;
        let path = forge.put("index", &hostile(&index, &lock)).await;
        assert!(forge.repository.load_index(&control).await.unwrap().contains(BlobType::Tree, &tree), "seed {seed}");
        forge.remove(&path).await;
        let path = forge.put("locks", &hostile(&lock, &index)).await;
        if let Ok(guard) = forge.lock(LockMode::Exclusive).await {
            panic!("seed {seed}: a lock that is in the way was passed over: {guard:?}");
        }
        forge.remove(&path).await;
    }
}

/// Headers that were changed and sealed again, and packs that were changed after: repair and check name them and go on.
#[tokio::test(flavor = "multi_thread")]
async fn changed_packs_are_named() {
    let _turn = turn().await;
    let mut forge = Forge::new().await;
    let tree = forge.blob(BlobType::Tree, b"{\"nodes\":[]}\n");
    let data = forge.blob(BlobType::Data, &[3; 300]);
    forge.flush().await;
    forge.put("snapshots", &framed(&snapshot(tree))).await;
    let entries = [(tree, BlobType::Tree, 13), (data, BlobType::Data, 300)].map(|(id, blob_type, plain)| HeaderEntry {
        id,
        blob_type,
        length: (plain + SEAL_OVERHEAD) as u32,
        uncompressed_length: 0,
    });
    let control = Control::default();
    for seed in 0..CHANGES / 3 {
        let mut chance = Chance::new(seed);
        let header = mutate(&write_header(&entries), &[0xff; 64], &mut chance);
        let sealed = forge.cipher.seal(&header).unwrap();
        let mut pack = vec![0; 345 + 2 * chance.below(40)];
        pack.extend_from_slice(&sealed);
        pack.extend_from_slice(&(sealed.len() as u32).to_le_bytes());
        if chance.below(3) == 0 {
            pack = mutate(&pack, &header, &mut chance);
        }
        let id = forge.put_pack(pack).await;
        let guard = forge.lock(LockMode::Exclusive).await.unwrap();
        let repaired = forge.repository.repair_index(&guard.handle(), &control).await.unwrap();
        let options = CheckOptions { read: ReadData::All };
        let checked = forge.repository.check(&guard.handle(), options, &control).await.unwrap();
        assert!(
            repaired.packs_damaged.len() + checked.errors.len() > 0 || checked.unindexed_packs.contains(&id),
            "seed {seed}: a forged pack is taken for a good one"
        );
        guard.release().await.unwrap();
        // Begin anew: the repair may have entered the pack into an index.
        forge.clear(&["data", "index"]).await;
        forge.blob(BlobType::Tree, b"{\"nodes\":[]}\n");
        forge.blob(BlobType::Data, &[3; 300]);
        forge.flush().await;
    }
}
