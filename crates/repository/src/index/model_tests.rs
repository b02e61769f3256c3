//! The index does what a plain map does, whatever happens to it in whatever order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use proptest::prelude::*;

use super::{Entry, Index, Place};
use crate::format::{BlobType, Id, IndexBlob, IndexPack};
use crate::{BlobId, PackId};

type Blob = (BlobType, BlobId);

#[derive(Debug, Clone)]
enum Step {
    Claim(Blob, u32),
    Publish(IndexPack),
    Quarantine(Vec<u32>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    Pending(u32),
    /// The first copy, and the others by pack and offset.
    Stored(Entry, BTreeMap<(u32, u32), Entry>),
    Lost,
}

#[derive(Debug, Default)]
struct Model {
    blobs: HashMap<Blob, Known>,
    packs: Vec<PackId>,
}

impl Model {
    fn claim(&mut self, blob: Blob, plain_length: u32) -> bool {
        let is_free = matches!(self.blobs.get(&blob), None | Some(Known::Lost));
        if is_free {
            self.blobs.insert(blob, Known::Pending(plain_length));
        }
        is_free
    }

    fn publish(&mut self, pack: &IndexPack) {
        let number = self.packs.iter().position(|id| *id == pack.id).unwrap_or_else(|| {
            self.packs.push(pack.id);
            self.packs.len() - 1
        });
        let mut blobs = pack.blobs.clone();
        blobs.sort_by_key(|blob| blob.offset);
        for IndexBlob { id, blob_type, offset, length, uncompressed_length } in blobs {
            let entry = Entry { pack: number as u32, offset, length, uncompressed_length };
            match self.blobs.get_mut(&(blob_type, id)) {
                Some(Known::Stored(first, _)) if (first.pack, first.offset) == (entry.pack, offset) => {}
                Some(Known::Stored(_, others)) => {
                    others.entry((entry.pack, offset)).or_insert(entry);
                }
                None | Some(Known::Pending(_) | Known::Lost) => {
                    self.blobs.insert((blob_type, id), Known::Stored(entry, BTreeMap::new()));
                }
            }
        }
    }

    fn quarantine(&mut self, packs: &HashSet<u32>) {
        for known in self.blobs.values_mut() {
            let Known::Stored(first, others) = known else { continue };
            others.retain(|(pack, _), _| !packs.contains(pack));
            if packs.contains(&first.pack) {
                match others.pop_first() {
                    Some((_, entry)) => *first = entry,
                    None => *known = Known::Lost,
                }
            }
        }
    }

    fn copies(&self) -> Vec<(Blob, Entry)> {
        let mut copies = Vec::new();
        for (blob, known) in &self.blobs {
            if let Known::Stored(first, others) = known {
                copies.push((*blob, *first));
                copies.extend(others.values().map(|entry| (*blob, *entry)));
            }
        }
        copies.sort_by_key(|((blob_type, id), entry)| (*blob_type, *id, entry.pack, entry.offset));
        copies
    }

    /// The bytes of each pack, counted copy by copy.
    fn sizes(&self) -> Vec<u64> {
        let mut sizes = vec![0; self.packs.len()];
        for (_, entry) in self.copies() {
            let size = &mut sizes[entry.pack as usize];
            *size += if *size == 0 { 36 } else { 0 };
            *size += u64::from(entry.length) + if entry.uncompressed_length == 0 { 37 } else { 41 };
        }
        sizes
    }

    fn assert_same(&self, index: &Index, places: &mut HashMap<Blob, Place>) {
        for blob in all_blobs() {
            let (blob_type, id) = blob;
            let known = self.blobs.get(&blob).filter(|known| **known != Known::Lost);
            assert_eq!(index.contains(blob_type, &id), known.is_some());
            assert_eq!(index.place(blob_type, &id).is_some(), known.is_some());
            let (first, others) = match known {
                Some(Known::Stored(first, others)) => (Some(*first), others.values().copied().collect()),
                _ => (None, Vec::new()),
            };
            let located = |entry: Entry| (self.packs[entry.pack as usize], entry.offset, entry.length, entry.uncompressed_length);
            let found = |found: super::BlobLocation| (found.pack, found.offset, found.length, found.uncompressed_length);
            assert_eq!(index.locate(blob_type, &id).map(found), first.map(located));
            let copies: Vec<_> = index.other_copies(blob_type, &id).into_iter().map(found).collect();
            assert_eq!(copies, others.into_iter().map(located).collect::<Vec<_>>());
            let plain_length = match known {
                Some(Known::Pending(plain_length)) => Some(*plain_length),
                _ => first.map(|entry| entry.plain_length()),
            };
            assert_eq!(index.plain_length(blob_type, &id), plain_length);
            for packs in 0..4 {
                assert_eq!(index.was_known(blob_type, &id, packs), first.is_some_and(|entry| entry.pack < packs));
            }
            if let Some(place) = index.place(blob_type, &id) {
                assert_eq!(*places.entry(blob).or_insert(place), place, "a place stays the same");
                assert!(place.at < index.shard_lengths()[place.shard]);
            }
        }
        let lost = self.blobs.values().filter(|known| **known == Known::Lost).count();
        assert_eq!((index.len(), index.lost_blobs()), (self.blobs.len() - lost, lost as u64));
        assert_eq!(index.pack_ids(), self.packs);
        assert_eq!(index.pack_sizes(), self.sizes());
        let mut visited = BTreeSet::new();
        index.for_each(|blob_type, place, entry| {
            assert!(visited.insert((blob_type, place.shard, place.at, entry.pack, entry.offset)));
        });
        let expected = self.blobs.iter().filter_map(|(blob, known)| match known {
            Known::Stored(first, _) => {
                let place = places[blob];
                Some((blob.0, place.shard, place.at, first.pack, first.offset))
            }
            Known::Pending(_) | Known::Lost => None,
        });
        assert_eq!(visited, expected.collect());
    }

    /// With ids, every copy is told by its name.
    fn assert_named(&self, index: &Index) {
        let mut named = Vec::new();
        let visited = index.for_each_named(|_, pack, IndexBlob { id, blob_type, offset, length, uncompressed_length }| {
            named.push(((blob_type, id), Entry { pack, offset, length, uncompressed_length }));
        });
        assert!(visited.is_ok());
        named.sort_by_key(|((blob_type, id), entry)| (*blob_type, *id, entry.pack, entry.offset));
        assert_eq!(named, self.copies());
    }
}

fn all_blobs() -> impl Iterator<Item = Blob> {
    (0..10u8).flat_map(|number| [BlobType::Data, BlobType::Tree].map(|blob_type| (blob_type, Id::of(&[number]))))
}

fn blob() -> impl Strategy<Value = Blob> {
    prop::sample::select(all_blobs().collect::<Vec<_>>())
}

fn step() -> impl Strategy<Value = Step> {
    let entry = (blob(), 0..6u32, 32..90u32, prop_oneof![Just(0u32), 1..500u32]);
    let entry = entry.prop_map(|((blob_type, id), at, length, uncompressed_length)| IndexBlob {
        id,
        blob_type,
        offset: at * 64,
        length,
        uncompressed_length,
    });
    // A place holds one blob.
    let blobs = prop::collection::vec(entry, 0..7).prop_map(|mut blobs| {
        let mut taken = HashSet::new();
        blobs.retain(|blob| taken.insert(blob.offset));
        blobs
    });
    prop_oneof![
        (blob(), 0..500u32).prop_map(|(blob, plain_length)| Step::Claim(blob, plain_length)),
        (0..5u8, blobs).prop_map(|(pack, blobs)| Step::Publish(IndexPack { id: Id::of(&[100 + pack]), blobs })),
        prop::collection::vec(0..5u32, 0..3).prop_map(Step::Quarantine),
    ]
}

proptest! {
    #[test]
    fn an_index_is_a_map(steps in prop::collection::vec(step(), 1..30)) {
        for (index, keeps_ids) in [(Index::default(), false), (Index::with_ids(), true)] {
            let (mut model, mut places) = (Model::default(), HashMap::new());
            for step in &steps {
                match step {
                    Step::Claim((blob_type, id), plain_length) => {
                        let claimed = model.claim((*blob_type, *id), *plain_length);
                        assert_eq!(index.claim(*blob_type, id, *plain_length), claimed);
                    }
                    Step::Publish(pack) => {
                        model.publish(pack);
                        let number = index.publish(pack);
                        assert_eq!(model.packs[number as usize], pack.id);
                    }
                    Step::Quarantine(packs) => {
                        let packs = packs.iter().copied().filter(|pack| (*pack as usize) < model.packs.len()).collect();
                        model.quarantine(&packs);
                        index.quarantine(&packs);
                    }
                }
                model.assert_same(&index, &mut places);
            }
            if keeps_ids {
                model.assert_named(&index);
            } else {
                assert_eq!(index.for_each_named(|_, _, _| {}).is_err(), !model.copies().is_empty());
            }
        }
    }
}

/// Threads that publish, some of them the same packs, and one that reads: each blob is there once, each pack has its size.
#[test]
fn packs_are_published_from_many_threads() {
    let packs: Vec<_> = (0..300u32)
        .map(|pack| {
            let blobs = (0..50u32).map(|at| {
                let id = Id::of(&(pack * 40 + at).to_le_bytes());
                IndexBlob { id, blob_type: BlobType::Data, offset: at * 100, length: 100, uncompressed_length: 0 }
            });
            IndexPack { id: Id::of(&[pack.to_le_bytes(), [1; 4]].concat()), blobs: blobs.collect() }
        })
        .collect();
    let index = Index::default();
    std::thread::scope(|scope| {
        for turn in 0..4 {
            let (packs, index) = (&packs, &index);
            scope.spawn(move || {
                for at in 0..packs.len() {
                    let pack = &packs[(at + turn / 2) % packs.len()];
                    index.publish(pack);
                    assert!(pack.blobs.iter().all(|blob| index.locate(BlobType::Data, &blob.id).is_some()));
                }
            });
        }
    });
    assert_eq!((index.len(), index.pack_count()), (300 * 40 + 10, 300));
    assert!(index.pack_sizes().iter().all(|size| *size == 36 + 50 * 137));
    assert_eq!(index.duplicates().len(), 299 * 10);
}
