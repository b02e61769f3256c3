//! SHA-256 of two streams at once.
//!
//! The processor's SHA instructions are limited by their latency: two streams that advance together take little more time than
//! one. A blob that is packed is summed twice in the same moment, as verified plain bytes and as a part of its pack, and there
//! this pays. Where the instructions are missing, the library sums the two one after the other.
//!
//! This is the only module with `unsafe` code: one call of a function that needs instructions whose presence was tested.

use aws_lc_rs::digest::{Context, SHA256};

use crate::format::Id;

const BLOCK: usize = 64;

/// A running SHA-256.
#[derive(Clone)]
pub(crate) struct RunningHash(Inner);

#[derive(Clone)]
enum Inner {
    #[cfg(target_arch = "x86_64")]
    Lane(Lane),
    Library(Context),
}

impl RunningHash {
    pub fn new() -> Self {
        #[cfg(target_arch = "x86_64")]
        if x86::is_available() {
            return Self(Inner::Lane(Lane::new()));
        }
        Self(Inner::Library(Context::new(&SHA256)))
    }

    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            #[cfg(target_arch = "x86_64")]
            Inner::Lane(lane) => lane.update(data),
            Inner::Library(context) => context.update(data),
        }
    }

    /// Adds `data` to this hash, and returns the sum of `other`; both advance together if they can.
    pub fn update_with(&mut self, data: &[u8], other: &[u8]) -> Id {
        match &mut self.0 {
            #[cfg(target_arch = "x86_64")]
            Inner::Lane(lane) => {
                let mut second = Lane::new();
                Lane::update_two(lane, data, &mut second, other);
                second.finish()
            }
            Inner::Library(context) => {
                context.update(data);
                Id::of(other)
            }
        }
    }

    pub fn finish(self) -> Id {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Inner::Lane(lane) => lane.finish(),
            Inner::Library(context) => {
                let mut id = [0; 32];
                id.copy_from_slice(context.finish().as_ref());
                Id(id)
            }
        }
    }
}

/// One stream: its state, and the bytes that do not fill a block yet.
#[cfg(target_arch = "x86_64")]
#[derive(Clone)]
struct Lane {
    state: [u32; 8],
    pending: [u8; BLOCK],
    pending_length: usize,
    total: u64,
}

#[cfg(target_arch = "x86_64")]
impl Lane {
    fn new() -> Self {
        // The fractions of the square roots of the first eight primes (FIPS 180-4, 5.3.3).
        let state = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
        Self { state, pending: [0; BLOCK], pending_length: 0, total: 0 }
    }

    fn update(&mut self, data: &[u8]) {
        let rest = self.fill(data);
        let (blocks, tail) = rest.split_at(rest.len() / BLOCK * BLOCK);
        x86::compress([&mut self.state], [blocks]);
        self.keep(tail);
    }

    fn update_two(first: &mut Self, first_data: &[u8], second: &mut Self, second_data: &[u8]) {
        let (a, b) = (first.fill(first_data), second.fill(second_data));
        let common = a.len().min(b.len()) / BLOCK * BLOCK;
        x86::compress([&mut first.state, &mut second.state], [&a[..common], &b[..common]]);
        for (lane, rest) in [(first, &a[common..]), (second, &b[common..])] {
            let (blocks, tail) = rest.split_at(rest.len() / BLOCK * BLOCK);
            x86::compress([&mut lane.state], [blocks]);
            lane.keep(tail);
        }
    }

    /// Counts the data and completes a block that was begun; the rest of the data begins at a block's start.
    fn fill<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        self.total += data.len() as u64;
        if self.pending_length == 0 {
            return data;
        }
        let (head, rest) = data.split_at(data.len().min(BLOCK - self.pending_length));
        self.keep(head);
        if self.pending_length == BLOCK {
            x86::compress([&mut self.state], [&self.pending]);
            self.pending_length = 0;
        }
        rest
    }

    fn keep(&mut self, tail: &[u8]) {
        self.pending[self.pending_length..self.pending_length + tail.len()].copy_from_slice(tail);
        self.pending_length += tail.len();
    }

    fn finish(mut self) -> Id {
        let bits = self.total * 8;
        let mut padding = [0; 2 * BLOCK];
        padding[0] = 0x80;
        let until_length = if self.pending_length < BLOCK - 8 { BLOCK - 8 } else { 2 * BLOCK - 8 };
        let length = until_length - self.pending_length;
        padding[length..length + 8].copy_from_slice(&bits.to_be_bytes());
        self.update(&padding[..length + 8]);
        let mut id = [0; 32];
        for (bytes, word) in id.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        Id(id)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x, _mm_sha256msg1_epu32,
        _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32,
    };

    use super::BLOCK;

    /// The fractions of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2).
    const K: [u32; 64] = [
        0x428a_2f98,
        0x7137_4491,
        0xb5c0_fbcf,
        0xe9b5_dba5,
        0x3956_c25b,
        0x59f1_11f1,
        0x923f_82a4,
        0xab1c_5ed5,
        0xd807_aa98,
        0x1283_5b01,
        0x2431_85be,
        0x550c_7dc3,
        0x72be_5d74,
        0x80de_b1fe,
        0x9bdc_06a7,
        0xc19b_f174,
        0xe49b_69c1,
        0xefbe_4786,
        0x0fc1_9dc6,
        0x240c_a1cc,
        0x2de9_2c6f,
        0x4a74_84aa,
        0x5cb0_a9dc,
        0x76f9_88da,
        0x983e_5152,
        0xa831_c66d,
        0xb003_27c8,
        0xbf59_7fc7,
        0xc6e0_0bf3,
        0xd5a7_9147,
        0x06ca_6351,
        0x1429_2967,
        0x27b7_0a85,
        0x2e1b_2138,
        0x4d2c_6dfc,
        0x5338_0d13,
        0x650a_7354,
        0x766a_0abb,
        0x81c2_c92e,
        0x9272_2c85,
        0xa2bf_e8a1,
        0xa81a_664b,
        0xc24b_8b70,
        0xc76c_51a3,
        0xd192_e819,
        0xd699_0624,
        0xf40e_3585,
        0x106a_a070,
        0x19a4_c116,
        0x1e37_6c08,
        0x2748_774c,
        0x34b0_bcb5,
        0x391c_0cb3,
        0x4ed8_aa4a,
        0x5b9c_ca4f,
        0x682e_6ff3,
        0x748f_82ee,
        0x78a5_636f,
        0x84c8_7814,
        0x8cc7_0208,
        0x90be_fffa,
        0xa450_6ceb,
        0xbef9_a3f7,
        0xc671_78f2,
    ];

    pub fn is_available() -> bool {
        is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1")
    }

    /// Takes the blocks of every lane, all of the same length, into the lane's state.
    #[expect(unsafe_code, reason = "the instructions were found to be there before any lane was made")]
    pub fn compress<const LANES: usize>(states: [&mut [u32; 8]; LANES], blocks: [&[u8]; LANES]) {
        // SAFETY: a `Lane` exists only if `is_available` said that these instructions are there.
        unsafe { compress_with_sha(states, blocks) }
    }

    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    fn compress_with_sha<const LANES: usize>(states: [&mut [u32; 8]; LANES], blocks: [&[u8]; LANES]) {
        let mut abef = [_mm_set_epi32(0, 0, 0, 0); LANES];
        let mut cdgh = abef;
        for lane in 0..LANES {
            let [a, b, c, d, e, f, g, h] = states[lane].map(u32::cast_signed);
            abef[lane] = _mm_set_epi32(a, b, e, f);
            cdgh[lane] = _mm_set_epi32(c, d, g, h);
        }
        let count = blocks.iter().map(|lane| lane.len() / BLOCK).min().unwrap_or(0);
        for block in 0..count {
            let (abef_before, cdgh_before) = (abef, cdgh);
            let mut schedule = [[abef[0]; 4]; LANES];
            for lane in 0..LANES {
                schedule[lane] = load(&blocks[lane][block * BLOCK..(block + 1) * BLOCK]);
            }
            macro_rules! four_rounds {
                ($($group:literal)*) => {$(
                    let constants = four_constants::<$group>();
                    for lane in 0..LANES {
                        let words = &mut schedule[lane];
                        let low = _mm_add_epi32(words[$group % 4], constants);
                        let high = _mm_shuffle_epi32::<0x0e>(low);
                        cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], low);
                        abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], high);
                        if $group < 12 {
                            let (next, last, before_last) = (words[($group + 1) % 4], words[($group + 3) % 4], words[($group + 2) % 4]);
                            let sum = _mm_add_epi32(_mm_sha256msg1_epu32(words[$group % 4], next), _mm_alignr_epi8::<4>(last, before_last));
                            words[$group % 4] = _mm_sha256msg2_epu32(sum, last);
                        }
                    }
                )*};
            }
            four_rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
            for lane in 0..LANES {
                abef[lane] = _mm_add_epi32(abef[lane], abef_before[lane]);
                cdgh[lane] = _mm_add_epi32(cdgh[lane], cdgh_before[lane]);
            }
        }
        for (lane, state) in states.into_iter().enumerate() {
            let (x, y) = (abef[lane], cdgh[lane]);
            *state = [
                _mm_extract_epi32::<3>(x),
                _mm_extract_epi32::<2>(x),
                _mm_extract_epi32::<3>(y),
                _mm_extract_epi32::<2>(y),
                _mm_extract_epi32::<1>(x),
                _mm_extract_epi32::<0>(x),
                _mm_extract_epi32::<1>(y),
                _mm_extract_epi32::<0>(y),
            ]
            .map(i32::cast_unsigned);
        }
    }

    #[inline]
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    fn four_constants<const GROUP: usize>() -> __m128i {
        let [a, b, c, d] = [K[4 * GROUP], K[4 * GROUP + 1], K[4 * GROUP + 2], K[4 * GROUP + 3]].map(u32::cast_signed);
        _mm_set_epi32(d, c, b, a)
    }

    /// The sixteen words of a block, big-endian.
    #[inline]
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    fn load(block: &[u8]) -> [__m128i; 4] {
        let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        let half = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&block[at..at + 8]);
            i64::from_le_bytes(bytes)
        };
        let words = |at: usize| _mm_shuffle_epi8(_mm_set_epi64x(half(at + 8), half(at)), swap);
        [words(0), words(16), words(32), words(48)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_sums_are_the_library_s(
            pieces in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), proptest::collection::vec(any::<u8>(), 0..300)), 0..8),
        ) {
            let mut hash = RunningHash::new();
            let mut whole = Vec::new();
            for (data, other) in &pieces {
                prop_assert_eq!(hash.update_with(data, other), Id::of(other));
                whole.extend_from_slice(data);
                hash.update(other);
                whole.extend_from_slice(other);
            }
            prop_assert_eq!(hash.finish(), Id::of(&whole));
        }
    }

    #[test]
    fn every_length_around_a_block_is_padded_rightly() {
        let data: Vec<u8> = (0..=255).cycle().take(400).collect();
        for length in 0..data.len() {
            let mut hash = RunningHash::new();
            assert_eq!(hash.update_with(&data[..length / 2], &data[..length]), Id::of(&data[..length]));
            hash.update(&data[length / 2..length]);
            assert_eq!(hash.finish(), Id::of(&data[..length]));
        }
    }
}
