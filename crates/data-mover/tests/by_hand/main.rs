//! The mover by hand, as its own process on a local repository, beside stock restic: what one writes the other reads, and what both
//! say agrees.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agreement;
mod bench;
mod manners;
