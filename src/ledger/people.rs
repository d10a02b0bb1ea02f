//! Decisions made by people: marks on days, approvals of plans, and a record of every such act.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Ledger, LedgerError, UnknownKind};
use crate::database::{FieldError, Line, Param, Statement};
use crate::model::{DatasetName, Day};

/// The meaning of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MarkKind {
    /// The day's data are lost for good; its missing rows are no finding.
    KnownLost,
    /// The day is not repaired.
    Hold,
}

impl fmt::Display for MarkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::KnownLost => "known-lost",
            Self::Hold => "hold",
        })
    }
}

impl FromStr for MarkKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        [Self::KnownLost, Self::Hold]
            .into_iter()
            .find(|kind| kind.to_string() == text)
            .ok_or_else(|| UnknownKind(text.into()))
    }
}

/// A mark that a person put on a day. A day has at most one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// The dataset.
    pub dataset: DatasetName,
    /// The local day.
    pub day: Day,
    /// Its meaning.
    pub kind: MarkKind,
    /// Why.
    pub reason: String,
    /// The first day on which it no longer applies; `None` if it applies until released.
    pub until: Option<Day>,
    /// When it was set (UTC).
    pub at: DateTime<Utc>,
    /// By whom, and from where.
    pub by: String,
}

/// A person's approval of the plan with this digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Approval {
    /// Digest of the plan.
    pub digest: String,
    /// When (UTC).
    pub at: DateTime<Utc>,
    /// By whom, and from where.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When the plan was carried out under it (UTC). An approval can be used once.
    pub used_at: Option<DateTime<Utc>>,
}

/// Something a person did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Act {
    /// When (UTC).
    pub at: DateTime<Utc>,
    /// Who, and from where.
    pub origin: String,
    /// The act: `hold`, `known-lost`, `release`, `approve`, `check`.
    pub act: String,
    /// Its subject: `camera-counts 2020-10-01`, or the digest of a plan.
    pub subject: String,
    /// Why.
    pub reason: String,
}

/// The act that removes a mark and resets the day's breaker.
pub(super) const RELEASE: &str = "release";

fn subject(dataset: &DatasetName, day: Day) -> String {
    format!("{dataset} {day}")
}

fn record(act: &Act) -> Statement {
    let Act {
        at,
        origin,
        act,
        subject,
        reason,
    } = act;
    Statement::new(
        "insert into ledger_acts (at, origin, act, subject, reason) values ($1, $2, $3, $4, $5)",
        vec![
            (*at).into(),
            origin.into(),
            act.into(),
            subject.into(),
            reason.into(),
        ],
    )
}

fn read_mark(line: &Line) -> Result<Mark, FieldError> {
    Ok(Mark {
        dataset: line.parsed(0)?,
        day: line.get(1)?,
        kind: line.parsed(2)?,
        reason: line.get(3)?,
        until: line.maybe(4)?,
        at: line.get(5)?,
        by: line.get(6)?,
    })
}

fn mark_params(mark: &Mark) -> Vec<Param> {
    let Mark {
        dataset,
        day,
        kind,
        reason,
        until,
        at,
        by,
    } = mark;
    vec![
        dataset.as_str().into(),
        (*day).into(),
        (&kind.to_string()).into(),
        reason.into(),
        (*until).into(),
        (*at).into(),
        by.into(),
    ]
}

impl Ledger {
    /// Puts a mark on a day, replacing an earlier one.
    pub async fn mark(&self, mark: &Mark) -> Result<(), LedgerError> {
        let set = Statement::new(
            "insert into ledger_marks (dataset, day, kind, reason, until, marked_at, marked_by)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (dataset, day) do update set
               kind = excluded.kind, reason = excluded.reason, until = excluded.until,
               marked_at = excluded.marked_at, marked_by = excluded.marked_by",
            mark_params(mark),
        );
        let act = Act {
            at: mark.at,
            origin: mark.by.clone(),
            act: mark.kind.to_string(),
            subject: subject(&mark.dataset, mark.day),
            reason: mark.reason.clone(),
        };
        let what = format!("mark {}", act.subject);
        self.database
            .transaction(&what, vec![set, record(&act)])
            .await?;
        Ok(())
    }

    /// Removes the mark of a day, and returns whether it had one. Repairs before `at` no longer
    /// count for the day's breaker.
    pub async fn unmark(
        &self,
        dataset: &DatasetName,
        day: Day,
        at: DateTime<Utc>,
        by: &str,
        reason: &str,
    ) -> Result<bool, LedgerError> {
        let remove = Statement::new(
            "delete from ledger_marks where dataset = $1 and day = $2",
            vec![dataset.as_str().into(), day.into()],
        );
        let act = Act {
            at,
            origin: by.into(),
            act: RELEASE.into(),
            subject: subject(dataset, day),
            reason: reason.into(),
        };
        let what = format!("release {}", act.subject);
        let lines = self
            .database
            .transaction(&what, vec![remove, record(&act)])
            .await?;
        Ok(lines.first() == Some(&1))
    }

    /// The marks of a dataset, or of all datasets, by dataset and day, including expired ones.
    pub async fn marks(&self, dataset: Option<&DatasetName>) -> Result<Vec<Mark>, LedgerError> {
        let sql = "select dataset, day, kind, reason, until, marked_at, marked_by
             from ledger_marks where dataset = $1 or cast($1 as text) is null
             order by dataset, day";
        let params = vec![dataset.map(DatasetName::as_str).into()];
        Ok(self
            .database
            .query("read marks", sql, params, read_mark)
            .await?)
    }

    /// Records a person's approval of a plan. An approval of the same plan that was used can be
    /// used again.
    pub async fn approve(&self, approval: &Approval) -> Result<(), LedgerError> {
        let Approval {
            digest,
            at,
            by,
            reason,
            used_at,
        } = approval;
        let set = Statement::new(
            "insert into ledger_approvals (digest, approved_at, approved_by, reason, used_at)
             values ($1, $2, $3, $4, $5)
             on conflict (digest) do update set
               approved_at = excluded.approved_at, approved_by = excluded.approved_by,
               reason = excluded.reason, used_at = excluded.used_at",
            vec![
                digest.into(),
                (*at).into(),
                by.into(),
                reason.into(),
                (*used_at).into(),
            ],
        );
        let act = Act {
            at: *at,
            origin: by.clone(),
            act: "approve".into(),
            subject: digest.clone(),
            reason: reason.clone(),
        };
        self.database
            .transaction("record an approval", vec![set, record(&act)])
            .await?;
        Ok(())
    }

    /// The approval of the plan with this digest, used or not.
    pub async fn approval(&self, digest: &str) -> Result<Option<Approval>, LedgerError> {
        let sql = "select digest, approved_at, approved_by, reason, used_at
             from ledger_approvals where digest = $1";
        let found = self
            .database
            .query("read an approval", sql, vec![digest.into()], |line| {
                Ok(Approval {
                    digest: line.get(0)?,
                    at: line.get(1)?,
                    by: line.get(2)?,
                    reason: line.get(3)?,
                    used_at: line.maybe(4)?,
                })
            })
            .await?;
        Ok(found.into_iter().next())
    }

    /// Uses the approval of the plan with this digest. Returns true to exactly one caller.
    pub async fn use_approval(
        &self,
        digest: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, LedgerError> {
        let sql = "update ledger_approvals set used_at = $2
             where digest = $1 and used_at is null";
        let params = vec![digest.into(), now.into()];
        let used = self.database.execute("use an approval", sql, params);
        Ok(used.await? == 1)
    }

    /// Records an act that leaves no mark and no approval.
    pub async fn record_act(&self, act: &Act) -> Result<(), LedgerError> {
        self.database
            .transaction("record an act", vec![record(act)])
            .await?;
        Ok(())
    }

    /// What people did about a day, oldest first.
    pub async fn acts(&self, dataset: &DatasetName, day: Day) -> Result<Vec<Act>, LedgerError> {
        let sql = "select at, origin, act, subject, reason from ledger_acts
             where subject = $1 order by number";
        let params = vec![Param::from(&subject(dataset, day))];
        Ok(self
            .database
            .query("read acts", sql, params, |line| {
                Ok(Act {
                    at: line.get(0)?,
                    origin: line.get(1)?,
                    act: line.get(2)?,
                    subject: line.get(3)?,
                    reason: line.get(4)?,
                })
            })
            .await?)
    }
}
