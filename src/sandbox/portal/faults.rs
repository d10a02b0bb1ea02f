//! Faults on demand: which requests go wrong, and how. They are read from a TOML or JSON file by
//! `sodalake sandbox --faults FILE`, or set in tests. At most one fault is applied to a request:
//! that of the first rule that fires. All random decisions depend on the portal's seed.
//!
//! ```toml
//! [[rules]]
//! on = "write"          # the second write is applied, but its answer is lost
//! nth = 2
//! fault = { kind = "applied_then_reset" }
//!
//! [[rules]]
//! on = "read"
//! probability = 0.1
//! fault = { kind = "cut", at = "in_string" }
//! ```

use rand::Rng;
use rand::rngs::StdRng;
use serde::Deserialize;

/// All rules in force, and optionally a change of the replicas.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// The rules, tried in order.
    pub rules: Vec<Rule>,
    /// How the replicas behave from now on. If absent, they stay as they are.
    pub replicas: Option<super::Replicas>,
}

impl Faults {
    /// One fault for the next `times` requests to which it can be applied.
    #[must_use]
    pub fn next(times: u64, fault: Fault) -> Faults {
        let rule = Rule {
            times: Some(times),
            ..Rule::always(fault)
        };
        Faults {
            rules: vec![rule],
            replicas: None,
        }
    }
}

/// When a fault happens. A request must meet every given condition.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Kind of request. Default: any.
    #[serde(default)]
    pub on: Operation,
    /// Only requests for this dataset.
    #[serde(default)]
    pub dataset: Option<String>,
    /// Only requests whose decoded query string contains this text.
    #[serde(default)]
    pub query_contains: Option<String>,
    /// Only from the nth request (from 1) that meets the conditions above.
    #[serde(default)]
    pub nth: Option<u64>,
    /// Probability from 0 to 1 for each such request. Default: 1.
    #[serde(default)]
    pub probability: Option<f64>,
    /// Maximum number of times. Default: once if `nth` is given, otherwise unlimited.
    #[serde(default)]
    pub times: Option<u64>,
    /// The fault.
    pub fault: Fault,
}

impl Rule {
    /// A rule that applies to every request to which its fault can be applied.
    #[must_use]
    pub fn always(fault: Fault) -> Rule {
        Rule {
            on: Operation::Any,
            dataset: None,
            query_contains: None,
            nth: None,
            probability: None,
            times: None,
            fault,
        }
    }
}

/// A kind of request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Every kind.
    #[default]
    Any,
    /// Reads of rows or aggregates.
    Read,
    /// Changes of rows.
    Write,
    /// Reads of the metadata document.
    Metadata,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// 429, nothing done; with `Retry-After` if the seconds are given.
    Throttled {
        /// Value of `Retry-After`.
        #[serde(default)]
        retry_after_seconds: Option<u32>,
    },
    /// 202, nothing done; the client must repeat the request.
    Accepted {
        /// How the reply says when and where to repeat it.
        #[serde(default)]
        hint: Hint,
    },
    /// 500 `internal-error` with a tag, nothing done, as when two writers overlap.
    LockConflict,
    /// A load balancer's HTML page with this status (502, 503, 504), nothing done.
    Gateway {
        /// The status.
        status: u16,
    },
    /// 504 with an empty body, nothing done.
    EmptyGatewayTimeout,
    /// 503 in JSON, nothing done.
    Unavailable,
    /// 408 in JSON, nothing done.
    QueryTimeout,
    /// 200 with an HTML login page, nothing done.
    LoginPage,
    /// Read: 200 with `[]` although rows exist.
    EmptyArray,
    /// Read: the body ends early.
    Cut {
        /// Where it ends.
        at: CutAt,
    },
    /// The connection is closed before any header, nothing done.
    Reset,
    /// The reply comes in small pieces with pauses.
    Drip {
        /// Bytes per piece.
        bytes: usize,
        /// Pause between two pieces.
        pause_ms: u64,
    },
    /// The reply stops after this many bytes, and the connection stays open.
    Stall {
        /// Bytes of the body sent first.
        after_bytes: usize,
    },
    /// The reply is delayed; a write is applied at once.
    Delay {
        /// The delay.
        ms: u64,
    },
    /// Write: applied only after a delay. The client may have given up and sent it again meanwhile.
    Late {
        /// The delay.
        ms: u64,
    },
    /// Write: a body with more bytes than this is refused with 413, nothing done.
    TooLarge {
        /// Maximum length of a body.
        bytes: usize,
    },
    /// Write: applied, then the connection is closed without a reply.
    AppliedThenReset,
    /// Write: applied, then a load balancer's HTML page.
    AppliedThenGateway {
        /// The status.
        status: u16,
    },
    /// Write: applied, then 400 with `Row data was saved.`
    SavedButRefused,
    /// Write: 200, but the last rows of the body are counted as `Errors` and not applied.
    RowsRefused {
        /// The number of rows.
        rows: usize,
    },
    /// Write: applied, 200 with counts that are all 0.
    WrongCounts,
    /// Write: applied twice; the second reply is sent.
    DeliveredTwice,
    /// Read: no `X-SODA2-*` headers at all.
    NoSodaHeaders,
    /// Read: `X-SODA2-Fields` and `X-SODA2-Types` are left out, as for very wide tables.
    NoFieldHeaders,
    /// Read: the row in the middle of the page is repeated.
    RepeatedRow,
    /// Read: the row in the middle of the page is missing, with no sign of it.
    SkippedRow,
    /// Read: the rows are in the opposite order.
    WrongOrder,
    /// Read: every row has its first field twice, the second time with the next row's value.
    FieldTwice,
    /// Read: every number of the first row, including counts, is increased by one.
    OneMore,
    /// Read: the row in the middle of the page has this value in this column, if the page has the
    /// column.
    OddCell {
        /// The column.
        column: String,
        /// The value, of any JSON type.
        value: serde_json::Value,
    },
    /// Read: after the reply is made, its first rows are deleted from the table (a gap for who
    /// pages by offset).
    DeletesAfter {
        /// The number of rows.
        rows: usize,
    },
    /// Read: after the reply is built, its first rows are written again unchanged, which changes
    /// the version and `:updated_at`.
    TouchesAfter {
        /// The number of rows.
        rows: usize,
    },
    /// Read: the out-of-date flag has this value, true or not.
    Flag {
        /// The value.
        out_of_date: bool,
    },
}

/// The hint that a 202 gives the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    /// No hint.
    #[default]
    None,
    /// `Retry-After: 1`
    Seconds,
    /// `Retry-After` with a date one second ahead.
    Date,
    /// `Location` with the same path and query.
    Location,
    /// A `ticket` in the body.
    Ticket,
}

/// Where a body is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutAt {
    /// After a row in the middle; the connection breaks.
    RowBoundary,
    /// Inside a text of a row in the middle; the connection breaks.
    InString,
    /// After the last row, before the `]`; the connection breaks.
    BeforeBracket,
    /// A well-formed array with the last half of its rows missing.
    MissingRows,
    /// All rows but no `]`; the chunked body ends as if it were complete.
    MissingBracket,
}

impl Fault {
    fn fits(&self, operation: Operation) -> bool {
        match self {
            Fault::Throttled { .. }
            | Fault::Accepted { .. }
            | Fault::LockConflict
            | Fault::Gateway { .. }
            | Fault::EmptyGatewayTimeout
            | Fault::Unavailable
            | Fault::QueryTimeout
            | Fault::LoginPage
            | Fault::Reset
            | Fault::Drip { .. }
            | Fault::Stall { .. }
            | Fault::Delay { .. } => true,
            Fault::Late { .. }
            | Fault::TooLarge { .. }
            | Fault::AppliedThenReset
            | Fault::AppliedThenGateway { .. }
            | Fault::SavedButRefused
            | Fault::RowsRefused { .. }
            | Fault::WrongCounts
            | Fault::DeliveredTwice => operation == Operation::Write,
            Fault::EmptyArray
            | Fault::Cut { .. }
            | Fault::NoSodaHeaders
            | Fault::NoFieldHeaders
            | Fault::RepeatedRow
            | Fault::SkippedRow
            | Fault::WrongOrder
            | Fault::FieldTwice
            | Fault::OneMore
            | Fault::OddCell { .. }
            | Fault::DeletesAfter { .. }
            | Fault::TouchesAfter { .. }
            | Fault::Flag { .. } => operation == Operation::Read,
        }
    }
}

/// The rules, with their counters.
#[derive(Debug, Default)]
pub(super) struct Armed {
    pub faults: Faults,
    counters: Vec<Counter>,
}

#[derive(Debug, Clone, Default)]
struct Counter {
    seen: u64,
    hit: u64,
}

impl Armed {
    pub(super) fn new(faults: Faults) -> Armed {
        let counters = vec![Counter::default(); faults.rules.len()];
        Armed { faults, counters }
    }

    /// The fault to apply to this request.
    pub(super) fn strike(
        &mut self,
        operation: Operation,
        dataset: Option<&str>,
        query: &str,
        rng: &mut StdRng,
    ) -> Option<Fault> {
        for (rule, counter) in self.faults.rules.iter().zip(&mut self.counters) {
            let meets = (rule.on == Operation::Any || rule.on == operation)
                && rule.fault.fits(operation)
                && rule
                    .dataset
                    .as_deref()
                    .is_none_or(|wanted| Some(wanted) == dataset)
                && rule
                    .query_contains
                    .as_deref()
                    .is_none_or(|text| query.contains(text));
            if !meets {
                continue;
            }
            counter.seen += 1;
            let most = rule
                .times
                .unwrap_or(if rule.nth.is_some() { 1 } else { u64::MAX });
            let due = counter.seen >= rule.nth.unwrap_or(1) && counter.hit < most;
            if due
                && rule
                    .probability
                    .is_none_or(|chance| rng.random::<f64>() < chance)
            {
                counter.hit += 1;
                return Some(rule.fault.clone());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_faults_file_selects_the_request_that_goes_wrong() {
        let faults: Faults = toml::from_str(
            "[[rules]]\non = \"write\"\nnth = 2\nfault = { kind = \"applied_then_reset\" }\n\
             [[rules]]\nquery_contains = \"count\"\nfault = { kind = \"cut\", at = \"in_string\" }\n\
             [replicas]\neach = [{ lag_ms = 5 }, { stuck = true }]\n",
        )
        .unwrap();
        let mut armed = Armed::new(faults);
        let mut rng = StdRng::seed_from_u64(1);
        let mut strike = |operation, query| armed.strike(operation, None, query, &mut rng);
        assert_eq!(strike(Operation::Write, ""), None);
        assert_eq!(strike(Operation::Read, "limit"), None);
        assert_eq!(strike(Operation::Write, ""), Some(Fault::AppliedThenReset));
        assert_eq!(strike(Operation::Write, ""), None);
        assert_eq!(
            strike(Operation::Read, "count(*)"),
            Some(Fault::Cut {
                at: CutAt::InString
            })
        );
        assert!(toml::from_str::<Faults>("[[rules]]\nfault = { kind = \"nonsense\" }").is_err());
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let run = || {
            let rule = Rule {
                probability: Some(0.5),
                ..Rule::always(Fault::Reset)
            };
            let mut armed = Armed::new(Faults {
                rules: vec![rule],
                replicas: None,
            });
            let mut rng = StdRng::seed_from_u64(7);
            (0..40)
                .map(|_| armed.strike(Operation::Read, None, "", &mut rng).is_some())
                .collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
        assert!(run().contains(&true) && run().contains(&false));
    }
}
