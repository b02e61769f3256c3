//! Progress of backups, restores and the reading of packs: a bar on a terminal, status messages for programs.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use repository::{Control, Progress as Counters};
use rustix::termios::tcgetwinsize;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::output::{Output, Progressing};
use super::text;

/// Time between two looks at the counters, for the eye and for programs.
const FOR_THE_EYE: Duration = Duration::from_millis(200);
const FOR_PROGRAMS: Duration = Duration::from_secs(1);
/// Columns of the bar.
const BAR: usize = 24;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Files of a source.
    Backup,
    /// Files of a target.
    Restore,
    /// Packs.
    Packs,
}

/// The engine's phase, told by its listener.
pub type Phase = Arc<Mutex<&'static str>>;

/// Shows progress until it is dropped.
pub struct Progress {
    ticking: Option<JoinHandle<()>>,
    output: Output,
}

impl Progress {
    /// Begins to show what `control` counts.
    pub fn start(output: &Output, work: Work, control: &Control, phase: &Phase) -> Self {
        let meter = Meter { work, control: control.clone(), phase: Arc::clone(phase), begin: Instant::now() };
        let ticking = match output.progressing() {
            Progressing::Silent => None,
            Progressing::Line => Some(tokio::spawn(draw(meter, output.clone()))),
            // Only restic's two have status messages.
            Progressing::Json if work == Work::Packs => None,
            Progressing::Json => Some(tokio::spawn(report(meter, output.clone()))),
        };
        Self { ticking, output: output.clone() }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(ticking) = &self.ticking {
            ticking.abort();
        }
        drop(self.output.clear());
    }
}

struct Meter {
    work: Work,
    control: Control,
    phase: Phase,
    begin: Instant,
}

async fn draw(meter: Meter, output: Output) {
    let mut ticks = tokio::time::interval(FOR_THE_EYE);
    loop {
        ticks.tick().await;
        let columns = tcgetwinsize(io::stderr()).map_or(80, |size| usize::from(size.ws_col));
        // A line that wraps could not be taken away again.
        let line: String = meter.line().chars().take(columns.saturating_sub(1)).collect();
        output.status(&line);
    }
}

async fn report(meter: Meter, output: Output) {
    let mut ticks = tokio::time::interval(FOR_PROGRAMS);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        // Who reads the messages may have gone; the work goes on.
        let _ = match meter.work {
            Work::Restore => output.message(&meter.restore_status()),
            _ => output.message(&meter.backup_status()),
        };
    }
}

impl Meter {
    fn line(&self) -> String {
        let counters = self.control.counters().snapshot();
        let phase = *self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = text::duration(self.begin.elapsed());
        if self.work == Work::Packs {
            return format!("[{elapsed}] {phase}: {} packs", counters.packs_examined);
        }
        let (done, total) = bytes(&counters);
        let part = part(done, total);
        let files = format!("{} / {} files", counters.files_done, counters.files_total.max(counters.files_done));
        let amount = format!("{} / {}", text::bytes(done), text::bytes(total));
        let errors = if counters.errors == 0 { String::new() } else { format!("  {} errors", counters.errors) };
        let left = self.remaining(part).map_or_else(String::new, |left| format!("  ETA {}", text::duration(left)));
        format!("[{elapsed}] {} {:5.1} %  {files}  {amount}{errors}{left}  {phase}", bar(part), part * 100.0)
    }

    fn remaining(&self, part: f64) -> Option<Duration> {
        let elapsed = self.begin.elapsed();
        // A guess made too early is none.
        (part > 0.001 && elapsed > Duration::from_secs(2)).then(|| elapsed.mul_f64((1.0 - part) / part))
    }

    fn backup_status(&self) -> BackupStatus {
        let counters = self.control.counters().snapshot();
        let (bytes_done, total_bytes) = bytes(&counters);
        BackupStatus {
            message_type: "status",
            seconds_elapsed: self.begin.elapsed().as_secs(),
            seconds_remaining: self.remaining(part(bytes_done, total_bytes)).map_or(0, |left| left.as_secs()),
            percent_done: part(bytes_done, total_bytes),
            total_files: counters.files_total.max(counters.files_done),
            files_done: counters.files_done,
            total_bytes,
            bytes_done,
            error_count: counters.errors,
        }
    }

    fn restore_status(&self) -> RestoreStatus {
        let counters = self.control.counters().snapshot();
        let (bytes_restored, total_bytes) = bytes(&counters);
        RestoreStatus {
            message_type: "status",
            seconds_elapsed: self.begin.elapsed().as_secs(),
            percent_done: part(bytes_restored, total_bytes),
            total_files: counters.files_total.max(counters.files_done),
            files_restored: counters.files_done,
            total_bytes,
            bytes_restored,
        }
    }
}

/// Bytes finished, and in total as far as is known.
fn bytes(counters: &Counters) -> (u64, u64) {
    (counters.bytes_done, counters.bytes_total.max(counters.bytes_done))
}

/// The finished part, from 0 to 1.
fn part(done: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { done as f64 / total as f64 }
}

fn bar(part: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of columns")]
    let full = ((part * BAR as f64) as usize).min(BAR);
    format!("[{}{}]", "#".repeat(full), "-".repeat(BAR - full))
}

/// restic's status message of a backup.
#[derive(Serialize)]
struct BackupStatus {
    message_type: &'static str,
    seconds_elapsed: u64,
    #[serde(skip_serializing_if = "is_zero")]
    seconds_remaining: u64,
    percent_done: f64,
    total_files: u64,
    files_done: u64,
    total_bytes: u64,
    bytes_done: u64,
    #[serde(skip_serializing_if = "is_zero")]
    error_count: u64,
}

/// restic's status message of a restore.
#[derive(Serialize)]
struct RestoreStatus {
    message_type: &'static str,
    seconds_elapsed: u64,
    percent_done: f64,
    total_files: u64,
    files_restored: u64,
    total_bytes: u64,
    bytes_restored: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's attribute passes a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_never_longer_than_itself() {
        assert_eq!(bar(0.0), format!("[{}]", "-".repeat(BAR)));
        assert_eq!(bar(0.5), format!("[{}{}]", "#".repeat(BAR / 2), "-".repeat(BAR / 2)));
        assert_eq!(bar(7.0), format!("[{}]", "#".repeat(BAR)));
    }

    #[test]
    fn totals_are_never_below_what_is_done() {
        let counters = Counters { bytes_done: 7, bytes_total: 5, ..Counters::default() };
        assert_eq!(bytes(&counters), (7, 7));
        assert!(part(0, 0).abs() < f64::EPSILON);
    }
}
