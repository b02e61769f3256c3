//! What every store must do, and real servers to hold it against. Behind the feature `testsuite`; panics are its verdicts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod conformance;
mod servers;

pub use servers::{Moto, Server, Versitygw, keys};
