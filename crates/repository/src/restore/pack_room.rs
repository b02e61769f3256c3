//! How much of packs a restore holds in memory at a time.

use parking_lot::{Condvar, Mutex};

use crate::limits::DEFAULT_PACK_SIZE;
use crate::memory::{MemoryBudget, Share};

/// What each thread holds of packs as they are usually: one that was closed by a large blob.
const USUAL_PACK: u64 = DEFAULT_PACK_SIZE as u64 * 3 / 2;

/// Room for packs, out of the budget. Packs that others made may be many times as large as usual: then fewer threads read at a time.
pub(super) struct PackRoom {
    share: Share,
    held: Mutex<u64>,
    freed: Condvar,
}

/// What a thread holds of the room; it goes back when this is dropped.
pub(super) struct Held<'a> {
    room: &'a PackRoom,
    bytes: u64,
}

impl PackRoom {
    pub fn new(memory: &MemoryBudget, workers: usize) -> Self {
        Self { share: memory.draw_part(USUAL_PACK, USUAL_PACK * workers as u64), held: Mutex::new(0), freed: Condvar::new() }
    }

    /// Waits until there is room for so many bytes, or nobody else holds any: one larger than the room is read alone.
    pub fn take(&self, bytes: u64) -> Held<'_> {
        let mut held = self.held.lock();
        while *held > 0 && *held + bytes > self.share.bytes() {
            self.freed.wait(&mut held);
        }
        *held += bytes;
        Held { room: self, bytes }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *self.room.held.lock() -= self.bytes;
        self.room.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    use std::time::Duration;

    use super::*;

    /// R7: many threads with packs of all sizes never hold more than the room, but for one that is larger alone.
    #[test]
    fn no_more_is_held_than_there_is_room_for() {
        let room = PackRoom::new(&MemoryBudget::new(8 * USUAL_PACK), 2);
        assert_eq!(room.share.bytes(), 2 * USUAL_PACK);
        let (now, most, alone) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for number in 0..8u64 {
                let (room, now, most, alone) = (&room, &now, &most, &alone);
                scope.spawn(move || {
                    for turn in 0..50 {
                        let bytes = if turn == 25 { 9 * USUAL_PACK } else { USUAL_PACK * (1 + (number + turn) % 4) / 2 };
                        let _held = room.take(bytes);
                        let all = now.fetch_add(bytes, SeqCst) + bytes;
                        if bytes > room.share.bytes() {
                            assert_eq!(all, bytes, "it is not alone");
                            alone.fetch_add(1, SeqCst);
                        } else {
                            most.fetch_max(all, SeqCst);
                        }
                        std::thread::sleep(Duration::from_micros(200));
                        now.fetch_sub(bytes, SeqCst);
                    }
                });
            }
        });
        assert!(most.load(SeqCst) <= 2 * USUAL_PACK && alone.load(SeqCst) == 8);
        assert!(most.load(SeqCst) > USUAL_PACK, "only one at a time had any");
        assert_eq!(*room.held.lock(), 0);
    }
}
