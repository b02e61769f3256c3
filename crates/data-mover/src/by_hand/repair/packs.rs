//! `repair packs`.

use repository::maintenance::{PackState, RepairPacksReport, SalvagedPack};
use serde_json::{Value, json};

use super::super::arguments::RepairPacks;
use super::super::failure::Failure;
use super::super::output::Output;
use super::super::progress::Work;
use super::super::session::{Access, Session};

pub async fn run(session: &Session, arguments: &RepairPacks) -> Result<(), Failure> {
    let report = session
        .with_repository(Access::Exclusive, async |repository, lock| {
            let _progress = session.progress(&session.output, Work::Packs);
            Ok(repository.repair_packs(&lock, &arguments.packs, arguments.remove, &session.control).await?)
        })
        .await?;
    tell(&session.output, &report)?;
    let lost: usize = report.packs.iter().map(|pack| lost(&pack.state)).sum();
    if lost == 0 {
        return Ok(());
    }
    let remedy = if arguments.remove {
        "back the same data up anew if it is still there, then see `repair snapshots`"
    } else {
        "the packs stay until they are removed with --remove"
    };
    Err(Failure::Faults(format!("{lost} blobs cannot be read anywhere; {remedy}")))
}

fn lost(state: &PackState) -> usize {
    match state {
        PackState::Damaged { lost, .. } => lost.len(),
        _ => 0,
    }
}

fn tell(output: &Output, report: &RepairPacksReport) -> Result<(), Failure> {
    if output.json {
        return output.message(&json!({
            "message_type": "summary",
            "packs": report.packs.iter().map(message).collect::<Vec<_>>(),
            "packs_written": report.packs_written,
            "packs_removed": report.packs_removed,
        }));
    }
    for SalvagedPack { pack, state } in &report.packs {
        match state {
            PackState::Well => output.note(format_args!("pack {pack} is well"))?,
            PackState::NotIndexed => output.note(format_args!("no index names pack {pack}; see `repair index`"))?,
            PackState::Absent => output.note(format_args!("pack {pack} is not in the store; see `repair index`"))?,
            PackState::Damaged { reasons, salvaged, elsewhere, lost } => {
                for reason in reasons {
                    output.warn(format_args!("pack {pack}: {reason}"));
                }
                let lost = lost.len();
                output.note(format_args!("pack {pack}: {salvaged} blobs copied, {elsewhere} are in other packs, {lost} lost"))?;
            }
        }
    }
    for pack in &report.packs_removed {
        output.note(format_args!("removed pack {pack}"))?;
    }
    output.note(format_args!("{} packs were written", report.packs_written))
}

fn message(pack: &SalvagedPack) -> Value {
    let id = pack.pack;
    match &pack.state {
        PackState::Well => json!({"id": id, "state": "well"}),
        PackState::NotIndexed => json!({"id": id, "state": "not_indexed"}),
        PackState::Absent => json!({"id": id, "state": "absent"}),
        PackState::Damaged { reasons, salvaged, elsewhere, lost } => json!({
            "id": id,
            "state": "damaged",
            "reasons": reasons,
            "blobs_salvaged": salvaged,
            "blobs_elsewhere": elsewhere,
            "blobs_lost": lost.iter().map(|(blob_type, id)| json!({"type": blob_type, "id": id})).collect::<Vec<_>>(),
        }),
    }
}
