//! Mistakes on purpose, for the tests of the tests.
//!
//! A harness that looks for lost data proves something only if it finds data that is lost. Threads that take part in a
//! `Rehearsal` make the mistake that it plants, and draw keys and nonces from its seed, so that a failure can be played again.
//! All of it exists only with the feature `planted-bugs`, for which nothing asks but this crate's own tests; without it the
//! macros are the constant `false` and the true time. Programs that are built together with the tests, those of the demo, have
//! it too, and no thread of theirs takes part in anything; released programs are built without.

/// Whether a mistake is planted in this thread.
#[cfg(feature = "planted-bugs")]
macro_rules! planted {
    ($bug:ident) => {
        $crate::planted::has($crate::planted::Bug::$bug)
    };
}

/// Fills bytes that should be random if this thread rehearses; says whether it does.
#[cfg(feature = "planted-bugs")]
macro_rules! rehearsed {
    ($bytes:expr, $about:expr) => {
        $crate::planted::fill($bytes, $about)
    };
}

/// The time, which stands still in a rehearsal.
#[cfg(feature = "planted-bugs")]
macro_rules! the_time {
    () => {
        $crate::planted::time()
    };
}

#[cfg(not(feature = "planted-bugs"))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

#[cfg(not(feature = "planted-bugs"))]
macro_rules! rehearsed {
    ($bytes:expr, $about:expr) => {
        false
    };
}

#[cfg(not(feature = "planted-bugs"))]
macro_rules! the_time {
    () => {
        jiff::Timestamp::now()
    };
}

#[cfg(feature = "planted-bugs")]
pub use rehearsal::{Bug, Rehearsal};
#[cfg(feature = "planted-bugs")]
pub(crate) use rehearsal::{fill, has, time};

#[cfg(feature = "planted-bugs")]
mod rehearsal {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::sync::Arc;

    use parking_lot::Mutex;

    /// A mistake, most of them made before by others.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Bug {
        /// A pack whose upload failed is forgotten and the backup goes on (restic#3646).
        FailedUploadForgotten,
        /// An index file is taken for written because the store said so.
        IndexUnconfirmed,
        /// A prune does not look again before it deletes.
        PruneLooksOnce,
        /// Locks in the way are removed, whoever holds them.
        LocksRemovedUnproven,
        /// A snapshot is written without a look at whether our lock is still there.
        LostLockUnnoticed,
        /// Neither a blob's authenticator nor its sum is looked at.
        BlobsUnverified,
        /// A restore keeps to itself what it could not restore (restic#3439).
        RestoreErrorsForgotten,
    }

    /// What some threads rehearse together. Clones are the same rehearsal.
    #[derive(Debug, Clone, Default)]
    pub struct Rehearsal {
        script: Arc<Mutex<Script>>,
    }

    #[derive(Debug, Default)]
    struct Script {
        bug: Option<Bug>,
        seed: Option<u64>,
        /// How often the same was sealed; not when, for threads do not take turns in the same order each time.
        sealed: HashMap<u64, u64>,
    }

    thread_local! {
        static REHEARSAL: RefCell<Option<Rehearsal>> = const { RefCell::new(None) };
    }

    impl Rehearsal {
        /// Makes this thread take part, until it joins another rehearsal.
        pub fn join(&self) {
            REHEARSAL.set(Some(self.clone()));
        }

        /// Plants a mistake, or takes it out again.
        pub fn plant(&self, bug: Option<Bug>) {
            self.script.lock().bug = bug;
        }

        /// Master keys and nonces follow from this number and from what is sealed, from now on.
        pub fn seed(&self, seed: u64) {
            let mut script = self.script.lock();
            script.seed = Some(seed);
            script.sealed.clear();
        }
    }

    pub(crate) fn has(bug: Bug) -> bool {
        REHEARSAL.with_borrow(|rehearsal| rehearsal.as_ref().is_some_and(|rehearsal| rehearsal.script.lock().bug == Some(bug)))
    }

    /// Fills `bytes` by the rehearsal's seed, by what they are for, and by how often they were asked for the same.
    pub(crate) fn fill(bytes: &mut [u8], about: &[u8]) -> bool {
        REHEARSAL.with_borrow(|rehearsal| {
            let Some(rehearsal) = rehearsal else { return false };
            let mut script = rehearsal.script.lock();
            let Some(seed) = script.seed else { return false };
            let about = digest(seed, about);
            let count = script.sealed.entry(about).or_default();
            *count += 1;
            let mut state = about ^ count.rotate_left(32);
            for some in bytes.chunks_mut(8) {
                state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                some.copy_from_slice(&scramble(state).to_le_bytes()[..some.len()]);
            }
            true
        })
    }

    /// The time that locks and keys say of themselves.
    pub(crate) fn time() -> jiff::Timestamp {
        let rehearses = REHEARSAL.with_borrow(|rehearsal| rehearsal.as_ref().is_some_and(|it| it.script.lock().seed.is_some()));
        if rehearses { jiff::Timestamp::UNIX_EPOCH } else { jiff::Timestamp::now() }
    }

    fn digest(seed: u64, bytes: &[u8]) -> u64 {
        bytes.chunks(8).fold(scramble(seed), |digest, some| {
            let mut word = [0; 8];
            word[..some.len()].copy_from_slice(some);
            (digest.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0xFF51_AFD7_ED55_8CCD)
        })
    }

    /// SplitMix64's finaliser.
    fn scramble(mut value: u64) -> u64 {
        value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ value >> 31
    }
}
