//! Gauges that outlive the process: read from the ledger, and so right again after a restart.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::{Metrics, names};
use crate::ledger::{HeldDays, Ledger, LedgerError, Standing};
use crate::model::DatasetName;
use crate::plan::Guard;
use crate::reconcile::State;
use crate::schedule::Schedule;

/// What the ledger says at one moment.
#[derive(Clone, Debug, Default)]
pub struct Durable {
    standing: Vec<Standing>,
    held: Vec<HeldDays>,
    restored: Vec<(DatasetName, u64)>,
    leases: Vec<String>,
}

impl Durable {
    /// Reads it. `holder` is who holds this program's leases.
    ///
    /// # Errors
    /// If the ledger does not answer.
    pub async fn read(
        ledger: &Ledger,
        holder: &str,
        now: DateTime<Utc>,
    ) -> Result<Self, LedgerError> {
        Ok(Self {
            standing: ledger.standing().await?,
            held: ledger.held().await?,
            restored: ledger.restored().await?,
            leases: ledger.leases_of(holder, now).await?,
        })
    }
}

/// Whether a look came to a judgement that left the day in this state.
fn is_judged(state: State) -> bool {
    match state {
        State::InStep | State::Differs | State::Held | State::Unconfirmed | State::Repaired => true,
        State::Unproven | State::Unsettled | State::KnownLost | State::Skipped => false,
    }
}

/// Whether what these days wait for is a person's approval, at once or from the hours for repairs
/// on. An open breaker waits for something else: that the rival is stopped.
fn awaits_approval(held: &HeldDays) -> bool {
    let guards = held.guards.iter().map(|name| Guard::named(name));
    let guards: Option<Vec<Guard>> = guards.collect();
    let by_day = |guards: Vec<Guard>| -> Vec<Guard> {
        let others = guards.into_iter();
        others
            .filter(|guard| *guard != Guard::RepairHours)
            .collect()
    };
    guards
        .map(by_day)
        .is_some_and(|guards| !guards.contains(&Guard::Breaker) && Guard::are_approvable(&guards))
}

fn seconds(at: Option<DateTime<Utc>>) -> i64 {
    at.map_or(0, |at| at.timestamp())
}

impl Metrics {
    /// Takes over what the ledger says; `None` if it did not answer: its gauges stay as they were.
    pub fn refresh(&self, durable: Option<&Durable>, datasets: &[(DatasetName, Tz)]) {
        let _still = self.still.lock();
        let none: [&str; 0] = [];
        let up = self.ledger_up.with_label_values(&none);
        up.set(i64::from(durable.is_some()));
        let Some(durable) = durable else {
            return;
        };
        for (dataset, zone) in datasets {
            self.refresh_days(dataset, *zone, durable);
            self.refresh_held(dataset, durable);
            let ours = durable.leases.iter().any(|name| name == dataset.as_str());
            let lease = self.lease_held.with_label_values(&[dataset.as_str()]);
            lease.set(i64::from(ours));
        }
        self.count_restored(&durable.restored);
    }

    fn refresh_days(&self, dataset: &DatasetName, zone: Tz, durable: &Durable) {
        let ours = |one: &&Standing| one.dataset == *dataset;
        let standing: BTreeMap<State, &Standing> = (durable.standing.iter().filter(ours))
            .filter_map(|one| Some((state(&one.state)?, one)))
            .collect();
        let name = dataset.as_str();
        for state in State::ALL {
            let days = standing.get(&state).map_or(0, |one| one.days);
            let gauge = self.days.with_label_values(&[name, &*state.to_string()]);
            gauge.set(i64::try_from(days).unwrap_or(i64::MAX));
        }
        let judged = standing.iter().filter(|(state, _)| is_judged(**state));
        let judged = judged.map(|(_, one)| one.looked_at).max();
        let in_step = standing.get(&State::InStep).map(|one| one.looked_at);
        let open = standing.values().filter_map(|one| one.open_since).min();
        let newest = (standing.values()).filter_map(|one| one.newest_published);
        let newest = newest.max().map(|day| day.start(zone));
        for (gauge, at) in [
            (&self.last_check_success_timestamp_seconds, judged),
            (&self.last_in_step_timestamp_seconds, in_step),
            (&self.oldest_finding_timestamp_seconds, open),
            (&self.newest_published_day_timestamp_seconds, newest),
        ] {
            gauge.with_label_values(&[name]).set(seconds(at));
        }
    }

    fn refresh_held(&self, dataset: &DatasetName, durable: &Durable) {
        let (mut breakers, mut approvals) = (0, 0);
        for held in durable.held.iter().filter(|held| held.dataset == *dataset) {
            let days = i64::try_from(held.days).unwrap_or(i64::MAX);
            let breaker = Guard::Breaker.to_string();
            if held.guards.contains(&breaker) {
                breakers += days;
            }
            if !held.approved && awaits_approval(held) {
                approvals += days;
            }
        }
        let labels = [dataset.as_str()];
        self.breaker_open.with_label_values(&labels).set(breakers);
        let pending = self.approvals_pending.with_label_values(&labels);
        pending.set(approvals);
    }

    /// Restores are made by other programs than the daemon: what they put back since it began.
    fn count_restored(&self, restored: &[(DatasetName, u64)]) {
        let mut before = self.restored_before.lock();
        let first = before.is_none();
        let known = before.get_or_insert_default();
        for (dataset, rows) in restored {
            let counted = known.entry(dataset.clone()).or_default();
            let more = rows.saturating_sub(*counted);
            if !first {
                let labels = [dataset.as_str()];
                self.rows_restored_total
                    .with_label_values(&labels)
                    .inc_by(more);
            }
            *counted += more;
        }
    }

    /// Notes the size of all archives.
    pub fn archived(&self, bytes: u64) {
        let none: [&str; 0] = [];
        let gauge = self.archive_bytes.with_label_values(&none);
        gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Takes the series away of a dataset that the settings have no more.
    pub fn forget(&self, dataset: &DatasetName) {
        let _still = self.still.lock();
        let name = dataset.as_str();
        for gauge in [
            &self.last_check_success_timestamp_seconds,
            &self.last_in_step_timestamp_seconds,
            &self.oldest_finding_timestamp_seconds,
            &self.newest_published_day_timestamp_seconds,
            &self.breaker_open,
            &self.approvals_pending,
            &self.lease_held,
        ] {
            let _ = gauge.remove_label_values(&[name]); // fails only where there is none
        }
        for state in names(&State::ALL) {
            let _ = self.days.remove_label_values(&[name, &*state]);
        }
        for schedule in names(&Schedule::ALL) {
            let labels = [name, &*schedule];
            let _ = self.schedule_unfulfilled.remove_label_values(&labels);
        }
    }
}

fn state(name: &str) -> Option<State> {
    (State::ALL.into_iter()).find(|state| state.to_string() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_waits_for_a_person_by_night_too_and_a_breaker_for_something_else() {
        for (guards, waits) in [
            (&["purge-rows"][..], true),
            (&["orphan-rows", "recheck", "repair-hours"], true),
            (&["recheck", "repair-hours"], false),
            (&["purge-rows", "breaker"], false),
            (&["purge-rows", "mark"], false),
            (&["row-identifier"], false),
        ] {
            let held = HeldDays {
                dataset: "camera-counts".parse().unwrap(),
                guards: guards.iter().map(|name| (*name).to_owned()).collect(),
                approved: false,
                days: 1,
            };
            assert_eq!(awaits_approval(&held), waits, "{guards:?}");
        }
    }
}
