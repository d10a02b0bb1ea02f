//! Builds the world and the writers from the settings.
//!
//! The two are built apart: checking needs no secret that can write, so `check`, `plan`, `derive`
//! and `explain` never come near [`writers`]. With `socrata.read_as = "login"` the reading client
//! sends the login, and still cannot write.

use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::archive::{Archive, ArchiveWriter};
use crate::catalog::{Catalog, CatalogWriter};
use crate::lake::Lake;
use crate::lease::{self, Waits};
use crate::ledger::Ledger;
use crate::reconcile::{Clock, SharedClock, SystemClock, World};
use crate::repair::{Stop, Writers};
use crate::settings::Settings;
use crate::socrata::{Portal, Reader, Writer};

/// Opens everything a pass can see.
///
/// # Errors
/// If lake, catalog, portal or ledger cannot be opened as the settings say.
pub async fn world(settings: Arc<Settings>) -> Result<World> {
    world_at(settings, Arc::new(SystemClock)).await
}

/// The same by another clock, as long as the ledger's server has none.
///
/// # Errors
/// As [`world`].
pub async fn world_at(settings: Arc<Settings>, clock: Arc<dyn Clock>) -> Result<World> {
    let (lake, catalog) = lakeside(&settings).await?;
    let portal = Portal::open(&settings.socrata).context("cannot open the portal")?;
    let ledger = ledger(&settings).await?;
    let world = World {
        settings,
        lake,
        catalog,
        socrata: Reader::new(Arc::clone(&portal)),
        portal,
        ledger,
        clock: Arc::new(SharedClock::new(clock)),
        waits: Waits::default(),
    };
    world.time().await.context("read the ledger's clock")?;
    Ok(world)
}

/// Opens only the lake and its catalog, which is all that deriving rows needs.
///
/// # Errors
/// If one of them cannot be opened as the settings say.
pub async fn lakeside(settings: &Settings) -> Result<(Lake, Catalog)> {
    let lake = Lake::open(&settings.lake).context("cannot open the lake")?;
    let catalog = Catalog::open(&settings.catalog, settings.timezone).await;
    Ok((lake, catalog.context("cannot open the catalog")?))
}

/// Opens only our own record.
///
/// # Errors
/// If it cannot be opened as the settings say.
pub async fn ledger(settings: &Settings) -> Result<Ledger> {
    let ledger = Ledger::open(&settings.ledger).await;
    ledger.context("cannot open the ledger")
}

/// Opens everything that can change portal, catalog and archive.
///
/// # Errors
/// If a secret for writing is missing, or one of them cannot be opened.
pub async fn writers(world: &World) -> Result<Writers> {
    let settings = &world.settings;
    let catalog = CatalogWriter::open(&settings.catalog).await;
    Ok(Writers {
        portal: Writer::new(Arc::clone(&world.portal), &settings.socrata)
            .context("cannot open the portal for writing")?,
        archive: archive_writer(settings)?,
        catalog: catalog.context("cannot open the catalog for writing")?,
        holder: holder(),
        stop: Stop::default(),
    })
}

/// Opens the archive for storing and removing.
///
/// # Errors
/// If it cannot be opened as the settings say.
pub fn archive_writer(settings: &Settings) -> Result<ArchiveWriter> {
    ArchiveWriter::open(&settings.archive).context("cannot open the archive for writing")
}

/// Opens the archive for reading.
///
/// # Errors
/// If it cannot be opened as the settings say.
pub fn archive(settings: &Settings) -> Result<Archive> {
    Archive::open(&settings.archive).context("cannot open the archive")
}

/// Who types, and where: `user@host`, as it is in the ledger beside what they did.
#[must_use]
pub fn origin() -> String {
    let named = |name| std::env::var(name).ok().filter(|user| !user.is_empty());
    let user = named("USER").or_else(|| named("LOGNAME"));
    let uid = || std::fs::metadata("/proc/self").map_or(0, |process| process.uid());
    format!(
        "{}@{}",
        user.unwrap_or_else(|| format!("uid-{}", uid())),
        host()
    )
}

fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => "unknown-host".into(),
        host => host.into(),
    }
}

/// Who we are, distinguished from every other running program.
pub(crate) fn holder() -> String {
    lease::holder_name(&host())
}
