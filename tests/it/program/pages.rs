//! The pages as markup: their size, their sentences, and that hostile text does no harm in them.

pub mod two_years;

use serde_json::{Map, json};
use sodalake::compare::{Depth, Finding};
use sodalake::ledger::{Act, DayRecord, JournalStep, PassEnd, PassKind, PassRecord};
use sodalake::plan::{Breach, Drafted, Guard, Strategy};
use sodalake::reconcile::{Changed, Evidence, FileEvidence, Minute, Sample, WrittenWhen};
use sodalake::server::pages::{self, Consent, DayView, Overview};
use sodalake::settings::Settings;
use sodalake::telemetry::Snapshot;

use two_years::{datasets, now, overview, record};

/// Hostile text: markup, the end of an attribute, a reversed line.
const HOSTILE: &str = "<script>alert(1)</script>\"' onmouseover=alert(1) x=\u{202e}\u{1b}[2J&amp;";

#[test]
fn two_years_of_five_datasets_fit_into_300_kilobytes() {
    let (datasets, activity) = (datasets(), Snapshot::default());
    let page = pages::overview(&overview(&datasets, &activity)).into_string();
    let cells = page.matches("href=days/").count();
    assert!(cells >= 2 * 365 * 5, "{cells} cells");
    assert!(page.len() < 300_000, "{} bytes", page.len());
}

fn answer(view: &Overview<'_>) -> String {
    let page = pages::overview(view).into_string();
    let (_, after) = page.split_once("<h1").unwrap();
    let (_, after) = after.split_once('>').unwrap();
    let heading = after.split_once("</h1>").unwrap().0;
    heading
        .rsplit_once("</i>")
        .unwrap_or(("", heading))
        .1
        .to_owned()
}

#[test]
fn the_first_sentence_summarizes_the_state() {
    let (datasets, activity) = (datasets(), Snapshot::default());
    let mut view = overview(&datasets, &activity);
    for one in &mut view.datasets {
        one.days.truncate(3);
    }
    assert_eq!(answer(&view), "Yes: all 15 days checked match the lake.");
    let set = |view: &mut Overview<'_>, at: usize, state: &str| {
        view.datasets[at].days[1].state = state.into();
    };
    set(&mut view, 0, "unconfirmed");
    let nearly =
        "Almost: 1 day repaired but not yet confirmed on the portal, all others match the lake.";
    assert_eq!(answer(&view), nearly);
    set(&mut view, 1, "unproven");
    assert!(answer(&view).starts_with("Partly unproven: 1 day could not be read"));
    set(&mut view, 2, "held");
    set(&mut view, 3, "differs");
    assert_eq!(
        answer(&view),
        "No: 2 days do not match the lake, 1 of them held for approval. 15 days checked."
    );
    for one in &mut view.datasets {
        one.days.clear();
    }
    assert_eq!(answer(&view), "Not known yet: no day has been checked.");
}

#[test]
fn the_first_sentence_counts_the_unchecked_days() {
    let (datasets, activity) = (datasets(), Snapshot::default());
    let mut view = overview(&datasets, &activity);
    for one in &mut view.datasets {
        one.days.truncate(3);
    }
    view.datasets[4].days.clear();
    view.datasets[4].never_checked = 28;
    let unchecked = "28 days were never checked, or not recently.";
    assert_eq!(
        answer(&view),
        format!("As far as is known, yes: 12 days match the lake. {unchecked}")
    );
    view.datasets[0].days[1].state = "unproven".into();
    assert_eq!(
        answer(&view),
        format!(
            "Partly unproven: 1 day could not be read reliably, 11 others match the \
             lake. {unchecked}"
        )
    );
    view.datasets[1].days[1].state = "differs".into();
    assert_eq!(
        answer(&view),
        format!("No: 1 day does not match the lake. 12 days checked. {unchecked}")
    );
}

fn hostile_evidence(day: sodalake::model::Day) -> Evidence {
    let row: Map<String, serde_json::Value> = [
        ("intersection_name", json!("BURNET RD/ RICHCREEK RD")),
        (HOSTILE, json!(HOSTILE)),
        ("volume", json!("12")),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let sample = |finding| Sample {
        finding,
        key: Some(HOSTILE.into()),
        of: Some(HOSTILE.into()),
        how: Some(HOSTILE.into()),
        file: Some(HOSTILE.into()),
        created_at: Some(now()),
        updated_at: Some(now()),
        row: row.clone(),
        changes: vec![Changed {
            column: "intersection_name".into(),
            published: json!("BURNET RD/ RICHCREEK RD"),
            expected: json!(HOSTILE),
        }],
    };
    let minute = |number: i64| Minute {
        minute: now() + chrono::Duration::minutes(number),
        rows: 40 + 7 * number.unsigned_abs(),
    };
    Evidence {
        samples: Finding::ALL.into_iter().map(sample).collect(),
        catalog: vec![HOSTILE.into()],
        written: vec![WrittenWhen {
            finding: Finding::Duplicate,
            minutes: (0..12).map(minute).collect(),
            others: 3,
        }],
        files: vec![FileEvidence {
            path: HOSTILE.into(),
            day,
            rows: 181,
            keys: "row".into(),
            certain: false,
            entered: true,
        }],
        more_files: 1,
        doubts: vec![HOSTILE.into()],
        breaches: vec![Breach {
            guard: Guard::OrphanRows,
            text: HOSTILE.into(),
        }],
        approvable: true,
    }
}

/// Asserts that hostile text adds no tag or attribute, and that no invisible character is left.
fn is_harmless(name: &str, page: &str) {
    assert!(!page.contains("<script"), "{name}");
    assert!(!page.contains(" style="), "{name}");
    assert!(!page.contains(['\u{202e}', '\u{1b}']), "{name}");
    for tag in page.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        let names: String = tag.split('"').step_by(2).collect();
        assert!(!names.contains("alert"), "{name}: <{tag}>");
    }
    assert!(
        page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "{name} shows it"
    );
}

fn hostile_record(dataset: &sodalake::model::Dataset) -> DayRecord {
    DayRecord {
        why: Some(HOSTILE.into()),
        cause: Some(HOSTILE.into()),
        digest: Some("58789dbfb529ab0b".repeat(4)),
        guards: vec!["orphan-rows".into()],
        drafted: Some(Drafted {
            depth: Depth::Content,
            strategy: Strategy::Repair,
        }),
        counts: json!(sodalake::compare::Counts {
            missing: 1,
            duplicates: 1_248,
            orphans: 600,
            altered: 1,
            repeated: 1,
            collided: 1,
            misdated: 1,
            unpublishable: 1,
            miscatalogued: 1,
            uncatalogued: 1,
        }),
        ..record(dataset, "2020-10-14".parse().unwrap(), "held")
    }
}

fn hostile_pass(record: &DayRecord) -> (PassRecord, Vec<JournalStep>) {
    let pass = PassRecord {
        id: uuid::Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057),
        dataset: record.dataset.clone(),
        day: record.day,
        kind: PassKind::Repair,
        started_at: now(),
        digest: HOSTILE.into(),
        summary: json!({
            "steps": { "publish": 3, "purge": 1_248 },
            "found": record.counts,
            "cause": HOSTILE,
        }),
        end: Some(PassEnd {
            at: now(),
            outcome: HOSTILE.into(),
            purged: 1_248,
            published: 3,
            catalog_changes: 0,
        }),
    };
    let step = |number: u64, step: &str| JournalStep {
        number,
        at: now() + chrono::Duration::milliseconds(700 * number.cast_signed()),
        step: step.into(),
        detail: json!({ "rows": 1_248, HOSTILE: HOSTILE }),
    };
    let steps = ["archived", "purging", HOSTILE, "verified"];
    let steps = steps
        .iter()
        .zip(1..)
        .map(|(name, number)| step(number, name));
    (pass, steps.collect())
}

/// Repeated rows are left to a person, so they are not part of what a repair would purge.
#[test]
fn the_page_of_a_day_states_for_each_finding_what_a_repair_does() {
    let datasets = datasets();
    let record = hostile_record(&datasets[0]);
    let page = shown(&datasets[0], &record);
    for finding in Finding::ALL {
        let does = format!("A repair {}.", sodalake::plan::remedy::of(finding));
        assert!(page.contains(&does), "{finding}: no {does:?}");
        assert!(page.contains(finding.meaning()), "{finding}");
    }
    assert!(
        page.contains("would purge 1,848 rows"),
        "1,248 duplicates and 600 orphans"
    );
    let rewrite = DayRecord {
        drafted: Some(Drafted {
            depth: Depth::Keys,
            strategy: Strategy::Rewrite,
        }),
        published: Some(240_322),
        ..record
    };
    assert!(shown(&datasets[0], &rewrite).contains("would purge 240,322 rows"));
}

fn shown(dataset: &sodalake::model::Dataset, record: &DayRecord) -> String {
    let settings = small();
    let evidence = hostile_evidence(record.day);
    let view = DayView {
        zone: chrono_tz::America::Chicago,
        portal: &settings.socrata.url,
        dataset,
        day: record.day,
        record: Some(record),
        evidence: Some(&evidence),
        rails: &settings.rails,
        mark: None,
        acts: &[],
        passes: &[],
        consent: Consent::Offered,
    };
    pages::day(&view).into_string()
}

fn small() -> Settings {
    let recipes: Vec<_> = sodalake::expected::recipes()
        .iter()
        .map(|one| one.facts())
        .collect();
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/small.toml");
    Settings::load(Some(&example), [], &recipes).unwrap()
}

#[test]
fn hostile_values_are_shown_as_text_on_every_page() {
    let datasets = datasets();
    let dataset = &datasets[0];
    let record = hostile_record(dataset);
    let evidence = hostile_evidence(record.day);
    let (pass, steps) = hostile_pass(&record);
    let settings = small();
    let act = Act {
        at: now(),
        origin: HOSTILE.into(),
        act: "approve".into(),
        subject: "x".into(),
        reason: HOSTILE.into(),
    };
    let view = DayView {
        zone: chrono_tz::America::Chicago,
        portal: &settings.socrata.url,
        dataset,
        day: record.day,
        record: Some(&record),
        evidence: Some(&evidence),
        rails: &settings.rails,
        mark: None,
        acts: &[act],
        passes: std::slice::from_ref(&pass),
        consent: Consent::Refused(HOSTILE.into()),
    };
    let activity = Snapshot::default();
    let mut all = overview(&datasets, &activity);
    for one in &mut all.datasets {
        one.days = vec![record.clone()];
    }
    let zone = chrono_tz::America::Chicago;
    let reported = pages::ReportedDay {
        record: record.clone(),
        evidence: Some(evidence.clone()),
    };
    let written = [
        ("overview", pages::overview(&all)),
        ("day", pages::day(&view)),
        ("pass", pages::pass(&pass, &steps, zone)),
        ("failure", pages::failure("Not found", HOSTILE)),
        ("report", pages::report(&[reported], HOSTILE, now(), zone)),
    ];
    for (name, page) in written {
        let page = page.into_string();
        is_harmless(name, &page);
    }
}
