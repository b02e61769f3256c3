//! Events on the objects people look at. An event explains; it never decides, so losing one never fails the work.

use std::time::Duration;

use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use crate::error::within;

/// Longest note we send. The API server refuses notes of more than 1,024 bytes.
const MAX_NOTE_BYTES: usize = 1_000;
/// How long publishing may hold up the caller.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Publishes events; one per process, because it remembers what it said and counts repetitions.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// Events reported by `controller` (for example `orlop-scheduler`), from this `instance` (the pod name).
    #[must_use]
    pub fn new(client: Client, controller: &str, instance: Option<String>) -> Self {
        let reporter = Reporter { controller: controller.to_owned(), instance };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Says that something went as intended. `reason` and `action` are PascalCase words, `note` a sentence.
    pub async fn normal<K>(&self, object: &K, reason: &str, action: &str, note: &str)
    where
        K: Resource<DynamicType = ()>,
    {
        self.publish(object, EventType::Normal, reason, action, note).await;
    }

    /// Says that something needs a person's attention, and in `note` what to do.
    pub async fn warning<K>(&self, object: &K, reason: &str, action: &str, note: &str)
    where
        K: Resource<DynamicType = ()>,
    {
        self.publish(object, EventType::Warning, reason, action, note).await;
    }

    async fn publish<K>(&self, object: &K, kind: EventType, reason: &str, action: &str, note: &str)
    where
        K: Resource<DynamicType = ()>,
    {
        let event = Event {
            type_: kind,
            reason: reason.to_owned(),
            note: Some(shorten(note)),
            action: action.to_owned(),
            secondary: None,
        };
        let reference = object.object_ref(&());
        match within("publishing an event", TIMEOUT, self.recorder.publish(&event, &reference)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, reason, object = reference.name, "event was not recorded");
            }
            Err(error) => {
                tracing::warn!(%error, reason, object = reference.name, "event was not recorded");
            }
        }
    }
}

/// Cuts at a character boundary, so that a long path in another script stays valid text.
fn shorten(note: &str) -> String {
    if note.len() <= MAX_NOTE_BYTES {
        return note.to_owned();
    }
    let end = (0..=MAX_NOTE_BYTES - '…'.len_utf8()).rev().find(|&index| note.is_char_boundary(index)).unwrap_or(0);
    format!("{}…", &note[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_notes_are_cut_within_the_limit_and_between_characters() {
        let note = "å".repeat(900);
        let short = shorten(&note);
        assert!(short.len() <= MAX_NOTE_BYTES);
        assert!(short.ends_with('…'));
        assert_eq!(shorten("brief"), "brief");
    }
}
