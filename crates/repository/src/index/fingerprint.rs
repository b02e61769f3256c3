//! Keyed fingerprints: what stands for a blob's id in memory. Why that is safe says decision 0008.
//!
//! Two sums of products with random factors, of which the upper halves count (vector multiply-shift): for any two ids that are
//! not the same, the chance that all 128 bits agree is one in 2^128 *over the choice of the factors*. They are drawn anew for each
//! index and never leave the process, so nobody can look for ids that agree, however many he tries.

use crate::format::Id;

/// Shards that a fingerprint tells apart.
pub(crate) const SHARDS: usize = 1 << SHARD_BITS;

const SHARD_BITS: u32 = 5;

/// The part of a fingerprint that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u32; 3]);

impl Fingerprint {
    /// Where a table of slots begins to look.
    pub fn home(self) -> u64 {
        (u64::from(self.0[0]) << 32) | u64::from(self.0[1])
    }
}

/// All of a fingerprint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Digest {
    pub fingerprint: Fingerprint,
    /// Bits that are not in the kept part; slots keep as many of them as they have room for.
    pub tag: u32,
    /// Bits that are in neither.
    pub shard: usize,
}

/// The factors of one index.
pub(super) struct Fingerprints {
    factors: [[u128; 4]; 2],
    summands: [u128; 2],
}

impl std::fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Default for Fingerprints {
    fn default() -> Self {
        Self { factors: rand::random(), summands: rand::random() }
    }
}

impl Fingerprints {
    pub fn of(&self, id: &Id) -> Digest {
        let mut sums = self.summands;
        for (at, word) in id.0.as_chunks::<8>().0.iter().enumerate() {
            let word = u128::from(u64::from_le_bytes(*word));
            for (sum, factors) in sums.iter_mut().zip(&self.factors) {
                *sum = sum.wrapping_add(factors[at].wrapping_mul(word));
            }
        }
        let [first, second] = sums.map(|sum| (sum >> 64) as u64);
        let rest = second as u32;
        Digest {
            fingerprint: Fingerprint([(first >> 32) as u32, first as u32, (second >> 32) as u32]),
            tag: (rest << SHARD_BITS) >> SHARD_BITS,
            shard: (rest >> (u32::BITS - SHARD_BITS)) as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(digest: &Digest) -> [u32; 5] {
        let [a, b, c] = digest.fingerprint.0;
        [a, b, c, digest.tag, u32::try_from(digest.shard).unwrap_or(u32::MAX)]
    }

    /// Ids that agree in all but one bit, as somebody might look for them, agree in no part of their fingerprints beyond chance.
    #[test]
    fn near_ids_have_unlike_fingerprints() {
        let fingerprints = Fingerprints::default();
        let id = Id::of(b"x");
        let own = bits(&fingerprints.of(&id));
        for bit in 0..256 {
            let mut near = id;
            near.0[bit / 8] ^= 1 << (bit % 8);
            let other = bits(&fingerprints.of(&near));
            assert!(own[..3] != other[..3], "bit {bit} does not count");
        }
        assert_eq!(own, bits(&fingerprints.of(&id)));
    }

    /// What agrees in one index does not in another: the factors are drawn anew.
    #[test]
    fn each_index_has_fingerprints_of_its_own() {
        let id = Id::of(b"x");
        assert_ne!(bits(&Fingerprints::default().of(&id)), bits(&Fingerprints::default().of(&id)));
    }

    #[test]
    fn all_shards_are_used_alike() {
        let fingerprints = Fingerprints::default();
        let mut counts = [0u32; SHARDS];
        for number in 0..32_000u32 {
            counts[fingerprints.of(&Id::of(&number.to_le_bytes())).shard] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
}
