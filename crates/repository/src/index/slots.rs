//! An open table of positions in an arena. A slot holds a position and, in the bits that are left, a tag: what is looked for
//! in vain is hardly ever compared with what stands in the arena.

/// A free slot.
const FREE: u32 = u32::MAX;

/// Slots of the first table.
const FIRST: usize = 16;

/// From so many slots on a table grows by a quarter instead of twice, so that few of a large one stay free.
const LARGE: usize = 1024;

/// Positions of the elements of an arena, in the order in which these were added.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Box<[u32]>,
    /// Bits of a slot that are the position; the upper ones are the tag.
    position_bits: u32,
    /// Elements that fit before the table grows: seven eighths of the slots.
    capacity: usize,
}

impl Slots {
    /// The position of the element for which `is_it` holds, among those with this home and tag.
    pub fn find(&self, home: u64, tag: u32, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let positions = u32::MAX >> (u32::BITS - self.position_bits);
        let tag = tag.checked_shl(self.position_bits).unwrap_or(0);
        let mut slot = first_slot(home, self.slots.len());
        loop {
            let found = self.slots[slot];
            if found == FREE {
                return None;
            }
            if found & !positions == tag && is_it((found & positions) as usize) {
                return Some((found & positions) as usize);
            }
            slot = next_slot(slot, self.slots.len());
        }
    }

    /// Enters the element that is about to be added at position `at`. `home_of` tells the homes of those before.
    pub fn insert(&mut self, home: u64, tag: u32, at: usize, home_of: impl Fn(usize) -> u64) {
        if at >= self.capacity {
            self.grow(home_of);
        }
        // Four billion elements of one arena would take 60 GB.
        let position = u32::try_from(at).unwrap_or(FREE - 1);
        occupy(&mut self.slots, home, position | tag.checked_shl(self.position_bits).unwrap_or(0));
    }

    /// Moves to a larger table: for a moment there are two, of this one arena.
    fn grow(&mut self, home_of: impl Fn(usize) -> u64) {
        let count = self.slots.len();
        let count = if count < LARGE { (count * 2).max(FIRST) } else { count + count / 4 };
        let capacity = count / 8 * 7;
        // So many that no position has all of them set, as a free slot has.
        let position_bits = u32::BITS - u32::try_from(capacity).unwrap_or(u32::MAX).leading_zeros();
        let old_positions = u32::MAX.checked_shr(u32::BITS - self.position_bits).unwrap_or(0);
        let mut slots = vec![FREE; count].into_boxed_slice();
        for found in self.slots.iter().copied().filter(|found| *found != FREE) {
            let position = found & old_positions;
            let tag = found.checked_shr(self.position_bits).unwrap_or(0);
            occupy(&mut slots, home_of(position as usize), position | tag.checked_shl(position_bits).unwrap_or(0));
        }
        *self = Self { slots, position_bits, capacity };
    }

    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }
}

/// Homes are spread over any number of slots, in their order.
fn first_slot(home: u64, slots: usize) -> usize {
    ((u128::from(home) * slots as u128) >> 64) as usize
}

fn next_slot(slot: usize, slots: usize) -> usize {
    if slot + 1 == slots { 0 } else { slot + 1 }
}

fn occupy(slots: &mut [u32], home: u64, value: u32) {
    let mut slot = first_slot(home, slots.len());
    while slots[slot] != FREE {
        slot = next_slot(slot, slots.len());
    }
    slots[slot] = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Homes and tags that are spread badly cost time, never an element.
    #[test]
    fn what_is_inserted_is_found_and_nothing_else() {
        for spread in [u64::MAX / 40_000, 0] {
            let home = |at: usize| at as u64 * spread;
            let tag = |at: usize| (at as u32).wrapping_mul(2_654_435_761) >> 5;
            let count = if spread == 0 { 3_000 } else { 40_000 };
            let mut slots = Slots::default();
            for at in 0..count {
                assert_eq!(slots.find(home(at), tag(at), |found| found == at), None);
                slots.insert(home(at), tag(at), at, home);
            }
            for at in 0..count {
                assert_eq!(slots.find(home(at), tag(at), |found| found == at), Some(at));
            }
        }
    }

    #[test]
    fn a_tag_keeps_others_from_being_compared() {
        let mut slots = Slots::default();
        for at in 0..10_000 {
            slots.insert(0, at as u32, at, |_| 0);
        }
        assert_eq!(slots.find(0, 10_000, |_| panic!("another tag is compared")), None);
    }

    #[test]
    fn a_large_table_stays_full() {
        let mut slots = Slots::default();
        for at in 0..200_000 {
            slots.insert((at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15), at as u32, at, |at| {
                (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            });
            assert!(at < 2 * LARGE || slots.slots.len() * 69 / 100 <= at + 1, "{at}: {}", slots.slots.len());
        }
    }
}
