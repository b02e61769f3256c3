//! The plan itself.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::rules::{KeepCounts, Rules};
use super::view::{Outcome, SnapshotView};

/// How far a Snapshot's time may lie ahead of ours before it counts as dated in the future.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(10);

/// Why a Snapshot stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeepRule {
    /// It has not ended.
    Unfinished,
    /// The user asked to leave it alone.
    Paused,
    /// Something reads it.
    InUse(String),
    /// It is dated in the future: it is neither counted nor removed.
    FutureDated,
    /// It is the newest Succeeded one, which always stays.
    Newest,
    /// No count rule is set, and it is not over age.
    WithinAge,
    /// Among the newest successful ones.
    Last,
    /// The newest of this hour.
    Hourly(String),
    /// The newest of this day.
    Daily(String),
    /// The newest of this ISO week.
    Weekly(String),
    /// The newest of this month.
    Monthly(String),
    /// The newest of this year.
    Yearly(String),
    /// Among the newest failed ones.
    FailedLast,
}

/// Why a Snapshot goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoveRule {
    /// Older than `maxRetentionPeriod`.
    OverAge,
    /// No rule of `successfulSnapshots` keeps it.
    NotKept,
    /// More failed ones are newer than `failedSnapshots.last`.
    FailedBeyondLast,
    /// Its data has gone already.
    DataRemoved,
}

/// What becomes of a Snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It stays, for all of these reasons.
    Keep(Vec<KeepRule>),
    /// It goes.
    Remove(RemoveRule),
}

/// One Snapshot's fate and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Name of the Snapshot.
    pub name: String,
    /// What becomes of it.
    pub fate: Fate,
    /// The reason as a sentence.
    pub message: String,
}

/// The fate of every Snapshot of one Repository and session, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionPlan {
    /// One verdict each.
    pub verdicts: Vec<Verdict>,
}

impl RetentionPlan {
    /// Names of the Snapshots that go.
    pub fn removals(&self) -> Vec<&str> {
        self.verdicts
            .iter()
            .filter(|verdict| matches!(verdict.fate, Fate::Remove(_)))
            .map(|verdict| verdict.name.as_str())
            .collect()
    }
}

/// Decides over the Snapshots of one Repository and session.
pub fn plan(rules: &Rules, snapshots: &[SnapshotView], now: Timestamp) -> RetentionPlan {
    let mut newest_first: Vec<&SnapshotView> = snapshots.iter().collect();
    newest_first.sort_by(|one, other| (other.taken, &other.id, &other.name).cmp(&(one.taken, &one.id, &one.name)));

    let mut tally = Tally::new(rules, now);
    let verdicts = newest_first
        .into_iter()
        .map(|snapshot| {
            let fate = tally.judge(snapshot);
            Verdict { name: snapshot.name.clone(), message: explain(rules, snapshot, &fate), fate }
        })
        .collect();
    RetentionPlan { verdicts }
}

/// What has been kept so far, walking from the newest to the oldest.
struct Tally<'a> {
    rules: &'a Rules,
    oldest: Option<Timestamp>,
    latest: Timestamp,
    succeeded: bool,
    last: u32,
    failed: u32,
    buckets: [Bucket; 5],
}

/// A bucket, its limit, the period at hand and what being the newest of it is called.
type Period<'a> = (&'a mut Bucket, u32, String, fn(String) -> KeepRule);

/// How many periods of one length have a Snapshot, and the last one seen.
#[derive(Default)]
struct Bucket {
    current: Option<String>,
    counted: u32,
}

impl<'a> Tally<'a> {
    fn new(rules: &'a Rules, now: Timestamp) -> Self {
        let oldest = rules.max_age.as_ref().and_then(|age| now.checked_sub(age.duration()).ok());
        Self {
            rules,
            oldest,
            latest: now.checked_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX),
            succeeded: false,
            last: 0,
            failed: 0,
            buckets: Default::default(),
        }
    }

    fn judge(&mut self, snapshot: &SnapshotView) -> Fate {
        if snapshot.data_removed {
            return Fate::Remove(RemoveRule::DataRemoved);
        }
        if snapshot.outcome == Outcome::Unfinished {
            return Fate::Keep(vec![KeepRule::Unfinished]);
        }
        if snapshot.taken > self.latest {
            return Fate::Keep(vec![KeepRule::FutureDated]);
        }
        // Counted by its rules first, so that being read or paused never shields another one.
        let by_rules = match snapshot.outcome {
            Outcome::Failed => self.judge_failed(snapshot),
            Outcome::Succeeded | Outcome::Unfinished => self.judge_succeeded(snapshot),
        };
        let mut shields = Vec::new();
        if snapshot.paused {
            shields.push(KeepRule::Paused);
        }
        if let Some(reader) = &snapshot.in_use {
            shields.push(KeepRule::InUse(reader.clone()));
        }
        match by_rules {
            Fate::Keep(mut kept) => {
                kept.append(&mut shields);
                Fate::Keep(kept)
            }
            Fate::Remove(_) if !shields.is_empty() => Fate::Keep(shields),
            removed @ Fate::Remove(_) => removed,
        }
    }

    fn over_age(&self, snapshot: &SnapshotView) -> bool {
        self.oldest.is_some_and(|oldest| snapshot.taken < oldest)
    }

    fn judge_failed(&mut self, snapshot: &SnapshotView) -> Fate {
        if self.over_age(snapshot) {
            return Fate::Remove(RemoveRule::OverAge);
        }
        self.failed += 1;
        if self.failed <= self.rules.failed_last {
            Fate::Keep(vec![KeepRule::FailedLast])
        } else {
            Fate::Remove(RemoveRule::FailedBeyondLast)
        }
    }

    fn judge_succeeded(&mut self, snapshot: &SnapshotView) -> Fate {
        let newest = !self.succeeded;
        self.succeeded = true;
        if self.over_age(snapshot) {
            return if newest { Fate::Keep(vec![KeepRule::Newest]) } else { Fate::Remove(RemoveRule::OverAge) };
        }
        let mut kept = match self.rules.successful {
            None => vec![KeepRule::WithinAge],
            Some(counts) => self.count(counts, snapshot.taken),
        };
        if newest {
            kept.insert(0, KeepRule::Newest);
        }
        if kept.is_empty() { Fate::Remove(RemoveRule::NotKept) } else { Fate::Keep(kept) }
    }

    fn count(&mut self, counts: KeepCounts, taken: Timestamp) -> Vec<KeepRule> {
        let KeepCounts { last, hourly, daily, weekly, monthly, yearly } = counts;
        let mut kept = Vec::new();
        if self.last < last {
            self.last += 1;
            kept.push(KeepRule::Last);
        }
        let civil = TimeZone::UTC.to_datetime(taken);
        let week = civil.date().iso_week_date();
        let [hours, days, weeks, months, years] = &mut self.buckets;
        let periods: [Period<'_>; 5] = [
            (hours, hourly, civil.strftime("%Y-%m-%dT%H").to_string(), KeepRule::Hourly),
            (days, daily, civil.strftime("%Y-%m-%d").to_string(), KeepRule::Daily),
            (weeks, weekly, format!("{:04}-W{:02}", week.year(), week.week()), KeepRule::Weekly),
            (months, monthly, civil.strftime("%Y-%m").to_string(), KeepRule::Monthly),
            (years, yearly, civil.strftime("%Y").to_string(), KeepRule::Yearly),
        ];
        for (bucket, limit, period, rule) in periods {
            if bucket.opens(limit, &period) {
                kept.push(rule(period));
            }
        }
        kept
    }
}

impl Bucket {
    /// Whether `period` is a new one within the limit. Snapshots come newest first, so the first
    /// of a period is its newest.
    fn opens(&mut self, limit: u32, period: &str) -> bool {
        if self.counted >= limit || self.current.as_deref() == Some(period) {
            return false;
        }
        self.current = Some(period.to_owned());
        self.counted += 1;
        true
    }
}

fn explain(rules: &Rules, snapshot: &SnapshotView, fate: &Fate) -> String {
    let age = rules.max_age.as_ref().map(ToString::to_string).unwrap_or_default();
    match fate {
        Fate::Keep(kept) => {
            let kept: Vec<String> = kept.iter().map(|rule| keeps(rule, &age)).collect();
            format!("kept: {}", kept.join(", "))
        }
        Fate::Remove(RemoveRule::OverAge) => {
            format!("removed: taken {}, more than {age} ago", snapshot.taken)
        }
        Fate::Remove(RemoveRule::NotKept) => "removed: no rule of successfulSnapshots keeps it".to_owned(),
        Fate::Remove(RemoveRule::FailedBeyondLast) => {
            format!("removed: failed, and not among the last {} failed ones", rules.failed_last)
        }
        Fate::Remove(RemoveRule::DataRemoved) => "removed: its data has gone already".to_owned(),
    }
}

fn keeps(rule: &KeepRule, age: &str) -> String {
    match rule {
        KeepRule::Unfinished => "not finished".to_owned(),
        KeepRule::Paused => "paused".to_owned(),
        KeepRule::InUse(reader) => format!("read by {reader}"),
        KeepRule::FutureDated => "dated in the future".to_owned(),
        KeepRule::Newest => "newest Succeeded".to_owned(),
        KeepRule::WithinAge if age.is_empty() => "no count rule is set".to_owned(),
        KeepRule::WithinAge => format!("not older than {age}"),
        KeepRule::Last => "last".to_owned(),
        KeepRule::Hourly(period) => format!("hourly {period}"),
        KeepRule::Daily(period) => format!("daily {period}"),
        KeepRule::Weekly(period) => format!("weekly {period}"),
        KeepRule::Monthly(period) => format!("monthly {period}"),
        KeepRule::Yearly(period) => format!("yearly {period}"),
        KeepRule::FailedLast => "last failed".to_owned(),
    }
}
