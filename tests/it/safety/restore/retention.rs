//! Archives are removed when they are old, and never while something could still need them.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sodalake::archive::{Archive, ArchiveHeader, ArchiveWriter, ArchivedRow};
use sodalake::compare::Depth;
use sodalake::ledger::{Ledger, PassKind, PassRecord};
use sodalake::model::PublishedRow;
use sodalake::repair::{Retired, retire};
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::settings::{ArchiveSettings, LedgerSettings};
use tempfile::TempDir;
use uuid::Uuid;

use super::{WIDE, archive_of};
use crate::sources::lake::{Place, in_both_places};
use crate::support::city::{TestCity, wednesday};
use crate::support::program::run;

in_both_places!(
    only_old_archives_of_ended_passes_are_removed,
    an_archive_stays_until_its_restore_has_ended,
);

struct Shelf {
    archive: ArchiveWriter,
    ledger: Ledger,
    _dir: TempDir,
}

fn made() -> DateTime<Utc> {
    "2020-10-03T10:00:00Z".parse().unwrap()
}

/// A time past `keep_days` for everything that the tests store.
fn late() -> DateTime<Utc> {
    Utc::now() + TimeDelta::days(401)
}

impl Shelf {
    async fn at(place: &Place) -> Self {
        let settings = ArchiveSettings {
            url: place.url(),
            keep_days: 400,
        };
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/ledger.db", dir.path().display());
        let ledger = LedgerSettings {
            url: url.parse().unwrap(),
            password: None,
            ca_file: None,
        };
        Self {
            archive: ArchiveWriter::open_with(&settings, &place.environment()).unwrap(),
            ledger: Ledger::open(&ledger).await.unwrap(),
            _dir: dir,
        }
    }

    async fn store(&self, number: u128) -> (Uuid, String) {
        let pass = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number);
        let header = ArchiveHeader {
            pass,
            portal: "https://data.example.gov/".into(),
            dataset: "radar-counts".parse().unwrap(),
            id: "i626-g7ub".parse().unwrap(),
            day: "2020-10-01".parse().unwrap(),
            key_column: "row_id".into(),
            recipe: "wavetronix".into(),
            made_at: made(),
        };
        let row = ArchivedRow {
            why: "orphan".into(),
            row: PublishedRow {
                key: None,
                sid: "row-a".into(),
                created_at: made(),
                updated_at: made(),
                fields: [("volume".to_owned(), json!("4.50"))].into(),
            },
        };
        let receipt = self.archive.store(&header, &[row], &[]).await.unwrap();
        (pass, receipt.path)
    }

    async fn begin(&self, id: Uuid, kind: PassKind, of: Option<Uuid>) {
        let record = PassRecord {
            id,
            dataset: "radar-counts".parse().unwrap(),
            day: "2020-10-01".parse().unwrap(),
            kind,
            started_at: made(),
            digest: String::new(),
            summary: of.map_or(json!({}), |of| json!({ "of": of })),
            end: None,
        };
        self.ledger.begin_pass(&record).await.unwrap();
    }

    async fn end(&self, pass: Uuid) {
        let ended = self.ledger.end_pass(pass, made(), "repaired", 1, 0, 0);
        ended.await.unwrap();
    }

    async fn retire(&self, now: DateTime<Utc>, dry: bool) -> Retired {
        retire(&self.ledger, &self.archive, now, dry).await.unwrap()
    }

    async fn has(&self, pass: Uuid) -> bool {
        let archive: &Archive = self.archive.archive();
        !archive.load(pass).await.unwrap().is_empty()
    }
}

async fn only_old_archives_of_ended_passes_are_removed(place: Place) {
    let shelf = Shelf::at(&place).await;
    let (ended, ended_path) = shelf.store(1).await;
    shelf.begin(ended, PassKind::Repair, None).await;
    shelf.end(ended).await;
    let (open, open_path) = shelf.store(2).await;
    shelf.begin(open, PassKind::Repair, None).await;
    let (unknown, unknown_path) = shelf.store(3).await;
    place.put("passes/readme.txt", b"mine").await;

    let young = shelf.retire(late() - TimeDelta::days(2), false).await;
    assert_eq!(young, Retired::default());
    let would = shelf.retire(late(), true).await;
    assert!(shelf.has(ended).await, "a dry run removes nothing");
    let did = shelf.retire(late(), false).await;
    assert_eq!(did, would);
    assert_eq!(did.removed, [ended_path]);
    assert_eq!(did.needed, [open_path]);
    assert_eq!(did.unknown, [unknown_path]);
    assert!(did.bytes > 0);
    assert!(!shelf.has(ended).await);
    assert!(shelf.has(open).await && shelf.has(unknown).await);
    assert_eq!(place.get("passes/readme.txt").await, b"mine");

    shelf.end(open).await;
    assert_eq!(shelf.retire(late(), false).await.removed.len(), 1);
    assert!(!shelf.has(open).await);
}

async fn an_archive_stays_until_its_restore_has_ended(place: Place) {
    let shelf = Shelf::at(&place).await;
    let (pass, path) = shelf.store(1).await;
    shelf.begin(pass, PassKind::Repair, None).await;
    shelf.end(pass).await;
    let restore = Uuid::from_u128(9);
    shelf.begin(restore, PassKind::Restore, Some(pass)).await;
    let kept = shelf.retire(late(), false).await;
    assert_eq!((kept.removed.len(), kept.needed), (0, vec![path]));
    assert!(shelf.has(pass).await);
    shelf.end(restore).await;
    assert_eq!(shelf.retire(late(), false).await.removed.len(), 1);
    assert!(!shelf.has(pass).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_removes_old_archives_and_their_restore_is_refused() {
    let city = TestCity::around(wednesday(), &format!("{WIDE}archive.keep_days = 1\n")).await;
    let table = Table::RadarCounts;
    city.damage(Breakage::ChainedAgain, table, wednesday(), "Austin");
    let pass = city.repair(table, wednesday(), Depth::Keys).await.pass;
    let pass = pass.unwrap().to_string();
    let file = archive_of(&city, &pass);
    run(&city, "archive expire")
        .await
        .ends(0, "removed 0 archives older than 1 days");
    assert!(file.exists(), "made a moment ago");

    // An old file date alone does not make an archive old, and neither does an old pass.
    let touched = std::fs::File::options().write(true).open(&file).unwrap();
    touched
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    run(&city, "archive expire")
        .await
        .ends(0, "removed 0 archives");
    assert!(file.exists());
    let world = &city.world;
    let later = Utc::now() + TimeDelta::days(2);
    let retired = retire(&world.ledger, &city.writers.archive, later, false).await;
    assert_eq!(retired.unwrap().removed.len(), 1);
    assert!(!file.exists());
    let refused = run(&city, &format!("restore {pass}")).await;
    refused.ends(2, "the archive has nothing from pass");
}
