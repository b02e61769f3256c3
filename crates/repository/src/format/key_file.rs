//! Key objects: plain JSON that holds the master key sealed by a key derived from a password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A key object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyFile {
    /// When it was made, RFC 3339.
    #[serde(default)]
    pub created: String,
    /// Who made it.
    #[serde(default)]
    pub username: String,
    /// Where it was made.
    #[serde(default)]
    pub hostname: String,
    /// The derivation function; `scrypt` is the only one.
    pub kdf: String,
    /// scrypt's cost N, a power of two.
    #[serde(rename = "N")]
    pub n: u64,
    /// scrypt's block size.
    pub r: u32,
    /// scrypt's parallelism.
    pub p: u32,
    /// Salt of the derivation.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub salt: Vec<u8>,
    /// The sealed [`MasterKeyFile`].
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub data: Vec<u8>,
}

/// The master key as it stands inside a key object's data.
#[derive(Serialize, Deserialize)]
pub struct MasterKeyFile {
    /// Keys of the authenticator.
    pub mac: MacKeyFile,
    /// AES-256 key.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub encrypt: Vec<u8>,
}

/// The two halves of the Poly1305-AES key.
#[derive(Serialize, Deserialize)]
pub struct MacKeyFile {
    /// AES-128 key for the nonce.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub k: Vec<u8>,
    /// Poly1305's r.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub r: Vec<u8>,
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(D::Error::custom)
}
