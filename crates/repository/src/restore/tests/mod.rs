//! Restores, friendly and hostile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod batches;
mod damaged;
mod existing;
mod hostile;
mod interop;
mod page_cache;
mod replace;
mod root;
mod roundtrip;
mod speed;
mod streamed;
mod unprivileged;
