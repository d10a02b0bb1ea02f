//! Every breakage, on each table, on ordinary and unusual days. A check reports exactly that
//! finding, a repair restores every column, and a second check finds nothing.

use sodalake::compare::{Counts, Depth};
use sodalake::model::Day;
use sodalake::plan::Approval;
use sodalake::reconcile::{Asked, Done, State};
use sodalake::sandbox::city::{Breakage, Injected, Table};

use crate::support::city::{TestCity, caught_up_day, difference, wednesday};

/// Many breakages are repaired in turn on one day, so the breaker must not open.
pub const PATIENT: &str = "rails.max_repairs_per_week = 1000\n";

/// The counts of a healthy day plus the injected findings.
pub fn with_injected(mut counts: Counts, injected: &[Injected], day: Day) -> Counts {
    for one in injected.iter().filter(|one| one.day == day) {
        let field = match one.finding {
            "missing" => &mut counts.missing,
            "duplicate" => &mut counts.duplicates,
            "orphan" => &mut counts.orphans,
            "altered" => &mut counts.altered,
            "miscatalogued" => &mut counts.miscatalogued,
            "uncatalogued" => &mut counts.uncatalogued,
            other => panic!("no finding is called {other}"),
        };
        *field += one.count;
    }
    counts
}

fn depth_of(breakage: Breakage) -> Depth {
    match breakage {
        Breakage::StaleValues => Depth::Content,
        _ => Depth::Keys,
    }
}

/// The days on which a breakage is visible, including the day itself.
pub fn touched(injected: &[Injected], day: Day) -> Vec<Day> {
    let mut days: Vec<Day> = injected.iter().map(|one| one.day).chain([day]).collect();
    days.sort_unstable();
    days.dedup();
    days
}

async fn break_and_repair(city: &TestCity, breakage: Breakage, table: Table, day: Day) {
    let what = format!("{breakage:?} {table:?} {day}");
    let depth = depth_of(breakage);
    let (rows, entries) = (city.rows(table), city.published_entries());
    let mut healthy = Vec::new();
    for near in [day.plus(-1), day] {
        let report = city.check(table, near, depth).await;
        assert_eq!(
            report.state,
            State::InSync,
            "{what}, before, {near}: {:?} {:?}",
            report.why,
            report.cause
        );
        healthy.push((near, report.counts));
    }
    let Some(injected) = city.try_damage(breakage, table, day) else {
        return;
    };
    let last_copies = breakage == Breakage::FileLost;
    for &(near, counts) in &healthy {
        let found = city.check(table, near, depth).await;
        let says = format!("{what}, found on {near}: {:?} {:?}", found.why, found.cause);
        if found.state == State::Unproven && last_copies {
            continue;
        }
        let mut expected = with_injected(counts, &injected, near);
        if last_copies {
            // rows that the lost file contained twice are lost with it
            expected.collided = found.counts.collided;
        }
        assert_eq!(found.counts, expected, "{says}");
        let broken = found.counts != counts;
        assert_eq!(
            found.state,
            if broken {
                State::Differs
            } else {
                State::InSync
            },
            "{says}"
        );
    }
    if last_copies {
        return lost_for_good(city, table, day, rows.len(), &injected, &what).await;
    }
    for near in touched(&injected, day) {
        let mut repaired = city.repair(table, near, depth).await;
        if let Some(refusal) = &repaired.refusal {
            // a person must judge orphans beside rows that cannot be derived
            let Counts {
                orphans,
                unpublishable,
                ..
            } = repaired.counts;
            assert!(orphans > 0 && unpublishable > 0, "{what}: {refusal}");
            assert_eq!(
                (repaired.state, repaired.done),
                (State::Held, Done::default()),
                "{what}"
            );
            let digest = refusal.digest.clone();
            let asked = Asked {
                approval: Some(Approval { digest }),
                ..Asked::default()
            };
            repaired = city.ask(table, near, depth, &asked).await;
        }
        let says = format!(
            "{what}, repaired on {near}: {:?} {:?}",
            repaired.why, repaired.cause
        );
        let broken = injected.iter().any(|one| one.day == near);
        assert_eq!(
            repaired.state == State::Repaired,
            broken || repaired.done != Done::default(),
            "{says}"
        );
    }
    let after = city.rows(table);
    // There are two complete numberings of the same reads. Nothing in them shows which came first,
    // so the likelier one stays.
    let (lost, more, _) = difference(&rows, &after);
    let renumbered = breakage == Breakage::OtherCounter && lost == more;
    assert!(
        renumbered || after == rows,
        "{what}: lost, too many, other: {:?}",
        difference(&rows, &after)
    );
    assert_eq!(city.published_entries(), entries, "{what}");
    for near in touched(&injected, day) {
        let again = city.repair(table, near, depth).await;
        assert_eq!(
            (again.state, again.done),
            (State::InSync, Done::default()),
            "{what}, {near}: {:?}",
            again.why
        );
    }
}

/// The portal has the last copy of a lost file's rows. If other files of the day prove that the
/// lake is complete, the rows are archived and purged. Without that proof, nothing changes.
async fn lost_for_good(
    city: &TestCity,
    table: Table,
    day: Day,
    rows: usize,
    injected: &[Injected],
    what: &str,
) {
    let orphans: u64 = injected
        .iter()
        .filter(|one| one.finding == "orphan")
        .map(|one| one.count)
        .sum();
    let repaired = city.repair(table, day, Depth::Keys).await;
    let says = format!("{what}: {:?} {:?}", repaired.why, repaired.cause);
    if table == Table::CameraCounts {
        assert_eq!(repaired.state, State::Repaired, "{says}");
        assert_eq!(repaired.done.purged_rows, orphans, "{says}");
    } else {
        assert_eq!(repaired.state, State::Unproven, "{says}");
        assert_eq!(repaired.done, Done::default(), "{says}");
        assert_eq!(city.rows(table).len(), rows, "{says}");
    }
}

async fn every_breakage(table: Table, day: Day) {
    let city = TestCity::around(day, PATIENT).await;
    // These two leave the day changed, so they come last.
    let rank = |breakage: &Breakage| match breakage {
        Breakage::FileLost => 2,
        Breakage::OtherCounter => 1,
        _ => 0,
    };
    let mut breakages = Breakage::ALL.to_vec();
    breakages.sort_by_key(rank);
    // If no row of a file is left, nothing shows how it was numbered. It is published with the
    // likelier numbering, while the city would keep breaking rows of the other one.
    if table == Table::DeviceReads && day == caught_up_day() {
        let all_gone = [Breakage::NeverPublished, Breakage::OnlyCatalogued];
        breakages.retain(|breakage| !all_gone.contains(breakage));
    }
    for breakage in breakages {
        break_and_repair(&city, breakage, table, day).await;
    }
}

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

macro_rules! every_breakage_is_found_and_repaired {
    ($($name:ident: $table:ident),*) => {$(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn on_an_ordinary_day() {
                every_breakage(Table::$table, wednesday()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_the_long_day() {
                every_breakage(Table::$table, day("2020-11-01")).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_the_short_day() {
                every_breakage(Table::$table, day("2020-03-08")).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_a_day_published_during_catch_up() {
                every_breakage(Table::$table, caught_up_day()).await;
            }
        }
    )*};
}

every_breakage_is_found_and_repaired!(
    cameras: CameraCounts,
    travel_times: TravelTimes,
    trips: MatchedTrips,
    reads: DeviceReads,
    radar: RadarCounts
);
