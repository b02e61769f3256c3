//! `repair`: the index, packs, snapshots.

mod index;
mod packs;
mod snapshots;

use super::arguments::Repair;
use super::failure::Failure;
use super::session::Session;

pub async fn run(session: &Session, what: Repair) -> Result<(), Failure> {
    match what {
        Repair::Index(arguments) => index::run(session, &arguments).await,
        Repair::Packs(arguments) => packs::run(session, &arguments).await,
        Repair::Snapshots(arguments) => snapshots::run(session, &arguments).await,
    }
}
