//! `repair index`.

use repository::maintenance::RepairIndexOptions;
use serde_json::json;

use super::super::arguments::RepairIndex;
use super::super::failure::Failure;
use super::super::progress::Work;
use super::super::session::{Access, Session};

pub async fn run(session: &Session, arguments: &RepairIndex) -> Result<(), Failure> {
    let options = RepairIndexOptions { read_all_packs: arguments.read_all_packs };
    let report = session
        .with_repository(Access::Exclusive, async |repository, lock| {
            let _progress = session.progress(&session.output, Work::Packs);
            Ok(repository.repair_index_with(&lock, options, &session.control).await?)
        })
        .await?;
    let output = &session.output;
    for key in &report.index_files_kept {
        output.warn(format_args!(
            "{key} cannot be read and was kept, because snapshots miss data that may stand there; repair snapshots, then the index again"
        ));
    }
    for damage in &report.packs_damaged {
        output.warn(format_args!("{} is damaged and not entered into the index: {}", damage.key, damage.reason));
    }
    if output.json {
        output.message(&json!({
            "message_type": "summary",
            "packs_added": report.packs_added,
            "packs_dropped": report.packs_dropped,
            "packs_damaged": report.packs_damaged.iter().map(|damage| &damage.key).collect::<Vec<_>>(),
            "index_files_removed": report.index_files_removed,
            "index_files_kept": report.index_files_kept,
        }))?;
    } else {
        for key in &report.index_files_removed {
            output.note(format_args!("removed {key}, which could not be read"))?;
        }
        for pack in &report.packs_dropped {
            output.note(format_args!("pack {pack} is not in the store; it was taken out of the index"))?;
        }
        output.note(format_args!("{} packs were entered into the index", report.packs_added.len()))?;
    }
    if report.packs_damaged.is_empty() {
        return match report.index_files_kept.len() {
            0 => Ok(()),
            kept => Err(Failure::Faults(format!("{kept} index files cannot be read and are kept"))),
        };
    }
    Err(Failure::Faults(format!("{} packs cannot be read; what only they hold is lost", report.packs_damaged.len())))
}
