//! The parsers as the tests of the repository run them.

#[path = "../../crates/repository/tests/hostile_input/parsers.rs"]
pub mod parsers;
