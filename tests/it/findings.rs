//! Each way in which a day breaks, on each table, on ordinary and on odd days: found as exactly
//! that, mended to the last column, and found no more.

use sodalake::compare::{Counts, Depth};
use sodalake::model::Day;
use sodalake::plan::Approval;
use sodalake::reconcile::{Asked, Done, State};
use sodalake::sandbox::city::{Breakage, Injected, Table};

use crate::support::city::{TestCity, caught_up_day, difference, wednesday};

/// Many breakages in turn are mended on one day, so the breaker must not open.
pub const PATIENT: &str = "rails.max_repairs_per_day = 1000\n";

/// Adds to what a healthy day has what was injected into it.
pub fn with_injected(mut counts: Counts, injected: &[Injected], day: Day) -> Counts {
    for one in injected.iter().filter(|one| one.day == day) {
        let field = match one.finding {
            "missing" => &mut counts.missing,
            "twin" => &mut counts.twins,
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

/// The days that a breakage shows on, and the day itself.
pub fn touched(injected: &[Injected], day: Day) -> Vec<Day> {
    let mut days: Vec<Day> = injected.iter().map(|one| one.day).chain([day]).collect();
    days.sort_unstable();
    days.dedup();
    days
}

async fn break_and_mend(city: &TestCity, breakage: Breakage, table: Table, day: Day) {
    let what = format!("{breakage:?} {table:?} {day}");
    let depth = depth_of(breakage);
    let (rows, entries) = (city.rows(table), city.published_entries());
    let mut healthy = Vec::new();
    for near in [day.plus(-1), day] {
        let report = city.check(table, near, depth).await;
        assert_eq!(
            report.state,
            State::InStep,
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
            // rows that the lost file held twice over are gone with it
            expected.collided = found.counts.collided;
        }
        assert_eq!(found.counts, expected, "{says}");
        let broken = found.counts != counts;
        assert_eq!(
            found.state,
            if broken {
                State::Differs
            } else {
                State::InStep
            },
            "{says}"
        );
    }
    if last_copies {
        return lost_for_good(city, table, day, rows.len(), &injected, &what).await;
    }
    for near in touched(&injected, day) {
        let mut mended = city.repair(table, near, depth).await;
        if let Some(refusal) = &mended.refusal {
            // orphans beside rows that cannot be derived are for a person to judge
            let Counts {
                orphans,
                unpublishable,
                ..
            } = mended.counts;
            assert!(orphans > 0 && unpublishable > 0, "{what}: {refusal}");
            assert_eq!(
                (mended.state, mended.done),
                (State::Held, Done::default()),
                "{what}"
            );
            let digest = refusal.digest.clone();
            let asked = Asked {
                approval: Some(Approval { digest }),
                ..Asked::default()
            };
            mended = city.ask(table, near, depth, &asked).await;
        }
        let says = format!(
            "{what}, mended on {near}: {:?} {:?}",
            mended.why, mended.cause
        );
        let broken = injected.iter().any(|one| one.day == near);
        assert_eq!(
            mended.state == State::Repaired,
            broken || mended.done != Done::default(),
            "{says}"
        );
    }
    let after = city.rows(table);
    // Two numberings of the same reads, both whole: nothing in them tells which came first, and
    // the likelier one stays.
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
            (State::InStep, Done::default()),
            "{what}, {near}: {:?}",
            again.why
        );
    }
}

/// The portal has the last copy of a lost file's rows. Where other files of the day prove that the
/// lake is whole they go into the archive; where nothing proves it, nothing is touched.
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
    let mended = city.repair(table, day, Depth::Keys).await;
    let says = format!("{what}: {:?} {:?}", mended.why, mended.cause);
    if table == Table::CameraCounts {
        assert_eq!(mended.state, State::Repaired, "{says}");
        assert_eq!(mended.done.purged_rows, orphans, "{says}");
    } else {
        assert_eq!(mended.state, State::Unproven, "{says}");
        assert_eq!(mended.done, Done::default(), "{says}");
        assert_eq!(city.rows(table).len(), rows, "{says}");
    }
}

async fn every_breakage(table: Table, day: Day) {
    let city = TestCity::around(day, PATIENT).await;
    // These two do not leave the day as it was, so they come last.
    let rank = |breakage: &Breakage| match breakage {
        Breakage::FileLost => 2,
        Breakage::OtherCounter => 1,
        _ => 0,
    };
    let mut breakages = Breakage::ALL.to_vec();
    breakages.sort_by_key(rank);
    // Of a file with no row left nothing tells how it was numbered: it comes back in the likelier
    // way, and the city would go on breaking rows of the other.
    if table == Table::DeviceReads && day == caught_up_day() {
        let all_gone = [Breakage::NeverPublished, Breakage::OnlyCatalogued];
        breakages.retain(|breakage| !all_gone.contains(breakage));
    }
    for breakage in breakages {
        break_and_mend(&city, breakage, table, day).await;
    }
}

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

macro_rules! every_breakage_is_found_and_mended {
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
            async fn on_a_day_that_was_caught_up() {
                every_breakage(Table::$table, caught_up_day()).await;
            }
        }
    )*};
}

every_breakage_is_found_and_mended!(
    cameras: CameraCounts,
    travel_times: TravelTimes,
    trips: MatchedTrips,
    reads: DeviceReads,
    radar: RadarCounts
);
