//! Content-defined chunking that cuts where restic cuts.
//!
//! A file is cut where a rolling hash over the last 64 bytes ends in twenty zero bits. The hash is a Rabin fingerprint: the bytes
//! are read as a polynomial over GF(2) and reduced by the repository's own irreducible polynomial, so that equal content gives
//! equal chunks wherever it stands and whoever wrote it. A chunk has at least [`MIN_CHUNK`] and at most [`MAX_CHUNK`] bytes, which
//! is why the first half mebibyte of each chunk need not be looked at.

mod polynomial;
mod scan;

pub use polynomial::{InvalidPolynomial, Polynomial};
pub use scan::Chunker;

/// Smallest chunk in bytes; only the last chunk of a file may be smaller.
pub const MIN_CHUNK: usize = 512 * 1024;

/// Largest chunk in bytes.
pub const MAX_CHUNK: usize = 8 * 1024 * 1024;

/// Number of bytes that the rolling hash looks back on.
pub const WINDOW: usize = 64;

/// A position is a cut if these bits of the hash are zero: once in a mebibyte on average.
const SPLIT_MASK: u64 = (1 << 20) - 1;
