//! How bytes are sealed: AES-256-CTR with Poly1305-AES, keys derived by scrypt.

mod cipher;
mod kdf;
mod lanes;

pub(crate) use cipher::random_bytes;
pub use cipher::{CIPHER_BLOCK, Cipher, MasterKey, Unauthentic};
pub use kdf::{ScryptCost, ScryptParameters, derive_key};
pub(crate) use lanes::RunningHash;
