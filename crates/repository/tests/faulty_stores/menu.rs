//! Which troubles a schedule has.

use crate::harness::Dice;

/// What a store may do to a call. A schedule has some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 500, 503, reset: nothing is done.
    Refused,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// A part of the object is there, and the answer is lost.
    TornAnswerLost,
    /// A part of the object is there, and that is called success.
    Truncated,
    /// Nothing is there, and that is called success.
    Swallowed,
    /// A delete that does nothing, and is called success.
    Undeleted,
    /// The body ends early.
    BodyCut,
    /// A bit of the body is another one.
    BodyFlipped,
    /// A listing that ends with an error.
    ListBroken,
    /// A listing in which a page is missing.
    ListGap,
    /// A listing that does not know what was written a moment ago.
    ListLate,
    /// A listing that has entries twice.
    ListTwice,
    /// The call takes minutes.
    Stall,
}

impl Fault {
    const ALL: [Self; 13] = [
        Self::Refused,
        Self::AnswerLost,
        Self::TornAnswerLost,
        Self::Truncated,
        Self::Swallowed,
        Self::Undeleted,
        Self::BodyCut,
        Self::BodyFlipped,
        Self::ListBroken,
        Self::ListGap,
        Self::ListLate,
        Self::ListTwice,
        Self::Stall,
    ];
}

/// Faults and how often they come.
#[derive(Debug, Clone, Default)]
pub struct Menu {
    /// Each with the number of calls of its kind in which it comes once.
    pub faults: Vec<(Fault, usize)>,
    /// Calls take this many milliseconds at most, so that those of two clients mix; 0 where nothing may wait.
    pub delay: usize,
    /// A client is killed once in so many; never if 0.
    pub kills: usize,
    /// Two clients work at a time, once in so many steps; never if 0.
    pub pairs: usize,
    /// Somebody removes all locks by force while others work, once in so many steps; never if 0.
    pub force: usize,
}

/// One fault in three, each once in so many calls.
pub fn some_of(faults: &[Fault], often: &[usize], dice: &mut Dice) -> Vec<(Fault, usize)> {
    let mut some = Vec::new();
    for fault in faults {
        if dice.one_in(3) {
            some.push((*fault, *dice.pick(often)));
        }
    }
    some
}

impl Menu {
    /// Some of everything: a schedule with all faults at once would seldom get anywhere.
    pub fn any(dice: &mut Dice) -> Self {
        Self {
            faults: some_of(&Fault::ALL, &[3, 10, 40, 100], dice),
            delay: *dice.pick(&[1, 20, 1000]),
            kills: *dice.pick(&[0, 4, 8]),
            pairs: *dice.pick(&[0, 2, 4]),
            force: *dice.pick(&[0, 0, 0, 5]),
        }
    }

    /// These faults and nothing else.
    pub fn of(faults: &[(Fault, usize)]) -> Self {
        Self { faults: faults.to_vec(), delay: 20, ..Self::default() }
    }

    pub fn has(&self, wanted: Fault) -> bool {
        self.faults.iter().any(|(fault, _)| *fault == wanted)
    }

    /// Whether it comes now.
    pub fn comes(&self, dice: &mut Dice, wanted: Fault) -> bool {
        self.faults.iter().any(|(fault, often)| *fault == wanted && dice.one_in(*often))
    }
}
