//! Work for the threads of a backup: last in, first out, so that a walk goes into the depth and little waits.

use parking_lot::{Condvar, Mutex};

/// A stack that threads wait at.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    stack: Vec<T>,
    waiting: usize,
    closed: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { state: Mutex::new(State { stack: Vec::new(), waiting: 0, closed: false }), changed: Condvar::new() }
    }
}

impl<T> Queue<T> {
    /// Adds work; the first of `tasks` is taken first.
    pub(super) fn push_all(&self, tasks: Vec<T>) {
        let mut state = self.state.lock();
        let count = tasks.len();
        state.stack.extend(tasks.into_iter().rev());
        drop(state);
        for _ in 0..count {
            if !self.changed.notify_one() {
                break;
            }
        }
    }

    /// Gives the task to a thread that has nothing to do, or back to the caller, who then does it himself. So no more data waits
    /// than there are threads, without a limit to be tuned.
    pub(super) fn hand_over(&self, task: T) -> Result<(), T> {
        let mut state = self.state.lock();
        if state.waiting <= state.stack.len() {
            return Err(task);
        }
        state.stack.push(task);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// The next task; waits for one. `None` when there will be none any more.
    pub(super) fn pop(&self) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(task) = state.stack.pop() {
                return Some(task);
            }
            state.waiting += 1;
            self.changed.wait(&mut state);
            state.waiting -= 1;
        }
    }

    /// Ends the work: tasks that wait are dropped, threads that wait go home.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let dropped = std::mem::take(&mut state.stack);
        drop(state);
        self.changed.notify_all();
        drop(dropped);
    }
}

/// Closes the queue if its thread panics, so that the others do not wait for ever.
pub(super) struct CloseOnPanic<'a, T>(pub(super) &'a Queue<T>);

impl<T> Drop for CloseOnPanic<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn work_is_taken_depth_first_and_given_only_to_idle_threads() {
        let queue = Queue::default();
        queue.push_all(vec![1, 2]);
        assert_eq!(queue.hand_over(3), Err(3), "nobody waits");
        queue.push_all(vec![4]);
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(4), Some(1), Some(2)));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| queue.pop());
            while queue.hand_over(5).is_err() {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(waiter.join().is_ok_and(|task| task == Some(5)));
        });
        queue.push_all(vec![6]);
        queue.close();
        assert_eq!(queue.pop(), None);
    }
}
