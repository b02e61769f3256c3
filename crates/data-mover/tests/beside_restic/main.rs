//! The real binary and stock restic on one repository: killed at any moment (reliability R1b, C1), and side by side in any order
//! (R7). Where no restic is, the tests say so and pass, unless `ORLOP_REQUIRE_TOOLS` asks for it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod dice;
mod kills;
mod mixed;
mod programs;
mod tree;
