//! Gauges that are read from the ledger, so that they are correct after a restart.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::{Metrics, names};
use crate::lease;
use crate::ledger::{HeldDays, Ledger, LedgerError, Promise, StateTotal};
use crate::model::DatasetName;
use crate::plan::Guard;
use crate::reconcile::State;
use crate::schedule::Schedule;

/// The contents of the ledger at one moment, for the gauges.
#[derive(Clone, Debug, Default)]
pub struct Durable {
    promises: Vec<Promise>,
    standing: Vec<StateTotal>,
    held: Vec<HeldDays>,
    restored: Vec<(DatasetName, u64)>,
    leases: Vec<String>,
}

impl Durable {
    /// Reads the ledger. `holder` is the name that holds this process's leases; `promises` say how
    /// recent the last check of each dataset's days must be to count.
    ///
    /// # Errors
    /// If the ledger does not answer.
    pub async fn read(
        ledger: &Ledger,
        holder: &str,
        promises: Vec<Promise>,
        now: DateTime<Utc>,
    ) -> Result<Self, LedgerError> {
        Ok(Self {
            standing: ledger.standing(&promises).await?,
            promises,
            held: ledger.held().await?,
            restored: ledger.restored().await?,
            leases: ledger.leases_of(holder, now).await?,
        })
    }
}

/// Whether a day in this state was judged by its last check.
fn is_judged(state: State) -> bool {
    match state {
        State::InSync | State::Differs | State::Held | State::Unconfirmed | State::Repaired => true,
        State::Unproven | State::Unsettled | State::KnownLost | State::Skipped | State::Unknown => {
            false
        }
    }
}

/// Whether these days wait for approval, now or once repair hours start. An open breaker waits for
/// something else: someone has to stop the rival.
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
    /// Sets the gauges from the ledger. If it did not answer (`None`), the gauges keep their values.
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
            let ours = durable.leases.contains(&lease::of_dataset(dataset));
            let lease = self.lease_held.with_label_values(&[dataset.as_str()]);
            lease.set(i64::from(ours));
        }
        self.count_restored(&durable.restored);
    }

    fn refresh_days(&self, dataset: &DatasetName, zone: Tz, durable: &Durable) {
        let ours = |one: &&StateTotal| one.dataset == *dataset;
        let standing: Vec<(State, &StateTotal)> = (durable.standing.iter().filter(ours))
            .filter_map(|one| Some((state(&one.state)?, one)))
            .collect();
        let name = dataset.as_str();
        let mut promises = durable.promises.iter();
        let promise = promises.find(|promise| promise.dataset == *dataset);
        let by_state = promise.map(|promise| promise.days_by_state(&durable.standing));
        for state in State::ALL {
            let days = (by_state.as_ref()).and_then(|days| days.get(&state.to_string()));
            let days = days.copied().unwrap_or(0);
            let gauge = self.days.with_label_values(&[name, &*state.to_string()]);
            gauge.set(i64::try_from(days).unwrap_or(i64::MAX));
        }
        let checked_at = |of: &dyn Fn(State) -> bool| {
            let those = standing.iter().filter(|(state, _)| of(*state));
            those.map(|(_, one)| one.checked_at).max()
        };
        let judged = checked_at(&is_judged);
        let in_sync = checked_at(&|state| state == State::InSync);
        let all = || standing.iter().map(|(_, one)| one);
        let open = all().filter_map(|one| one.open_since).min();
        let newest = all().filter_map(|one| one.newest_published);
        let newest = newest.max().map(|day| day.start(zone));
        for (gauge, at) in [
            (&self.last_check_success_timestamp_seconds, judged),
            (&self.last_in_sync_timestamp_seconds, in_sync),
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

    /// Counts rows that other processes restored since this one started, since restores are commands.
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

    /// Records the size of all archives.
    pub fn archived(&self, bytes: u64) {
        let none: [&str; 0] = [];
        let gauge = self.archive_bytes.with_label_values(&none);
        gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Removes the series of a dataset that is no longer in the settings.
    pub fn forget(&self, dataset: &DatasetName) {
        let _still = self.still.lock();
        let name = dataset.as_str();
        for gauge in [
            &self.last_check_success_timestamp_seconds,
            &self.last_in_sync_timestamp_seconds,
            &self.oldest_finding_timestamp_seconds,
            &self.newest_published_day_timestamp_seconds,
            &self.breaker_open,
            &self.approvals_pending,
            &self.lease_held,
        ] {
            let _ = gauge.remove_label_values(&[name]); // fails only if there is no such series
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
    fn a_held_plan_awaits_approval_outside_repair_hours_too_but_a_breaker_does_not() {
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
