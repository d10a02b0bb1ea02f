//! SIGHUP: the settings anew, all or nothing.
//!
//! Everything the new settings name is opened before anything of the old is let go. Passes under way
//! end with what they began with.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::model::DatasetName;
use crate::settings::{Line, Settings};

use super::ticker::Ticker;
use super::{Daemon, Tools, service};

impl Daemon {
    /// Reads the settings again, and works by them from now on if all of them are right.
    pub async fn reload(&mut self) {
        service::reloading();
        match self.reloaded().await {
            Ok(0) => tracing::info!("reloaded: no setting is another"),
            Ok(changes) => tracing::info!(changes, "reloaded: {changes} settings are new"),
            Err(error) => tracing::error!("failed to reload, the old settings stay: {error:#}"),
        }
        service::ready();
    }

    async fn reloaded(&mut self) -> Result<usize> {
        let settings = Arc::new((self.reread)()?);
        let changes = differences(&self.world().settings, &settings);
        let clock = Arc::clone(&self.world().clock);
        // Opened also where nothing differs: a secret may, and is not to be seen.
        let (holder, stop) = (&self.holder, &self.stop);
        let tools = Tools::open(Arc::clone(&settings), Arc::clone(&clock), holder, stop).await?;
        let ticker = Ticker::start(&settings, clock).await?;
        let known: Vec<DatasetName> = (settings.datasets.iter())
            .map(|one| one.dataset.name.clone())
            .collect();
        let cleared = tools.world.ledger.forget_datasets_but(&known).await;
        cleared.context("clear the queue of datasets that are gone")?;
        for change in &changes {
            tracing::info!("{change}");
        }
        if self.world().settings.http.listen != settings.http.listen {
            tracing::warn!("http.listen is taken up at the next start");
        }
        self.tools = tools;
        self.observer.renewed(&self.tools.world, &self.holder);
        std::mem::replace(&mut self.ticker, ticker).end().await;
        Ok(changes.len())
    }
}

/// Every key whose value is another, as a line for the log. Secrets are struck out in both.
fn differences(old: &Settings, new: &Settings) -> Vec<String> {
    let values = |settings: &Settings| -> BTreeMap<String, Option<String>> {
        let lines = settings.lines().into_iter();
        lines.map(|Line { key, value, .. }| (key, value)).collect()
    };
    let (old, new) = (values(old), values(new));
    let told = |value: Option<&Option<String>>| {
        let value = value.and_then(Option::as_deref);
        value.unwrap_or("not set").to_owned()
    };
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    (keys.into_iter())
        .map(|key| (key, told(old.get(key)), told(new.get(key))))
        .filter(|(_, before, now)| before != now)
        .map(|(key, before, now)| format!("{key}: {before} is now {now}"))
        .collect()
}
