//! Tests of the engine through its public face: with stock restic, with damage, beside others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

mod cancel;
mod damage;
mod huge;
mod interop;
mod locks;
mod maintenance;
mod reconcile;
mod remote;
mod repair;
mod saving;
mod sparing;
mod traces;
mod trees;
