//! Two writers at once: two Sodalake processes on one ledger, one of them killed or suspended; and
//! a foreign publisher that keeps publishing wrong rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sodalake::compare::Depth;
use sodalake::ledger::{Held, LeaseAnswer};
use sodalake::plan::Guard;
use sodalake::reconcile::{Clock, State, World};
use sodalake::repair::{Lease, RepairError};
use sodalake::sandbox::city::{Breakage, Place, Table};

use crate::passes::killed::effects::{Act, Interference};
use crate::passes::killed::process::Program;
use crate::passes::killed::scene::{Backend, RowDay, Scene, TABLE};
use crate::passes::killed::{Length, PAST_THE_LEASE, REPAIR, shuffled};
use crate::support::city::{TestCity, wednesday, written_at};

/// Naps per test, unless all are tested.
const SAMPLE: u64 = 4;

/// The program, stopped in the middle of its repair while it holds the lease.
async fn stopped_half_way(scene: &Scene) -> Program {
    scene.break_day().await;
    let whole = scene.run(REPAIR, &Interference::default()).await;
    let portal = scene.portal();
    let is_sent = |effect: &&String| effect.ends_with(&portal);
    let requests = whole.effects.iter().filter(is_sent).count() as u64;
    scene.break_day().await;
    let how = Interference {
        on: Some(portal),
        ..Interference::of(Act::Stop, requests / 2)
    };
    let program = scene.start(REPAIR, &how);
    program.stands_still().await;
    assert!(program.is_stopped());
    program
}

/// A clock on tokio's time. While paused, it jumps to the next timer when all tasks are idle.
struct Leaping {
    started: DateTime<Utc>,
    since: tokio::time::Instant,
}

impl Clock for Leaping {
    fn now(&self) -> DateTime<Utc> {
        self.started + self.since.elapsed()
    }
}

const HOUR: Duration = Duration::from_hours(1);

/// Requests the lease of the tested dataset for an hour, in the name of another program.
async fn ask_for_the_lease(world: &World) -> LeaseAnswer {
    let name = format!("repair/{}", TABLE.dataset_name());
    let asked = world.ledger.lease(&name, "rival", world.clock.now(), HOUR);
    asked.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_is_renewed_while_the_publisher_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (started, end) = (folder.path().join("begun"), folder.path().join("end"));
    // It ends with the test, even if the test fails and removes the folder.
    let script = format!(
        "touch {0}; until [ -e {1} ] || [ ! -e {0} ]; do sleep 0.02; done",
        started.display(),
        end.display()
    );
    let command = format!(
        "republish.mode = \"command\"\nrepublish.command = [\"sh\", \"-c\", \"{script}\", \"{{from}}\", \"{{to}}\"]"
    );
    let city = TestCity::around(wednesday(), &command).await;
    let base = city.bases(TABLE, wednesday()).swap_remove(0);
    city.damage(Breakage::OnlyCatalogued, TABLE, wednesday(), &base);
    let held_until = async || match ask_for_the_lease(&city.world).await {
        LeaseAnswer::HeldBy(Held { until, .. }) => until,
        granted @ LeaseAnswer::Granted { .. } => panic!("nobody held it: {granted:?}"),
    };
    let rival = async {
        let pause = Duration::from_millis(20);
        while !started.exists() {
            tokio::time::sleep(pause).await;
        }
        let (first, asked) = (held_until().await, Instant::now());
        while held_until().await == first {
            assert!(asked.elapsed() < Duration::from_mins(1), "until {first}");
            tokio::time::sleep(pause).await;
        }
        std::fs::write(&end, "").unwrap();
    };
    let (report, ()) = tokio::join!(city.repair(TABLE, wednesday(), Depth::Keys), rival);
    assert_eq!(report.state, State::Differs, "{:?}", report.why);
}

#[tokio::test]
async fn a_running_step_is_finished_even_if_the_lease_is_lost() {
    let mut city = TestCity::around(wednesday(), "").await;
    tokio::time::pause();
    city.world.clock = Arc::new(Leaping {
        started: Utc::now(),
        since: tokio::time::Instant::now(),
    });
    let TestCity { world, writers, .. } = &city;
    let target = city.target(TABLE, wednesday());
    let lease = Lease::take(world, writers, &target).await.unwrap().unwrap();
    let step = async || lease.hold_through(tokio::time::sleep(HOUR)).await;

    // A ledger that fails for some minutes does not cost the lease.
    let file = rusqlite::Connection::open(city.stage.dir().join("ledger.db")).unwrap();
    let rename = |from: &str, to: &str| {
        let renamed = file.execute_batch(&format!("alter table {from} rename to {to}"));
        renamed.unwrap();
    };
    let rival = async {
        tokio::time::sleep(HOUR / 6).await;
        rename("ledger_leases", "gone");
        tokio::time::sleep(HOUR / 6).await;
        rename("gone", "ledger_leases");
        let answer = ask_for_the_lease(world).await;
        assert!(matches!(answer, LeaseAnswer::HeldBy { .. }), "{answer:?}");
    };
    tokio::join!(step(), rival);
    lease.hold().await.unwrap();

    // If another program has acquired the lease, the current step is finished and no other is
    // started.
    tokio::time::sleep(HOUR).await;
    let taken = ask_for_the_lease(world).await;
    assert!(matches!(taken, LeaseAnswer::Granted { .. }), "{taken:?}");
    step().await;
    let held = lease.hold().await;
    assert!(
        matches!(held, Err(RepairError::LeaseLost { .. })),
        "{held:?}"
    );

    // If interrupted, it ends after the current step.
    writers.stop.request();
    step().await;
    let held = lease.hold().await;
    assert!(matches!(held, Err(RepairError::Stopped)), "{held:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_programs_works_and_the_other_names_the_lease_holder() {
    for backend in [Backend::Embedded, Backend::Services] {
        let scene = Scene::new(backend).await;
        let first = stopped_half_way(&scene).await;
        let before = scene.standing().await;
        let second = scene.run(REPAIR, &Interference::default()).await;
        assert_eq!(second.code, Some(6), "{second:?}");
        assert!(second.out.contains("holds"), "{second:?}");
        assert_eq!(scene.standing().await, before);
        first.go_on();
        let first = first.ended().await;
        assert_eq!(first.code, Some(0), "{first:?}");
        assert_eq!(scene.ended_well().await, Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_a_killed_holder_is_taken_over_immediately() {
    for backend in [Backend::Embedded, Backend::Services] {
        let scene = Scene::new(backend).await;
        let first = stopped_half_way(&scene).await;
        first.kill();
        first.ended().await;
        let second = scene.run(REPAIR, &Interference::default()).await;
        assert_eq!(second.code, Some(0), "{second:?}");
        assert!(second.err.contains("which has exited"), "{second:?}");
        assert_eq!(scene.ended_well().await, Ok(()));
    }
}

/// Programs that are suspended before one request each, until after their lease has expired.
struct Naps {
    scene: Scene,
    rewrite: bool,
    slept: u64,
    /// Requests that were carried out after the lease had expired.
    late: u64,
    /// Naps after which rows were missing until the next check.
    gaps: u64,
}

impl Naps {
    fn line(&self) -> String {
        let rewrite = if self.rewrite { " --rewrite --yes" } else { "" };
        format!("{REPAIR}{rewrite}")
    }

    fn writes(&self) -> usize {
        let requests = self.scene.city.stage.portal.requests();
        requests.iter().filter(|one| one.method != "GET").count()
    }

    async fn length(&self) -> u64 {
        self.scene.break_day().await;
        let how = Interference {
            on: Some(self.scene.portal()),
            ..Interference::default()
        };
        let whole = self.scene.run(&self.line(), &how).await;
        assert_eq!(whole.code, Some(0), "{whole:?}");
        whole.effects.len() as u64
    }

    /// Suspends one program before this request, lets another take over and finish, then resumes
    /// the first.
    async fn nap(&mut self, at: u64) {
        let before = self.scene.break_day().await;
        let how = Interference {
            on: Some(self.scene.portal()),
            slept: PAST_THE_LEASE,
            ..Interference::of(Act::Stop, at)
        };
        let suspended = self.scene.start(&self.line(), &how);
        suspended.stands_still().await;
        if !suspended.is_stopped() {
            suspended.ended().await;
            return;
        }
        self.slept += 1;
        let other = self.scene.run_past_the_lease(REPAIR).await;
        assert_eq!(other.code, Some(0), "nap {at}: {other:?}");
        assert_eq!(self.scene.ended_well().await, Ok(()), "nap {at}: {other:?}");
        let writes = self.writes();
        suspended.go_on();
        let resumed = suspended.ended().await;
        let late = self.writes() - writes;
        assert!(
            late <= 1,
            "nap {at}: {late} writes after the lease, {resumed:?}"
        );
        self.late += late as u64;
        self.judge(&before, at, &resumed.out).await;
    }

    /// Asserts that nothing was lost, or that rows are missing in a rewrite that the ledger knows
    /// of.
    async fn judge(&mut self, before: &RowDay, at: u64, output: &str) {
        let scene = &self.scene;
        if scene.standing().await != *scene.healthy() {
            assert!(self.rewrite, "nap {at}: {output}");
            self.gaps += 1;
            assert_eq!(scene.day_state().await, "differs", "nap {at}: {output}");
            let archived = scene.archived_whole(before).await;
            assert_eq!(archived, Ok(()), "nap {at}: {output}");
        }
        let next = scene.run_past_the_lease(REPAIR).await;
        assert_eq!(next.code, Some(0), "nap {at}: {output}\n{next:?}");
        assert_eq!(scene.ended_well().await, Ok(()), "nap {at}: {output}");
    }
}

async fn suspended_past_the_lease(backend: Backend, rewrite: bool) {
    let asked = Length::asked_for();
    let mut naps = Naps {
        scene: Scene::new(backend).await,
        rewrite,
        slept: 0,
        late: 0,
        gaps: 0,
    };
    let length = naps.length().await;
    for at in shuffled((1..=length).collect()) {
        if !asked.goes_on(naps.slept, SAMPLE) {
            break;
        }
        naps.nap(at).await;
    }
    let Naps {
        slept, late, gaps, ..
    } = naps;
    let strategy = if rewrite { "rewrite" } else { "repair" };
    println!(
        "{backend:?}, {strategy}: {length} requests, slept before {slept}, {late} carried out late, \
         missing rows until the next check after {gaps}"
    );
    assert!(slept >= SAMPLE / 2, "{slept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_suspended_past_its_lease_does_no_harm_when_resumed() {
    for backend in [Backend::Embedded, Backend::Services] {
        suspended_past_the_lease(backend, false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_suspended_past_its_lease_sends_at_most_one_request_and_reports_it() {
    for backend in [Backend::Embedded, Backend::Services] {
        suspended_past_the_lease(backend, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rival_publisher_is_named_after_repeated_repairs() {
    let city = TestCity::around(wednesday(), "").await;
    let target = city.target(TABLE, wednesday());
    let (dataset, day) = (&target.dataset.name, target.day);
    let base = city.bases(TABLE, wednesday()).into_iter().find(|base| {
        let place = Place {
            table: Table::CameraCounts,
            day: wednesday(),
            base: base.clone(),
        };
        let spelt = city
            .stage
            .damage(Breakage::OtherSpelling, &place, written_at());
        spelt.is_ok()
    });
    let base = base.expect("one file can be spelt otherwise");
    let wrote = |time: i64| -> DateTime<Utc> { written_at() + TimeDelta::hours(time) };
    let mut repaired = 0;
    for time in 0..8 {
        city.damage_at(
            Breakage::OtherSpelling,
            TABLE,
            wednesday(),
            &base,
            wrote(time),
        );
        let report = city.repair(TABLE, wednesday(), Depth::Keys).await;
        match report.state {
            State::Repaired => repaired += 1,
            State::Held => break,
            other => panic!("{other}: {:?}", report.why),
        }
    }
    assert_eq!(repaired, 3, "rails.max_repairs_per_week");
    let held = city.world.ledger.day(dataset, day).await.unwrap().unwrap();
    let why = held.why.clone().unwrap();
    for time in 0..3 {
        let zone = target.dataset.zone;
        let wrote = wrote(time).with_timezone(&zone).format("%Y-%m-%d %H:%M");
        assert!(why.contains(&wrote.to_string()), "{wrote}: {why}");
    }
    let cause = held.cause.clone().unwrap();
    assert!(cause.contains("another publisher's spelling"), "{cause}");

    // However often the day is checked from now on, nothing is repaired and nothing changes.
    let rows = city.rows(TABLE);
    for _ in 0..2 {
        let report = city.repair(TABLE, wednesday(), Depth::Keys).await;
        let refusal = report.refusal.expect("the breaker is open");
        assert!((refusal.breaches.iter()).any(|breach| breach.guard == Guard::Breaker));
        city.check(TABLE, wednesday(), Depth::Keys).await;
        let now = city.world.ledger.day(dataset, day).await.unwrap().unwrap();
        assert_eq!((&now.state, now.since), (&held.state, held.since));
        assert_eq!(now.why.as_ref(), Some(&why));
    }
    assert_eq!(city.rows(TABLE), rows);
    let changes = city.world.ledger.changes(dataset, day).await.unwrap();
    let held = changes.iter().filter(|change| change.state == "held");
    assert_eq!(held.count(), 1, "{changes:?}");
}
