//! The repository whose bits are flipped.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use object_store::path::Path;
use repository::limits::MIN_PACK_SIZE;
use repository::{BlobType, Control, Id, Index, LockHandle, LockMode, PackedBlob, Result, SaverOptions};

use crate::harness::{Content, Dice, MapStore, Names, PASSWORD, Pool, Saving, Stage, alone, init, locked, names, open, save};

/// Pieces of data: few, so that looking for them costs little, whatever the size.
const PIECES: usize = 14;
/// Bytes of one object that one thread takes on at a time.
const PIECE: usize = 256;

pub struct Sample {
    pub store: Arc<MapStore>,
    pub names: Names,
    /// The blobs of each pack, in the order in which they stand there.
    pub packs: BTreeMap<Id, Vec<PackedBlob>>,
}

/// Some bytes of an object.
#[derive(Debug, Clone)]
pub struct Piece {
    pub key: Path,
    pub bytes: Range<usize>,
}

impl Sample {
    /// Two snapshots of some common data, which is in two packs each; some data compresses, some does not. A reader was killed and has
    /// left its lock.
    pub fn new(bytes: usize) -> Self {
        let stage = Stage::new();
        stage.seed(1);
        stage.play(Self::make(bytes)).unwrap()
    }

    async fn make(bytes: usize) -> Result<Self> {
        let control = Control::default();
        let store = MapStore::new();
        let repository = init(store.clone()).await?;
        let piece = bytes * 3 / 4 / PIECES;
        let pool = Pool::new(&mut Dice::new(1), PIECES, piece * 3 / 4..=piece * 3 / 2);
        let (one, two) = (Content::flat(&pool.pieces[..8]), Content::flat(&pool.pieces[6..]));
        let options = SaverOptions { pack_size: MIN_PACK_SIZE, open_packs: 1, ..SaverOptions::default() };
        let saving = Saving { options, flushes: 1 };
        locked(&repository, alone(LockMode::Shared), &control, async |lock| {
            for (name, content) in [("one", &one), ("two", &two)] {
                // Neither knows of the other.
                save(&repository, lock, Arc::new(Index::default()), content, name, saving, &control).await?;
            }
            Ok(())
        })
        .await?;
        // One index file for all, for loading several costs more than anything else that is done for a flip.
        store.keys("index").iter().for_each(|key| store.remove(key));
        let repair = async |lock: &LockHandle| repository.repair_index(lock, &control).await;
        locked(&repository, alone(LockMode::Exclusive), &control, repair).await?;
        std::mem::forget(repository.lock(alone(LockMode::Shared), &control).await?);

        let index = open(store.clone(), PASSWORD).await?.load_index(&control).await?;
        let mut packs: BTreeMap<Id, Vec<PackedBlob>> = BTreeMap::new();
        for (blob_type, id, _) in one.blobs.iter().chain(&two.blobs) {
            for blob in copies(&index, *blob_type, *id) {
                let blobs = packs.entry(blob.location.pack).or_default();
                if !blobs.contains(&blob) {
                    blobs.push(blob);
                }
            }
        }
        packs.values_mut().for_each(|blobs| blobs.sort_by_key(|blob| blob.location.offset));
        let names = names(&repository.snapshots(&control).await?).unwrap();
        Ok(Self { store, names, packs })
    }

    pub fn size(&self) -> usize {
        self.store.objects().values().map(|(bytes, _)| bytes.len()).sum()
    }

    /// Every byte of every object.
    pub fn all_bytes(&self) -> Vec<Piece> {
        let pieces = |(key, length): (Path, usize)| {
            (0..length).step_by(PIECE).map(move |start| Piece { key: key.clone(), bytes: start..(start + PIECE).min(length) })
        };
        self.store.objects().into_iter().map(|(key, (bytes, _))| (key, bytes.len())).flat_map(pieces).collect()
    }
}

fn copies(index: &Index, blob_type: BlobType, id: Id) -> impl Iterator<Item = PackedBlob> {
    let locations = index.locate(blob_type, &id).into_iter().chain(index.other_copies(blob_type, &id));
    locations.map(move |location| PackedBlob { blob_type, id, location })
}
