//! Jobs as the tests of attempts, sessions and restores see them.

use jiff::Timestamp;

use super::{JobState, JobView, PodView};
use crate::build::Work;

/// A Job whose pod has been running on `node-a` since it was made.
pub(crate) fn live_job(component: &str, attempt: u32, work: Work, now: Timestamp) -> JobView {
    let name = format!("{component}-{attempt}");
    let pod = PodView {
        name: format!("{name}-pod"),
        node: Some("node-a".to_owned()),
        started: Some(now),
        ended: None,
        waiting: None,
        lost: None,
        disrupted: None,
    };
    JobView {
        name,
        component: component.to_owned(),
        attempt,
        work,
        created: now,
        state: JobState::Live,
        failure: None,
        pod: Some(pod),
        refusal: None,
    }
}
