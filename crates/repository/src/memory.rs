//! One budget of memory for all parts of an operation (engine §5).
//!
//! Parts that can do with less ask here first: the packs that are filled and uploaded, those that are read back or restored, the
//! trees that are kept for being read again, the threads of a backup. Each says what it wants and the least with which it can
//! work, and adapts to what it gets: fewer uploads in flight, fewer threads, a smaller cache. A part that has used up its share
//! waits for itself, so none ever waits for another one, and nothing can lock up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

/// What a container without a limit may use: enough for eight threads at full speed; a volume seldom has more for them.
const UNLIMITED: u64 = 1 << 30;

/// Parts of the limit that are not for the engine: the program itself, threads' stacks, sockets, buffers of TLS, what the
/// allocator keeps, and the page cache that the kernel counts as ours while it is being written back.
const RESERVED_LEAST: u64 = 48 << 20;
/// See [`RESERVED_LEAST`]: a quarter of the limit if that is more.
const RESERVED_PART: u64 = 4;

/// Memory that parts of an operation share. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    ledger: Arc<Ledger>,
}

#[derive(Debug)]
struct Ledger {
    total: u64,
    drawn: Mutex<u64>,
}

impl MemoryBudget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(total: u64) -> Self {
        Self { ledger: Arc::new(Ledger { total, drawn: Mutex::new(0) }) }
    }

    /// What the limit of this process's container leaves, or what is enough where there is no limit.
    #[must_use]
    pub fn of_container() -> Self {
        Self::new(usable(container_limit(Path::new("/")).unwrap_or(UNLIMITED).min(UNLIMITED)))
    }

    /// Bytes in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.ledger.total
    }

    /// Bytes that parts hold now. More than [`Self::total`] where parts needed their least although nothing was left.
    #[must_use]
    pub fn drawn(&self) -> u64 {
        *self.ledger.drawn.lock()
    }

    /// As much of `wanted` bytes as is left, up to a quarter of all, and never less than `least`. For parts that work beside
    /// others and begin before them.
    #[must_use]
    pub fn draw_part(&self, least: u64, wanted: u64) -> Share {
        self.draw(least, wanted.min(self.total() / 4))
    }

    /// As much of `wanted` bytes as is left, and never less than `least`.
    #[must_use]
    pub fn draw(&self, least: u64, wanted: u64) -> Share {
        let mut drawn = self.ledger.drawn.lock();
        let bytes = self.ledger.total.saturating_sub(*drawn).min(wanted).max(least);
        *drawn += bytes;
        Share { budget: self.clone(), bytes }
    }
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self::of_container()
    }
}

/// What a part holds of the budget; it goes back when this is dropped.
#[derive(Debug)]
pub struct Share {
    budget: MemoryBudget,
    bytes: u64,
}

impl Share {
    /// How much it is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Says that it is so much now. For what must grow, the index: others get the less.
    pub fn set(&mut self, bytes: u64) {
        let mut drawn = self.budget.ledger.drawn.lock();
        *drawn = (*drawn - self.bytes) + bytes;
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.budget.ledger.drawn.lock() -= self.bytes;
    }
}

fn usable(limit: u64) -> u64 {
    limit.saturating_sub((limit / RESERVED_PART).max(RESERVED_LEAST))
}

/// The smallest limit of the process's control group and those above it, in bytes; `None` if there is none, or it cannot be read.
fn container_limit(root: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    groups.lines().filter_map(|line| limit_of_line(root, line)).min()
}

/// A line is `0::/path` of the one hierarchy of version 2, or `4:memory:/path` of version 1.
fn limit_of_line(root: &Path, line: &str) -> Option<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
    let (mount, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|controller| controller == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return None,
    };
    let mount = root.join(mount);
    // Within a container the path may be that of the host, and the mount begins further down: then the mount's own limit counts.
    let groups: Vec<PathBuf> =
        mount.join(path).ancestors().take_while(|group| group.starts_with(&mount)).map(PathBuf::from).collect();
    groups.iter().filter_map(|group| std::fs::read_to_string(group.join(file)).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parts_get_what_is_left_and_never_less_than_their_least() {
        let budget = MemoryBudget::new(100);
        let mut index = budget.draw(30, 30);
        let uploads = budget.draw(10, 60);
        let cache = budget.draw(5, 40);
        assert_eq!([index.bytes(), uploads.bytes(), cache.bytes(), budget.drawn()], [30, 60, 10, 100]);
        assert_eq!(budget.draw(7, 40).bytes(), 7);
        drop(uploads);
        index.set(90);
        assert_eq!(budget.draw(3, 40).bytes(), 3, "the index grew into what was given back");
        drop((index, cache));
        assert_eq!(budget.drawn(), 0);
        assert_eq!(
            [budget.draw_part(5, 60).bytes(), budget.draw_part(30, 60).bytes(), budget.draw_part(5, 8).bytes()],
            [25, 30, 8]
        );
    }

    fn limit_with(group: &str, files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in [("proc/self/cgroup", group)].iter().chain(files) {
            let file = root.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        }
        container_limit(root.path())
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let pod = ("sys/fs/cgroup/pod/memory.max", "268435456\n");
        assert_eq!(limit_with("0::/pod/mover\n", &[pod, ("sys/fs/cgroup/pod/mover/memory.max", "max\n")]), Some(256 << 20));
        assert_eq!(limit_with("0::/pod/mover\n", &[pod, ("sys/fs/cgroup/pod/mover/memory.max", "1048576\n")]), Some(1 << 20));
        // In a container of its own namespace the group is the root of what can be seen.
        assert_eq!(limit_with("0::/\n", &[("sys/fs/cgroup/memory.max", "4096\n")]), Some(4096));
        assert_eq!(limit_with("0::/kubepods/of/the/host\n", &[("sys/fs/cgroup/memory.max", "4096\n")]), Some(4096));
        let version_1 = "5:cpu,cpuacct:/a\n4:memory:/a\n0::/\n";
        assert_eq!(limit_with(version_1, &[("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "8192\n")]), Some(8192));
        assert_eq!(limit_with("0::/a\n", &[("sys/fs/cgroup/a/memory.max", "max\n")]), None);
        assert_eq!(limit_with("nonsense\n", &[]), None);
    }

    #[test]
    fn the_program_itself_needs_some_of_it() {
        assert_eq!(usable(256 << 20), 192 << 20);
        assert_eq!(usable(128 << 20), 80 << 20);
        assert_eq!(usable(16 << 20), 0);
    }
}
