//! Pure decisions: views and a time go in, a decision with its reasons comes out.
//!
//! Nothing here reads a clock, opens a connection or awaits. What a service learns from the cluster
//! and the bucket it passes in; what it should do it gets back, and the same input always gives the
//! same answer, which is why the rules can be tested by table and by property in microseconds.
//!
//! ```text
//!  crd-types  <-  planner  <-  scheduler, session-controller, storage-initializer, data-mover
//! ```

pub mod access;
pub mod admission;
pub mod attempt;
pub mod backend;
pub mod bandwidth;
pub mod build;
pub mod decision;
pub mod layout;
pub mod names;
pub mod resolve;
pub mod restore;
pub mod retention;
pub mod schedule;
pub mod session;
pub mod workload;

pub use decision::{Decision, Reason};
