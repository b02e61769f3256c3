//! Parts of tree packs in memory: trees of one part of a file tree stand together, so one request serves thousands of them.
//!
//! A pack is read in spans of up to [`TREE_SPAN`] bytes. Whoever asks for bytes of a span that is being read waits for it, so
//! nothing is asked for twice at a time; when the cache is full the span that was not used for the longest time goes. A pack of
//! which little is used before it goes is read in smaller spans from then on: a year of daily snapshots has trees in hundreds of
//! packs, all of them in use by turns. Where a walk goes through a pack in order the spans grow again and the next ones are read
//! ahead, which hides the store's latency.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::control::Control;
use crate::error::{Error, Result};
use crate::limits::{TREE_CACHE, TREE_CACHE_LEAST, TREE_READ_AHEAD, TREE_SPAN, TREE_SPAN_LEAST};
use crate::memory::{MemoryBudget, Share};
use crate::objects::{FileType, PackPart};
use crate::{PackId, Repository};

/// A span of which less than one part in this many was used did not pay.
const LEAST_USE: u64 = 8;

type Slot = Arc<OnceCell<PackPart>>;

/// Bytes of a pack that are there or are being read.
#[derive(Debug)]
struct Span {
    /// Where it ends; the pack may end before.
    end: u64,
    slot: Slot,
    /// Bytes that it takes: those that were read, or will be if the pack does not end before.
    held: u64,
    /// The turn at which it was last asked for.
    turn: u64,
    /// Bytes of it that were asked for.
    used: u64,
}

#[derive(Debug, Default)]
struct State {
    /// By pack and first byte. Spans do not overlap.
    spans: BTreeMap<(PackId, u64), Span>,
    /// Bytes of all spans.
    size: u64,
    /// The same at most, but for what is being read.
    most: u64,
    turn: u64,
    /// How much of these packs is read at once; [`TREE_SPAN`] of the others.
    lengths: HashMap<PackId, u64>,
}

/// A span that was found or entered.
struct Found {
    start: u64,
    end: u64,
    slot: Slot,
    /// It is asked for the first time, in the order in which the pack stands: what follows will be asked for too.
    is_in_order: bool,
}

/// Shared by the clones of a reader.
#[derive(Debug, Clone)]
pub(super) struct TreeCache {
    state: Arc<Mutex<State>>,
    _memory: Arc<Share>,
}

impl TreeCache {
    /// A cache as large as the budget allows, up to [`TREE_CACHE`].
    pub fn new(memory: &MemoryBudget) -> Self {
        let share = memory.draw_part(TREE_CACHE_LEAST, TREE_CACHE);
        let state = State { most: share.bytes(), ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), _memory: Arc::new(share) }
    }

    /// The bytes of a pack from `start` to `end`.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the pack ends before; of the store; [`Error::Cancelled`].
    pub async fn read(&self, repository: &Repository, pack: PackId, start: u64, end: u64, control: &Control) -> Result<Bytes> {
        // The tree of a huge directory is a request of its own.
        if end - start >= TREE_SPAN {
            return repository.objects().get_range(&pack, start, end, control).await;
        }
        let mut joined = BytesMut::new();
        let mut at = start;
        loop {
            let found = self.state.lock().ask(pack, at, end);
            let PackPart { bytes, pack_size } = self.load(repository, pack, &found, control).await?;
            if found.is_in_order {
                self.read_ahead(repository, pack, found.end..pack_size, control);
            }
            let until = end.min(found.end);
            let piece = (at - found.start) as usize..(until - found.start) as usize;
            if bytes.len() < piece.end {
                return Err(Error::damaged(FileType::Pack.key(&pack), format!("it ends before byte {end}")));
            }
            if until == end && joined.is_empty() {
                return Ok(bytes.slice(piece));
            }
            joined.extend_from_slice(&bytes[piece]);
            if until == end {
                return Ok(joined.freeze());
            }
            at = until;
        }
    }

    /// The bytes of a span, read by the first who needs them.
    async fn load(&self, repository: &Repository, pack: PackId, found: &Found, control: &Control) -> Result<PackPart> {
        let read = || repository.objects().get_part(&pack, found.start, found.end, control);
        match found.slot.get_or_try_init(read).await {
            Ok(part) => {
                self.state.lock().loaded(pack, found, part.bytes.len() as u64);
                Ok(part.clone())
            }
            Err(error) => {
                self.state.lock().forget(pack, found);
                Err(error)
            }
        }
    }

    /// Reads the next spans of a pack in the background. That one fails is not told: whoever needs it will ask again.
    fn read_ahead(&self, repository: &Repository, pack: PackId, rest: Range<u64>, control: &Control) {
        let entered = self.state.lock().enter_next(pack, rest);
        for found in entered {
            let (cache, repository, control) = (self.clone(), repository.clone(), control.clone());
            tokio::spawn(async move {
                let _ = cache.load(&repository, pack, &found, &control).await;
            });
        }
    }
}

impl State {
    /// The span that holds the byte `at`, of which the bytes up to `end` will be used.
    fn ask(&mut self, pack: PackId, at: u64, end: u64) -> Found {
        if self.span_at(pack, at).is_none() && self.follows(pack, at / self.length(pack) * self.length(pack)) {
            self.lengthen(pack);
        }
        let mut found = self.enter(pack, at);
        let follows = found.start == 0 || self.follows(pack, found.start);
        self.turn += 1;
        if let Some(span) = self.spans.get_mut(&(pack, found.start)) {
            found.is_in_order = span.used == 0 && follows;
            span.used += end.min(span.end) - at;
            span.turn = self.turn;
        }
        found
    }

    /// Whether what stands before the byte `at` is here.
    fn follows(&self, pack: PackId, at: u64) -> bool {
        at > 0 && self.span_at(pack, at - 1).is_some()
    }

    fn length(&self, pack: PackId) -> u64 {
        self.lengths.get(&pack).copied().unwrap_or(TREE_SPAN)
    }

    fn lengthen(&mut self, pack: PackId) {
        let Some(length) = self.lengths.get_mut(&pack) else { return };
        *length *= 2;
        if *length >= TREE_SPAN {
            self.lengths.remove(&pack);
        }
    }

    /// The first byte of the span that holds the byte `at`.
    fn span_at(&self, pack: PackId, at: u64) -> Option<u64> {
        let ((_, start), span) = self.spans.range((pack, 0)..=(pack, at)).next_back()?;
        (span.end > at).then_some(*start)
    }

    /// The span that holds the byte `at`, made if there is none.
    fn enter(&mut self, pack: PackId, at: u64) -> Found {
        if let Some(start) = self.span_at(pack, at) {
            let span = &self.spans[&(pack, start)];
            return Found { start, end: span.end, slot: Arc::clone(&span.slot), is_in_order: false };
        }
        let length = self.length(pack);
        let before = self.spans.range((pack, 0)..(pack, at)).next_back().map_or(0, |(_, span)| span.end);
        let start = (at / length * length).max(before);
        let whole = start / length * length + length;
        let end = self.spans.range((pack, start)..(pack, whole)).next().map_or(whole, |((_, next), _)| *next);
        let slot = Slot::default();
        self.size += end - start;
        self.turn += 1;
        self.spans.insert((pack, start), Span { end, slot: Arc::clone(&slot), held: end - start, turn: self.turn, used: 0 });
        Found { start, end, slot, is_in_order: false }
    }

    /// Enters the spans at the beginning of the rest of a pack, as far as they are not here; none of a pack that is read in parts.
    fn enter_next(&mut self, pack: PackId, rest: Range<u64>) -> Vec<Found> {
        let mut entered = Vec::new();
        let mut at = rest.start;
        for _ in 0..TREE_READ_AHEAD {
            if at >= rest.end || self.lengths.contains_key(&pack) {
                break;
            }
            let is_here = self.span_at(pack, at).is_some();
            let found = self.enter(pack, at);
            at = found.end;
            if !is_here {
                entered.push(found);
            }
        }
        entered
    }

    /// Notes how long a span that was read is, and makes room for it.
    fn loaded(&mut self, pack: PackId, found: &Found, length: u64) {
        if let Some(span) = self.spans.get_mut(&(pack, found.start)).filter(|span| Arc::ptr_eq(&span.slot, &found.slot)) {
            self.size = self.size - span.held + length;
            span.held = length;
        }
        self.make_room();
    }

    /// Takes out a span that could not be read, unless another one has taken its place.
    fn forget(&mut self, pack: PackId, found: &Found) {
        if self.spans.get(&(pack, found.start)).is_some_and(|span| Arc::ptr_eq(&span.slot, &found.slot)) {
            self.remove((pack, found.start));
        }
    }

    fn remove(&mut self, key: (PackId, u64)) -> Option<Span> {
        let span = self.spans.remove(&key)?;
        self.size -= span.held;
        Some(span)
    }

    /// Lets go of what was not used for the longest time until the rest fits. What is being read stays.
    fn make_room(&mut self) {
        while self.size > self.most {
            let loaded = self.spans.iter().filter(|(_, span)| span.slot.initialized());
            let Some(oldest) = loaded.min_by_key(|(_, span)| span.turn).map(|(key, _)| *key) else { return };
            let Some(span) = self.remove(oldest) else { return };
            if span.used < span.held / LEAST_USE {
                let shorter = (self.length(oldest.0) / 2).max(TREE_SPAN_LEAST);
                self.lengths.insert(oldest.0, shorter);
            }
        }
    }
}
