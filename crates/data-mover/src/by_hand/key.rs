//! `key`: the passwords that open the repository.

use repository::{Id, InitOptions, KeyInfo, OpenOptions, Repository};
use secrecy::SecretString;
use serde_json::json;

use super::arguments::{Key, NewPassword};
use super::failure::Failure;
use super::holder::{hostname, username};
use super::output::Output;
use super::password;
use super::session::{Access, Session};
use super::text;

pub async fn run(session: &Session, what: &Key) -> Result<(), Failure> {
    let access = match what {
        Key::List => Access::Read,
        Key::Add(_) => Access::Append,
        Key::Remove { .. } | Key::Passwd(_) => Access::Exclusive,
    };
    session
        .with_repository(access, async |repository, _| match what {
            Key::List => list(&session.output, &repository.list_keys(&session.control).await?),
            Key::Add(new) => {
                let (id, _) = add(session, repository, new).await?;
                session.output.note(format_args!("key {id} was added; its password opens the repository"))
            }
            Key::Remove { id } => remove(session, repository, id).await,
            Key::Passwd(new) => replace(session, repository, new).await,
        })
        .await
}

fn list(output: &Output, keys: &[KeyInfo]) -> Result<(), Failure> {
    if output.json {
        let keys: Vec<_> = keys
            .iter()
            .map(|key| {
                json!({
                    "current": key.current, "id": key.id, "userName": key.username, "hostName": key.hostname, "created": key.created,
                })
            })
            .collect();
        return output.message(&keys);
    }
    for key in keys {
        let mark = if key.current { '*' } else { ' ' };
        let (user, host) = (text::printable(key.username.as_bytes()), text::printable(key.hostname.as_bytes()));
        output.line(format_args!("{mark}{}  {user}@{host}  {}", key.id.short(), text::printable(key.created.as_bytes())))?;
    }
    output.note("* the key that the repository was opened with")
}

/// Adds a key for a new password; the password, to open with.
async fn add(session: &Session, repository: &Repository, new: &NewPassword) -> Result<(Id, SecretString), Failure> {
    let password = password::new(new.new_password_file.as_deref())?;
    let options = InitOptions {
        hostname: new.host.clone().unwrap_or_else(hostname),
        username: new.user.clone().unwrap_or_else(username),
        ..InitOptions::default()
    };
    Ok((repository.add_key(&password, &options, &session.control).await?, password))
}

async fn remove(session: &Session, repository: &Repository, wanted: &str) -> Result<(), Failure> {
    let keys = repository.list_keys(&session.control).await?;
    let meant: Vec<&KeyInfo> = keys.iter().filter(|key| !wanted.is_empty() && key.id.to_string().starts_with(wanted)).collect();
    let [key] = meant.as_slice() else {
        let found: Vec<_> = meant.iter().map(|key| key.id.to_string()).collect();
        let sentence = if found.is_empty() {
            format!("no key is meant by {wanted:?}; see `key list`")
        } else {
            format!("{wanted:?} is the beginning of several key ids: {}; write more digits", found.join(", "))
        };
        return Err(Failure::Usage(sentence));
    };
    if key.current {
        return Err(Failure::Usage(
            "the key that the repository was opened with stays; open it with another password".to_owned(),
        ));
    }
    repository.remove_key(&key.id).await?;
    session.output.note(format_args!("key {} was removed", key.id))
}

/// The old key goes only when the new password is known to open the repository.
async fn replace(session: &Session, repository: &Repository, new: &NewPassword) -> Result<(), Failure> {
    let keys = repository.list_keys(&session.control).await?;
    let old = keys.iter().find(|key| key.current).map(|key| key.id);
    let (id, password) = add(session, repository, new).await?;
    let expected = OpenOptions { expected_id: Some(repository.id()), ..OpenOptions::default() };
    let reopened = Repository::open(repository.store().clone(), &password, &expected, &session.control).await?;
    if let Some(old) = old.filter(|old| *old != id) {
        reopened.remove_key(&old).await?;
    }
    session.output.note(format_args!("key {id} took the place of the one before"))
}
