//! `SessionService`: what platform tooling may do to sessions. Nothing here grants more than kubectl would: every call is
//! checked by a SubjectAccessReview for the verb on the object that the way through custom resources would need.

mod authorise;
mod convert;
mod explain;
mod read;
mod service;
mod start_restore;

pub use service::SessionServer;
