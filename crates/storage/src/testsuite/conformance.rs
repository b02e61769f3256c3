//! The behaviour every store must show. [`run`] is the whole suite; each case stands for itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use crate::ErrorKind;

type Store = Arc<dyn ObjectStore>;

/// Runs every case on an empty store and leaves it empty.
pub async fn run(store: &Store) {
    reads_what_was_written(store).await;
    tells_what_is_missing(store).await;
    overwrites_whole(store).await;
    creates_only_once(store).await;
    keeps_unusual_keys(store).await;
    lists_by_segments(store).await;
    pages_and_deletes_many(store).await;
    moves_large_bodies(store).await;
    assembles_parts(store).await;
    copies(store).await;
    let left = keys_under(store, None).await;
    assert!(left.is_empty(), "the suite left {left:?}");
}

/// Whole, by range, by suffix, several ranges, metadata, and an empty object.
pub async fn reads_what_was_written(store: &Store) {
    let key = Path::from("read/object");
    store.put(&key, rope(&[b"hello", b" ", b"world"])).await.unwrap();
    assert_eq!(body(store, &key).await.as_ref(), b"hello world");
    assert_eq!(store.get_range(&key, 6..11).await.unwrap().as_ref(), b"world");
    let suffix = GetOptions { range: Some(GetRange::Suffix(5)), ..GetOptions::default() };
    assert_eq!(store.get_opts(&key, suffix).await.unwrap().bytes().await.unwrap().as_ref(), b"world");
    let offset = GetOptions { range: Some(GetRange::Offset(6)), ..GetOptions::default() };
    assert_eq!(store.get_opts(&key, offset).await.unwrap().bytes().await.unwrap().as_ref(), b"world");
    let several = store.get_ranges(&key, &[0..5, 6..11]).await.unwrap();
    assert_eq!(several, vec![Bytes::from_static(b"hello"), Bytes::from_static(b"world")]);
    let meta = store.head(&key).await.unwrap();
    assert_eq!((meta.size, meta.location.as_ref()), (11, key.as_ref()));
    let empty = Path::from("read/empty");
    store.put(&empty, PutPayload::new()).await.unwrap();
    assert!(body(store, &empty).await.is_empty());
    remove(store, &[key, empty]).await;
}

/// I8: a missing object is `NotFound`, and removing it twice is no error.
pub async fn tells_what_is_missing(store: &Store) {
    let key = Path::from("missing/object");
    let get = store.get(&key).await.unwrap_err();
    assert_eq!(ErrorKind::of(&get), ErrorKind::NotFound, "{get}");
    let head = store.head(&key).await.unwrap_err();
    assert_eq!(ErrorKind::of(&head), ErrorKind::NotFound, "{head}");
    store.put(&key, "x".into()).await.unwrap();
    store.delete(&key).await.unwrap();
    store.delete(&key).await.unwrap();
    let gone = store.get(&key).await.unwrap_err();
    assert_eq!(ErrorKind::of(&gone), ErrorKind::NotFound);
}

/// A shorter body leaves nothing of a longer one, and readers see one or the other.
pub async fn overwrites_whole(store: &Store) {
    let key = Path::from("overwrite/object");
    store.put(&key, "a long first body".into()).await.unwrap();
    store.put(&key, "short".into()).await.unwrap();
    assert_eq!(body(store, &key).await.as_ref(), b"short");
    remove(store, &[key]).await;
}

/// Architecture §4.6: of any number of creators exactly one wins, and its content stays.
pub async fn creates_only_once(store: &Store) {
    let key = Path::from("create/object");
    let contenders = (0..8).map(|number| {
        let (store, key) = (Arc::clone(store), key.clone());
        async move {
            let content = format!("contender {number}");
            let result = store.put_opts(&key, content.clone().into(), PutMode::Create.into()).await;
            (content, result)
        }
    });
    let outcomes: Vec<_> = futures::stream::iter(contenders).buffer_unordered(8).collect().await;
    let mut winners = Vec::new();
    for (content, outcome) in outcomes {
        match outcome {
            Ok(_) => winners.push(content),
            Err(error) => assert_eq!(ErrorKind::of(&error), ErrorKind::AlreadyExists, "{error}"),
        }
    }
    assert_eq!(winners.len(), 1, "several creators won: {winners:?}");
    assert_eq!(body(store, &key).await, winners[0]);
    remove(store, &[key]).await;
}

/// Names of users' namespaces and files reach keys; they come back as they went.
pub async fn keeps_unusual_keys(store: &Store) {
    let names =
        ["with space", "plus+sign", "percent%41", "hash#and?mark", "ampersand&=;", "ünïcödé/日本", "dots..inside", "~tilde"];
    let mut keys = Vec::new();
    for name in names {
        let key = Path::parse(format!("unusual/{name}")).unwrap();
        store.put(&key, name.to_owned().into()).await.unwrap();
        keys.push(key);
    }
    for (key, name) in keys.iter().zip(names) {
        assert_eq!(body(store, key).await.as_ref(), name.as_bytes());
    }
    let listed = keys_under(store, Some("unusual")).await;
    assert_eq!(listed, keys.iter().map(ToString::to_string).collect());
    remove(store, &keys).await;
}

/// A prefix is whole segments; a delimiter listing shows one level.
pub async fn lists_by_segments(store: &Store) {
    let keys: Vec<_> = ["list/a/1", "list/a/b/2", "list/ab/3", "list/4"].into_iter().map(Path::from).collect();
    for key in &keys {
        store.put(key, "x".into()).await.unwrap();
    }
    assert_eq!(keys_under(store, Some("list/a")).await, set(&["list/a/1", "list/a/b/2"]));
    assert_eq!(keys_under(store, Some("list/none")).await, set(&[]));
    assert_eq!(keys_under(store, Some("list")).await, set(&["list/a/1", "list/a/b/2", "list/ab/3", "list/4"]));
    let level = store.list_with_delimiter(Some(&Path::from("list"))).await.unwrap();
    let prefixes: BTreeSet<_> = level.common_prefixes.iter().map(ToString::to_string).collect();
    assert_eq!(prefixes, set(&["list/a", "list/ab"]));
    let objects: BTreeSet<_> = level.objects.iter().map(|object| object.location.to_string()).collect();
    assert_eq!(objects, set(&["list/4"]));
    remove(store, &keys).await;
}

/// More objects than a page of any provider holds, listed completely and removed in bulk.
pub async fn pages_and_deletes_many(store: &Store) {
    let keys: Vec<_> = (0..1_050).map(|number| Path::from(format!("many/{number:04}"))).collect();
    futures::stream::iter(keys.clone())
        .map(|key| async move { store.put(&key, "x".into()).await.map(|_| ()) })
        .buffer_unordered(16)
        .try_collect::<()>()
        .await
        .unwrap();
    assert_eq!(keys_under(store, Some("many")).await.len(), keys.len());
    let offset = Path::from("many/1000");
    let after: Vec<_> = store.list_with_offset(Some(&Path::from("many")), &offset).try_collect().await.unwrap();
    assert_eq!(after.len(), 49);
    remove(store, &keys).await;
    assert!(keys_under(store, Some("many")).await.is_empty());
}

/// A pack's size, as a rope of uneven pieces, read whole and as a stream.
pub async fn moves_large_bodies(store: &Store) {
    let key = Path::from("large/object");
    let content: Vec<u8> = (0..20 * 1024 * 1024_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let content = Bytes::from(content);
    let pieces: PutPayload =
        [0..1, 1..1_000_000, 1_000_000..content.len()].into_iter().map(|range| content.slice(range)).collect();
    store.put(&key, pieces).await.unwrap();
    let found = store.get(&key).await.unwrap();
    assert_eq!(found.meta.size, content.len() as u64);
    let chunks: Vec<Bytes> = found.into_stream().try_collect().await.unwrap();
    assert!(chunks.concat() == content, "a large body came back different");
    let middle = store.get_range(&key, 9_999_999..10_000_001).await.unwrap();
    assert_eq!(middle, content.slice(9_999_999..10_000_001));
    remove(store, &[key]).await;
}

/// Nothing of a multipart upload shows before it is complete, nor after it is aborted.
pub async fn assembles_parts(store: &Store) {
    let (kept, dropped) = (Path::from("parts/kept"), Path::from("parts/dropped"));
    let part = Bytes::from(vec![7_u8; 5 * 1024 * 1024]);
    let mut upload = store.put_multipart(&kept).await.unwrap();
    let (first, second) = (upload.put_part(part.clone().into()), upload.put_part("tail".into()));
    futures::future::try_join(first, second).await.unwrap();
    assert!(keys_under(store, Some("parts")).await.is_empty());
    upload.complete().await.unwrap();
    let whole = body(store, &kept).await;
    assert_eq!(whole.len(), part.len() + 4);
    assert!(whole.ends_with(b"tail"));
    let mut upload = store.put_multipart(&dropped).await.unwrap();
    upload.put_part(part.into()).await.unwrap();
    upload.abort().await.unwrap();
    assert_eq!(keys_under(store, Some("parts")).await, set(&["parts/kept"]));
    remove(store, &[kept]).await;
}

/// Copying leaves the source.
pub async fn copies(store: &Store) {
    let (from, to) = (Path::from("copy/from"), Path::from("copy/to"));
    store.put(&from, "content".into()).await.unwrap();
    store.copy(&from, &to).await.unwrap();
    assert_eq!(body(store, &to).await.as_ref(), b"content");
    assert_eq!(body(store, &from).await.as_ref(), b"content");
    remove(store, &[from, to]).await;
}

async fn body(store: &Store, key: &Path) -> Bytes {
    store.get(key).await.unwrap().bytes().await.unwrap()
}

async fn keys_under(store: &Store, prefix: Option<&str>) -> BTreeSet<String> {
    let prefix = prefix.map(Path::from);
    store.list(prefix.as_ref()).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap()
}

async fn remove(store: &Store, keys: &[Path]) {
    let keys = futures::stream::iter(keys.to_vec()).map(Ok).boxed();
    store.delete_stream(keys).try_collect::<Vec<_>>().await.unwrap();
}

fn rope(pieces: &[&'static [u8]]) -> PutPayload {
    pieces.iter().map(|piece| Bytes::from_static(piece)).collect()
}

fn set(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}
