//! Faults on demand: which request goes wrong, and how. Read from a TOML or JSON file by
//! `sodalake sandbox --faults FILE`, or set in tests. At most one fault meets a request: that of
//! the first rule that fires. All chance comes from the portal's seed.
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

/// All rules in force, and optionally other replicas than the portal began with.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// The rules, tried in order.
    pub rules: Vec<Rule>,
    /// How the replicas behave from now on; absent leaves them as they are.
    pub replicas: Option<super::Replicas>,
}

impl Faults {
    /// One fault for the next `times` requests it fits.
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

/// When a fault happens. A request must meet every condition given.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Kind of request; any by default.
    #[serde(default)]
    pub on: Operation,
    /// Only this dataset's requests.
    #[serde(default)]
    pub dataset: Option<String>,
    /// Only requests whose decoded query string contains this text.
    #[serde(default)]
    pub query_contains: Option<String>,
    /// Only from the nth request on (from 1) that meets the conditions above.
    #[serde(default)]
    pub nth: Option<u64>,
    /// Chance from 0 to 1 for each such request; certain by default.
    #[serde(default)]
    pub probability: Option<f64>,
    /// At most so often; once where `nth` is given, else without end.
    #[serde(default)]
    pub times: Option<u64>,
    /// What goes wrong.
    pub fault: Fault,
}

impl Rule {
    /// A rule that hits every request its fault fits.
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
    /// Rows or aggregates are asked for.
    Read,
    /// Rows are changed.
    Write,
    /// The metadata document is asked for.
    Metadata,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// 429, nothing done; with `Retry-After` if seconds are given.
    Throttled {
        /// Value of `Retry-After`.
        #[serde(default)]
        retry_after_seconds: Option<u32>,
    },
    /// 202, nothing done; the client is to ask again.
    Accepted {
        /// How the reply says when and where.
        #[serde(default)]
        hint: Hint,
    },
    /// 500 `internal-error` with a tag, nothing done: what two overlapping writers get.
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
    /// Read: 200 with `[]` though rows exist.
    EmptyArray,
    /// Read: the body ends early.
    Cut {
        /// Where.
        at: CutAt,
    },
    /// The connection is closed before any header, nothing done.
    Reset,
    /// The reply comes in small pieces with pauses.
    Drip {
        /// Bytes in a piece.
        bytes: usize,
        /// Pause between two pieces.
        pause_ms: u64,
    },
    /// The reply stops after so many bytes and the connection stays open.
    Stall {
        /// Bytes of the body sent first.
        after_bytes: usize,
    },
    /// The reply comes late; a write is applied at once.
    Delay {
        /// How late.
        ms: u64,
    },
    /// Write: applied only after so long, though the client may have given up and sent it again.
    Late {
        /// How late.
        ms: u64,
    },
    /// Write: a body of more than so many bytes is refused with 413, nothing done.
    TooLarge {
        /// The longest body taken.
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
        /// How many.
        rows: usize,
    },
    /// Write: applied, 200 with counts that are all 0.
    WrongCounts,
    /// Write: applied twice; the second reply is sent.
    DeliveredTwice,
    /// Read: no `X-SODA2-*` header at all.
    NoSodaHeaders,
    /// Read: `X-SODA2-Fields` and `-Types` left out, as for very wide tables.
    NoFieldHeaders,
    /// Read: the row in the middle of the page comes twice.
    RepeatedRow,
    /// Read: the row in the middle of the page is missing; nothing tells.
    SkippedRow,
    /// Read: the rows come in the opposite order.
    WrongOrder,
    /// Read: every row has its first field twice, the second time with the next row's value.
    FieldTwice,
    /// Read: every number of the first row is one more; counts are numbers.
    OneMore,
    /// Read: after the reply is made, its first rows are deleted from the table (a gap for who
    /// pages by offset).
    DeletesAfter {
        /// How many.
        rows: usize,
    },
    /// Read: after the reply is made, its first rows are written again unchanged; version and
    /// `:updated_at` move.
    TouchesAfter {
        /// How many.
        rows: usize,
    },
    /// Read: the out-of-date flag says this, true or not.
    Flag {
        /// The value.
        out_of_date: bool,
    },
}

/// What a 202 tells the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    /// Nothing.
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

/// Where a body ends early.
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
    /// All rows, no `]`, and the chunked body ends as if complete.
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
            | Fault::DeletesAfter { .. }
            | Fault::TouchesAfter { .. }
            | Fault::Flag { .. } => operation == Operation::Read,
        }
    }
}

/// The rules with their counters.
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

    /// The fault that meets this request.
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
    fn a_faults_file_says_which_request_goes_wrong() {
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
    fn chance_repeats_with_the_seed() {
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
