//! Drafts and guards tested with values: one test per guard, at its limit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use super::*;
use crate::compare::duplicates::{Duplicate, Kinship};
use crate::compare::gather::Columns;
use crate::compare::{CatalogFinding, Depth, Doubt, ExpectedRow, FileSeen, Findings, Repeated};
use crate::expected::{Counter, FileOutcome, Variant, recipe};
use crate::model::{
    Cell, ColumnType, Dataset, Day, EntryKey, FileStamp, KeyPolicy, KeyScheme, LakePath, ReadyFile,
    Row, TableShape, Value,
};
use crate::settings::{Hours, Mode, Rails};

fn target() -> DatasetDay {
    let dataset = Dataset {
        name: "radar-counts".parse().unwrap(),
        id: "i626-g7ub".parse().unwrap(),
        recipe: "wavetronix".into(),
        source: "wt".into(),
        ext: "json".into(),
        key_column: "row_id".into(),
        day_column: "curdatetime".into(),
        zone: chrono_tz::America::Chicago,
        keys: KeyPolicy::Accept,
    };
    DatasetDay {
        dataset: Arc::new(dataset),
        day: day(),
    }
}

fn day() -> Day {
    "2020-06-01".parse().unwrap()
}

fn now() -> DateTime<Utc> {
    "2020-07-01T17:00:00Z".parse().unwrap()
}

fn columns() -> Columns {
    let recipe = recipe("wavetronix").unwrap();
    let shape = TableShape {
        title: "radar".into(),
        row_identifier: Some("row_id".into()),
        columns: (recipe.facts().columns.iter())
            .map(|name| ((*name).to_owned(), ColumnType::Text))
            .collect(),
        rows_updated_at: 0,
    };
    Columns::of(recipe, &shape).unwrap()
}

fn key(n: u64) -> RowKey {
    RowKey::new(&format!("{n:032x}"))
}

fn expected(n: u64) -> ExpectedRow {
    let width = recipe("wavetronix").unwrap().facts().columns.len();
    ExpectedRow {
        row: Row {
            key: key(n),
            values: vec![Value::Null; width],
        },
        cells: vec![Cell::Null; width],
        file: 0,
    }
}

fn published_row(n: u64) -> PublishedRow {
    PublishedRow {
        key: Some(key(n)),
        sid: format!("row-{n}"),
        created_at: now(),
        updated_at: now(),
        fields: BTreeMap::from([("row_id".into(), key(n).to_string().into())]),
    }
}

fn duplicate(n: u64, of: u64) -> Duplicate {
    Duplicate {
        published: published_row(n),
        of: key(of),
        how: Kinship::Rekeyed(None),
    }
}

fn entry(repository: &str) -> Entry {
    Entry {
        key: EntryKey {
            collection_date: day().start(chrono_tz::America::Chicago),
            repository: repository.into(),
            data_source: "wt".into(),
            id_base: "Austin".into(),
            id_ext: "json".into(),
        },
        pointer: "i626-g7ub".into(),
        collection_end: None,
        processing_date: None,
        metadata: None,
    }
}

fn seen(catalogued: bool) -> FileSeen {
    FileSeen {
        file: ReadyFile {
            entry: entry("atd-datalake-ready"),
            path: LakePath("2020/06/01/wt/Austin_wt_2020-06-01.json".into()),
            day: day(),
            stamp: FileStamp {
                size: 1,
                etag: None,
                modified: now(),
            },
        },
        variant: Variant {
            keys: KeyScheme::Row,
            counter: Counter::Shared,
        },
        certain: true,
        outcome: FileOutcome::default(),
        rows: 10,
        own_day: true,
        entry: catalogued.then(|| entry("socrata")),
        covered_by: vec![entry("socrata")],
        spilled_missing: (!catalogued).then_some(0),
    }
}

fn findings() -> Findings {
    Findings {
        target: target(),
        depth: Depth::Keys,
        checked_at: now(),
        files: vec![seen(true)],
        doubts: Vec::new(),
        lake: String::new(),
        expected: 1_000,
        published: 1_000,
        newest: None,
        missing: Vec::new(),
        duplicates: Vec::new(),
        orphans: Vec::new(),
        altered: Vec::new(),
        repeated: Vec::new(),
        collided: Vec::new(),
        misdated: Vec::new(),
        misdated_missing: Vec::new(),
        unpublishable: Vec::new(),
        catalog: Vec::new(),
    }
}

fn draft_by(findings: &Findings, native: bool) -> Draft {
    let columns = columns();
    let with = Drafting {
        portal: "https://portal.example/",
        columns: &columns,
        repository: "socrata",
        native,
        command: false,
    };
    Draft::of(findings, with)
}

fn draft(findings: &Findings) -> Draft {
    draft_by(findings, true)
}

fn rails() -> Rails {
    Rails {
        recheck_after: Duration::from_mins(10),
        max_purge_rows_per_day: 100,
        max_purge_share_per_day: 0.6,
        max_orphan_rows_per_day: 5,
        max_purge_rows_per_24h: 150,
        min_share_of_usual: 0.8,
        max_repairs_per_week: 3,
    }
}

fn ordinary() -> Circumstances {
    Circumstances {
        mode: Mode::Repair,
        hours: (
            Hours {
                from: NaiveTime::from_hms_opt(10, 30, 0).unwrap(),
                to: NaiveTime::from_hms_opt(23, 0, 0).unwrap(),
            },
            NaiveTime::from_hms_opt(12, 0, 0).unwrap(),
        ),
        mark: None,
        row_identifier: Some("row_id".into()),
        seen: (Some(now() - TimeDelta::minutes(10)), now()),
        purged_24h: 0,
        repairs: 0,
        approval: None,
    }
}

fn duplicates(count: u64) -> Findings {
    Findings {
        duplicates: (0..count).map(|n| duplicate(10_000 + n, n)).collect(),
        ..findings()
    }
}

fn orphans(count: u64) -> Findings {
    Findings {
        orphans: (0..count).map(|n| published_row(20_000 + n)).collect(),
        ..findings()
    }
}

/// The guards that refuse the draft.
fn refused(findings: &Findings, rails: &Rails, circumstances: &Circumstances) -> Vec<Guard> {
    match draft(findings).vet(rails, circumstances) {
        Ok(_) => Vec::new(),
        Err(refusal) => refusal
            .breaches
            .into_iter()
            .map(|breach| breach.guard)
            .collect(),
    }
}

#[test]
fn budgets_refuse_above_their_limit_only() {
    let guards = |findings: &Findings| refused(findings, &rails(), &ordinary());
    assert_eq!(guards(&duplicates(100)), []);
    assert_eq!(guards(&duplicates(101)), [Guard::PurgeRows]);
    assert_eq!(guards(&orphans(5)), []);
    assert_eq!(guards(&orphans(6)), [Guard::OrphanRows]);
    let few = |published| Findings {
        published,
        ..duplicates(60)
    };
    assert_eq!(guards(&few(100)), []);
    assert_eq!(guards(&few(99)), [Guard::PurgeShare]);
    let after = |purged_24h| Circumstances {
        purged_24h,
        ..ordinary()
    };
    assert_eq!(refused(&duplicates(100), &rails(), &after(50)), []);
    assert_eq!(
        refused(&duplicates(100), &rails(), &after(51)),
        [Guard::PurgeRows24h]
    );
}

#[test]
fn a_difference_must_persist_before_anything_is_purged() {
    let seen = |minutes: Option<i64>| Circumstances {
        seen: (
            minutes.map(|minutes| now() - TimeDelta::minutes(minutes)),
            now(),
        ),
        ..ordinary()
    };
    assert_eq!(
        refused(&duplicates(1), &rails(), &seen(None)),
        [Guard::Recheck]
    );
    assert_eq!(
        refused(&duplicates(1), &rails(), &seen(Some(9))),
        [Guard::Recheck]
    );
    assert_eq!(refused(&duplicates(1), &rails(), &seen(Some(10))), []);
    let missing = Findings {
        missing: vec![expected(1)],
        ..findings()
    };
    assert_eq!(
        refused(&missing, &rails(), &seen(None)),
        [],
        "adding rows needs no wait"
    );
}

#[test]
fn mode_hours_mark_identifier_and_breaker_refuse() {
    let midnight = (ordinary().hours.0, NaiveTime::MIN);
    let cases = [
        (
            Circumstances {
                mode: Mode::Observe,
                ..ordinary()
            },
            Guard::Mode,
        ),
        (
            Circumstances {
                hours: midnight,
                ..ordinary()
            },
            Guard::RepairHours,
        ),
        (
            Circumstances {
                mark: Some("swap".into()),
                ..ordinary()
            },
            Guard::Mark,
        ),
        (
            Circumstances {
                row_identifier: None,
                ..ordinary()
            },
            Guard::RowIdentifier,
        ),
        (
            Circumstances {
                row_identifier: Some("id".into()),
                ..ordinary()
            },
            Guard::RowIdentifier,
        ),
        (
            Circumstances {
                repairs: 3,
                ..ordinary()
            },
            Guard::Breaker,
        ),
    ];
    let missing = Findings {
        missing: vec![expected(1)],
        ..findings()
    };
    for (circumstances, guard) in cases {
        assert_eq!(refused(&missing, &rails(), &circumstances), [guard]);
    }
}

#[test]
fn orphans_beside_underivable_rows_are_held() {
    let unfit = crate::compare::gather::Unfit {
        key: None,
        file: 0,
        ordinal: 3,
        why: "null".into(),
    };
    let found = Findings {
        unpublishable: vec![unfit],
        ..orphans(1)
    };
    assert_eq!(refused(&found, &rails(), &ordinary()), [Guard::Underivable]);
}

#[test]
fn an_approval_lifts_the_budgets_of_its_own_draft_and_nothing_else() {
    let found = duplicates(101);
    let yes = Approval {
        digest: draft(&found).digest(),
    };
    let approved = Circumstances {
        approval: Some(yes.clone()),
        ..ordinary()
    };
    assert_eq!(refused(&found, &rails(), &approved), []);
    assert_eq!(
        refused(&duplicates(102), &rails(), &approved),
        [Guard::PurgeRows]
    );
    let observing = Circumstances {
        mode: Mode::Observe,
        ..approved
    };
    assert_eq!(refused(&found, &rails(), &observing), [Guard::Mode]);
}

#[test]
fn a_doubt_lets_rows_be_added_and_nothing_else() {
    let found = Findings {
        doubts: vec![Doubt::NoFiles(day())],
        missing: vec![expected(1)],
        orphans: vec![published_row(7)],
        catalog: vec![CatalogFinding::Gone(entry("socrata"))],
        ..duplicates(3)
    };
    let size = draft(&found).size();
    assert_eq!((size.publish, size.purge, size.catalog), (1, 0, 0));
}

#[test]
fn rows_of_a_file_that_is_not_certain_are_not_published() {
    let mut found = Findings {
        missing: vec![expected(1)],
        ..findings()
    };
    found.files[0].certain = false;
    assert!(draft(&found).is_empty());
}

#[test]
fn what_the_publisher_is_to_fill_is_withdrawn_from_the_catalog() {
    let rows_missing = CatalogFinding::RowsMissing {
        entry: entry("socrata"),
        missing: 1,
        file: 0,
    };
    let found = Findings {
        missing: vec![expected(1)],
        duplicates: vec![duplicate(10_001, 1), duplicate(10_002, 2)],
        catalog: vec![rows_missing],
        ..findings()
    };
    let deferred = draft_by(&found, false);
    let kinds: Vec<&str> = (deferred.actions().iter())
        .map(|action| match action {
            Action::Publish { .. } => "publish",
            Action::Purge { .. } => "purge",
            Action::Enter { .. } => "enter",
            Action::Withdraw { .. } => "withdraw",
        })
        .collect();
    assert_eq!(
        kinds,
        ["purge", "withdraw"],
        "the duplicate of the missing row stays until it is back"
    );
    let native = draft(&found).size();
    assert_eq!((native.publish, native.purge, native.catalog), (1, 2, 1));
}

#[test]
fn a_file_never_published_is_entered_once_its_rows_are_published() {
    let found = Findings {
        missing: vec![expected(1)],
        files: vec![seen(false)],
        ..findings()
    };
    assert_eq!(draft(&found).size().catalog, 1);
    let mut spilling = found;
    spilling.files[0].spilled_missing = Some(2);
    assert_eq!(
        draft(&spilling).size().catalog,
        0,
        "rows of the day before are still missing"
    );
}

#[test]
fn misdated_rows_of_an_uncertain_file_are_not_published() {
    let mut found = Findings {
        missing: vec![expected(1)],
        misdated_missing: vec![expected(2)],
        ..findings()
    };
    assert_eq!(draft(&found).size().publish, 2);
    found.files[0].certain = false;
    assert_eq!(draft(&found).size().publish, 0);
}

/// The remedy shown on pages matches what a draft purges.
#[test]
fn a_draft_purges_what_the_remedy_of_each_finding_says() {
    let sids = vec!["row-1".to_owned(), "row-2".to_owned()];
    let repeated = Repeated {
        key: Some(key(7)),
        sids,
    };
    for found in [
        duplicates(3),
        orphans(3),
        Findings {
            repeated: vec![repeated],
            ..findings()
        },
        Findings {
            missing: vec![expected(1)],
            ..findings()
        },
    ] {
        let purged = draft(&found).size().purge;
        assert_eq!(purged, remedy::to_purge(&found.counts()), "{found:?}");
    }
}

#[test]
fn a_native_repair_keeps_the_entry_of_rows_that_it_publishes() {
    let found = Findings {
        missing: vec![expected(1)],
        catalog: vec![CatalogFinding::RowsMissing {
            entry: entry("socrata"),
            missing: 1,
            file: 0,
        }],
        ..findings()
    };
    let withdraws = |draft: Draft| {
        let mut actions = draft.actions.into_iter();
        actions.any(|action| matches!(action, Action::Withdraw { .. }))
    };
    assert!(!withdraws(draft_by(&found, true)));
    assert!(withdraws(draft_by(&found, false)));
}

#[test]
fn a_digest_names_portal_day_and_every_step() {
    let digest = |found: &Findings| draft(found).digest();
    assert_eq!(
        digest(&duplicates(3)),
        digest(&Findings {
            checked_at: now() + TimeDelta::hours(1),
            ..duplicates(3)
        })
    );
    assert_ne!(digest(&duplicates(3)), digest(&duplicates(4)));
    let mut elsewhere = draft(&duplicates(3));
    elsewhere.portal = "https://other.example/".into();
    assert_ne!(elsewhere.digest(), digest(&duplicates(3)));
}

#[test]
fn a_plan_file_reads_back_and_an_altered_one_is_detected() {
    let draft = draft(&Findings {
        missing: vec![expected(1)],
        ..duplicates(3)
    });
    let text = draft.render(Vec::new()).join("\n");
    let read = PlanFile::read(text.as_bytes()).unwrap();
    assert_eq!(read[0].digest(), read[0].header.digest);
    assert_eq!(read[0].actions, draft.actions());
    let altered = text.replace(&key(10_001).to_string(), &key(5).to_string());
    let altered = PlanFile::read(altered.as_bytes()).unwrap();
    assert_ne!(altered[0].digest(), altered[0].header.digest);
    let cut: Vec<&str> = text.lines().take(3).collect();
    assert!(matches!(
        PlanFile::read(cut.join("\n").as_bytes()),
        Err(PlanFileError::Short { found: 2, .. })
    ));
}
