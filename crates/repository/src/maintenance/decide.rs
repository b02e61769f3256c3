//! The pure part of planning a prune: packs with their usage in, fates with reasons out.

use super::prune_plan::{Fate, PackDecision, PruneOptions, Reason};
use super::usage::PackUsage;
use crate::objects::Listed;

/// A pack that is in the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct PackView {
    pub listed: Listed,
    /// `None` if no index names it.
    pub usage: Option<PackUsage>,
    /// It is known not to be what the index says.
    pub is_damaged: bool,
}

/// Decides on each pack.
pub(super) fn decide(packs: &[PackView], options: &PruneOptions) -> Vec<PackDecision> {
    let mut decisions: Vec<PackDecision> = packs.iter().map(first_look).collect();
    join_small(packs, options, &mut decisions);
    spend_allowance(packs, options, &mut decisions);
    decisions
}

fn first_look(view: &PackView) -> PackDecision {
    let (fate, reason) = match &view.usage {
        None => (Fate::Drop, Reason::NotIndexed),
        Some(usage) if usage.used_blobs == 0 => (Fate::Drop, Reason::NothingUsed),
        Some(_) if view.is_damaged => (Fate::Keep, Reason::Damaged),
        Some(usage) if usage.has_data && usage.has_trees => (Fate::Repack, Reason::Mixed),
        Some(usage) if usage.unused_blobs == 0 => (Fate::Keep, Reason::AllUsed),
        Some(_) => (Fate::Keep, Reason::WithinAllowance),
    };
    PackDecision {
        pack: view.listed.id,
        size: view.listed.size,
        used_bytes: view.usage.map_or(0, |usage| usage.used_bytes),
        fate,
        reason,
    }
}

/// Every backup leaves a last pack of each type that is not full; many of them make listings and indexes long.
fn join_small(packs: &[PackView], options: &PruneOptions, decisions: &mut [PackDecision]) {
    for trees in [false, true] {
        let small: Vec<usize> = (0..packs.len())
            .filter(|at| {
                let of_type = packs[*at].usage.is_some_and(|usage| usage.has_trees == trees);
                let may_move = decisions[*at].fate == Fate::Keep && decisions[*at].reason != Reason::Damaged;
                of_type && may_move && packs[*at].listed.size < options.small_pack
            })
            .collect();
        let enough = small.len() >= options.small_packs.max(2);
        for at in small {
            if enough {
                (decisions[at].fate, decisions[at].reason) = (Fate::Repack, Reason::Small);
            } else if decisions[at].reason == Reason::AllUsed {
                decisions[at].reason = Reason::FewSmall;
            }
        }
    }
}

/// Rewrites packs, those with the greatest unused part first, until what stays unused is within the allowance.
fn spend_allowance(packs: &[PackView], options: &PruneOptions, decisions: &mut [PackDecision]) {
    let used: u64 = decisions.iter().map(|decision| decision.used_bytes).sum();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an allowance, not an account"
    )]
    let allowance = (used as f64 * options.max_unused.max(0.0)) as u64;
    let unused = |at: usize| packs[at].usage.map_or(0, |usage| usage.unused_bytes);
    let mut candidates: Vec<usize> = (0..packs.len())
        .filter(|at| decisions[*at].fate == Fate::Keep && decisions[*at].reason == Reason::WithinAllowance)
        .collect();
    // a.unused / a.used > b.unused / b.used, without division.
    candidates.sort_by(|a, b| {
        let cross = |x: usize, y: usize| u128::from(unused(x)) * u128::from(decisions[y].used_bytes);
        cross(*b, *a).cmp(&cross(*a, *b))
    });
    let mut remaining: u64 = candidates.iter().map(|at| unused(*at)).sum();
    for at in candidates {
        if remaining <= allowance {
            return;
        }
        remaining -= unused(at);
        (decisions[at].fate, decisions[at].reason) = (Fate::Repack, Reason::PartlyUnused);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::Id;

    fn view(name: u32, used: u64, unused: u64, trees: bool) -> PackView {
        let usage = PackUsage {
            used_bytes: used,
            unused_bytes: unused,
            used_blobs: u32::from(used > 0),
            unused_blobs: u32::from(unused > 0),
            header_bytes: 100,
            has_trees: trees,
            has_data: !trees,
            ..PackUsage::default()
        };
        let listed = Listed { id: Id::of(&name.to_le_bytes()), size: usage.size(), modified: Timestamp::UNIX_EPOCH };
        PackView { listed, usage: Some(usage), is_damaged: false }
    }

    fn options() -> PruneOptions {
        PruneOptions { small_pack: 10, ..PruneOptions::default() }
    }

    #[test]
    fn each_reason_has_its_case() {
        let not_indexed = PackView { usage: None, ..view(1, 0, 0, false) };
        let packs =
            [not_indexed, view(2, 0, 500, false), view(3, 1000, 0, false), view(4, 500, 500, false), view(5, 10_000, 10, false)];
        let decisions = decide(&packs, &options());
        let found: Vec<_> = decisions.iter().map(|decision| (decision.fate, decision.reason)).collect();
        assert_eq!(
            found,
            [
                (Fate::Drop, Reason::NotIndexed),
                (Fate::Drop, Reason::NothingUsed),
                (Fate::Keep, Reason::AllUsed),
                // 510 unused of 11,500 used: below 5 %, nothing is rewritten.
                (Fate::Keep, Reason::WithinAllowance),
                (Fate::Keep, Reason::WithinAllowance),
            ]
        );
        let strict = decide(&packs, &PruneOptions { max_unused: 0.01, ..options() });
        assert_eq!((strict[3].fate, strict[3].reason), (Fate::Repack, Reason::PartlyUnused));
        assert_eq!(strict[4].fate, Fate::Keep);
    }

    #[test]
    fn small_packs_are_joined_when_there_are_many() {
        let many: Vec<_> = (0..20).map(|name| view(name, 50, 0, true)).collect();
        let joined = decide(&many, &PruneOptions { small_pack: 1000, ..options() });
        assert!(joined.iter().all(|decision| (decision.fate, decision.reason) == (Fate::Repack, Reason::Small)));
        let few = decide(&many[..5], &PruneOptions { small_pack: 1000, ..options() });
        assert!(few.iter().all(|decision| (decision.fate, decision.reason) == (Fate::Keep, Reason::FewSmall)));
    }

    /// D8: what is damaged is never rewritten, however little of it is used and however small it is.
    #[test]
    fn damaged_packs_stay_unless_nothing_needs_them() {
        let damaged = |used| PackView { is_damaged: true, ..view(1, used, 500, false) };
        let mut packs: Vec<_> = (2..22).map(|name| view(name, 50, 0, false)).collect();
        packs.extend([damaged(1), damaged(0)]);
        let decisions = decide(&packs, &PruneOptions { max_unused: 0.0, small_pack: 1000, ..options() });
        assert_eq!(decisions[0].reason, Reason::Small);
        assert_eq!((decisions[20].fate, decisions[20].reason), (Fate::Keep, Reason::Damaged));
        assert_eq!((decisions[21].fate, decisions[21].reason), (Fate::Drop, Reason::NothingUsed));
    }

    proptest! {
        /// I1: no used byte is in a pack that is dropped.
        #[test]
        fn nothing_used_is_dropped(packs in proptest::collection::vec((0u64..1000, 0u64..1000, any::<bool>()), 0..60), max_unused in 0.0..1.0f64) {
            let views: Vec<_> = packs.iter().enumerate().map(|(name, (used, unused, trees))| view(u32::try_from(name).unwrap(), *used, *unused, *trees)).collect();
            let decisions = decide(&views, &PruneOptions { max_unused, small_pack: 300, ..PruneOptions::default() });
            prop_assert_eq!(decisions.len(), views.len());
            for (decision, (used, _, _)) in decisions.iter().zip(&packs) {
                prop_assert!(decision.fate != Fate::Drop || *used == 0);
            }
        }
    }
}
