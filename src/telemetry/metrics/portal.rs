//! Counts the traffic that the portal's client reports.

use super::Metrics;
use crate::socrata::{Exchange, OPERATIONS, Observer, RETRY_REASONS};

/// The statuses whose series exist from the start: those that portals are known to return.
const CODES: [&str; 13] = [
    NO_ANSWER, "200", "202", "400", "403", "404", "413", "429", "500", "502", "503", "504", "401",
];

const NO_ANSWER: &str = "none";
const SENT: &str = "sent";
const RECEIVED: &str = "received";

impl Metrics {
    pub(super) fn fill_portal(&self) {
        for operation in OPERATIONS {
            let durations = &self.portal_request_duration_seconds;
            durations.with_label_values(&[operation]);
            for code in CODES {
                let labels = [operation, code];
                self.portal_requests_total.with_label_values(&labels);
            }
        }
        for reason in RETRY_REASONS {
            self.portal_retries_total.with_label_values(&[reason]);
        }
        for direction in [SENT, RECEIVED] {
            self.portal_bytes_total.with_label_values(&[direction]);
        }
        let none: [&str; 0] = [];
        self.portal_throttled_seconds_total.with_label_values(&none);
    }
}

impl Observer for Metrics {
    fn exchanged(&self, exchange: Exchange) {
        let Exchange {
            operation,
            status,
            took,
            sent,
            received,
        } = exchange;
        let code = status.map_or_else(|| NO_ANSWER.to_owned(), |status| status.to_string());
        let labels = [operation, &*code];
        self.portal_requests_total.with_label_values(&labels).inc();
        let durations = &self.portal_request_duration_seconds;
        let duration = durations.with_label_values(&[operation]);
        duration.observe(took.as_secs_f64());
        let bytes = |direction| self.portal_bytes_total.with_label_values(&[direction]);
        bytes(SENT).inc_by(sent);
        bytes(RECEIVED).inc_by(received);
    }

    fn retried(&self, reason: &'static str) {
        self.portal_retries_total.with_label_values(&[reason]).inc();
    }

    fn throttled(&self, waited: std::time::Duration) {
        let none: [&str; 0] = [];
        let counter = self.portal_throttled_seconds_total.with_label_values(&none);
        counter.inc_by(waited.as_secs_f64());
    }
}
