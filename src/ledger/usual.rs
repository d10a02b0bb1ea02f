//! Usual numbers of a dataset: the files and rows of its days at their last proven check. Also its
//! misdated rows, whose day is far from the day of their file.

use serde::Serialize;

use super::{Ledger, LedgerError, bounds};
use crate::database::{Param, Statement};
use crate::model::{DatasetName, Day, DayRange, RowKey};

/// The numbers of a dataset-day at its last proven check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Usual {
    /// The local day.
    pub day: Day,
    /// Ready files.
    pub files: u64,
    /// Rows derived from them.
    pub rows: u64,
}

/// Rows inserted by one statement, well below the parameter limits of both databases.
const ROWS_PER_STATEMENT: usize = 1_000;

fn insertion(dataset: &DatasetName, file_day: Day, misdated: &[(RowKey, Day)]) -> Statement {
    let mut params: Vec<Param> = vec![dataset.as_str().into(), file_day.into()];
    let mut places = Vec::with_capacity(misdated.len());
    for (key, day) in misdated {
        places.push(format!(
            "($1, $2, ${}, ${})",
            params.len() + 1,
            params.len() + 2
        ));
        params.extend([(*day).into(), (&key.to_string()).into()]);
    }
    let sql = format!(
        "insert into ledger_misdated (dataset, file_day, row_day, row_key) values {}
         on conflict do nothing",
        places.join(", ")
    );
    Statement::new(sql, params)
}

impl Ledger {
    /// Records how many files and rows a day had at a proven check.
    pub async fn set_usual(
        &self,
        dataset: &DatasetName,
        day: Day,
        files: u64,
        rows: u64,
    ) -> Result<(), LedgerError> {
        let sql = "insert into ledger_usual (dataset, day, files, row_count)
             values ($1, $2, $3, $4)
             on conflict (dataset, day) do update set
               files = excluded.files, row_count = excluded.row_count";
        let params = vec![
            dataset.as_str().into(),
            day.into(),
            files.into(),
            rows.into(),
        ];
        let act = format!("record the usual numbers of {dataset} on {day}");
        self.database.execute(&act, sql, params).await?;
        Ok(())
    }

    /// The days with a proven check within `days` days of `around`, which is included, in order.
    pub async fn usual(
        &self,
        dataset: &DatasetName,
        around: Day,
        days: u32,
    ) -> Result<Vec<Usual>, LedgerError> {
        let sql = "select day, files, row_count from ledger_usual
             where dataset = $1 and day >= $2 and day < $3 order by day";
        let range = DayRange {
            from: around.plus(-i64::from(days)),
            to: around.plus(i64::from(days)).next(),
        };
        let [from, to] = bounds(Some(range));
        let params = vec![dataset.as_str().into(), from, to];
        Ok(self
            .database
            .query("read the usual numbers", sql, params, |line| {
                Ok(Usual {
                    day: line.get(0)?,
                    files: line.count(1)?,
                    rows: line.count(2)?,
                })
            })
            .await?)
    }

    /// Records the misdated rows of a day's files, replacing those recorded before.
    pub async fn set_misdated(
        &self,
        dataset: &DatasetName,
        file_day: Day,
        misdated: &[(RowKey, Day)],
    ) -> Result<(), LedgerError> {
        let forget = Statement::new(
            "delete from ledger_misdated where dataset = $1 and file_day = $2",
            vec![dataset.as_str().into(), file_day.into()],
        );
        self.write_misdated(dataset, file_day, Some(forget), misdated)
            .await
    }

    /// Records more misdated rows, in addition to those recorded before.
    pub async fn add_misdated(
        &self,
        dataset: &DatasetName,
        file_day: Day,
        misdated: &[(RowKey, Day)],
    ) -> Result<(), LedgerError> {
        self.write_misdated(dataset, file_day, None, misdated).await
    }

    async fn write_misdated(
        &self,
        dataset: &DatasetName,
        file_day: Day,
        before: Option<Statement>,
        misdated: &[(RowKey, Day)],
    ) -> Result<(), LedgerError> {
        let chunks = misdated.chunks(ROWS_PER_STATEMENT);
        let statements = (before.into_iter())
            .chain(chunks.map(|chunk| insertion(dataset, file_day, chunk)))
            .collect();
        let act = format!("record the misdated rows of {dataset} on {file_day}");
        self.database.transaction(&act, statements).await?;
        Ok(())
    }

    /// The keys of rows that are published on `day` and come from files of other days, in order.
    pub async fn misdated_keys(
        &self,
        dataset: &DatasetName,
        day: Day,
    ) -> Result<Vec<RowKey>, LedgerError> {
        let sql = "select distinct row_key from ledger_misdated
             where dataset = $1 and row_day = $2 and file_day <> $2";
        let params = vec![dataset.as_str().into(), day.into()];
        let mut keys = self
            .database
            .query("read misdated rows", sql, params, |line| {
                Ok(RowKey::new(&line.get::<String>(0)?))
            })
            .await?;
        keys.sort();
        Ok(keys)
    }
}
