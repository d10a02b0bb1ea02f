//! The only place where the outcomes of passes are counted.

use super::Metrics;
use crate::compare::Finding;
use crate::model::DatasetName;
use crate::reconcile::{LakeReads, Report, State};
use crate::repair::Effects;

const ENTERED: &str = "entered";
const WITHDRAWN: &str = "withdrawn";
/// Changes of a catalog entry.
pub(super) const CHANGES: [&str; 2] = [ENTERED, WITHDRAWN];

const READ: &str = "read";
const UNPARSED: &str = "unparsed";
const UNREAD: &str = "unread";
/// Outcomes of reading a lake file.
pub(super) const FILE_OUTCOMES: [&str; 3] = [READ, UNPARSED, UNREAD];

impl Metrics {
    /// Counts the findings, effects and duration of a pass. Call it once per pass.
    pub fn record(&self, report: &Report) {
        let Report {
            target,
            depth,
            state,
            why: _,
            cause: _,
            counts,
            expected: _,
            published: _,
            published_after: _,
            keys: _,
            done: _,
            effects,
            lake,
            check_failure,
            repair_failure,
            refusal,
            pass: _,
            took,
            leased_away,
            service_failed: _,
            failed: _,
            outage: _,
            interrupted,
            again_at: _,
            findings: _,
            outside: _,
            altered: _,
        } = report;
        let name = &target.dataset.name;
        let dataset = name.as_str();
        match state {
            State::Skipped => return self.days_skipped_total.with_label_values(&[dataset]).inc(),
            State::Unsettled | State::KnownLost | State::Unknown => return,
            State::InSync
            | State::Differs
            | State::Repaired
            | State::Held
            | State::Unproven
            | State::Unconfirmed => {}
        }
        if (*leased_away || *interrupted) && effects.is_none() {
            return; // nothing was checked
        }
        let depth = depth.to_string();
        match check_failure {
            None => self
                .checks_total
                .with_label_values(&[dataset, &*depth])
                .inc(),
            Some(reason) => {
                let labels = [dataset, &*reason.to_string()];
                self.check_failures_total.with_label_values(&labels).inc();
            }
        }
        for finding in Finding::ALL {
            let labels = [dataset, &*finding.to_string()];
            let counter = self.rows_found_total.with_label_values(&labels);
            // An earlier check found and counted them.
            let counted_before = finding == Finding::Altered && report.carries_altered();
            counter.inc_by(if counted_before {
                0
            } else {
                counts.of(finding)
            });
        }
        for breach in refusal.iter().flat_map(|refusal| &refusal.breaches) {
            let labels = [dataset, &*breach.guard.to_string()];
            self.held_total.with_label_values(&labels).inc();
        }
        self.record_lake(name, *lake);
        let seconds = took.as_secs_f64();
        match effects {
            None => {
                let durations = &self.check_duration_seconds;
                let duration = durations.with_label_values(&[dataset, &*depth]);
                duration.observe(seconds);
            }
            Some(effects) => {
                self.record_effects(name, effects);
                self.repairs_total.with_label_values(&[dataset]).inc();
                let durations = &self.repair_duration_seconds;
                durations.with_label_values(&[dataset]).observe(seconds);
            }
        }
        if let Some(reason) = repair_failure {
            let labels = [dataset, &*reason.to_string()];
            self.repair_failures_total.with_label_values(&labels).inc();
        }
    }

    fn record_effects(&self, name: &DatasetName, effects: &Effects) {
        let Effects {
            pass: _,
            published,
            purged,
            archived,
            entered,
            withdrawn,
            dropped: _,
        } = effects;
        let dataset = name.as_str();
        let rows = self.rows_published_total.with_label_values(&[dataset]);
        rows.inc_by(*published);
        let rows = self.rows_archived_total.with_label_values(&[dataset]);
        rows.inc_by(*archived);
        for (why, rows) in purged {
            let labels = [dataset, &*why.to_string()];
            let counter = self.rows_purged_total.with_label_values(&labels);
            counter.inc_by(*rows);
        }
        for (change, entries) in [(ENTERED, entered), (WITHDRAWN, withdrawn)] {
            let labels = [dataset, change];
            let counter = self.catalog_changes_total.with_label_values(&labels);
            counter.inc_by(*entries);
        }
    }

    fn record_lake(&self, name: &DatasetName, lake: LakeReads) {
        let LakeReads {
            read,
            unparsed,
            unread,
            bytes,
        } = lake;
        let dataset = name.as_str();
        let counter = self.lake_bytes_total.with_label_values(&[dataset]);
        counter.inc_by(bytes);
        for (outcome, files) in [(READ, read), (UNPARSED, unparsed), (UNREAD, unread)] {
            let labels = [dataset, outcome];
            let counter = self.lake_files_total.with_label_values(&labels);
            counter.inc_by(files);
        }
    }
}
