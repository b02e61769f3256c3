//! Clients that do things in the wrong order must be found out: a harness that finds nothing in them proves nothing of ours.

use std::sync::Arc;

use object_store::ObjectStore;

use crate::enumerate::Wrap;
use crate::held_back::HeldBack;
use crate::hunt::Hunt;
use crate::operation::Operation;

/// More than enough: each is found within a scenario or two.
const POINTS: usize = 3000;

#[track_caller]
fn is_found(operation: Operation, wrap: Wrap) {
    let hunt = Hunt { points: POINTS, operation: Some(operation), wrap: Some(wrap), ..Hunt::default() };
    let found = hunt.run();
    let Some(violation) = found.violation else { panic!("{:?} points of {operation:?}, and nothing was found", found.tally) };
    println!("{violation}");
}

/// restic's law: no index names a pack that is not there.
#[test]
fn an_index_before_its_pack() {
    fn wrap(store: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        HeldBack::store(store, &["+data"], "+index")
    }
    is_found(Operation::Backup, wrap);
    is_found(Operation::Prune, wrap);
}

#[test]
fn a_snapshot_before_its_index() {
    is_found(Operation::Backup, |store| HeldBack::store(store, &["+index"], "+snapshots"));
}

#[test]
fn packs_deleted_before_the_index_that_names_them_is_replaced() {
    is_found(Operation::Prune, |store| HeldBack::store(store, &["+index", "-index"], "-data"));
}

/// The weaker form: the new index is there, the old one still names what is gone.
#[test]
fn packs_deleted_before_the_index_that_names_them_is_deleted() {
    is_found(Operation::Prune, |store| HeldBack::store(store, &["-index"], "-data"));
}

#[test]
fn a_damaged_index_deleted_before_its_packs_are_indexed_anew() {
    is_found(Operation::Repair, |store| HeldBack::store(store, &["+index"], "-index"));
}

#[test]
fn the_old_key_deleted_before_the_new_one_is_there() {
    is_found(Operation::ChangePassword, |store| HeldBack::store(store, &["+keys"], "-keys"));
}

/// restic#2452: locks that nobody removes.
#[test]
fn locks_that_stay() {
    is_found(Operation::Forget, |store| HeldBack::store(store, &["-locks"], "+nothing"));
}
