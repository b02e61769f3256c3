//! Valid objects that the engine made, then changed: bits, lengths, repetitions, numbers beyond all bounds, nesting, long arrays.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use repository::backup::{BackupRequest, backup};
use repository::crypto::{Cipher, MasterKey};
use repository::format::{BlobType, HeaderEntry, Id, IndexFile, Snapshot, write_header};
use repository::{Control, LockMode};

use crate::allocator::{blocking_turn, peak_of, turn};
use crate::chance::Chance;
use crate::forge::Forge;
use crate::mutate::mutate;
use crate::parsers;

/// What a parser may take for every byte that it reads: an entry of a tree is 21 bytes at least and some 300 in memory, and a list
/// that grows is there twice.
const PEAK_PER_BYTE: usize = 64;
/// And whatever the size.
const PEAK_BASE: usize = 1 << 20;
/// The longest that one object may take; objects of the test are some kilobytes.
const MOST_TIME: Duration = Duration::from_secs(5);

const CHANGES: usize = 4_000;

const NAMES: [&str; 7] =
    ["plain", "gr\u{fc}n \u{1f980}", "a\\\\b", "\\xff\\x00", "\\u00fc\\U0001f980", "\\a\\b\\f\\n\\r\\t\\v\\\"", "\\101"];

const TIMES: [&str; 6] = [
    "2026-01-02T03:04:05.000000006Z",
    "1969-12-31T23:59:59Z",
    "2026-01-02T03:04:05+01:00",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999-23:59",
    "2016-12-31T23:59:60Z",
];

/// Objects for each parser.
type Seeds = Vec<(parsers::Parser, Vec<Vec<u8>>)>;

async fn seeds() -> Seeds {
    let forge = Forge::new().await;
    let directory = tempfile::tempdir().unwrap();
    make_source(directory.path());
    let guard = forge.lock(LockMode::Shared).await.unwrap();
    let mut request = BackupRequest::new(vec![directory.path().to_owned()]);
    request.tags = vec!["one".to_owned(), "orlop.dev/two=2".to_owned()];
    request.hostname = "host-0".to_owned();
    request.excludes = vec!["*.tmp".to_owned()];
    let report = backup(&forge.repository, &guard.handle(), request, &Control::default()).await.unwrap();
    let lock = forge.plain_objects("locks").await;
    guard.release().await.unwrap();
    let index = forge.plain_objects("index").await;
    let config = forge.store_bytes("config").await;
    let snapshots = forge.plain_objects("snapshots").await;
    let trees = trees(&forge, &snapshots).await;
    let sealed = Cipher::new(&MasterKey::from_bytes(&[7; 64])).unwrap().seal(b"plain bytes of some blob").unwrap();
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let objects = vec![
        ("config", vec![forge.open_unpacked(&config)]),
        ("key", forge.raw_objects("keys").await),
        ("lock", lock),
        ("snapshot", snapshots),
        ("pack_header", index.iter().flat_map(|index| headers(index)).collect()),
        ("index", index),
        ("tree", trees),
        ("name", texts(&NAMES)),
        ("time", texts(&TIMES)),
        ("id", vec![report.snapshot.to_string().into_bytes()]),
        ("sealed", vec![sealed]),
    ];
    assert_eq!(objects.len(), parsers::ALL.len());
    objects
        .into_iter()
        .map(|(name, objects)| {
            assert!(!objects.is_empty(), "{name}");
            (parsers::ALL.into_iter().find(|(known, _)| *known == name).unwrap(), objects)
        })
        .collect()
}

fn make_source(root: &Path) {
    fs::create_dir_all(root.join("directory/below")).unwrap();
    for number in 0..6 {
        fs::write(root.join(format!("directory/file {number}")), vec![number as u8; 100 * number]).unwrap();
    }
    std::os::unix::fs::symlink("directory", root.join("link")).unwrap();
    fs::write(root.join("large"), vec![1; 2 << 20]).unwrap();
    fs::hard_link(root.join("large"), root.join("another \u{1f980} \"name\"")).unwrap();
}

/// The trees of all snapshots.
async fn trees(forge: &Forge, snapshots: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let control = Control::default();
    let reader = forge.repository.blob_reader(forge.repository.load_index(&control).await.unwrap(), &control);
    let mut waiting: Vec<Id> = snapshots.iter().map(|plain| serde_json::from_slice::<Snapshot>(plain).unwrap().tree).collect();
    let mut trees = Vec::new();
    while let Some(id) = waiting.pop() {
        trees.push(reader.load_blob(BlobType::Tree, &id).await.unwrap().to_vec());
        waiting.extend(reader.load_tree(&id).await.unwrap().nodes.into_iter().filter_map(|node| node.subtree));
    }
    trees
}

/// The headers of the packs in an index, with the bytes of their blobs before.
fn headers(index: &[u8]) -> Vec<Vec<u8>> {
    let index: IndexFile = serde_json::from_slice(index).unwrap();
    let header = |pack: &repository::format::IndexPack| {
        let entries: Vec<HeaderEntry> = pack
            .blobs
            .iter()
            .map(|blob| HeaderEntry {
                id: blob.id,
                blob_type: blob.blob_type,
                length: blob.length,
                uncompressed_length: blob.uncompressed_length,
            })
            .collect();
        let end: u64 = entries.iter().map(|entry| u64::from(entry.length)).sum();
        [&end.to_le_bytes()[..], &write_header(&entries)].concat()
    };
    index.packs.iter().map(header).collect()
}

/// Runs a parser within its bounds.
#[track_caller]
fn parse_bounded((name, parse): parsers::Parser, bytes: &[u8], what: &str) {
    let start = Instant::now();
    let ((), peak) = peak_of(|| parse(bytes));
    let most = PEAK_BASE + bytes.len() * PEAK_PER_BYTE;
    assert!(peak <= most, "{name}, {what}: {peak} bytes for an object of {}", bytes.len());
    assert!(start.elapsed() < MOST_TIME, "{name}, {what}: {:?} for an object of {}", start.elapsed(), bytes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_objects_are_parsed_or_refused_within_bounds() {
    let _turn = turn().await;
    let seeds = seeds().await;
    let all: Vec<&Vec<u8>> = seeds.iter().flat_map(|(_, objects)| objects).collect();
    for (parser, objects) in &seeds {
        for object in objects {
            parse_bounded(*parser, object, "as it is");
            for length in 0..object.len().min(2_000) {
                parse_bounded(*parser, &object[..length], "cut short");
            }
        }
        for seed in 0..CHANGES as u64 {
            let mut chance = Chance::new(seed);
            let object = chance.of(objects).clone();
            let other = *chance.of(&all);
            parse_bounded(*parser, &mutate(&object, other, &mut chance), &format!("seed {seed}"));
        }
    }
}

/// The worst for memory: as many of the shortest things as fit.
#[test]
fn objects_of_many_short_things_take_memory_by_their_size() {
    let _turn = blocking_turn();
    let many = |head: &str, item: &str, tail: &str| format!("{head}{}{tail}", vec![item; 200_000].join(",")).into_bytes();
    let id = Id::of(b"x");
    let snapshot = format!("{{\"time\":\"2026-01-01T00:00:00Z\",\"tree\":\"{id}\",\"tags\":[");
    for (name, bytes) in [
        ("tree", many("{\"nodes\":[", "{\"name\":\"\",\"type\":\"\"}", "]}")),
        ("tree", many("{\"nodes\":[{\"name\":\"a\",\"type\":\"\",\"extended_attributes\":[", "{\"name\":\"\"}", "]}]}")),
        ("tree", many("{\"nodes\":[{\"name\":\"a\",\"type\":\"\",\"later\":[", "[]", "]}]}")),
        ("index", many("{\"packs\":[", &format!("{{\"id\":\"{id}\"}}"), "]}")),
        ("snapshot", many(&snapshot, "\"\"", "]}")),
        ("snapshot", many(&snapshot, "\"a\"", "]}")),
        ("lock", many("{\"time\":\"\",\"later\":[", "0", "]}")),
        ("config", many("{\"later\":[", "\"\"", "]}")),
        ("key", many("{\"later\":{\"a\":[", "{}", "]}}")),
    ] {
        let parser = parsers::ALL.into_iter().find(|(known, _)| *known == name).unwrap();
        parse_bounded(parser, &bytes, "many short things");
    }
    for bracket in ["[", "{\"a\":", "[[[[{\"a\":"] {
        for parser in parsers::ALL {
            parse_bounded(parser, bracket.repeat(300_000).as_bytes(), "deep nesting");
        }
    }
}

/// What fuzzing found, and the seeds it starts from.
#[test]
fn the_corpus_of_the_fuzz_targets_is_parsed_or_refused() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let _turn = blocking_turn();
    for parser in parsers::ALL {
        let folder = corpus.join(parser.0);
        let files: Vec<_> = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).collect();
        assert!(!files.is_empty(), "{} has no seeds", parser.0);
        for file in files {
            let path = file.unwrap().path();
            parse_bounded(parser, &fs::read(&path).unwrap(), &path.display().to_string());
        }
    }
}

/// Writes the seeds of the fuzz targets anew: `cargo test -p repository --test hostile_input -- --ignored seeds`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the seeds of the fuzz targets"]
async fn write_the_seeds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    for ((name, _), objects) in seeds().await {
        let folder = corpus.join(name);
        fs::create_dir_all(&folder).unwrap();
        for (number, object) in objects.iter().filter(|object| object.len() < 4_000).enumerate() {
            fs::write(folder.join(format!("{number}")), object).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_bytes_are_refused_or_parsed(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for (_, parse) in parsers::ALL {
            parse(&bytes);
        }
    }

    #[test]
    fn any_name_is_quoted_and_read(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in ".{0,40}") {
        parsers::name(&bytes);
        parsers::name(text.as_bytes());
    }

    #[test]
    fn any_number_stands_in_any_field(
        field in proptest::sample::select(vec!["mode", "uid", "inode", "size", "links", "device", "device_id"]),
        number in "-?[0-9]{1,25}(\\.[0-9]{0,20})?([eE][-+]?[0-9]{1,6})?",
    ) {
        parsers::tree(format!("{{\"nodes\":[{{\"name\":\"a\",\"type\":\"file\",\"{field}\":{number}}}]}}").as_bytes());
        parsers::config(format!("{{\"version\":{number},\"id\":\"{}\",\"chunker_polynomial\":\"\"}}", Id([0; 32])).as_bytes());
    }

    #[test]
    fn any_time_is_parsed_or_refused(
        text in "[-+]?[0-9]{0,6}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,12})?([zZ]|[-+][0-9]{2}:?[0-9]{2}(:[0-9]{2})?)?(\\[[a-zA-Z/]{0,12}\\])?",
    ) {
        parsers::time(text.as_bytes());
    }
}
