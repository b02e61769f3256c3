//! Tests of the engine through its public face: with stock restic, with crashes at every change in the store, with damage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

mod crash;
mod damage;
mod interop;
mod locks;
mod maintenance;
mod remote;
mod saving;
