//! A shard of the index: a record for each blob, found by the blob's fingerprint.

use super::fingerprint::{Digest, Fingerprint};
use super::pieces::Pieces;
use super::slots::Slots;
use crate::format::Id;

/// Set in a record whose blob is claimed while its pack is not acknowledged yet; the other bits are the plain length then.
const PENDING: u32 = 1 << 31;

/// The longest plain length that a claim notes. Only a tree may be longer, and is read as a stream by then.
const LONGEST: u32 = PENDING - 2;

/// In place of a position: the pack is lost, and the blob counts as absent until somebody stores it anew.
const LOST: u32 = u32::MAX;

/// What is known of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It stands at this position of the [`super::locations::Locations`].
    Stored(u32),
    /// It is claimed, and has this plain length.
    Pending(u32),
    /// It is lost.
    Lost,
}

impl State {
    fn pack(self) -> u32 {
        match self {
            Self::Stored(position) => position,
            Self::Pending(plain_length) => PENDING | plain_length.min(LONGEST),
            Self::Lost => LOST,
        }
    }

    fn unpack(bits: u32) -> Self {
        match bits {
            LOST => Self::Lost,
            bits if bits & PENDING != 0 => Self::Pending(bits & !PENDING),
            position => Self::Stored(position),
        }
    }
}

/// A blob: 16 bytes.
#[derive(Debug, Clone, Copy)]
struct Record {
    fingerprint: Fingerprint,
    state: u32,
}

/// A part of the blobs of one type.
#[derive(Debug, Default)]
pub(super) struct Shard {
    records: Pieces<Record>,
    /// The blobs' ids, for those who need them: see [`super::Index::with_ids`].
    ids: Option<Pieces<Id>>,
    slots: Slots,
}

impl Shard {
    /// One that keeps ids, and compares by them.
    pub fn with_ids() -> Self {
        Self { ids: Some(Pieces::default()), ..Self::default() }
    }

    /// Blobs, whatever their state.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Where the blob's record is.
    pub fn find(&self, digest: &Digest, id: &Id) -> Option<usize> {
        self.slots.find(digest.fingerprint.home(), digest.tag, |at| {
            self.records[at].fingerprint == digest.fingerprint && self.ids.as_ref().is_none_or(|ids| ids[at] == *id)
        })
    }

    /// What is known of the blob; `None` too if it is lost.
    pub fn get(&self, digest: &Digest, id: &Id) -> Option<State> {
        self.find(digest, id).map(|at| self.state(at)).filter(|state| *state != State::Lost)
    }

    pub fn state(&self, at: usize) -> State {
        State::unpack(self.records[at].state)
    }

    pub fn set(&mut self, at: usize, state: State) {
        if let Some(record) = self.records.get_mut(at) {
            record.state = state.pack();
        }
    }

    /// Adds a blob that is not there yet.
    pub fn insert(&mut self, digest: &Digest, id: &Id, state: State) {
        let Self { records, ids, slots } = self;
        slots.insert(digest.fingerprint.home(), digest.tag, records.len(), |at| records[at].fingerprint.home());
        records.push(Record { fingerprint: digest.fingerprint, state: state.pack() });
        if let Some(ids) = ids {
            ids.push(*id);
        }
    }

    /// The blobs that stand in packs, with their places and positions.
    pub fn stored(&self) -> impl Iterator<Item = (usize, u32)> {
        self.records.iter().enumerate().filter_map(|(at, record)| match State::unpack(record.state) {
            State::Stored(position) => Some((at, position)),
            State::Pending(_) | State::Lost => None,
        })
    }

    /// The id at a place, if ids are kept.
    pub fn id(&self, at: usize) -> Option<Id> {
        self.ids.as_ref()?.get(at).copied()
    }

    pub fn heap_bytes(&self) -> usize {
        self.records.heap_bytes() + self.slots.heap_bytes() + self.ids.as_ref().map_or(0, Pieces::heap_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fingerprint::Fingerprints;
    use super::*;

    #[test]
    fn what_is_inserted_is_found_and_nothing_else() {
        let fingerprints = Fingerprints::default();
        for mut shard in [Shard::default(), Shard::with_ids()] {
            for number in 0..20_000u32 {
                let id = Id::of(&number.to_le_bytes());
                let digest = fingerprints.of(&id);
                assert_eq!(shard.find(&digest, &id), None);
                shard.insert(&digest, &id, State::Stored(number));
            }
            for number in 0..20_000u32 {
                let id = Id::of(&number.to_le_bytes());
                assert_eq!(shard.get(&fingerprints.of(&id), &id), Some(State::Stored(number)));
            }
        }
    }

    #[test]
    fn a_state_takes_four_bytes() {
        for state in [State::Stored(0), State::Stored(PENDING - 1), State::Pending(0), State::Pending(LONGEST), State::Lost] {
            assert_eq!(State::unpack(state.pack()), state);
        }
        assert_eq!(State::unpack(State::Pending(u32::MAX).pack()), State::Pending(LONGEST));
        assert_eq!(size_of::<Record>(), 16);
    }

    /// Where ids are kept, blobs whose fingerprints agree stay two.
    #[test]
    fn ids_tell_apart_what_fingerprints_do_not() {
        let (one, other) = (Id::of(b"one"), Id::of(b"other"));
        let digest = Fingerprints::default().of(&one);
        let (mut with, mut without) = (Shard::with_ids(), Shard::default());
        for shard in [&mut with, &mut without] {
            shard.insert(&digest, &one, State::Stored(1));
        }
        assert_eq!((with.get(&digest, &other), without.get(&digest, &other)), (None, Some(State::Stored(1))));
        with.insert(&digest, &other, State::Stored(2));
        assert_eq!((with.get(&digest, &one), with.get(&digest, &other)), (Some(State::Stored(1)), Some(State::Stored(2))));
    }
}
