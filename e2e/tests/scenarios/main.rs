//! Every scenario of the main job. Each says which promise it guards and was seen to fail when its feature was broken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod bad_input;
mod faults;
mod identity;
mod interop;
mod leaders;
mod observability;
mod platform;
mod retention;
mod round_trip;
mod schedule;
mod under_way;
