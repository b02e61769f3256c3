//! Sealing and opening: `nonce (16) | AES-256-CTR ciphertext | Poly1305-AES tag (16)`, the tag over the ciphertext alone.

use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use poly1305::Poly1305;
use poly1305::universal_hash::UniversalHash;
use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroize;

use crate::error::{Error, Result};
use crate::format::SEAL_OVERHEAD;

/// Bytes of a block of the stream cipher.
pub const CIPHER_BLOCK: usize = 16;

/// Bytes of the nonce and of the tag.
const NONCE: usize = 16;
const TAG: usize = 16;

/// The bits of r that Poly1305 allows, byte by byte; restic masks r before it stores it.
const R_MASK: [u8; 16] = [255, 255, 255, 15, 252, 255, 255, 15, 252, 255, 255, 15, 252, 255, 255, 15];

/// The bytes were not sealed with this key, or have changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the authenticator does not match")]
pub struct Unauthentic;

/// The keys of a repository, or those derived from a password.
#[derive(Clone)]
pub struct MasterKey {
    /// AES-256 key.
    pub encrypt: [u8; 32],
    /// AES-128 key that turns the nonce into Poly1305's s.
    pub mac_k: [u8; 16],
    /// Poly1305's r, masked.
    pub mac_r: [u8; 16],
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.encrypt.zeroize();
        self.mac_k.zeroize();
        self.mac_r.zeroize();
    }
}

impl MasterKey {
    /// Takes 64 bytes in the order in which scrypt's output is cut: encryption key, k, r.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let mut key = Self { encrypt: [0; 32], mac_k: [0; 16], mac_r: [0; 16] };
        key.encrypt.copy_from_slice(&bytes[..32]);
        key.mac_k.copy_from_slice(&bytes[32..48]);
        key.mac_r.copy_from_slice(&bytes[48..]);
        for (byte, mask) in key.mac_r.iter_mut().zip(R_MASK) {
            *byte &= mask;
        }
        key
    }

    /// A fresh random key.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; 64];
        if !rehearsed!(&mut bytes, b"master key") {
            random_bytes(&mut bytes)?;
        }
        let key = Self::from_bytes(&bytes);
        bytes.zeroize();
        Ok(key)
    }
}

/// Fills `bytes` from the system's random number generator.
pub(crate) fn random_bytes(bytes: &mut [u8]) -> Result<()> {
    // Not from aws-lc: its generator spends 50 ms of each process on gathering entropy of its own.
    SysRng.try_fill_bytes(bytes).map_err(|_| Error::internal("the system gives no random bytes"))
}

/// Seals and opens with one key; shared by all threads.
pub struct Cipher {
    stream: EncryptingKey,
    nonce_cipher: Aes128,
    r: [u8; 16],
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cipher").finish_non_exhaustive()
    }
}

impl Cipher {
    /// Prepares the key schedules.
    ///
    /// # Errors
    /// [`Error::Internal`] if the library refuses the key.
    pub fn new(key: &MasterKey) -> Result<Self> {
        let unbound = UnboundCipherKey::new(&AES_256, &key.encrypt).map_err(Error::internal)?;
        Ok(Self {
            stream: EncryptingKey::ctr(unbound).map_err(Error::internal)?,
            nonce_cipher: Aes128::new(&Array::from(key.mac_k)),
            r: key.mac_r,
        })
    }

    /// Seals in place: the plain bytes stand at `buffer[16..len-16]`; the nonce goes before and the tag behind them.
    ///
    /// # Errors
    /// [`Error::Internal`] if the buffer is too short or the system gives no random bytes.
    pub fn seal_in_place(&self, buffer: &mut [u8]) -> Result<()> {
        let Some((nonce, rest)) = buffer.split_first_chunk_mut::<NONCE>() else {
            return Err(Error::internal("no room for a nonce"));
        };
        let Some((body, tag)) = rest.split_last_chunk_mut::<TAG>() else {
            return Err(Error::internal("no room for a tag"));
        };
        if !rehearsed!(nonce, body) {
            random_bytes(nonce)?;
        }
        self.apply_stream(nonce, body)?;
        *tag = self.tag(nonce, body);
        Ok(())
    }

    /// A sealed copy of `plain`.
    ///
    /// # Errors
    /// As [`Self::seal_in_place`].
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>> {
        let mut buffer = vec![0; plain.len() + SEAL_OVERHEAD];
        buffer[NONCE..NONCE + plain.len()].copy_from_slice(plain);
        self.seal_in_place(&mut buffer)?;
        Ok(buffer)
    }

    /// Opens in place; the plain bytes are the returned part of the buffer.
    ///
    /// # Errors
    /// [`Unauthentic`] if the tag does not match; the buffer is unchanged then.
    pub fn open_in_place<'a>(&self, sealed: &'a mut [u8]) -> Result<&'a mut [u8], Unauthentic> {
        let (nonce, rest) = sealed.split_first_chunk_mut::<NONCE>().ok_or(Unauthentic)?;
        let (body, tag) = rest.split_last_chunk_mut::<TAG>().ok_or(Unauthentic)?;
        let expected = self.tag(nonce, body);
        aws_lc_rs::constant_time::verify_slices_are_equal(&expected, tag).map_err(|_| Unauthentic)?;
        self.apply_stream(nonce, body).map_err(|_| Unauthentic)?;
        Ok(body)
    }

    /// Opens into `out`, whose content is replaced by the plain bytes.
    ///
    /// # Errors
    /// [`Unauthentic`] if the tag does not match.
    pub fn open_into(&self, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), Unauthentic> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE>().ok_or(Unauthentic)?;
        let (body, tag) = rest.split_last_chunk::<TAG>().ok_or(Unauthentic)?;
        let expected = self.tag(nonce, body);
        if !planted!(BlobsUnverified) {
            aws_lc_rs::constant_time::verify_slices_are_equal(&expected, tag).map_err(|_| Unauthentic)?;
        }
        out.clear();
        out.extend_from_slice(body);
        self.apply_stream(nonce, out).map_err(|_| Unauthentic)
    }

    /// Compares the tag without opening anything; [`Self::open_part`] may be used then.
    ///
    /// # Errors
    /// [`Unauthentic`] if the tag does not match.
    pub fn check(&self, sealed: &[u8]) -> Result<(), Unauthentic> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE>().ok_or(Unauthentic)?;
        let (body, tag) = rest.split_last_chunk::<TAG>().ok_or(Unauthentic)?;
        if planted!(BlobsUnverified) {
            return Ok(());
        }
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.tag(nonce, body), tag).map_err(|_| Unauthentic)
    }

    /// Opens up to `length` bytes of what [`Self::check`] has found authentic, from the plain byte `at` on, a multiple of
    /// [`CIPHER_BLOCK`]. They replace the content of `out`; there are none behind the end.
    ///
    /// # Errors
    /// [`Unauthentic`] if it is shorter than its sealing.
    pub fn open_part(&self, sealed: &[u8], at: usize, length: usize, out: &mut Vec<u8>) -> Result<(), Unauthentic> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE>().ok_or(Unauthentic)?;
        let (body, _) = rest.split_last_chunk::<TAG>().ok_or(Unauthentic)?;
        let part = body.get(at..).unwrap_or_default();
        out.clear();
        out.extend_from_slice(&part[..length.min(part.len())]);
        // The nonce is the counter of the first block; it counts up by one for each, over all of its bytes.
        let counter = u128::from_be_bytes(*nonce).wrapping_add((at / CIPHER_BLOCK) as u128);
        self.apply_stream(&counter.to_be_bytes(), out).map_err(|_| Unauthentic)
    }

    /// CTR mode is its own inverse, so one key schedule serves both ways.
    fn apply_stream(&self, nonce: &[u8; NONCE], body: &mut [u8]) -> Result<()> {
        if body.is_empty() {
            return Ok(());
        }
        let context = EncryptionContext::Iv128(FixedLength::from(*nonce));
        self.stream.less_safe_encrypt(body, context).map_err(Error::internal)?;
        Ok(())
    }

    fn tag(&self, nonce: &[u8; NONCE], body: &[u8]) -> [u8; TAG] {
        let mut key = [0; 32];
        let mut pad = Array::from(*nonce);
        self.nonce_cipher.encrypt_block(&mut pad);
        key[..16].copy_from_slice(&self.r);
        key[16..].copy_from_slice(&pad);
        let mut mac = Poly1305::new(&Array::from(key));
        let (blocks, rest) = poly1305::Block::slice_as_chunks(body);
        mac.update(blocks);
        mac.compute_unpadded(rest).into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn cipher() -> Cipher {
        let mut bytes = [0; 64];
        for (position, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::try_from(position * 7 % 256).unwrap();
        }
        Cipher::new(&MasterKey::from_bytes(&bytes)).unwrap()
    }

    /// Bernstein's test vectors of Poly1305-AES (the paper's appendix B): key r, k, nonce, message, tag.
    #[test]
    fn the_tag_is_poly1305_aes() {
        let vectors = [
            (
                "ec074c835580741701425b623235add6",
                "851fc40c3467ac0be05cc20404f3f700",
                "fb447350c4e868c52ac3275cf9d4327e",
                "f3f6",
                "f4c633c3044fc145f84f335cb81953de",
            ),
            (
                "75deaa25c09f208e1dc4ce6b5cad3fbf",
                "a0f3080000f46400d0c7e9076c834403",
                "61ee09218d29b0aaed7e154a2c5509cc",
                "",
                "dd3fab2251f11ac759f0887129cc2ee7",
            ),
            (
                "6acb5f61a7176dd320c5c1eb2edcdc74",
                "48443d0bb0d21109c89a100b5ce2c208",
                "ae212a55399729595dea458bc621ff0e",
                "663cea190ffb83d89593f3f476b6bc24d7e679107ea26adb8caf6652d0656136",
                "0ee1c16bb73f0f4fd19881753c01cdbe",
            ),
        ];
        for (k, r, nonce, message, tag) in vectors {
            let array = |text: &str| <[u8; 16]>::try_from(hex::decode(text).unwrap()).unwrap();
            let key = MasterKey { encrypt: [0; 32], mac_k: array(k), mac_r: array(r) };
            let computed = Cipher::new(&key).unwrap().tag(&array(nonce), &hex::decode(message).unwrap());
            assert_eq!(hex::encode(computed), tag);
        }
    }

    /// E8: every flipped bit of a sealed blob is noticed.
    #[test]
    fn any_flipped_bit_is_noticed() {
        let sealed = cipher().seal(b"some plain bytes of a blob").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(cipher().open_in_place(&mut damaged), Err(Unauthentic), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(cipher().open_into(&sealed[..length], &mut Vec::new()), Err(Unauthentic));
        }
    }

    proptest! {
        /// Also where the counter runs over, within its low four bytes and within all of it.
        #[test]
        fn parts_are_parts_of_the_whole(
            plain in proptest::collection::vec(any::<u8>(), 0..500), ones in 0usize..=16, blocks in 0usize..40, length in 0usize..300,
        ) {
            let cipher = cipher();
            let mut nonce = [0xa5; NONCE];
            nonce[NONCE - ones..].fill(0xff);
            let mut body = plain.clone();
            cipher.apply_stream(&nonce, &mut body).unwrap();
            let sealed = [&nonce[..], &body, &cipher.tag(&nonce, &body)].concat();
            cipher.check(&sealed).unwrap();
            let at = blocks * CIPHER_BLOCK;
            let mut part = Vec::new();
            cipher.open_part(&sealed, at, length, &mut part).unwrap();
            let end = plain.len().min(at + length);
            prop_assert_eq!(part.as_slice(), plain.get(at..end).unwrap_or_default());
            let mut flipped = sealed;
            let last = flipped.len() - 1;
            flipped[last / 2] ^= 4;
            prop_assert!(cipher.check(&flipped).is_err() || last / 2 < NONCE && plain.is_empty());
        }

        #[test]
        fn what_is_sealed_opens(plain in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let cipher = cipher();
            let mut sealed = cipher.seal(&plain).unwrap();
            let mut out = Vec::new();
            cipher.open_into(&sealed, &mut out).unwrap();
            prop_assert_eq!(&out, &plain);
            prop_assert_eq!(cipher.open_in_place(&mut sealed).unwrap(), plain.as_slice());
        }
    }
}
