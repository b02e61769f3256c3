//! Bounds on what is read from a repository, and the sizes and times we choose.
//!
//! Everything a store hands us is hostile until bounded (reliability S-42): a repository may have been written by someone
//! who wants this process to allocate without end, loop or wait for ever.

use std::time::Duration;

use crate::format::BlobType;

/// Largest config, key or lock object that is read, in bytes. Real ones stay under 2 KiB.
pub const MAX_SMALL_OBJECT: u64 = 1 << 20;

/// Largest snapshot object, in bytes. A snapshot lists paths, tags and excludes, so it may grow with its arguments.
pub const MAX_SNAPSHOT_OBJECT: u64 = 32 << 20;

/// Largest index object as stored, in bytes. restic closes an index at 150,000 blobs, some 12 MiB stored.
pub const MAX_INDEX_OBJECT: u64 = 256 << 20;

/// Largest unpacked file (index, snapshot, lock) after decompression, in bytes.
pub const MAX_UNPACKED_PLAIN: usize = 512 << 20;

/// Largest pack header, in bytes; restic refuses more.
pub const MAX_PACK_HEADER: u32 = (16 << 20) + 4;

/// Largest pack file that is read as one, in bytes. restic's option allows 128 MiB, to which the last blob comes.
pub const MAX_PACK_OBJECT: u64 = 1 << 30;

/// Largest data blob after decompression: the chunker's maximum is 8 MiB, other settings of other tools fit too.
pub const MAX_DATA_BLOB: usize = 64 << 20;

/// Largest tree blob that is opened whole, in bytes after decompression. Larger ones, up to the four bytes in which the format
/// keeps a length, are only ever read as a stream.
pub const MAX_WHOLE_TREE: usize = 256 << 20;

/// Largest tree blob as stored, in bytes: so much is held while it is read as a stream. Some five million entries of one
/// directory fit, ten if their metadata is alike.
pub const MAX_STORED_TREE: usize = 256 << 20;

/// Bytes of trees that one reader holds at most, of directories of this size within one another.
pub const MAX_OPEN_TREES: u64 = 512 << 20;

/// A tree of more plain bytes than this is read as a stream, node by node.
pub const STREAMED_TREE: u32 = 8 << 20;

/// A directory of more entries than this is written as a stream, and so is one whose tree would have more than
/// [`STREAMED_TREE`] bytes: a file of a tebibyte of holes has a node of 140 MB.
pub const STREAMED_ENTRIES: usize = 8192;

/// Entries of a directory written as a stream that may be in work at a time. What is done waits for what is not.
pub const STREAM_WINDOW: usize = 4096;

/// Bytes of nodes that may wait so; beyond it no further entries are taken up.
pub const STREAM_WINDOW_MEMORY: usize = 16 << 20;

/// Longest text of one node that is read from a stream, its list of blobs left out. Attributes have up to 64 KiB each on Linux.
pub const MAX_NODE_TEXT: usize = 4 << 20;

/// Longest name in a tree that is read as a stream. Linux has 255 bytes, others a few more.
pub const MAX_NAME: usize = 4096;

/// Most blobs of one file in a tree that is read as a stream, equal ones in a row counted once: as many ids as
/// [`MAX_STORED_TREE`] can hold, a file of some 8 TiB.
pub const MAX_CONTENT_RUNS: usize = MAX_STORED_TREE / 32;

/// Largest blob of a type that is opened whole, in bytes after decompression.
#[must_use]
pub fn most_whole_bytes(blob_type: BlobType) -> usize {
    match blob_type {
        BlobType::Data => MAX_DATA_BLOB,
        BlobType::Tree => MAX_WHOLE_TREE,
    }
}

/// Largest blob of a type as an index may name it: bytes as stored without the sealing, and after decompression.
#[must_use]
pub fn most_blob_bytes(blob_type: BlobType) -> (usize, usize) {
    match blob_type {
        BlobType::Data => (MAX_DATA_BLOB, MAX_DATA_BLOB),
        BlobType::Tree => (MAX_STORED_TREE, u32::MAX as usize),
    }
}

/// Keys tried when opening; restic stops at 20 as well.
pub const MAX_KEYS: usize = 20;

/// scrypt cost bounds: memory is `128 * r * N` bytes, time grows with `N * r * p`. A key object is read before any password has
/// proved who wrote it, so its cost is bounded by what a mover has, not by what scrypt can take.
pub const MAX_SCRYPT_LOG_N: u8 = 22;
/// See [`MAX_SCRYPT_LOG_N`].
pub const MAX_SCRYPT_R: u32 = 64;
/// See [`MAX_SCRYPT_LOG_N`].
pub const MAX_SCRYPT_P: u32 = 256;
/// Most memory that scrypt may take, in bytes. restic calibrates to 60 MiB, and the largest that other clients write is
/// 128 MiB (N = 2^17, r = 8).
pub const MAX_SCRYPT_MEMORY: u64 = 128 << 20;
/// Most work: `N * r * p`. restic aims at half a second, some 2^21 of it on a fast machine; this is some seconds.
pub const MAX_SCRYPT_WORK: u64 = 1 << 24;

/// A pack is closed once it holds this many bytes (restic's default as well). One blob may go beyond.
pub const DEFAULT_PACK_SIZE: u32 = 16 << 20;
/// Bounds for the pack size option, restic's.
pub const MIN_PACK_SIZE: u32 = 4 << 20;
/// See [`MIN_PACK_SIZE`].
pub const MAX_PACK_SIZE: u32 = 128 << 20;

/// Entries of one pack at most, so that its header (41 bytes an entry) stays far below [`MAX_PACK_HEADER`].
pub const MAX_PACK_ENTRIES: usize = 65_000;

/// An index file is written when this many blobs wait for one.
pub const INDEX_BLOBS: usize = 50_000;

/// An index file is also written when the oldest waiting pack has waited this long: what a killed backup
/// leaves un-indexed, for the next one to take up from the packs' headers, is at most this much work (engine §4.8).
pub const INDEX_AGE: Duration = Duration::from_secs(60);

/// Memory for index files that are being loaded, in bytes, besides the index itself. A larger file is loaded alone.
pub const INDEX_LOAD_MEMORY: u64 = 40 << 20;

/// What each of them takes besides its size, in bytes: most of it the decoder's window.
pub const INDEX_LOAD_FILE: u64 = 3 << 20;

/// Objects fetched at a time when many small ones are read (index, snapshots, locks).
pub const PARALLEL_READS: usize = 16;

/// Objects that are deleted between two looks at the lock: as many as one request of S3 takes.
pub const DELETES: usize = 1000;

/// Headers of packs without an index that are read at a time: a hostile one may take [`MAX_PACK_HEADER`], twice.
pub const PARALLEL_HEADERS: usize = 4;

/// Largest pack without an index that is taken up if it holds trees, in bytes: it is read whole and its sum compared.
pub const MAX_TAKEN_UP_TREES: u64 = 64 << 20;

/// Damaged objects that are kept by name; of further ones only the number is.
pub const NAMED_DAMAGES: usize = 1000;

/// Uploads in flight at most.
pub const UPLOADS_IN_FLIGHT: usize = 8;

/// Memory for packs that wait for or are in upload, in bytes. The producers wait when it is used up.
pub const UPLOAD_MEMORY: usize = 64 << 20;

/// A cancelled operation ends within this time, whatever hangs; with the lock's removal and the last words that makes at most
/// 5 s (engine §4.9). The others are parts of it, and all count from the cancellation.
pub const CANCELLED: Duration = Duration::from_millis(3500);
/// How long the threads of a walk are waited for: a read from a dead network file system may never return.
pub const CANCELLED_WALK: Duration = Duration::from_millis(1000);
/// How long packs may be uploaded. What is acknowledged by then has the rest of the time to be indexed.
pub const CANCELLED_UPLOADS: Duration = Duration::from_millis(2500);

/// Blobs closer than this are read with one request.
pub const READ_GAP: u64 = 512 << 10;

/// Parts of tree packs kept in memory by one reader, in bytes.
pub const TREE_CACHE: u64 = 48 << 20;

/// The same where memory is short: a few spans for each thread of a walk.
pub const TREE_CACHE_LEAST: u64 = 8 << 20;

/// Bytes of a tree pack that are read with one request; thousands of usual trees.
pub const TREE_SPAN: u64 = 1 << 20;

/// The same where little of what was read would be used: the trees that are wanted lie scattered over many packs.
pub const TREE_SPAN_LEAST: u64 = 64 << 10;

/// Spans that are read ahead of a walk.
pub const TREE_READ_AHEAD: usize = 2;
