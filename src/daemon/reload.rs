//! Reloads the settings on SIGHUP: all of them, or none.
//!
//! Everything that the new settings name is opened before anything old is closed. Passes in
//! progress finish with the settings they started with.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::model::DatasetName;
use crate::settings::{Line, Settings};

use super::ticker::Ticker;
use super::{Daemon, Tools, service};

impl Daemon {
    /// Reads the settings again, and applies them if they are valid.
    pub async fn reload(&mut self) {
        service::reloading();
        match self.try_reload().await {
            Ok(0) => tracing::info!("settings reloaded: no changes"),
            Ok(changes) => tracing::info!(changes, "settings reloaded: {changes} changed"),
            Err(error) => tracing::error!(
                "cannot reload the settings; the old ones remain in effect: {error:#}"
            ),
        }
        service::ready();
    }

    async fn try_reload(&mut self) -> Result<usize> {
        let settings = Arc::new((self.reread)()?);
        let changes = differences(&self.world().settings, &settings);
        let clock = Arc::clone(&self.clock);
        // Reopened even if no setting changed: a secret may have changed, which the comparison
        // cannot see.
        let (holder, stop) = (&self.holder, &self.stop);
        let tools = Tools::open(Arc::clone(&settings), Arc::clone(&clock), holder, stop).await?;
        let ticker = Ticker::start(&settings, clock).await?;
        let known: Vec<DatasetName> = (settings.datasets.iter())
            .map(|one| one.dataset.name.clone())
            .collect();
        let cleared = tools.world.ledger.forget_datasets_but(&known).await;
        cleared.context("cannot remove unknown datasets from the queue")?;
        for change in &changes {
            tracing::info!("{change}");
        }
        if self.world().settings.http.listen != settings.http.listen {
            tracing::warn!("http.listen takes effect at the next start");
        }
        self.tools = tools;
        self.observer.renewed(&self.tools.world, &self.holder);
        std::mem::replace(&mut self.ticker, ticker).end().await;
        Ok(changes.len())
    }
}

/// Every key whose value changed, as a line for the log. Secrets are redacted in both values.
fn differences(old: &Settings, new: &Settings) -> Vec<String> {
    let values = |settings: &Settings| -> BTreeMap<String, Option<String>> {
        let lines = settings.lines().into_iter();
        lines.map(|Line { key, value, .. }| (key, value)).collect()
    };
    let (old, new) = (values(old), values(new));
    let shown = |value: Option<&Option<String>>| {
        let value = value.and_then(Option::as_deref);
        value.unwrap_or("not set").to_owned()
    };
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    (keys.into_iter())
        .map(|key| (key, shown(old.get(key)), shown(new.get(key))))
        .filter(|(_, before, now)| before != now)
        .map(|(key, before, now)| format!("{key}: {before} is now {now}"))
        .collect()
}
