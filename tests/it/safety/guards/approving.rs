//! Approvals: each is for one exact plan and used once. The commands that a refusal prints are run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use rusqlite::Connection;
use sodalake::app;
use sodalake::compare::Depth;
use sodalake::ledger::Approval;
use sodalake::plan::Guard;
use sodalake::reconcile::{self, Asked, Clock, Done, State};
use sodalake::sandbox::city::Breakage;
use tokio::process::Command;

use super::{ROOMY, TABLE, add_orphans, held_by, pass, repaired};
use crate::support::city::{TestCity, wednesday};
use crate::support::program::run;

const FOUR_ORPHANS: &str = "rails.max_orphan_rows_per_day = 4\nrails.max_repairs_per_week = 1000\n";

async fn approve(city: &TestCity, digest: &str) {
    let approval = Approval {
        digest: digest.to_owned(),
        at: Utc::now(),
        by: "ada@example".into(),
        reason: "looked at".into(),
        used_at: None,
    };
    city.world.ledger.approve(&approval).await.unwrap();
}

/// The digest of the plan that is held.
async fn held(city: &TestCity) -> String {
    let report = pass(city, &city.world, wednesday()).await;
    held_by(&report, Guard::OrphanRows, "maximum 4");
    report.refusal.unwrap().digest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_day_invalidates_a_recorded_approval() {
    let city = TestCity::around(wednesday(), FOUR_ORPHANS).await;
    add_orphans(&city, 5, wednesday());
    let digest = held(&city).await;
    approve(&city, &digest).await;
    add_orphans(&city, 6, wednesday());
    let other = held(&city).await;
    assert_ne!(other, digest);
    let on_record = city.world.ledger.approval(&digest).await.unwrap().unwrap();
    assert_eq!(on_record.used_at, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_fails_still_uses_its_approval() {
    let city = TestCity::around(wednesday(), FOUR_ORPHANS).await;
    add_orphans(&city, 5, wednesday());
    let digest = held(&city).await;
    approve(&city, &digest).await;
    let archive = city.world.settings.archive.url.to_file_path().unwrap();
    std::fs::write(archive.join("passes"), b"a file where the folder should be").unwrap();
    let before = city.rows(TABLE);
    let failed = pass(&city, &city.world, wednesday()).await;
    assert_eq!(failed.state, State::Differs, "{:?}", failed.why);
    assert_eq!((failed.done, city.rows(TABLE)), (Done::default(), before));
    std::fs::remove_file(archive.join("passes")).unwrap();
    assert_eq!(
        held(&city).await,
        digest,
        "the very same plan wants another yes"
    );
    approve(&city, &digest).await;
    repaired(&pass(&city, &city.world, wednesday()).await);
}

/// A clock through which another pass uses the approval at one chosen moment.
struct Rival {
    ledger: std::path::PathBuf,
    strikes_at: usize,
    asked: AtomicUsize,
    won: AtomicUsize,
}

impl Clock for Rival {
    fn now(&self) -> DateTime<Utc> {
        if self.asked.fetch_add(1, Ordering::SeqCst) == self.strikes_at {
            let ledger = Connection::open(&self.ledger).unwrap();
            ledger
                .busy_timeout(std::time::Duration::from_secs(5))
                .unwrap();
            let use_it = "update ledger_approvals set used_at = approved_at where used_at is null";
            let won = ledger.execute(use_it, []).unwrap();
            self.won.fetch_add(won, Ordering::SeqCst);
        }
        Utc::now()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_approval_serves_one_of_two_passes_at_any_interleaving() {
    let city = TestCity::around(wednesday(), FOUR_ORPHANS).await;
    add_orphans(&city, 5, wednesday());
    let digest = held(&city).await;
    let before = city.rows(TABLE);
    let mut lost_races = 0;
    for strikes_at in 0.. {
        approve(&city, &digest).await;
        let rival = Arc::new(Rival {
            ledger: city.stage.dir().join("ledger.db"),
            strikes_at,
            asked: AtomicUsize::new(0),
            won: AtomicUsize::new(0),
        });
        let clock: Arc<dyn Clock> = Arc::<Rival>::clone(&rival);
        let settings = Arc::clone(&city.world.settings);
        let world = app::world_at(settings, clock).await.unwrap();
        let report = pass(&city, &world, wednesday()).await;
        let rival_won = rival.won.load(Ordering::SeqCst);
        assert!(
            rival.asked.load(Ordering::SeqCst) > strikes_at,
            "the rival came too late"
        );
        if report.state != State::Held {
            repaired(&report);
            assert_eq!(rival_won, 0, "strike {strikes_at}: one yes, two passes");
            break;
        }
        assert_eq!(rival_won, 1, "strike {strikes_at}: {:?}", report.why);
        assert_eq!(report.done, Done::default());
        assert_eq!(city.rows(TABLE), before);
        let why = report.why.unwrap();
        lost_races += usize::from(why.contains("another pass has used the approval"));
    }
    assert!(
        lost_races > 0,
        "no strike fell between reading the approval and using it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_concurrent_passes_with_one_approval_purge_once() {
    let city = TestCity::around(wednesday(), FOUR_ORPHANS).await;
    add_orphans(&city, 5, wednesday());
    let digest = held(&city).await;
    approve(&city, &digest).await;
    let target = city.target(TABLE, wednesday());
    let asked = Asked::default();
    let other = app::writers(&city.world).await.unwrap();
    let by = |writers| reconcile::repair(&city.world, writers, &target, Depth::Keys, &asked);
    let (first, second) = tokio::join!(by(&city.writers), by(&other));
    let purged = first.done.purged_rows + second.done.purged_rows;
    assert_eq!(purged, 5, "{:?} {:?}", first.why, second.why);
    let since = DateTime::UNIX_EPOCH;
    let passes = city
        .world
        .ledger
        .passes(&target.dataset.name, wednesday(), since);
    assert_eq!(passes.await.unwrap().len(), 1);
}

/// The lines that follow `Next:`, as a person would copy them.
fn printed_commands(said: &str) -> Vec<String> {
    let (_, next) = said.split_once("Next: review the held plan").expect(said);
    let commands = next.lines().skip(1).map(|line| line.trim().to_owned());
    commands
        .take_while(|line| line.starts_with("sodalake "))
        .collect()
}

/// Runs a command line in a shell, with the program in its path, in a folder of its own.
async fn typed(line: &str, folder: &Path) -> (i32, String) {
    let program = Path::new(env!("CARGO_BIN_EXE_sodalake")).parent().unwrap();
    let output = Command::new("/bin/sh")
        .args(["-c", line])
        .current_dir(folder)
        .env_clear()
        .env("PATH", program)
        .output()
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

/// Lets the program itself hold a pass, and follows the commands that it prints.
async fn follow_the_printed_commands(city: &TestCity, line: &str, words: &str) {
    let ran = run(city, line).await.ends(3, words);
    let commands = printed_commands(&ran.out);
    assert_eq!(commands.len(), 2, "{}", ran.out);
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = typed(&commands[0], folder.path()).await;
    assert!(code <= 1, "{}: {said}", commands[0]);
    let (code, said) = typed(&commands[1], folder.path()).await;
    assert_eq!(code, 0, "{}: {said}", commands[1]);
    assert!(said.contains("repaired"), "{said}");
    let (code, said) = typed(&commands[1], folder.path()).await;
    let spent = code == 0 || said.contains("the plan is stale");
    assert!(spent, "a second time: {code} {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_commands_approve_a_held_plan() {
    let city = TestCity::around(wednesday(), FOUR_ORPHANS).await;
    add_orphans(&city, 5, wednesday());
    let line = format!("repair {} --day {}", TABLE.dataset_name(), wednesday());
    follow_the_printed_commands(&city, &line, "5 orphans to purge, maximum 4").await;
    let report = city.check(TABLE, wednesday(), Depth::Content).await;
    assert_eq!(report.state, State::InSync, "{:?}", report.cause);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_commands_approve_a_plan_at_content_depth() {
    let city = TestCity::around(wednesday(), FOUR_ORPHANS).await;
    city.damage(Breakage::StaleValues, TABLE, wednesday(), "Austin");
    add_orphans(&city, 5, wednesday());
    let line = format!(
        "repair {} --day {} --depth content",
        TABLE.dataset_name(),
        wednesday()
    );
    follow_the_printed_commands(&city, &line, "5 orphans to purge").await;
    let report = city.check(TABLE, wednesday(), Depth::Content).await;
    assert_eq!(report.state, State::InSync, "{:?}", report.cause);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_commands_approve_a_rewrite() {
    let more = format!("{ROOMY}rails.max_purge_rows_per_day = 1\n");
    let city = TestCity::around(wednesday(), &more).await;
    let healthy = city.rows(TABLE);
    let line = format!(
        "repair {} --day {} --rewrite --yes",
        TABLE.dataset_name(),
        wednesday()
    );
    follow_the_printed_commands(&city, &line, "rows to purge, maximum 1").await;
    assert_eq!(city.rows(TABLE), healthy);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_records_who_approved_by_command() {
    let city = TestCity::around(wednesday(), FOUR_ORPHANS).await;
    add_orphans(&city, 5, wednesday());
    let line = format!("repair {} --day {}", TABLE.dataset_name(), wednesday());
    let ran = run(&city, &line).await.ends(3, "orphans");
    let folder = tempfile::tempdir().unwrap();
    for command in printed_commands(&ran.out) {
        typed(&command, folder.path()).await;
    }
    let ledger = Connection::open(city.stage.dir().join("ledger.db")).unwrap();
    let acts = "select count(*) from ledger_acts where act = 'approve' and length(subject) = 64
                and origin like '%@%' and reason like '%apply --approve%'";
    let acts: i64 = ledger.query_row(acts, [], |row| row.get(0)).unwrap();
    assert_eq!(acts, 1);
}
