//! Reads file trees: patterns, directory handles, metadata and content of whatever stands in a directory.
//!
//! Every access is relative to an open directory and never follows a symbolic link, so that a tree that changes under our feet
//! cannot lead us out of it. Names are bytes. FIFOs, sockets and devices are never opened. The restorer uses the same handles.

pub mod content;
pub mod faults;
pub mod handles;
pub mod listing;
pub mod metadata;
pub mod names;
pub mod page_cache;
pub mod pattern;
pub mod problem;
pub mod users;
pub mod xattr;

mod glob;

pub use faults::{SourceFaults, SourceStep};
pub use pattern::{InvalidPattern, PatternList};
pub use problem::{PathProblem, Problems};
