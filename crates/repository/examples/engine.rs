//! Runs one operation of the engine on a local repository, for measuring it beside stock restic.
//!
//! `engine <init|backup|restore|check|prune|stats> <repository> [path]`, the password in `RESTIC_PASSWORD`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use repository::backup::{BackupRequest, backup};
use repository::maintenance::{CheckOptions, PruneOptions, ReadData, StatsDepth};
use repository::restore::{RestoreRequest, restore};
use repository::{Control, InitOptions, LockIdentity, LockMode, LockRequest, OpenOptions, Repository};
use secrecy::SecretString;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [operation, root, rest @ ..] = arguments.as_slice() else {
        return Err("usage: engine <init|backup|restore|check|prune|stats> <repository> [path]".into());
    };
    std::fs::create_dir_all(root)?;
    let store: Arc<dyn object_store::ObjectStore> = Arc::new(storage::LocalStore::new(root));
    let password = SecretString::from(std::env::var("RESTIC_PASSWORD")?);
    let control = Control::default();
    if operation == "init" {
        let made = Repository::init(store, &password, &InitOptions::default(), &control).await?;
        println!("{}", made.id());
        return Ok(());
    }
    let repository = Repository::open(store, &password, &OpenOptions::default(), &control).await?;
    let path = || rest.first().map(PathBuf::from).ok_or("a path is missing");
    let mode = if operation == "prune" { LockMode::Exclusive } else { LockMode::Shared };
    let identity = LockIdentity { hostname: "engine".into(), pid: std::process::id(), ..LockIdentity::default() };
    let lock = repository.lock(LockRequest::new(mode, identity).waiting(Duration::from_secs(10)), &control).await?;
    let handle = lock.handle();
    match operation.as_str() {
        "backup" => println!("{:#?}", backup(&repository, &handle, BackupRequest::new(vec![path()?]), &control).await?),
        "restore" => {
            let list = repository.snapshots(&control).await?;
            let (latest, _) = list.snapshots.last().ok_or("there is no snapshot")?;
            println!("{:#?}", restore(&repository, &handle, RestoreRequest::new(*latest, path()?), &control).await?);
        }
        "check" => println!("{:#?}", repository.check(&handle, CheckOptions { read: ReadData::All }, &control).await?),
        "prune" => {
            let list = repository.snapshots(&control).await?;
            let old: Vec<_> = list.snapshots.iter().rev().skip(1).map(|(id, _)| *id).collect();
            repository.forget(&handle, &old, &control).await?;
            let plan = repository.plan_prune(&handle, &PruneOptions::default(), &control).await?;
            println!("{:#?}", repository.prune(&handle, plan, &control).await?);
        }
        "stats" => println!("{:#?}", repository.stats(StatsDepth::Referenced, &control).await?),
        other => return Err(format!("unknown operation {other}").into()),
    }
    lock.release().await?;
    println!("{:#?}", control.counters().snapshot());
    Ok(())
}
