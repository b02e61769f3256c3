//! What the harnesses share: a store in memory that can be forked, a stage on which the same seed plays the same, contents to back
//! up, clients with their locks, and a reader that believes nothing.
#![allow(dead_code, unused_imports, reason = "each harness uses its part")]

mod care;
mod client;
mod content;
mod dice;
mod interposed;
mod reader;
mod stage;
mod store;

pub use care::{complaints, mend, prune, prune_thoroughly, thorough};
pub use client::{AllDead, NEW_PASSWORD, PASSWORD, alone, init, key_options, locked, open};
pub use content::{Content, Pool, Saving, back_up, save};
pub use dice::{Dice, mix};
pub use interposed::{Interposed, Interposer, answer};
pub use reader::{Names, Reader, names};
pub use stage::{Stage, caught, on_all_cores, play_seeds};
pub use store::{MapStore, Objects};
