//! The Jobs of sessions and their pods: what is seen of them, what wakes their sessions, and the record of containers
//! that were seen to end (architecture §4.4, §4.7).

mod jobs;
mod pod;
mod read;
mod records;
mod refusals;
mod stop;
mod watch;

pub use jobs::job_views;
pub use pod::{Ended, ended, pod_view};
pub use read::{PodsError, claims, is_genuine, read_jobs};
pub use records::{KEPT_FOR, Record, Records, RecordsError};
pub use stop::stop_jobs;
pub use watch::{LivePods, PodWatch};

#[cfg(test)]
mod tests;
