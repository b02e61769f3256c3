//! `repair snapshots`.

use repository::SnapshotId;
use repository::maintenance::{Loss, LostPart, RepairSnapshotsOptions, RepairSnapshotsReport, SnapshotRepair};
use serde_json::{Value, json};

use super::super::arguments::RepairSnapshots;
use super::super::failure::Failure;
use super::super::output::Output;
use super::super::session::{Access, Session};
use super::super::text;

pub async fn run(session: &Session, arguments: &RepairSnapshots) -> Result<(), Failure> {
    let options = RepairSnapshotsOptions { forget: arguments.forget, dry_run: arguments.dry_run };
    let access = if arguments.dry_run { Access::Read } else { Access::Exclusive };
    let report = session
        .with_repository(access, async |repository, lock| {
            let filter = arguments.filter.meaning();
            let snapshots = repository.find_snapshots(&arguments.snapshots, &filter, &session.control).await?;
            let ids: Vec<SnapshotId> = snapshots.into_iter().map(|(id, _)| id).collect();
            Ok(repository.repair_snapshots(&lock, &ids, options, &session.control).await?)
        })
        .await?;
    tell(&session.output, &report, arguments)
}

fn tell(output: &Output, report: &RepairSnapshotsReport, arguments: &RepairSnapshots) -> Result<(), Failure> {
    if output.json {
        return output.message(&json!({
            "message_type": "summary",
            "dry_run": arguments.dry_run,
            "num_snapshots": report.snapshots,
            "repaired": report.repaired.iter().map(repair_message).collect::<Vec<_>>(),
            "lost": report.lost.iter().map(lost_message).collect::<Vec<_>>(),
            "num_lost": report.lost_total,
            "removed": report.removed,
        }));
    }
    for part in &report.lost {
        output.note(format_args!("lost: {}", lost_line(part)))?;
    }
    if report.lost_total > report.lost.len() as u64 {
        output.note(format_args!("and {} more", report.lost_total - report.lost.len() as u64))?;
    }
    for repair in &report.repaired {
        match repair {
            SnapshotRepair::Rewritten { snapshot, new: Some(new) } => {
                output.note(format_args!("snapshot {snapshot} without what is lost: {new}"))?;
            }
            SnapshotRepair::Rewritten { snapshot, new: None } => {
                output.note(format_args!("snapshot {snapshot} would be written anew"))?;
            }
            SnapshotRepair::NothingLeft { snapshot } => {
                output.note(format_args!("snapshot {snapshot}: its root cannot be read, nothing is left of it"))?;
            }
        }
    }
    for snapshot in &report.removed {
        output.note(format_args!("removed snapshot {snapshot}"))?;
    }
    let repaired = report.repaired.len();
    let verb = if arguments.dry_run { "would be" } else { "were" };
    output.note(format_args!("{} snapshots were looked at, {repaired} {verb} repaired", report.snapshots))
}

fn lost_line(part: &LostPart) -> String {
    let path = text::printable(&part.path);
    match part.loss {
        Loss::Directory => format!("{path}: everything in the directory"),
        Loss::Content { blobs, bytes } => format!("{path}: {blobs} blobs, {}", text::bytes(bytes)),
    }
}

fn lost_message(part: &LostPart) -> Value {
    let path = text::printable(&part.path);
    match part.loss {
        Loss::Directory => json!({"path": path, "type": "directory"}),
        Loss::Content { blobs, bytes } => json!({"path": path, "type": "content", "blobs": blobs, "bytes": bytes}),
    }
}

fn repair_message(repair: &SnapshotRepair) -> Value {
    match repair {
        SnapshotRepair::Rewritten { snapshot, new } => json!({"snapshot": snapshot, "new": new}),
        SnapshotRepair::NothingLeft { snapshot } => json!({"snapshot": snapshot, "nothing_left": true}),
    }
}
