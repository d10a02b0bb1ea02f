//! Runs the real program while something it depends on fails in the middle of a repair: the
//! archive's disk, the ledger, PostgreSQL, the clock.

use super::effects::{Act, BROKEN, DENIED, DISK_FULL, Interference};
use super::process::Ran;
use super::scene::{Backend, Scene};
use super::{Length, REPAIR, SIGKILL};

const DAY: i64 = 24 * 60 * 60;
/// Number of places at which the ledger or the clock fails, spread over a repair's effects.
const PLACES: u64 = 4;

/// Runs with interference, and then again: nothing may be lost in between, and the day must be
/// repaired.
async fn survives(scene: &Scene, line: &str, how: &Interference) -> Ran {
    let before = scene.break_day().await;
    let ran = scene.run(line, how).await;
    let rewrite = line.contains("--rewrite");
    assert_eq!(
        scene.holds(&before, rewrite).await,
        Ok(()),
        "{how:?} {ran:?}"
    );
    let mut next = scene.run(REPAIR, &Interference::default()).await;
    if next.code == Some(6) && next.out.contains("may still be under way") {
        next = scene.run_past_the_lease(REPAIR).await;
    }
    assert_eq!(next.code, Some(0), "{how:?} {ran:?}\nthen {next:?}");
    assert_eq!(scene.ended_well().await, Ok(()), "{how:?} {ran:?}");
    ran
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_cannot_be_written_leaves_every_row() {
    let scene = Scene::new(Backend::Embedded).await;
    for error in [DISK_FULL, BROKEN, DENIED] {
        let mut failed = 0;
        for at in 1.. {
            let before = scene.break_day().await;
            let how = Interference {
                on: Some("/archive".into()),
                ..Interference::of(Act::Fail(error), at)
            };
            let ran = scene.run(REPAIR, &how).await;
            let enough =
                error != DISK_FULL && failed == 1 && matches!(Length::asked_for(), Length::Sample);
            if ran.code == Some(0) || enough {
                break;
            }
            failed += 1;
            assert_eq!(ran.code, Some(7), "{how:?} {ran:?}");
            assert!(
                ran.out.contains("cannot archive the rows to purge"),
                "{how:?} {ran:?}"
            );
            assert_eq!(scene.standing().await, before, "{how:?} {ran:?}");
            let next = scene.run(REPAIR, &Interference::default()).await;
            assert_eq!(next.code, Some(0), "{how:?} {next:?}");
            assert_eq!(scene.ended_well().await, Ok(()), "{how:?} {next:?}");
        }
        println!("archive, error {error}: failed at each of {failed} effects");
        assert!(failed >= 1, "error {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_can_no_longer_be_written_stops_the_repair() {
    let scene = Scene::new(Backend::Embedded).await;
    for line in [REPAIR.to_owned(), format!("{REPAIR} --rewrite --yes")] {
        scene.break_day().await;
        let whole = scene.run(&line, &Interference::default()).await;
        let on_ledger = |effect: &&String| effect.contains("ledger.db");
        let effects = whole.effects.iter().filter(on_ledger).count() as u64;
        let mut failed = 0;
        for nth in 1..=PLACES {
            let how = Interference {
                on: Some("ledger.db".into()),
                ..Interference::of(Act::Fail(DISK_FULL), effects * nth / (PLACES + 1))
            };
            failed += u64::from(survives(&scene, &line, &how).await.code == Some(7));
        }
        // Failures after the pass has ended are only warnings.
        assert!(failed >= PLACES - 1, "{failed} of {PLACES} failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_by_a_day_and_back_does_no_harm() {
    let scene = Scene::new(Backend::Embedded).await;
    for line in [REPAIR.to_owned(), format!("{REPAIR} --rewrite --yes")] {
        scene.break_day().await;
        let whole = scene.run(&line, &Interference::default()).await;
        for nth in 1..=PLACES {
            let at = whole.effects.len() as u64 * nth / (PLACES + 1);
            let seconds = if nth % 2 == 0 { DAY } else { -DAY };
            let how = Interference {
                jump: Some((at, seconds)),
                ..Interference::default()
            };
            let ran = survives(&scene, &line, &how).await;
            assert_ne!(ran.signal, Some(SIGKILL));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_restarts_in_the_middle_of_a_repair_does_no_harm() {
    let (scene, mut server) = Scene::with_own_server().await;
    scene.break_day().await;
    let whole = scene.run(REPAIR, &Interference::default()).await;
    assert_eq!(whole.code, Some(0), "{whole:?}");
    for nth in 1..=PLACES {
        let at = whole.effects.len() as u64 * nth / (PLACES + 1);
        let before = scene.break_day().await;
        let program = scene.stopped(REPAIR, at, 0).await;
        server.stop();
        server.start_again();
        program.go_on();
        let ran = program.ended().await;
        assert_eq!(scene.holds(&before, false).await, Ok(()), "{at} {ran:?}");
        let next = scene.run(REPAIR, &Interference::default()).await;
        assert_eq!(next.code, Some(0), "{at} {ran:?}\nthen {next:?}");
        assert_eq!(scene.ended_well().await, Ok(()), "{at} {ran:?}");
    }
}
