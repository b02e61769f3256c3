//! Names of the objects we create (architecture §4.2, specification §1.8).
//!
//! KubeStash's form comes first, so that people find what they know. That form is not injective
//! (`a-b` + `c` and `a` + `b-c` read alike, and long names are cut), so a [`Name`] also carries the
//! digest of everything that makes the object what it is, and fallbacks made from it. Which one is
//! taken depends on the objects that exist: see [`Name::resolve`].

mod label;
mod objects;

pub use label::{LABEL_VALUE_LIMIT, label_value};
pub use objects::{
    Owner, TERMINATED_PODS, backup_job, backup_session, keyed_session, repository_ids_config_map, repository_ids_key,
    restore_job, retention_job, retry_session, snapshot, trailing_unix, trigger_cron_job,
};

use std::fmt::Write as _;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sha2::{Digest as _, Sha256};

/// The longest name of an object that becomes a label value or a host name.
pub const NAME_LIMIT: usize = 63;

/// The longest name of a CronJob: Kubernetes appends eleven characters for its Jobs.
pub const CRON_JOB_NAME_LIMIT: usize = 52;

/// Annotation that holds [`Name::tuple_digest`] on every object created under a [`Name`].
pub const TUPLE_ANNOTATION: &str = crd_types::annotations::NAME_TUPLE;

/// Hexadecimal digits of the digest that a fallback shows.
const SHOWN_DIGITS: usize = 8;

/// Who holds a name at the API server, seen by the one who wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// No object of that name exists.
    Nobody,
    /// The object we mean: it was made for the same tuple.
    Same,
    /// Somebody else's object.
    Other,
}

/// The name of one object: KubeStash's form, and what to use where it would mislead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    familiar: Option<String>,
    head: String,
    digest: String,
    suffix: String,
    limit: usize,
}

/// Which characters a kind's names may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Charset {
    /// Lowercase letters, digits and dashes: names that become host names.
    Label,
    /// The same and dots.
    Subdomain,
}

impl Name {
    /// A name for `tuple`: everything that tells this object from any other of its kind.
    ///
    /// `familiar` is KubeStash's full form, `head` the readable part of a fallback and `suffix`
    /// what stays whole at its end (`-1706015400`, `-r2` or nothing).
    fn new(familiar: String, head: &str, suffix: String, tuple: &[&str], limit: usize, charset: Charset) -> Self {
        let fits = familiar.len() <= limit && is_valid(&familiar, charset);
        Self { familiar: fits.then_some(familiar), head: sanitise(head), digest: digest(tuple), suffix, limit }
    }

    /// The name taken when nothing stands in its way.
    pub fn preferred(&self) -> String {
        self.familiar.clone().unwrap_or_else(|| self.fallback(0))
    }

    /// Every name this object may have, best first. The eight fallbacks show disjoint parts of one
    /// digest, so an object that finds them all taken by others does not occur.
    pub fn candidates(&self) -> impl Iterator<Item = String> + '_ {
        let windows = self.digest.len() / SHOWN_DIGITS;
        self.familiar.clone().into_iter().chain((0..windows).map(|window| self.fallback(window)))
    }

    /// Digest of the full tuple, 64 hexadecimal digits: the value of [`TUPLE_ANNOTATION`].
    pub fn tuple_digest(&self) -> &str {
        &self.digest
    }

    /// Who holds a name, from the metadata of the object found there.
    pub fn holder(&self, found: &ObjectMeta) -> Holder {
        let recorded = found.annotations.as_ref().and_then(|annotations| annotations.get(TUPLE_ANNOTATION));
        match recorded {
            Some(digest) if *digest == self.digest => Holder::Same,
            _ => Holder::Other,
        }
    }

    /// The name to use, given who holds each candidate.
    ///
    /// A candidate that already holds our object wins over a better one that has become free, so
    /// an object keeps its name for life and is never made twice. `None` only if all nine names
    /// belong to others.
    pub fn resolve(&self, mut holder: impl FnMut(&str) -> Holder) -> Option<String> {
        let mut free = None;
        for candidate in self.candidates() {
            match holder(&candidate) {
                Holder::Same => return Some(candidate),
                Holder::Nobody => free = free.or(Some(candidate)),
                Holder::Other => {}
            }
        }
        free
    }

    fn fallback(&self, window: usize) -> String {
        let start = window * SHOWN_DIGITS;
        let shown = self.digest.get(start..start + SHOWN_DIGITS).unwrap_or(&self.digest);
        let room = self.limit.saturating_sub(SHOWN_DIGITS + 1 + self.suffix.len());
        let head = cut(&self.head, room);
        format!("{head}-{shown}{}", self.suffix)
    }
}

/// The first `room` characters of an ASCII text, without a dash at its end.
fn cut(text: &str, room: usize) -> &str {
    let end = text.len().min(room);
    text.get(..end).unwrap_or(text).trim_end_matches('-')
}

/// SHA-256 over the parts, each with its length before it: no two different lists feed it alike.
fn digest(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Lowercase letters, digits and single dashes, beginning with a letter or digit; never empty.
fn sanitise(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        let character = character.to_ascii_lowercase();
        if character.is_ascii_lowercase() || character.is_ascii_digit() {
            clean.push(character);
        } else if !clean.is_empty() && !clean.ends_with('-') {
            clean.push('-');
        }
    }
    let clean = clean.trim_end_matches('-');
    if clean.is_empty() { "orlop" } else { clean }.to_owned()
}

fn is_valid(name: &str, charset: Charset) -> bool {
    let label = |label: &str| {
        let inner = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
        !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    match charset {
        Charset::Label => label(name),
        Charset::Subdomain => name.split('.').all(label),
    }
}

#[cfg(test)]
mod tests;
