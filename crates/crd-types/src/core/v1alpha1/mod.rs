//! Kinds of the group `core.kubestash.com`.

mod backup_batch;
mod backup_blueprint;
mod backup_configuration;
mod backup_session;
mod backup_verification_session;
mod backup_verifier;
mod hook_template;
mod manifest_options;
mod restore_session;

pub use backup_batch::*;
pub use backup_blueprint::*;
pub use backup_configuration::*;
pub use backup_session::*;
pub use backup_verification_session::*;
pub use backup_verifier::*;
pub use hook_template::*;
pub use manifest_options::*;
pub use restore_session::*;
