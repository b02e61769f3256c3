//! Looking for the next cut.

use super::{MAX_CHUNK, MIN_CHUNK, Polynomial, SPLIT_MASK, WINDOW};

/// Stretches of the data that are scanned side by side. The hash of a position depends on its 64 bytes only, so that four
/// independent chains of table look-ups hide each other's latency.
const LANES: usize = 4;

/// Positions per lane and round: long against the 64 bytes of warm-up, short against the distance of two cuts.
const LANE: usize = 8 * 1024;

/// Finds the places where restic would cut, with the tables of one polynomial.
pub struct Chunker {
    /// What leaves the hash, by the byte that is 64 positions back, already moved on by the byte that comes in.
    leaving: [u64; 256],
    /// How the eight bits that a new byte pushes over the top come back, by these bits.
    reduction: [u64; 256],
    shift: u32,
}

impl Chunker {
    /// Prepares the tables, 4 KiB.
    #[must_use]
    pub fn new(polynomial: Polynomial) -> Self {
        let degree = polynomial.degree();
        let mut leaving = [0; 256];
        let mut reduction = [0; 256];
        for byte in 0..=u8::MAX {
            let alone = polynomial.append_byte(0, byte);
            leaving[usize::from(byte)] = (0..WINDOW).fold(alone, |hash, _| polynomial.append_byte(hash, 0));
            let overflow = u64::from(byte) << degree;
            // The byte as the coefficients above the degree, reduced: as if so many zero bits had followed it.
            let reduced = (0..degree).fold(u64::from(byte), |hash, _| {
                let shifted = hash << 1;
                if shifted >> degree & 1 == 1 { shifted ^ polynomial.value() } else { shifted }
            });
            reduction[usize::from(byte)] = overflow ^ reduced;
        }
        Self { leaving, reduction, shift: degree - 8 }
    }

    /// The length of the chunk that begins at `data[0]`, if it can be told from `data`; `None` asks for more data, or means that
    /// all of it is the last chunk if there is no more. `scanned` is the length of `data` at an earlier call with the same
    /// beginning that answered `None`, or 0; what was looked at then is not looked at again.
    #[must_use]
    pub fn cut(&self, data: &[u8], scanned: usize) -> Option<usize> {
        let end = data.len().min(MAX_CHUNK);
        let mut from = MIN_CHUNK.max(scanned + 1);
        while from <= end {
            let round = (end - from + 1).min(LANES * LANE);
            let cut = if round == LANES * LANE { self.cut_in_lanes(data, from) } else { self.cut_in(data, from, round) };
            if cut.is_some() {
                return cut;
            }
            from += round;
        }
        (data.len() >= MAX_CHUNK).then_some(MAX_CHUNK)
    }

    /// The hash of the window that ends before `position`.
    fn hash_before(&self, data: &[u8], position: usize) -> u64 {
        data[position - WINDOW..position].iter().fold(0, |hash, &byte| self.advance(hash, 0, byte))
    }

    #[inline(always)]
    fn advance(&self, hash: u64, old: u8, new: u8) -> u64 {
        let over_the_top = (hash >> self.shift) as u8;
        (hash << 8) ^ self.reduction[usize::from(over_the_top)] ^ self.leaving[usize::from(old)] ^ u64::from(new)
    }

    /// The first cut among the `count` lengths from `from` on, one after the other.
    fn cut_in(&self, data: &[u8], from: usize, count: usize) -> Option<usize> {
        if count == 0 {
            return None;
        }
        let mut hash = self.hash_before(data, from);
        if hash & SPLIT_MASK == 0 {
            return Some(from);
        }
        let new = &data[from..from + count - 1];
        let old = &data[from - WINDOW..from - WINDOW + count - 1];
        for (index, (&new, &old)) in new.iter().zip(old).enumerate() {
            hash = self.advance(hash, old, new);
            if hash & SPLIT_MASK == 0 {
                return Some(from + index + 1);
            }
        }
        None
    }

    /// The first cut among the `LANES * LANE` lengths from `from` on.
    fn cut_in_lanes(&self, data: &[u8], from: usize) -> Option<usize> {
        // Lane n looks at the lengths after `starts[n]`; the very first length is looked at before.
        let starts: [usize; LANES] = std::array::from_fn(|lane| from - 1 + lane * LANE);
        let mut hashes: [u64; LANES] = std::array::from_fn(|lane| self.hash_before(data, starts[lane]));
        let new: [&[u8]; LANES] = starts.map(|start| &data[start..start + LANE]);
        let old: [&[u8]; LANES] = starts.map(|start| &data[start - WINDOW..start - WINDOW + LANE]);
        for index in 0..LANE {
            let mut found = false;
            for lane in 0..LANES {
                hashes[lane] = self.advance(hashes[lane], old[lane][index], new[lane][index]);
                found |= hashes[lane] & SPLIT_MASK == 0;
            }
            if found {
                let lane = hashes.iter().position(|hash| hash & SPLIT_MASK == 0)?;
                // Lanes further left have not seen all of their positions yet, and theirs come first.
                return (0..lane)
                    .find_map(|earlier| self.cut_in(data, starts[earlier] + index + 2, LANE - index - 1))
                    .or(Some(starts[lane] + index + 1));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RESTIC_TEST_POLYNOMIAL: u64 = 0x003D_A335_8B4D_C173;

    fn chunker() -> Chunker {
        Chunker::new(Polynomial::new(RESTIC_TEST_POLYNOMIAL).unwrap())
    }

    /// Bytes without structure, the same in every run.
    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed;
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect()
    }

    /// The definition, bit by bit and without tables.
    fn first_cut_by_definition(data: &[u8]) -> Option<usize> {
        let polynomial = Polynomial::new(RESTIC_TEST_POLYNOMIAL).unwrap();
        (MIN_CHUNK..=data.len().min(MAX_CHUNK)).find(|&length| {
            let hash = data[length - WINDOW..length].iter().fold(0, |hash, &byte| polynomial.append_byte(hash, byte));
            hash & SPLIT_MASK == 0
        })
    }

    #[test]
    fn cuts_where_the_definition_says() {
        for seed in 1..4 {
            let data = noise(seed, 3 << 20);
            assert_eq!(chunker().cut(&data, 0), first_cut_by_definition(&data), "seed {seed}");
        }
    }

    #[test]
    fn lanes_agree_with_the_plain_scan_on_many_cuts() {
        let (chunker, data) = (chunker(), noise(42, 24 << 20));
        let mut rest = data.as_slice();
        let mut cuts = 0;
        while let Some(length) = chunker.cut(rest, 0) {
            let plain = chunker.cut_in(rest, MIN_CHUNK, rest.len().min(MAX_CHUNK) - MIN_CHUNK + 1).unwrap_or(MAX_CHUNK);
            assert_eq!(length, plain);
            rest = &rest[length..];
            cuts += 1;
        }
        assert!(cuts > 8, "about one cut in 1.5 MiB, got {cuts}");
    }

    /// Wherever in a lane the cut falls, its first and its last position included.
    #[test]
    fn a_cut_at_every_place_of_a_lane_is_found() {
        let (chunker, data) = (chunker(), noise(42, 4 << 20));
        let cut = chunker.cut_in(&data, MIN_CHUNK, data.len() - MIN_CHUNK).unwrap();
        let borders = (0..=LANES).map(|lane| lane * LANE).flat_map(|border| border.saturating_sub(2)..border + 2);
        for before in borders.filter(|before| *before < LANES * LANE) {
            assert_eq!(chunker.cut_in_lanes(&data, cut - before), Some(cut), "{before} positions after the first");
        }
        assert_eq!(chunker.cut_in_lanes(&data, cut - LANES * LANE), None);
    }

    #[test]
    fn the_cut_does_not_depend_on_how_the_data_arrives() {
        let (chunker, data) = (chunker(), noise(7, 9 << 20));
        let whole = chunker.cut(&data, 0).unwrap();
        for step in [1000, 65_536, 300_001, 1 << 20] {
            let (mut length, mut scanned) = (0, 0);
            let piecewise = loop {
                length = (length + step).min(data.len());
                match chunker.cut(&data[..length], scanned) {
                    Some(cut) => break cut,
                    None => scanned = length,
                }
            };
            assert_eq!(piecewise, whole, "step {step}");
        }
    }

    #[test]
    fn zeros_are_cut_at_the_minimum_and_nothing_exceeds_the_maximum() {
        assert_eq!(chunker().cut(&vec![0; 1 << 20], 0), Some(MIN_CHUNK));
        assert_eq!(chunker().cut(&vec![0; MIN_CHUNK - 1], 0), None);
        // A repeated byte other than zero gives the same hash everywhere, and that one is not a cut.
        assert_eq!(chunker().cut(&vec![1; MAX_CHUNK + 5], 0), Some(MAX_CHUNK));
        assert_eq!(chunker().cut(&vec![1; MAX_CHUNK - 1], 0), None);
    }

    #[test]
    fn a_shifted_copy_is_cut_at_the_same_content() {
        let (chunker, data) = (chunker(), noise(99, 12 << 20));
        let mut shifted = noise(1, 12_345);
        shifted.extend_from_slice(&data);
        let boundaries = |data: &[u8]| {
            let mut ends = vec![0];
            while let Some(length) = chunker.cut(&data[ends[ends.len() - 1]..], 0) {
                ends.push(ends[ends.len() - 1] + length);
            }
            ends
        };
        let plain = boundaries(&data);
        let moved: Vec<usize> = boundaries(&shifted).into_iter().filter_map(|end| end.checked_sub(12_345)).collect();
        assert!(moved.iter().filter(|end| plain.contains(end)).count() >= 3, "{plain:?} {moved:?}");
    }
}
