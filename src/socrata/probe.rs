//! Whether a portal responds at all.
//!
//! A request that failed after all its attempts says nothing about other requests: the portal may
//! be down, or only this day of this table may fail. So one small request is sent, once.

use std::time::Duration;

use super::portal::Portal;
use super::retry::{Verdict, verdict};
use super::soql::Query;
use crate::model::DatasetId;

/// Time limit for the answer.
const WITHIN: Duration = Duration::from_secs(20);

impl Portal {
    /// Whether the portal responds to a small request for the table, even with a refusal.
    pub async fn answers(&self, id: &DatasetId) -> bool {
        let query = Query {
            select: "count(*) as sl_rows".into(),
            filter: ":id is null".into(),
            ..Query::default()
        };
        let url = self.query_url(id, &query);
        let response = tokio::time::timeout(WITHIN, self.get("count", &url));
        let Ok(Ok(answer)) = response.await else {
            return false;
        };
        match verdict(answer.status) {
            Verdict::Done | Verdict::Poll | Verdict::Final => true,
            Verdict::Again(_) => false,
        }
    }
}
