//! Time since a moment, counted so that neither a paused machine nor a set clock makes it look shorter.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// A moment by the boot clock, which runs on while the machine sleeps, and by the wall clock, which jumps forward when a virtual
/// machine wakes up that did not notice its sleep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    boot: Duration,
    wall: SystemTime,
}

impl Moment {
    pub fn now() -> Self {
        Self { boot: boot_time(), wall: SystemTime::now() }
    }

    /// The longer of the two clocks' answers.
    pub fn elapsed(&self) -> Duration {
        let wall = self.wall.elapsed().unwrap_or_default();
        boot_time().saturating_sub(self.boot).max(wall)
    }
}

fn boot_time() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
