//! `init`.

use std::fs;
use std::sync::Arc;

use repository::{CreateMode, InitOptions, Repository};
use serde_json::json;
use storage::{CreateIfAbsent, probe_store};

use super::failure::Failure;
use super::holder::{hostname, username};
use super::session::Session;

pub async fn run(session: &Session) -> Result<(), Failure> {
    if let Some(root) = session.local_root() {
        fs::create_dir_all(root).map_err(|error| Failure::Usage(format!("cannot make directory {}: {error}", root.display())))?;
    }
    let store = session.store()?;
    let password = session.password()?;
    let create_mode = if session.local_root().is_some() { CreateMode::Conditional } else { create_mode(session, &store).await? };
    let options = InitOptions { create_mode, hostname: hostname(), username: username(), ..InitOptions::default() };
    let made = Repository::init(store, &password, &options, &session.control).await?;
    if session.output.json {
        let message = json!({"message_type": "initialized", "id": made.id(), "repository": session.repo()});
        return session.output.message(&message);
    }
    session.output.note(format_args!("made repository {} in {}", made.id().short(), session.place()))?;
    session.output.note("without its password nothing in it can ever be read again: keep it safe")
}

/// What the store makes of conditions is found out by trying, once.
async fn create_mode(session: &Session, store: &Arc<dyn object_store::ObjectStore>) -> Result<CreateMode, Failure> {
    let report = probe_store(store, &session.place()).await;
    // A store on which nothing can be deleted is one that keeps what it has; everything else must work.
    if let Some((_, error)) = report.first_failure().filter(|(trial, _)| *trial != "delete") {
        return Err(Failure::Usage(error.to_string()));
    }
    Ok(match report.create_if_absent {
        CreateIfAbsent::Honoured => CreateMode::Conditional,
        CreateIfAbsent::Ignored | CreateIfAbsent::Unsupported | CreateIfAbsent::Unknown => CreateMode::ListBased,
    })
}
