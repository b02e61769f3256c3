//! `prune`.

use std::collections::BTreeMap;

use repository::maintenance::{Fate, PackDecision, PruneOptions, PrunePlan, PruneReport, Reason};
use repository::{LockHandle, Repository};
use serde_json::json;

use super::arguments::{Prune, PruneManner};
use super::failure::Failure;
use super::progress::Work;
use super::session::{Access, Session};
use super::text;
use super::values::MaxUnused;

pub async fn run(session: &Session, arguments: &Prune) -> Result<(), Failure> {
    // Looking keeps nobody from backing up.
    let access = if arguments.dry_run { Access::Read } else { Access::Exclusive };
    session
        .with_repository(access, async |repository, lock| {
            if arguments.dry_run {
                let plan = plan(&arguments.manner, async |options: &PruneOptions| {
                    repository.preview_prune(&lock, options, &session.control).await
                });
                return show(session, &plan.await?);
            }
            prune(session, repository, &lock, &arguments.manner).await
        })
        .await
}

/// Plans and prunes under an exclusive lock.
pub async fn prune(session: &Session, repository: &Repository, lock: &LockHandle, manner: &PruneManner) -> Result<(), Failure> {
    let progress = session.progress(&session.output, Work::Packs);
    let plan = plan(manner, async |options: &PruneOptions| repository.plan_prune(lock, options, &session.control).await).await?;
    let (sums, freed) = (sums(&plan), plan.freed_bytes());
    let report = repository.prune(lock, plan, &session.control).await?;
    drop(progress);
    summarise(session, &sums, freed, Some(&report))?;
    tell_damage(session, &report)
}

/// Nothing is lost by a prune that leaves damaged packs alone, but somebody should know.
fn tell_damage(session: &Session, report: &PruneReport) -> Result<(), Failure> {
    if report.packs_damaged == 0 {
        return Ok(());
    }
    for damage in &report.damaged {
        session.output.note(format_args!("keep {}, which is damaged: {}", damage.key, damage.reason))?;
    }
    Err(Failure::Faults(format!(
        "{} packs are damaged and stay as they are; everything else was pruned; see `check --read-data` and `repair packs`",
        report.packs_damaged
    )))
}

/// Lets `make` plan with the options that were asked for.
async fn plan(
    manner: &PruneManner,
    make: impl AsyncFn(&PruneOptions) -> repository::Result<PrunePlan>,
) -> Result<PrunePlan, Failure> {
    let mut options = PruneOptions { unindexed_age: manner.unindexed_age, ..PruneOptions::default() };
    options.max_unused = match manner.max_unused {
        MaxUnused::Unlimited => f64::INFINITY,
        MaxUnused::OfUsed(part) => part,
        MaxUnused::Bytes(0) => 0.0,
        MaxUnused::Bytes(bytes) => {
            // How much is used is known only when everything was looked at; the engine takes a part of that.
            let first = make(&options).await?;
            let used: u64 = first.packs.iter().map(|pack| pack.used_bytes).sum();
            bytes as f64 / used.max(1) as f64
        }
    };
    Ok(make(&options).await?)
}

/// The plan, pack by pack, and nothing done.
fn show(session: &Session, plan: &PrunePlan) -> Result<(), Failure> {
    let output = &session.output;
    for pack in &plan.packs {
        let PackDecision { pack: id, size, used_bytes, fate, reason } = pack;
        if output.json {
            output.message(&json!({
                "message_type": "pack", "id": id, "size": size, "used_bytes": used_bytes, "action": verb(*fate), "reason": why(*reason),
            }))?;
        } else if !output.quiet {
            let (size, used) = (text::bytes(*size), text::bytes(*used_bytes));
            output.line(format_args!("{:<6} {id}  {size}, {used} used: {}", verb(*fate), why(*reason)))?;
        }
    }
    for id in &plan.forgotten {
        output.note(format_args!("forget {id}  it is gone already, and nothing needs it"))?;
    }
    summarise(session, &sums(plan), plan.freed_bytes(), None)
}

/// Packs and bytes by what becomes of them and why.
type Sums = BTreeMap<(&'static str, &'static str), (u64, u64)>;

fn sums(plan: &PrunePlan) -> Sums {
    let mut sums = Sums::new();
    for pack in &plan.packs {
        let (packs, bytes) = sums.entry((verb(pack.fate), why(pack.reason))).or_default();
        *packs += 1;
        *bytes += pack.size;
    }
    sums
}

fn summarise(session: &Session, sums: &Sums, freed: u64, report: Option<&PruneReport>) -> Result<(), Failure> {
    let output = &session.output;
    if output.json {
        let plan: Vec<_> = sums
            .iter()
            .map(|((action, reason), (packs, bytes))| json!({"action": action, "reason": reason, "packs": packs, "bytes": bytes}))
            .collect();
        let mut summary = json!({"message_type": "summary", "dry_run": report.is_none(), "plan": plan, "bytes_freed": freed});
        if let Some(report) = report {
            summary["packs_removed"] = report.packs_removed.into();
            summary["packs_written"] = report.packs_written.into();
            summary["bytes_removed"] = report.bytes_removed.into();
            summary["bytes_rewritten"] = report.bytes_rewritten.into();
            summary["index_files_removed"] = report.index_files_removed.into();
            summary["packs_damaged"] = report.packs_damaged.into();
            summary["damaged"] = report.damaged.iter().map(|damage| damage.key.as_str()).collect::<Vec<_>>().into();
        }
        return output.message(&summary);
    }
    for ((action, reason), (packs, bytes)) in sums {
        output.note(format_args!("{action:<6} {packs} packs, {}: {reason}", text::bytes(*bytes)))?;
    }
    let freed = text::bytes(freed);
    match report {
        None => output.note(format_args!("{freed} would be freed; nothing was done")),
        Some(report) => output.note(format_args!(
            "freed {freed}: {} packs removed, {} written, {} index files replaced",
            report.packs_removed, report.packs_written, report.index_files_removed
        )),
    }
}

fn verb(fate: Fate) -> &'static str {
    match fate {
        Fate::Keep => "keep",
        Fate::Repack => "repack",
        Fate::Drop => "drop",
    }
}

fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::AllUsed => "all of it is used",
        Reason::WithinAllowance => "what is unused in it may stay",
        Reason::FewSmall => "it is small, and so are not enough others to join them",
        Reason::PartlyUnused => "too much of it is unused",
        Reason::Small => "it is small, and so are many others",
        Reason::Mixed => "it holds data and directories",
        Reason::NothingUsed => "no snapshot needs anything of it",
        Reason::NotIndexed => "no index names it",
        Reason::NotIndexedYoung => "no index names it, but it may be a killed backup's work",
        Reason::Damaged => "it is damaged; what snapshots need of it stays where it is",
    }
}
