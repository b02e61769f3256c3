//! Repositories written by an enemy (reliability E8, S-40, S-42, R11): no parser panics, loops or allocates without bound, and no
//! restore writes outside of its target.
//!
//! The parsers are those of [`parsers`], which the fuzz targets of the folder `fuzz/` run too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod allocator;
mod chance;
mod forge;
mod mutate;
mod parsers;

mod each_parser;
mod objects;
mod trees;
