//! Corrections of published data, for the public, derived from the passes.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Ledger, LedgerError, PassKind, VERIFIED, bounds};
use crate::database::{FieldError, Line};
use crate::model::{DatasetName, Day, DayRange};

/// One correction of published data: a pass that changed or restored rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// When it ended (UTC).
    pub date: DateTime<Utc>,
    /// The dataset.
    pub dataset: DatasetName,
    /// The local day whose rows were changed.
    pub day: Day,
    /// The pass. It names the archive of what was purged.
    pub pass: Uuid,
    /// Its kind: `repair`, `rewrite` or `restore`.
    pub kind: String,
    /// Rows changed in total.
    pub rows: u64,
    /// Rows purged.
    pub purged: u64,
    /// Rows published.
    pub published: u64,
    /// The reason, as a sentence.
    pub reason: String,
    /// Rows published before it.
    pub before: Option<u64>,
    /// Rows published after it, according to the check that followed.
    pub after: Option<u64>,
}

fn read_correction(line: &Line) -> Result<Correction, FieldError> {
    let summary: serde_json::Value = line.get(5)?;
    let seen: Option<serde_json::Value> = line.maybe(8)?;
    let (purged, published) = (line.count(6)?, line.count(7)?);
    let kind: PassKind = line.parsed(4)?;
    let cause = summary.get("cause").and_then(|cause| cause.as_str());
    let default_reason = match kind {
        PassKind::Repair => "rows differed from the lake's files",
        PassKind::Rewrite => "the day was purged and published again",
        PassKind::Restore => "archived rows were restored",
    };
    let rows = |json: &serde_json::Value| json.get("published")?.as_u64();
    Ok(Correction {
        date: line.get(0)?,
        dataset: line.parsed(1)?,
        day: line.get(2)?,
        pass: line.parsed(3)?,
        kind: kind.to_string(),
        rows: purged + published,
        purged,
        published,
        reason: cause.unwrap_or(default_reason).to_owned(),
        before: rows(&summary),
        after: seen.as_ref().and_then(rows),
    })
}

impl Ledger {
    /// The corrections of a dataset, or of all datasets, on the days of a range: newest first,
    /// `most` at most. A pass whose process died counts with the purged rows in its journal.
    pub async fn corrections(
        &self,
        dataset: Option<&DatasetName>,
        range: Option<DayRange>,
        most: u32,
    ) -> Result<Vec<Correction>, LedgerError> {
        let sql = format!(
            "select * from (
               select p.ended_at, p.dataset, p.day, p.id, p.kind, p.summary,
                 case when p.purged > coalesce(j.purged, 0) then p.purged
                   else coalesce(j.purged, 0) end as purged,
                 p.published,
                 (select v.detail from ledger_journal v
                   where v.pass = p.id and v.step = '{VERIFIED}') as seen
               from ledger_passes p
               left join (select pass, cast(sum(purged) as bigint) as purged
                   from ledger_journal group by pass) j on j.pass = p.id
               where p.ended_at is not null
                 and (p.dataset = $1 or cast($1 as text) is null)
                 and p.day >= $2 and p.day < $3) passes
             where purged + published > 0
             order by ended_at desc, id desc limit {most}"
        );
        let [from, to] = bounds(range);
        let params = vec![dataset.map(DatasetName::as_str).into(), from, to];
        let corrections = self
            .database
            .query("read corrections", &sql, params, read_correction);
        Ok(corrections.await?)
    }
}
