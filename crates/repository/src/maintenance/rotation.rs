//! Which packs are due to be read, so that all are within a stated time however often somebody looks (reliability E9).

use crate::PackId;

/// The time between two looks at a repository whose packs are all to be read once in a period.
///
/// Each pack has its moment of the period, by its id; a look reads those whose moment has come since the look before. So looks
/// that follow one another read each pack once in a period, be they every hour or every week, and a look that was missed is made
/// up for by the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// When the last look ended well, in seconds of the epoch.
    pub since: u64,
    /// Now, in seconds of the epoch.
    pub until: u64,
    /// Seconds in which all packs are read.
    pub period: u64,
}

impl Rotation {
    pub(super) fn includes(&self, pack: &PackId) -> bool {
        let elapsed = self.until.saturating_sub(self.since);
        if self.period == 0 || elapsed >= self.period {
            return true;
        }
        let since_its_moment = (self.until % self.period + self.period - self.moment(pack)) % self.period;
        since_its_moment < elapsed
    }

    /// The pack's second of the period.
    fn moment(&self, pack: &PackId) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&pack.0[..8]);
        let scaled = (u128::from(u64::from_be_bytes(first)) * u128::from(self.period)) >> 64;
        // Less than the period, because the fraction is less than one.
        u64::try_from(scaled).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Id;

    const DAY: u64 = 86_400;
    const PERIOD: u64 = 30 * DAY;

    fn packs() -> Vec<PackId> {
        (0..500u32).map(|number| Id::of(&number.to_le_bytes())).collect()
    }

    /// How often each pack is read by looks at these moments.
    fn reads(looks: &[u64]) -> Vec<usize> {
        let windows: Vec<_> = looks.windows(2).map(|pair| Rotation { since: pair[0], until: pair[1], period: PERIOD }).collect();
        packs().iter().map(|pack| windows.iter().filter(|window| window.includes(pack)).count()).collect()
    }

    #[test]
    fn every_hour_or_every_week_each_pack_is_read_once_in_a_period() {
        for every in [3600, DAY, 7 * DAY, 5 * DAY + 1234] {
            let start = 1_795_000_000;
            let between = (0..).map(|number| start + number * every).take_while(|look| *look < start + PERIOD);
            let looks: Vec<u64> = between.chain([start + PERIOD]).collect();
            assert!(reads(&looks).iter().all(|times| *times == 1), "every {every} s");
        }
    }

    #[test]
    fn a_daily_look_reads_about_its_share() {
        let window = Rotation { since: 1_795_000_000, until: 1_795_000_000 + DAY, period: PERIOD };
        let due = packs().iter().filter(|pack| window.includes(pack)).count();
        assert!((6..=30).contains(&due), "{due} of 500");
    }

    #[test]
    fn who_has_not_looked_for_a_period_reads_all_and_who_looked_now_nothing() {
        let at = |since, until| Rotation { since, until, period: PERIOD };
        assert!(packs().iter().all(|pack| at(0, PERIOD).includes(pack)));
        assert!(packs().iter().all(|pack| !at(5000, 5000).includes(pack)));
        // A clock that went back is no reason to read everything.
        assert!(packs().iter().all(|pack| !at(5001, 5000).includes(pack)));
    }

    proptest! {
        /// Whatever the gaps: by the end of a period everything was read.
        #[test]
        fn nothing_is_left_out(gaps in proptest::collection::vec(1..20 * DAY, 1..60), start in 1_700_000_000u64..1_900_000_000) {
            let mut looks = vec![start];
            for gap in gaps {
                looks.push(looks[looks.len() - 1] + gap);
            }
            while looks[looks.len() - 1] < start + PERIOD {
                looks.push(looks[looks.len() - 1] + DAY);
            }
            prop_assert!(reads(&looks).iter().all(|times| *times >= 1));
        }
    }
}
