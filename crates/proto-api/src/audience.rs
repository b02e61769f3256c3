//! Audiences of the ServiceAccount tokens that Orlop's services accept (architecture §7).
//!
//! A token is good for one audience only, so what a mover shows to one service is worthless at another.

/// `StorageService.IssueAccess` and `RecordRepository`: movers.
pub const STORAGE: &str = "orlop-storage";

/// `MoverService.Attach`: movers.
pub const SESSION: &str = "orlop-session";

/// `ScheduleService.Trigger` by the pod of a trigger CronJob.
pub const SCHEDULE: &str = "orlop-schedule";

/// Callers of the platform API.
pub const PLATFORM: &str = "orlop";
