//! Carries over what an earlier check found if a later check compared less.
//!
//! Every check determines all findings but one: altered rows are found and closed only by a trusted
//! check at content depth. [`carry_over`] is the only place that decides what happens to them.
//! [`Ledger::set_day`](super::Ledger::set_day) calls it for every record, in the transaction that
//! writes the record, so that no code path can forget it.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::DayRecord;
use crate::compare::{Counts, Depth};

const IN_SYNC: &str = "in-sync";
const DIFFERS: &str = "differs";
const HELD: &str = "held";
const UNPROVEN: &str = "unproven";
const UNCONFIRMED: &str = "unconfirmed";

/// Altered rows that no content check has closed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenAltered {
    /// Number of rows.
    pub rows: u64,
    /// The likely cause.
    pub cause: Option<String>,
    /// When a content check last found them (UTC).
    pub found_at: DateTime<Utc>,
}

impl std::fmt::Display for OpenAltered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (rows, at) = (self.rows, self.found_at.format("%Y-%m-%d %H:%M UTC"));
        let unit = if rows == 1 { "row is" } else { "rows are" };
        write!(
            f,
            "{rows} altered {unit} still open, found by the content check of {at}; only a check at \
             content depth can close them"
        )
    }
}

/// What the last check of a day compared, and what remains for a deeper check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// How closely the last check compared the day; `None` if it compared nothing.
    pub depth: Option<Depth>,
    /// Open altered rows, as the last content check left them.
    pub altered: Option<OpenAltered>,
    /// The day's sides as text when they were last compared, whatever the result; while altered
    /// rows are open, when the values were last compared. Never lets a day be skipped.
    pub outside: Option<String>,
}

impl DayRecord {
    /// The altered rows known to be open. A record from before depths were stored shows them only
    /// in its counts.
    #[must_use]
    pub fn open_altered(&self) -> Option<OpenAltered> {
        let is_open = [DIFFERS, HELD, UNPROVEN, UNCONFIRMED].contains(&self.state.as_str());
        let from_counts = || {
            let rows = counts(self).altered;
            (self.compared.depth.is_none() && is_open && rows > 0).then(|| OpenAltered {
                rows,
                cause: self.cause.clone(),
                found_at: self.checked_at,
            })
        };
        self.compared.altered.clone().or_else(from_counts)
    }

    fn compared_values(&self) -> bool {
        self.compared.depth == Some(Depth::Content)
    }

    /// Whether this check determines with certainty which rows are altered.
    fn judges_values(&self) -> bool {
        self.compared_values() && self.state != UNPROVEN
    }
}

fn counts(record: &DayRecord) -> Counts {
    serde_json::from_value(record.counts.clone()).unwrap_or_default()
}

fn join(first: Option<String>, more: &str) -> String {
    first.map_or_else(|| more.to_owned(), |first| format!("{first}; {more}"))
}

/// The record to keep of a day: what this check `found`, and from the record `before` what the
/// check did not compare.
///
/// A trusted check at content depth replaces everything. Any other check leaves altered rows open:
/// the day is not in sync and keeps their number, their cause, the time since which it differs, and
/// a held plan. After a check that compared less, a survey may skip the day only if a deeper check
/// allowed that before and the day's sides are unchanged.
#[must_use]
pub fn carry_over(before: Option<&DayRecord>, mut found: DayRecord) -> DayRecord {
    if found.compared.depth.is_some() && !found.compared_values() {
        let was_in_sync = before.filter(|before| before.state == IN_SYNC);
        let skippable = was_in_sync.and_then(|before| before.fingerprint.as_ref());
        found.fingerprint = found.fingerprint.filter(|now| skippable == Some(now));
    }
    let Some(before) = before else {
        return found;
    };
    let open = before.open_altered().filter(|_| !found.judges_values());
    let Some(open) = open else {
        return found;
    };
    if !found.compared_values() {
        found.compared.outside.clone_from(&before.compared.outside);
    }
    if found.compared.altered.is_none() {
        keep(before, open, &mut found);
    }
    keep_held(before, &mut found);
    found
}

/// Keeps altered rows open that this check did not compare.
fn keep(before: &DayRecord, open: OpenAltered, found: &mut DayRecord) {
    let is_shown = match found.state.as_str() {
        IN_SYNC | DIFFERS => {
            found.state = DIFFERS.into();
            found.fingerprint = None;
            found.open_since = before.open_since.or(Some(found.checked_at));
            found.why = Some(join(found.why.take(), &open.to_string()));
            true
        }
        HELD | UNPROVEN | UNCONFIRMED => true,
        // The day is too young to be judged, or known to be lost: it was not compared at all.
        _ => false,
    };
    if is_shown {
        let altered = open.rows;
        let shown = Counts {
            altered,
            ..counts(found)
        };
        found.counts = serde_json::to_value(shown).unwrap_or_default();
        if let Some(cause) = &open.cause {
            found.cause = Some(join(found.cause.take(), cause));
        }
    }
    found.compared.altered = Some(open);
}

/// A plan that was held after the values were compared stays held, unless something has changed
/// since.
fn keep_held(before: &DayRecord, found: &mut DayRecord) {
    let is_deep = (before.drafted).is_none_or(|drafted| drafted.depth == Depth::Content);
    let still_held =
        is_deep && before.state == HELD && found.pass.is_none() && !found.compared_values();
    if still_held && [DIFFERS, HELD].contains(&found.state.as_str()) {
        found.state.clone_from(&before.state);
        found.why.clone_from(&before.why);
        found.guards.clone_from(&before.guards);
        found.digest.clone_from(&before.digest);
        found.drafted = before.drafted;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(minute: u32) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::minutes(minute.into())
    }

    /// A record made at minute `minute`.
    fn record(minute: u32, state: &str, depth: Option<Depth>) -> DayRecord {
        let is_open = [DIFFERS, HELD, UNCONFIRMED].contains(&state);
        DayRecord {
            dataset: "camera-counts".parse().unwrap(),
            day: "2020-10-14".parse().unwrap(),
            state: state.into(),
            since: at(minute),
            checked_at: at(minute),
            why: None,
            cause: None,
            counts: json!(Counts::default()),
            fingerprint: (state == IN_SYNC).then(|| "same".into()),
            digest: None,
            expected: Some(10),
            published: Some(10),
            guards: Vec::new(),
            open_since: is_open.then(|| at(minute)),
            pass: None,
            drafted: None,
            compared: Compared {
                depth,
                altered: None,
                outside: depth.map(|_| "same".into()),
            },
        }
    }

    fn keys(minute: u32, state: &str) -> DayRecord {
        record(minute, state, Some(Depth::Keys))
    }

    fn content(minute: u32, state: &str) -> DayRecord {
        record(minute, state, Some(Depth::Content))
    }

    /// The record left by a content check at minute 1 that found three altered rows.
    fn altered(state: &str) -> DayRecord {
        let mut found = content(1, state);
        found.cause = Some("old values".into());
        found.compared.altered = Some(OpenAltered {
            rows: 3,
            cause: found.cause.clone(),
            found_at: at(1),
        });
        found.compared.outside = Some("before".into());
        with_counts(found, |counts| counts.altered = 3)
    }

    fn with_counts(mut record: DayRecord, set: impl Fn(&mut Counts)) -> DayRecord {
        let mut changed = counts(&record);
        set(&mut changed);
        record.counts = json!(changed);
        record
    }

    fn held() -> DayRecord {
        DayRecord {
            why: Some("over budget".into()),
            guards: vec!["purge-rows".into()],
            digest: Some("deep".into()),
            ..altered(HELD)
        }
    }

    #[test]
    fn a_keys_check_in_sync_leaves_altered_rows_open() {
        let before = altered(DIFFERS);
        let after = carry_over(Some(&before), keys(9, IN_SYNC));
        assert_eq!(after.state, DIFFERS);
        assert_eq!(counts(&after).altered, 3);
        assert_eq!(after.cause.as_deref(), Some("old values"));
        assert_eq!(after.open_since, Some(at(1)));
        assert_eq!(after.fingerprint, None);
        assert_eq!(after.compared.depth, Some(Depth::Keys));
        assert_eq!(after.compared.altered, before.compared.altered);
        assert_eq!(after.compared.outside.as_deref(), Some("before"));
        let why = after.why.as_deref().unwrap_or_default();
        assert!(why.contains("3 altered rows are still open"), "{why}");
        let again = carry_over(Some(&after), keys(20, IN_SYNC));
        assert_eq!((again.state, again.why), (after.state, after.why));
        assert_eq!(again.compared.altered, before.compared.altered);
    }

    #[test]
    fn a_keys_check_with_other_findings_adds_them() {
        let mut found = with_counts(keys(9, DIFFERS), |counts| counts.missing = 2);
        found.cause = Some("a file was never published".into());
        let after = carry_over(Some(&altered(DIFFERS)), found);
        assert_eq!((counts(&after).missing, counts(&after).altered), (2, 3));
        let cause = "a file was never published; old values";
        assert_eq!(after.cause.as_deref(), Some(cause));
        let fixed = carry_over(Some(&after), keys(20, IN_SYNC));
        assert_eq!((counts(&fixed).missing, counts(&fixed).altered), (0, 3));
        assert_eq!(fixed.cause.as_deref(), Some("old values"));
    }

    #[test]
    fn only_a_proven_content_check_closes_altered_rows() {
        let before = altered(DIFFERS);
        for state in [IN_SYNC, DIFFERS, HELD, UNCONFIRMED] {
            let found = content(9, state);
            assert_eq!(carry_over(Some(&before), found.clone()), found, "{state}");
        }
        let unproven = carry_over(Some(&before), content(9, UNPROVEN));
        assert_eq!(unproven.compared.altered, before.compared.altered);
        assert_eq!(unproven.state, UNPROVEN);
        assert_eq!(counts(&unproven).altered, 3);
        assert_eq!(unproven.compared.outside.as_deref(), Some("same"));
    }

    #[test]
    fn altered_rows_stay_open_after_failed_checks_and_uncompared_days() {
        for state in [UNPROVEN, "known-lost", "unsettled"] {
            let between = carry_over(Some(&altered(DIFFERS)), record(9, state, None));
            assert_eq!(between.state, state);
            let after = carry_over(Some(&between), keys(20, IN_SYNC));
            assert_eq!(after.state, DIFFERS, "after {state}");
            assert_eq!(counts(&after).altered, 3, "after {state}");
        }
    }

    #[test]
    fn altered_rows_of_an_unproven_content_check_stay_open() {
        let before = altered(UNPROVEN);
        let after = carry_over(Some(&before), keys(9, IN_SYNC));
        assert_eq!((&*after.state, counts(&after).altered), (DIFFERS, 3));
        let more = OpenAltered {
            rows: 7,
            cause: None,
            found_at: at(9),
        };
        let mut found = content(9, UNPROVEN);
        found.compared.altered = Some(more.clone());
        let after = carry_over(Some(&before), found);
        assert_eq!(after.compared.altered, Some(more));
    }

    #[test]
    fn a_held_plan_stays_after_checks_that_compared_less() {
        let mut refused = keys(9, HELD);
        refused.digest = Some("shallow".into());
        refused.guards = vec!["recheck".into()];
        let mut planned = keys(9, DIFFERS);
        planned.digest = Some("shallow".into());
        for found in [keys(9, IN_SYNC), planned, refused] {
            let after = carry_over(Some(&held()), found);
            assert_eq!(after.state, HELD);
            assert_eq!(after.digest.as_deref(), Some("deep"));
            assert_eq!(after.guards, ["purge-rows"]);
            assert_eq!(after.why.as_deref(), Some("over budget"));
            assert_eq!(counts(&after).altered, 3);
        }
        let mut content = content(9, DIFFERS);
        content.digest = Some("new".into());
        let after = carry_over(Some(&held()), content);
        assert_eq!(after.digest.as_deref(), Some("new"));
    }

    #[test]
    fn a_repair_that_compared_less_ends_as_differing() {
        for before in [altered(DIFFERS), held()] {
            let mut repaired = keys(9, IN_SYNC);
            repaired.pass = Some(uuid::Uuid::nil());
            let after = carry_over(Some(&before), repaired);
            assert_eq!(after.state, DIFFERS);
            assert_eq!(after.pass, Some(uuid::Uuid::nil()));
            assert_eq!(counts(&after).altered, 3);
        }
    }

    #[test]
    fn a_record_of_an_older_program_is_understood() {
        let mut before = altered(DIFFERS);
        before.compared = Compared::default();
        let after = carry_over(Some(&before), keys(9, IN_SYNC));
        assert_eq!((&*after.state, counts(&after).altered), (DIFFERS, 3));
        before.state = IN_SYNC.into();
        let repaired = carry_over(Some(&before), keys(9, IN_SYNC));
        assert_eq!(
            repaired.state, IN_SYNC,
            "its counts are from before the repair"
        );
    }

    #[test]
    fn a_keys_check_lets_a_survey_skip_only_what_a_content_check_did() {
        let skips = |before: Option<&DayRecord>, found| carry_over(before, found).fingerprint;
        let same = Some("same".to_owned());
        assert_eq!(skips(None, content(1, IN_SYNC)), same);
        assert_eq!(skips(None, keys(1, IN_SYNC)), None);
        let before = content(1, IN_SYNC);
        let kept = carry_over(Some(&before), keys(9, IN_SYNC));
        assert_eq!((&*kept.state, &kept.fingerprint), (IN_SYNC, &same));
        let mut changed = keys(9, IN_SYNC);
        changed.fingerprint = Some("other".into());
        let changed = carry_over(Some(&before), changed);
        assert_eq!((&*changed.state, &changed.fingerprint), (IN_SYNC, &None));
        assert_eq!(skips(Some(&changed), keys(20, IN_SYNC)), None);
    }

    #[test]
    fn without_altered_rows_a_check_is_kept_as_it_is() {
        for state in [DIFFERS, HELD, UNPROVEN, "known-lost"] {
            let found = keys(9, state);
            let before = content(1, DIFFERS);
            assert_eq!(carry_over(Some(&before), found.clone()), found);
            assert_eq!(carry_over(None, found.clone()), found);
        }
    }
}
