//! Structures that several kinds share.

mod addon_info;
mod condition;
mod hook;
mod invoker_status;
mod pod_template;
mod reference;
mod runtime_settings;
mod scheduler;
mod session;
mod usage_policy;
mod volume;

pub use addon_info::*;
pub use condition::*;
pub use hook::*;
pub use invoker_status::*;
pub use pod_template::*;
pub use reference::*;
pub use runtime_settings::*;
pub use scheduler::*;
pub use session::*;
pub use usage_policy::*;
pub use volume::*;
