//! Who we are in our locks, and whether the holders of others live (invariant I7).

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use repository::source::users::Users;
use repository::{Id, LockHolder, LockIdentity, LockJudge, LockTimes, LockVerdict};
use rustix::io::Errno;
use rustix::process::{Pid, getgid, getuid, test_kill_process};
use rustix::system::uname;

/// The kernel's number of the process namespace that all others are in.
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

/// This machine's name.
#[must_use]
pub fn hostname() -> String {
    uname().nodename().to_string_lossy().into_owned()
}

/// The name of who runs this process.
#[must_use]
pub fn username() -> String {
    Users::local().user(getuid().as_raw()).to_owned()
}

/// Who we are in our locks. Stock restic judges a lock of its own host by the process id, so both are the real ones.
#[must_use]
pub fn identity() -> LockIdentity {
    LockIdentity {
        hostname: hostname(),
        username: username(),
        pid: std::process::id(),
        uid: getuid().as_raw(),
        gid: getgid().as_raw(),
        machine_id: place_of_processes(),
        ..LockIdentity::default()
    }
}

/// Where this process's id means something: one boot of one machine, and one namespace of its processes. Empty if that cannot be
/// known.
fn place_of_processes() -> String {
    match (fs::read_to_string("/proc/sys/kernel/random/boot_id"), namespace()) {
        (Ok(boot), Some(namespace)) => format!("boot {} {namespace}", boot.trim()),
        _ => String::new(),
    }
}

fn namespace() -> Option<String> {
    fs::read_link("/proc/self/ns/pid").ok().map(|link| link.to_string_lossy().into_owned())
}

/// Judges by what this machine knows of its own processes: a lock taken in this boot and this namespace, by a process that is gone,
/// is dead. Of everything else it knows nothing.
#[derive(Debug)]
pub struct SameMachine {
    place: String,
}

impl SameMachine {
    #[must_use]
    pub fn new() -> Self {
        Self { place: place_of_processes() }
    }

    fn verdict(&self, holder: &LockHolder) -> LockVerdict {
        if self.place.is_empty() || holder.machine_id != self.place {
            return LockVerdict::Unknown;
        }
        if process_exists(holder.pid) {
            LockVerdict::Alive
        } else {
            LockVerdict::Dead { proof: format!("process {} of this machine has ended", holder.pid) }
        }
    }
}

#[async_trait]
impl LockJudge for SameMachine {
    async fn judge(&self, holder: &LockHolder) -> LockVerdict {
        self.verdict(holder)
    }
}

/// Whether a process of this namespace has the id; what cannot be known counts as yes.
fn process_exists(pid: i64) -> bool {
    match i32::try_from(pid).ok().and_then(Pid::from_raw) {
        Some(pid) => test_kill_process(pid) != Err(Errno::SRCH),
        None => true,
    }
}

/// Whether any process of this machine has the id in its own namespace: a lock that was taken in a container carries the id that the
/// process has there. `true` where not all processes can be seen.
fn process_exists_in_any_namespace(pid: i64) -> bool {
    namespace().as_deref() != Some(FIRST_NAMESPACE) || process_exists(pid) || is_listed(Path::new("/proc"), pid)
}

/// The same by a directory like `/proc`, where processes may be hidden from who is not root (`hidepid`). One that cannot be looked
/// at may have the id.
fn is_listed(proc: &Path, pid: i64) -> bool {
    let status_of = |process: &Path| fs::read_to_string(process.join("status"));
    let own_id = |status: &str| -> Option<i64> {
        status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_whitespace().next_back()?.parse().ok()
    };
    // The first process always runs; where it is hidden, so are others.
    if status_of(&proc.join("1")).is_err() {
        return true;
    }
    let Ok(mut processes) = fs::read_dir(proc) else { return true };
    processes.any(|process| {
        let Ok(process) = process else { return true };
        let is_process = process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
        is_process
            && match status_of(&process.path()) {
                Ok(status) => own_id(&status).is_none_or(|id| id == pid),
                Err(error) => !has_ended(&error),
            }
    })
}

/// Whether a process's file cannot be read because the process ended meanwhile.
fn has_ended(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::SRCH))
}

/// Judges for `unlock`: by this machine's processes, and by restic's rule that a lock is stale after half an hour. What only looks
/// dead is looked at twice. Why locks stay is kept.
#[derive(Debug)]
pub struct Unlocking {
    same_machine: SameMachine,
    hostname: String,
    /// What time it is by the store's clock, and by ours.
    store_now: Timestamp,
    now: Timestamp,
    times: LockTimes,
    process_exists: fn(i64) -> bool,
    /// Locks that looked dead before, so long ago that a holder that lives has put another in its place.
    seen_before: Vec<Id>,
    /// Locks that look dead and were not seen before, and why they do.
    suspects: Mutex<Vec<(LockHolder, String)>>,
    stays: Mutex<Vec<(Id, String)>>,
}

/// What is known of the holder of a lock.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// It is gone, with the proof.
    Dead(String),
    /// It looks gone, and why; if it lives, it refreshes its lock before the next look.
    LooksDead(String),
    /// Why the lock stays.
    Stays(String),
}

impl Unlocking {
    #[must_use]
    pub fn new(store_now: Timestamp) -> Self {
        Self {
            same_machine: SameMachine::new(),
            hostname: hostname(),
            store_now,
            now: Timestamp::now(),
            times: LockTimes::default(),
            process_exists: process_exists_in_any_namespace,
            seen_before: Vec::new(),
            suspects: Mutex::default(),
            stays: Mutex::default(),
        }
    }

    /// For a look at least [`LockTimes::between_looks`] after the one at which the locks `seen_before` looked dead.
    #[must_use]
    pub fn again(store_now: Timestamp, seen_before: Vec<Id>) -> Self {
        Self { seen_before, ..Self::new(store_now) }
    }

    /// Locks that look dead and need a second look, and why they look so.
    pub fn suspects(&self) -> Vec<(LockHolder, String)> {
        held(&self.suspects).clone()
    }

    /// Why a lock stays, if it was judged.
    pub fn reason(&self, lock: &Id) -> Option<String> {
        held(&self.stays).iter().find(|(id, _)| id == lock).map(|(_, reason)| reason.clone())
    }

    fn find(&self, holder: &LockHolder) -> Finding {
        match self.same_machine.verdict(holder) {
            LockVerdict::Dead { proof } => return Finding::Dead(proof),
            LockVerdict::Alive => return Finding::Stays(format!("process {} runs on this machine", holder.pid)),
            LockVerdict::Unknown => {}
        }
        let age = age_at(self.store_now, holder.modified);
        // Machines may share a name, so it does not count where a lock says itself that its process runs elsewhere.
        let here = holder.machine_id.is_empty() && holder.hostname == self.hostname && !self.hostname.is_empty();
        // A holder that lives refreshes its lock more often than that, wherever it runs.
        if here && age > self.times.between_looks && !(self.process_exists)(holder.pid) {
            return Finding::LooksDead(format!(
                "no process {} runs on this machine, and nobody refreshed it for {} s",
                holder.pid,
                age.as_secs()
            ));
        }
        // Both clocks must agree: one of them may be wrong.
        let own_age = holder.time.parse().map_or(Duration::ZERO, |time| age_at(self.now, time));
        let youngest = age.min(own_age);
        if youngest > self.times.stale {
            return Finding::LooksDead(format!("it is stale: nobody refreshed it for {} s", youngest.as_secs()));
        }
        let left = self.times.stale.saturating_sub(youngest);
        Finding::Stays(format!(
            "refreshed {} s ago, and nothing proves that its holder is dead; unless it is refreshed it is stale in {} s",
            youngest.as_secs(),
            left.as_secs()
        ))
    }
}

#[async_trait]
impl LockJudge for Unlocking {
    async fn judge(&self, holder: &LockHolder) -> LockVerdict {
        let reason = match self.find(holder) {
            Finding::Dead(proof) => return LockVerdict::Dead { proof },
            Finding::LooksDead(sign) if self.seen_before.contains(&holder.lock_id) => {
                let pause = self.times.between_looks.as_secs();
                return LockVerdict::Dead { proof: format!("{sign}, and it was the same {pause} s ago") };
            }
            Finding::LooksDead(sign) => {
                held(&self.suspects).push((holder.clone(), sign.clone()));
                format!("{sign}, but only a second look tells whether its holder lives")
            }
            Finding::Stays(reason) => reason,
        };
        held(&self.stays).push((holder.lock_id, reason));
        LockVerdict::Unknown
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn age_at(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    const MINUTE: i64 = 60;

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }

    fn holder(pid: i64, minutes: i64) -> LockHolder {
        let then = Timestamp::from_second(now().as_second() - minutes * MINUTE).unwrap();
        LockHolder {
            lock_id: Id::of(b"lock"),
            exclusive: false,
            modified: then,
            time: then.to_string(),
            hostname: "elsewhere".to_owned(),
            username: String::new(),
            pid,
            cluster_uid: String::new(),
            pod_uid: String::new(),
            machine_id: String::new(),
        }
    }

    /// On a machine on which no process has any id.
    fn unlocking() -> Unlocking {
        Unlocking { now: now(), process_exists: |_| false, ..Unlocking::new(now()) }
    }

    fn proof(judge: &Unlocking, holder: &LockHolder) -> Option<String> {
        if let Finding::Dead(proof) = judge.find(holder) { Some(proof) } else { None }
    }

    fn looks_dead(judge: &Unlocking, holder: &LockHolder) -> Option<String> {
        if let Finding::LooksDead(sign) = judge.find(holder) { Some(sign) } else { None }
    }

    fn stays(judge: &Unlocking, holder: &LockHolder) -> Option<String> {
        if let Finding::Stays(reason) = judge.find(holder) { Some(reason) } else { None }
    }

    /// A process id that nothing has: of a child that ended and was waited for.
    fn ended() -> i64 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id().into()
    }

    /// Invariant I7: only what is proven is removed.
    #[test]
    fn our_own_locks_die_with_their_process_and_no_sooner() {
        let judge = unlocking();
        let here = |pid| LockHolder { machine_id: place_of_processes(), ..holder(pid, 0) };
        assert!(proof(&judge, &here(ended())).unwrap().contains("has ended"));
        assert!(stays(&judge, &here(std::process::id().into())).unwrap().contains("runs on this machine"));
    }

    /// Clones share a name; a lock that names another place is not judged by ours.
    #[test]
    fn locks_of_another_boot_or_machine_die_of_age_only() {
        let judge = unlocking();
        let of_a_clone = |minutes| LockHolder {
            hostname: hostname(),
            machine_id: "boot other pid:[1]".to_owned(),
            ..holder(ended(), minutes)
        };
        assert!(stays(&judge, &of_a_clone(29)).is_some());
        assert!(looks_dead(&judge, &of_a_clone(31)).unwrap().contains("stale"));
    }

    #[test]
    fn locks_of_others_die_of_age_by_both_clocks() {
        let judge = unlocking();
        assert!(looks_dead(&judge, &holder(1, 31)).unwrap().contains("stale"));
        assert!(stays(&judge, &holder(1, 29)).unwrap().contains("stale in 60 s"));
        let young_in_the_store = LockHolder { modified: now(), ..holder(1, 31) };
        assert!(stays(&judge, &young_in_the_store).is_some());
        let young_by_its_own_word = LockHolder { time: now().to_string(), ..holder(1, 31) };
        assert!(stays(&judge, &young_by_its_own_word).is_some());
        let nonsense = LockHolder { time: "yesterday".to_owned(), ..holder(1, 31) };
        assert!(stays(&judge, &nonsense).is_some());
    }

    #[test]
    fn a_lock_of_this_host_needs_a_missing_process_and_a_missed_refresh() {
        let judge = unlocking();
        let here = |minutes| LockHolder { hostname: hostname(), ..holder(1, minutes) };
        assert!(stays(&judge, &here(1)).is_some(), "one that lives refreshes it before long");
        assert!(looks_dead(&judge, &here(10)).unwrap().contains("no process"));
        let crowded = Unlocking { process_exists: |_| true, ..unlocking() };
        assert!(stays(&crowded, &here(10)).is_some());
        assert!(process_exists_in_any_namespace(std::process::id().into()));
    }

    /// Where the system hides processes (`hidepid`), what is not seen may live.
    #[test]
    fn a_process_that_cannot_be_looked_at_may_be_the_holder() {
        let proc = tempfile::tempdir().unwrap();
        let add = |process: &str, ids: &str| {
            fs::create_dir(proc.path().join(process)).unwrap();
            fs::write(proc.path().join(process).join("status"), format!("Name:\tx\nNSpid:\t{ids}\nThreads:\t1\n")).unwrap();
        };
        assert!(is_listed(proc.path(), 9), "the first process is hidden, and so may be others");
        add("1", "1");
        add("50", "50\t7");
        add("sys", "9");
        fs::create_dir(proc.path().join("51")).unwrap();
        assert!(!is_listed(proc.path(), 9), "one that has ended meanwhile is gone");
        assert!(is_listed(proc.path(), 7), "an id in a container");
        // It can be read by nobody, for it is a directory.
        fs::create_dir_all(proc.path().join("52/status")).unwrap();
        assert!(is_listed(proc.path(), 9));
    }

    /// Reliability E5: a holder that lives has refreshed its lock between two looks.
    #[tokio::test]
    async fn a_lock_that_looks_dead_goes_at_the_second_look() {
        let first = unlocking();
        let lock = holder(1, 31);
        assert_eq!(first.judge(&lock).await, LockVerdict::Unknown);
        assert!(first.reason(&lock.lock_id).unwrap().contains("second look"));
        let suspects: Vec<Id> = first.suspects().into_iter().map(|(holder, _)| holder.lock_id).collect();
        assert_eq!(suspects, [lock.lock_id]);
        let second = Unlocking { seen_before: suspects, ..unlocking() };
        let LockVerdict::Dead { proof } = second.judge(&lock).await else { panic!("{second:?}") };
        assert!(proof.contains("stale") && proof.contains("330 s ago"), "{proof}");
        let another = LockHolder { lock_id: Id::of(b"refreshed"), ..lock };
        assert_eq!(second.judge(&another).await, LockVerdict::Unknown);
    }

    #[tokio::test]
    async fn why_a_lock_stays_is_kept() {
        let judge = unlocking();
        let lock = holder(1, 5);
        assert_eq!(judge.judge(&lock).await, LockVerdict::Unknown);
        assert!(judge.reason(&lock.lock_id).unwrap().contains("refreshed 300 s ago"));
        assert_eq!(judge.reason(&Id::of(b"other")), None);
    }
}
