//! Restores, friendly and hostile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod damaged;
mod existing;
mod hostile;
mod interop;
mod roundtrip;
mod speed;
mod unprivileged;
