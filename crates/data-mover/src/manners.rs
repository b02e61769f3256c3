//! Manners towards the node: the priorities that the user chose for a mover (KubeStash's `runtimeSettings.container.nice` and
//! `.ionice`).
//!
//! While a process sets no I/O priority of its own, Linux derives it from the nice value. Which of them counts is the disk's I/O
//! scheduler's matter: BFQ and mq-deadline heed both, others none.

use std::io;

use rustix::io::Errno;
use rustix::process::{getpriority_process, setpriority_process};

use crate::environment::Variables;

/// Added to the nice value, as the planner passes it on.
const NICE_ADJUSTMENT: &str = "NICE_ADJUSTMENT";
/// I/O scheduling class, likewise.
const IONICE_CLASS: &str = "IONICE_CLASS";
/// Priority within the class, likewise.
const IONICE_CLASS_DATA: &str = "IONICE_CLASS_DATA";

/// Classes as `ionice` numbers them: none, realtime, best effort, idle.
const CLASSES: std::ops::RangeInclusive<i32> = 0..=3;
/// Priorities within a class, from the highest to the lowest.
const PRIORITIES: std::ops::RangeInclusive<i32> = 0..=7;
/// What `ionice` takes when only a class is given.
const MIDDLE_PRIORITY: i32 = 4;
/// Classes with priorities: realtime and best effort.
const CLASSES_WITH_PRIORITIES: std::ops::RangeInclusive<i32> = 1..=2;
/// Where the kernel's value keeps the class.
const CLASS_SHIFT: i32 = 13;

/// Takes on the priorities that the environment asks for. To be called before any other thread starts, for threads inherit them. The
/// answer is what could not be done, as sentences: none of it is worth failing a backup for.
#[must_use]
pub fn adopt(variables: &Variables<'_>) -> Vec<String> {
    let set = |name| (variables.0)(name).filter(|value| !value.is_empty());
    let nice = set(NICE_ADJUSTMENT).and_then(|value| adjust_nice(&value).err());
    let ionice = set(IONICE_CLASS).and_then(|class| adjust_ionice(&class, set(IONICE_CLASS_DATA).as_deref()).err());
    nice.into_iter().chain(ionice).collect()
}

fn adjust_nice(adjustment: &str) -> Result<(), String> {
    let parsed: i32 = adjustment
        .parse()
        .map_err(|_| format!("{NICE_ADJUSTMENT} {adjustment:?} is not applied: it is no whole number from -20 to 19"))?;
    getpriority_process(None).and_then(|current| setpriority_process(None, wanted(current, parsed))).map_err(|errno| {
        let remedy = if matches!(errno, Errno::ACCESS | Errno::PERM) {
            "; a process without CAP_SYS_NICE may only become nicer"
        } else {
            ""
        };
        format!("{NICE_ADJUSTMENT} {adjustment} is not applied: {errno}{remedy}")
    })
}

fn wanted(current: i32, adjustment: i32) -> i32 {
    current.saturating_add(adjustment).clamp(-20, 19)
}

fn adjust_ionice(class: &str, data: Option<&str>) -> Result<(), String> {
    let number = |name: &str, text: &str, range: std::ops::RangeInclusive<i32>| {
        let parsed = text.parse().ok().filter(|number| range.contains(number));
        let (first, last) = (range.start(), range.end());
        parsed.ok_or_else(|| format!("{name} {text:?} is not applied: it is no whole number from {first} to {last}"))
    };
    let class = number(IONICE_CLASS, class, CLASSES)?;
    let data = data.map_or(Ok(MIDDLE_PRIORITY), |data| number(IONICE_CLASS_DATA, data, PRIORITIES))?;
    let data = if CLASSES_WITH_PRIORITIES.contains(&class) { data } else { 0 };
    set_io_priority(class << CLASS_SHIFT | data).map_err(|errno| {
        let remedy = if errno == Errno::PERM { "; class 1 is for processes with CAP_SYS_NICE, use 2 or 3" } else { "" };
        format!("{IONICE_CLASS} {class} is not applied: {errno}{remedy}")
    })
}

/// Sets the I/O priority of the calling thread.
fn set_io_priority(priority: i32) -> Result<(), Errno> {
    // SAFETY: three numbers go in and one comes out; no memory of ours is touched.
    #[expect(unsafe_code, reason = "no safe interface among our dependencies has this call")]
    let answer = unsafe { libc::syscall(libc::SYS_ioprio_set, THIS_PROCESS, 0, priority) };
    if answer == 0 { Ok(()) } else { Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)) }
}

/// `IOPRIO_WHO_PROCESS`: the number that follows is a thread's, 0 the caller's.
const THIS_PROCESS: i32 = 1;

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    #[test]
    fn nice_values_stay_in_range() {
        assert_eq!([wanted(0, 5), wanted(5, 19), wanted(0, -30), wanted(19, i32::MAX)], [5, 19, -20, 19]);
    }

    /// A thread of its own, because on Linux the value is the thread's.
    #[test]
    fn the_environment_is_obeyed_and_what_is_not_is_told() {
        let tried = std::thread::spawn(|| {
            let before = getpriority_process(None);
            let value = |name: &str| (name == NICE_ADJUSTMENT).then(|| "3".to_owned());
            let complaints = adopt(&Variables(&value));
            let inherited = std::thread::spawn(|| getpriority_process(None)).join();
            (before, complaints, inherited)
        });
        let Ok((Ok(before), complaints, Ok(Ok(inherited)))) = tried.join() else { panic!("no priorities") };
        assert_eq!(complaints, Vec::<String>::new());
        assert_eq!(inherited, wanted(before, 3), "threads that start later have it too");
        let complaints = adopt(&Variables(&|_| Some("very".to_owned())));
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert!(complaints[0].contains("\"very\"") && complaints[1].contains("IONICE_CLASS \"very\""), "{complaints:?}");
        assert_eq!(adopt(&Variables(&|_| None)), Vec::<String>::new());
    }

    fn io_priority() -> i64 {
        // SAFETY: two numbers go in and one comes out.
        #[expect(unsafe_code, reason = "no safe interface among our dependencies has this call")]
        let answer = unsafe { libc::syscall(libc::SYS_ioprio_get, THIS_PROCESS, 0) };
        answer
    }

    /// Reliability F12: the I/O of all threads gives way as the user said.
    #[test]
    fn the_io_priority_is_taken_on_and_inherited() {
        for (class, data, expected) in [("2", Some("7"), 2 << 13 | 7), ("2", None, 2 << 13 | 4), ("3", Some("5"), 3 << 13)] {
            let tried = std::thread::spawn(move || {
                let value = |name: &str| match name {
                    IONICE_CLASS => Some(class.to_owned()),
                    IONICE_CLASS_DATA => data.map(ToOwned::to_owned),
                    _ => None,
                };
                let complaints = adopt(&Variables(&value));
                (complaints, io_priority(), std::thread::spawn(io_priority).join())
            });
            let Ok((complaints, own, Ok(inherited))) = tried.join() else { panic!("no threads") };
            assert_eq!((complaints, own, inherited), (Vec::new(), expected, expected), "{class} {data:?}");
        }
        let beyond = |name: &str| (name != NICE_ADJUSTMENT).then(|| "8".to_owned());
        let complaints = adopt(&Variables(&beyond));
        assert_eq!(complaints, ["IONICE_CLASS \"8\" is not applied: it is no whole number from 0 to 3"]);
    }
}
