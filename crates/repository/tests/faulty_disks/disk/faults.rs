//! What goes wrong on the disk: a path, an operation, a moment, and what the kernel answers then.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use parking_lot::Mutex;
use rustix::io::Errno;

/// An operation of the file system, as the kernel asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Lookup,
    Getattr,
    Open,
    Read,
    Readdir,
    Readlink,
    Getxattr,
    Listxattr,
    Create,
    Mkdir,
    /// Links, hard links, devices and the like.
    Make,
    Write,
    Setattr,
    Setxattr,
    Fsync,
    /// What `close` waits for.
    Flush,
    Rename,
    Remove,
    /// Any of those that change something, and the waiting for the disk.
    Change,
}

impl Operation {
    fn is_change(self) -> bool {
        use Operation::*;
        matches!(self, Create | Mkdir | Make | Write | Setattr | Setxattr | Fsync | Flush | Rename | Remove)
    }
}

/// When it goes wrong.
#[derive(Debug, Clone, Copy)]
pub enum When {
    Always,
    /// At bytes (or entries of a directory) from this one on.
    From(u64),
    /// Once so many bytes were written to what the fault is about.
    AfterBytes(u64),
    /// The call of this number, from 0, and no other.
    Nth(u64),
}

/// What happens then.
#[derive(Clone)]
pub enum Effect {
    Fail(Errno),
    /// The file ends at that byte, whatever its size says.
    End,
    /// The operation succeeds, after this was done with the path behind.
    Meanwhile(Arc<dyn Fn(&Path) + Send + Sync>),
}

/// One line of the table.
#[derive(Clone)]
pub struct Fault {
    /// A path below the mount point without a leading slash; `*` stands for any text.
    path: String,
    operation: Operation,
    when: When,
    effect: Effect,
    /// Calls and bytes that the fault was asked about.
    calls: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
    hits: Arc<AtomicU64>,
}

impl Fault {
    pub fn new(path: &str, operation: Operation, when: When, effect: Effect) -> Self {
        let (calls, bytes, hits) = Default::default();
        Self { path: path.to_owned(), operation, when, effect, calls, bytes, hits }
    }

    /// The operation fails every time.
    pub fn always(path: &str, operation: Operation, errno: Errno) -> Self {
        Self::new(path, operation, When::Always, Effect::Fail(errno))
    }

    /// How often it struck.
    pub fn hits(&self) -> u64 {
        self.hits.load(SeqCst)
    }

    /// Of how many calls it was asked.
    pub fn calls(&self) -> u64 {
        self.calls.load(SeqCst)
    }

    fn concerns(&self, path: &str, operation: Operation) -> bool {
        let is_asked = self.operation == operation || self.operation == Operation::Change && operation.is_change();
        is_asked && matches(&self.path, path)
    }

    /// Whether it strikes a call about `length` bytes from `start` on.
    fn strikes(&self, start: u64, length: u64) -> bool {
        let call = self.calls.fetch_add(1, SeqCst);
        let before = self.bytes.fetch_add(length, SeqCst);
        let strikes = match self.when {
            When::Always => true,
            When::From(from) => start + length.max(1) > from,
            When::AfterBytes(most) => before + length > most,
            When::Nth(number) => call == number,
        };
        if strikes {
            self.hits.fetch_add(1, SeqCst);
        }
        strikes
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match &self.effect {
            Effect::Fail(errno) => format!("{errno}"),
            Effect::End => "end of file".to_owned(),
            Effect::Meanwhile(_) => "something meanwhile".to_owned(),
        };
        write!(f, "{:?} of {:?} {:?}: {effect}", self.operation, self.path, self.when)
    }
}

/// The faults that a disk has now. All clones are one table.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<Fault>>>);

impl Faults {
    /// These faults and no others from now on.
    pub fn set(&self, faults: &[Fault]) {
        *self.0.lock() = faults.to_vec();
    }

    /// The disk is well again.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// What becomes of a call about `length` bytes of `path` from `start` on; if the file ends early, where.
    pub(super) fn ask(
        &self,
        path: &str,
        behind: &Path,
        operation: Operation,
        start: u64,
        length: u64,
    ) -> Result<Option<u64>, Errno> {
        // The effect must not hold the table: it may use it.
        let struck: Vec<Fault> = {
            let table = self.0.lock();
            table.iter().filter(|fault| fault.concerns(path, operation) && fault.strikes(start, length)).cloned().collect()
        };
        for fault in struck {
            match fault.effect {
                Effect::Fail(errno) => return Err(errno),
                Effect::End => return Ok(Some(if let When::From(from) = fault.when { from } else { 0 })),
                Effect::Meanwhile(then) => then(behind),
            }
        }
        Ok(None)
    }
}

/// Whether `path` is of the pattern, in which `*` stands for any text.
fn matches(pattern: &str, path: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == path };
    let Some(tail) = path.strip_prefix(head) else { return false };
    (0..=tail.len()).filter(|at| tail.is_char_boundary(*at)).any(|at| matches(rest, &tail[at..]))
}

#[test]
fn patterns_stand_for_any_text() {
    for (pattern, path, expected) in [
        ("a/b", "a/b", true),
        ("a/b", "a/bc", false),
        ("*", "", true),
        ("a/*", "a/b/c", true),
        ("*.tmp", "locks/.orlop-1.tmp", true),
        ("*/x*z", "a/xyz", true),
        ("*/x*z", "a/xy", false),
    ] {
        assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
    }
}
