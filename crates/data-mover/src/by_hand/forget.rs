//! `forget`, by ids.

use repository::SnapshotId;
use serde_json::json;

use super::arguments::Forget;
use super::failure::Failure;
use super::prune;
use super::session::{Access, Session};

pub async fn run(session: &Session, arguments: &Forget) -> Result<(), Failure> {
    let access = if arguments.dry_run { Access::Read } else { Access::Exclusive };
    session
        .with_repository(access, async |repository, lock| {
            let mut ids = Vec::new();
            for wanted in &arguments.snapshots {
                // What `latest` is changes with every backup; nothing is removed by such a name.
                if wanted == "latest" {
                    return Err(Failure::Usage("forget takes ids; see `snapshots` for the latest one's".to_owned()));
                }
                ids.push(repository.complete_id(wanted, &session.control).await?);
            }
            if arguments.dry_run {
                return tell(session, "would remove", &ids, &[]);
            }
            let report = repository.forget(&lock, &ids, &session.control).await?;
            tell(session, "removed", &report.removed, &report.absent)?;
            if arguments.prune { prune::prune(session, repository, &lock, &arguments.manner).await } else { Ok(()) }
        })
        .await
}

fn tell(session: &Session, verb: &str, removed: &[SnapshotId], absent: &[SnapshotId]) -> Result<(), Failure> {
    if session.output.json {
        let dry_run = verb != "removed";
        return session
            .output
            .message(&json!({"message_type": "forgotten", "dry_run": dry_run, "removed": removed, "absent": absent}));
    }
    for id in removed {
        session.output.note(format_args!("{verb} snapshot {id}"))?;
    }
    for id in absent {
        session.output.note(format_args!("snapshot {id} does not exist"))?;
    }
    Ok(())
}
