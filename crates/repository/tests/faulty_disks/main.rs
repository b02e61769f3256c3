//! Disks that fail: unreadable sources, targets and repositories that cannot be written, volumes without room, and volumes in volumes.
//!
//! Reliability D8, F2, G2 and the invariants I2 and I9. The faults are made by a file system of our own, the lack of room by volumes
//! of a few pages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod disk;
mod fixture;
mod folding;
mod mounted;
mod private;

mod source;
mod store;
mod target;
mod tiny;
