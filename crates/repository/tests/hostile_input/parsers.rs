//! A function for every parser of what a repository holds: it takes any bytes, and must neither panic nor take long or much memory.
//! What parses must also be what it was when it is written and parsed again.

use repository::chunker::Polynomial;
use repository::crypto::{Cipher, MasterKey, ScryptParameters};
use repository::format::{
    Config, Id, IndexFile, KeyFile, LockFile, MasterKeyFile, Snapshot, Time, Tree, TreeBuilder, parse_header,
};
use repository::limits;

/// A parser by its name, which is also that of its fuzz target and of the folder of its seeds.
pub type Parser = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Parser; 11] = [
    ("config", config),
    ("key", key),
    ("lock", lock),
    ("snapshot", snapshot),
    ("index", index),
    ("pack_header", pack_header),
    ("tree", tree),
    ("name", name),
    ("time", time),
    ("id", id),
    ("sealed", sealed),
];

/// The config, and the chunker's polynomial in it.
pub fn config(bytes: &[u8]) {
    if let Ok(config) = serde_json::from_slice::<Config>(bytes) {
        let _ = config.chunker_polynomial.parse::<Polynomial>();
        same_again(&config);
    }
}

/// A key object with its cost, and the master key inside.
pub fn key(bytes: &[u8]) {
    if let Ok(key) = serde_json::from_slice::<KeyFile>(bytes)
        && let Ok(parameters) = ScryptParameters::from_key_file(key.n, key.r, key.p)
    {
        let memory = 128 * parameters.n() * u64::from(parameters.r);
        assert!(memory <= limits::MAX_SCRYPT_MEMORY, "{parameters:?} takes too much memory");
    }
    let _ = serde_json::from_slice::<MasterKeyFile>(bytes);
}

/// A lock.
pub fn lock(bytes: &[u8]) {
    if let Ok(lock) = serde_json::from_slice::<LockFile>(bytes) {
        same_again(&lock);
    }
}

/// A snapshot.
pub fn snapshot(bytes: &[u8]) {
    if let Ok(snapshot) = serde_json::from_slice::<Snapshot>(bytes) {
        same_again(&snapshot);
    }
}

/// An index file.
pub fn index(bytes: &[u8]) {
    if let Ok(index) = serde_json::from_slice::<IndexFile>(bytes) {
        same_again(&index);
    }
}

/// The plain bytes of a pack's header; the first eight say where the blobs end.
pub fn pack_header(bytes: &[u8]) {
    let Some((end, header)) = bytes.split_first_chunk::<8>() else { return };
    if let Ok(blobs) = parse_header(header, u64::from_le_bytes(*end)) {
        let total: u64 = blobs.iter().map(|blob| u64::from(blob.length)).sum();
        assert_eq!(total, u64::from_le_bytes(*end));
    }
}

/// The plain bytes of a tree.
pub fn tree(bytes: &[u8]) {
    let Ok(tree) = Tree::parse(bytes) else { return };
    for node in &tree.nodes {
        if let Some(name) = node.safe_name() {
            assert!(!name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0));
        }
    }
    let mut builder = TreeBuilder::new();
    if tree.nodes.iter().all(|node| builder.add(node).is_ok()) {
        // Bytes of texts that are no UTF-8 are not kept, names and targets of links are.
        let again = Tree::parse(&builder.finish()).unwrap();
        assert_eq!(again.nodes.len(), tree.nodes.len());
        for (left, right) in again.nodes.iter().zip(&tree.nodes) {
            assert_eq!((&left.name, &left.link_target, &left.content), (&right.name, &right.link_target, &right.content));
            assert_eq!((left.size, left.subtree), (right.size, right.subtree));
            assert_eq!(left.mtime.to_string(), right.mtime.to_string());
        }
    }
}

/// A quoted name, as it stands in a node.
pub fn name(bytes: &[u8]) {
    let quoted = serde_json::to_string(&String::from_utf8_lossy(bytes)).unwrap();
    tree(format!("{{\"nodes\":[{{\"name\":{quoted},\"type\":\"file\"}}]}}").as_bytes());
}

/// A point in time.
pub fn time(bytes: &[u8]) {
    if let Some(time) = std::str::from_utf8(bytes).ok().and_then(Time::parse) {
        // Years that cannot be written are clamped.
        assert_eq!(Time::parse(&time.to_string()).unwrap().to_string(), time.to_string());
    }
}

/// An id.
pub fn id(bytes: &[u8]) {
    if let Ok(id) = Id::from_hex(bytes) {
        assert_eq!(id.to_string().as_bytes(), bytes.to_ascii_lowercase());
    }
}

/// Sealed bytes, by a key that everybody knows: without the right authenticator nothing opens.
pub fn sealed(bytes: &[u8]) {
    let cipher = Cipher::new(&MasterKey::from_bytes(&[7; 64])).unwrap();
    let mut plain = Vec::new();
    let opens = cipher.open_into(bytes, &mut plain).is_ok();
    let mut copy = bytes.to_vec();
    assert_eq!(cipher.open_in_place(&mut copy).map(|opened| opened.to_vec()).ok(), opens.then_some(plain));
}

/// What was parsed is written, parsed and written the same.
fn same_again<T: serde::Serialize + serde::de::DeserializeOwned>(parsed: &T) {
    let written = serde_json::to_vec(parsed).unwrap();
    assert_eq!(serde_json::to_vec(&serde_json::from_slice::<T>(&written).unwrap()).unwrap(), written);
}
