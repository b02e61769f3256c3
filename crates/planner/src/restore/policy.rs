//! What a RestoreSession's annotations say about the target: what stands there already, and what gives power to whoever planted it.

use crd_types::{
    RestoreSession,
    annotations::{EXISTING, PRIVILEGED},
};
use kube::ResourceExt as _;
use thiserror::Error;

/// What happens to what stands in the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Existing {
    /// What the snapshot does not have is left alone.
    #[default]
    Merge,
    /// It is removed when everything else is restored.
    Replace,
    /// A target that holds anything is refused.
    Refuse,
}

/// What happens to set-id bits, devices and privileged attributes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Privileged {
    /// They are restored.
    #[default]
    Restore,
    /// They are left out.
    Drop,
}

/// Both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RestorePolicy {
    /// What stands in the target.
    pub existing: Existing,
    /// What gives power.
    pub privileged: Privileged,
}

/// An annotation that says none of the words that it may say. Nothing is restored for it: a slip must neither remove files nor plant
/// programs that somebody wanted left out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("annotation {annotation} of RestoreSession {namespace}/{name} is {value:?}: write {words}, or remove it")]
pub struct PolicyError {
    /// The annotation.
    pub annotation: &'static str,
    /// What it says, or the beginning of it.
    pub value: String,
    /// What it may say.
    pub words: &'static str,
    /// Namespace of the session.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Reads a session's annotations.
///
/// # Errors
/// [`PolicyError`] for a word that is not known.
pub fn restore_policy(session: &RestoreSession) -> Result<RestorePolicy, PolicyError> {
    let existing = match word(session, EXISTING) {
        None | Some("merge") => Existing::Merge,
        Some("replace") => Existing::Replace,
        Some("refuse") => Existing::Refuse,
        Some(other) => return Err(unknown(session, EXISTING, other, "merge, replace or refuse")),
    };
    let privileged = match word(session, PRIVILEGED) {
        None | Some("restore") => Privileged::Restore,
        Some("drop") => Privileged::Drop,
        Some(other) => return Err(unknown(session, PRIVILEGED, other, "restore or drop")),
    };
    Ok(RestorePolicy { existing, privileged })
}

fn word<'a>(session: &'a RestoreSession, annotation: &str) -> Option<&'a str> {
    session.annotations().get(annotation).map(|value| value.trim())
}

fn unknown(session: &RestoreSession, annotation: &'static str, value: &str, words: &'static str) -> PolicyError {
    PolicyError {
        annotation,
        value: value.chars().take(40).collect(),
        words,
        namespace: session.namespace().unwrap_or_default(),
        name: session.name_any(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crd_types::RestoreSessionSpec;

    fn policy(pairs: &[(&str, &str)]) -> Result<RestorePolicy, String> {
        let mut session = RestoreSession::new("back", RestoreSessionSpec::default());
        session.metadata.namespace = Some("demo".to_owned());
        let annotations = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        session.metadata.annotations = Some(annotations.collect());
        restore_policy(&session).map_err(|error| error.to_string())
    }

    #[test]
    fn annotations_choose_and_silence_means_merge_and_restore() {
        assert_eq!(policy(&[]), Ok(RestorePolicy { existing: Existing::Merge, privileged: Privileged::Restore }));
        assert_eq!(policy(&[(EXISTING, "merge"), (PRIVILEGED, "restore")]), policy(&[]));
        let strict = RestorePolicy { existing: Existing::Replace, privileged: Privileged::Drop };
        assert_eq!(policy(&[(EXISTING, " replace"), (PRIVILEGED, "drop")]), Ok(strict));
        assert_eq!(policy(&[(EXISTING, "refuse")]).unwrap().existing, Existing::Refuse);
    }

    #[test]
    fn a_slip_is_told_with_the_words_that_are_known() {
        let sentence = "annotation orlop.dev/existing of RestoreSession demo/back is \"repalce\": write merge, replace or refuse, or \
                        remove it";
        assert_eq!(policy(&[(EXISTING, "repalce")]).unwrap_err(), sentence);
        for value in ["", "true", "Drop", "restore,drop"] {
            assert!(policy(&[(PRIVILEGED, value)]).unwrap_err().contains("write restore or drop"), "{value}");
        }
    }
}
