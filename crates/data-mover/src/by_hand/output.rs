//! What a person or a program gets to see.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::os::unix::ffi::OsStrExt as _;

use serde::Serialize;
use serde_json::json;

use super::arguments::Common;
use super::failure::Failure;
use super::text;

/// Where everything is written to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Output {
    /// JSON was asked for.
    pub json: bool,
    /// Nothing but results and errors.
    pub quiet: bool,
    /// Whether a status line stands on the terminal; who writes takes it away first.
    status: Arc<Mutex<bool>>,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progressing {
    /// Not at all.
    Silent,
    /// As a line on the terminal that changes.
    Line,
    /// As lines of JSON.
    Json,
}

impl Output {
    pub fn new(common: &Common) -> Self {
        Self { json: common.json, quiet: common.quiet, status: Arc::default() }
    }

    /// The same for commands that speak JSON to whatever is not a person at a terminal.
    #[must_use]
    pub fn for_transfers(&self) -> Self {
        Self { json: self.json || !io::stdout().is_terminal(), ..self.clone() }
    }

    pub fn progressing(&self) -> Progressing {
        match (self.quiet, self.json) {
            (true, _) => Progressing::Silent,
            (false, true) => Progressing::Json,
            (false, false) if io::stderr().is_terminal() => Progressing::Line,
            (false, false) => Progressing::Silent,
        }
    }

    /// A result, as a line.
    pub fn line(&self, text: impl Display) -> Result<(), Failure> {
        let _cleared = self.clear();
        writeln!(io::stdout(), "{text}")?;
        Ok(())
    }

    /// What a person likes to know, as a line; neither with `--quiet` nor with `--json`.
    pub fn note(&self, text: impl Display) -> Result<(), Failure> {
        if self.quiet || self.json { Ok(()) } else { self.line(text) }
    }

    /// A message for programs, as a line.
    pub fn message(&self, message: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(message).map_err(io::Error::from)?;
        line.push(b'\n');
        let _cleared = self.clear();
        io::stdout().write_all(&line)?;
        Ok(())
    }

    /// Something that went wrong with one item while the work goes on.
    pub fn problem(&self, kind: &str, during: &str, item: &Path, reason: &str) {
        let item = text::printable(item.as_os_str().as_bytes());
        if self.json {
            self.complain(json!({"message_type": kind, "error": {"message": reason}, "during": during, "item": item}));
        } else {
            self.complain(format_args!("data-mover: {item}: {reason}"));
        }
    }

    /// Something worth telling that is no failure.
    pub fn warn(&self, text: impl Display) {
        if self.json {
            self.complain(json!({"message_type": "warning", "message": text.to_string()}));
        } else {
            self.complain(format_args!("data-mover: {text}"));
        }
    }

    /// Why the command ended badly.
    pub fn failed(&self, failure: &Failure) {
        if failure.is_closed_pipe() {
            return;
        }
        if self.json {
            self.complain(json!({"message_type": "exit_error", "code": failure.code(), "message": failure.to_string()}));
        } else {
            self.complain(format_args!("data-mover: {failure}"));
        }
    }

    /// Writes the status line anew.
    pub fn status(&self, line: &str) {
        let mut shown = self.clear();
        *shown = write!(io::stderr(), "{line}").is_ok();
    }

    /// Takes the status line away; no other comes as long as the guard lives.
    pub fn clear(&self) -> MutexGuard<'_, bool> {
        let mut shown = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut *shown) {
            // Back to the beginning of the line, and erase what stands there.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        shown
    }

    /// Nobody may be there to read complaints; the exit code still tells.
    fn complain(&self, text: impl Display) {
        let _cleared = self.clear();
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// Standard output for very many lines.
pub fn buffered() -> BufWriter<Stdout> {
    BufWriter::with_capacity(64 << 10, io::stdout())
}
