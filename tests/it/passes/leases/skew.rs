//! Programs on several machines with different clocks, on one PostgreSQL ledger.
//!
//! All of them run on this machine. A holder "on another machine" is one whose name in the ledger
//! says so, which prevents the check whether it has exited.

use crate::passes::killed::effects::{Act, Interference};
use crate::passes::killed::process::Program;
use crate::passes::killed::scene::{Backend, Scene};
use crate::passes::killed::{PAST_THE_LEASE, REPAIR};
use crate::support::running::{Running, until};

use super::{On, Shared};

const DAY: i64 = 24 * 60 * 60;

/// Names the holders as programs on another machine would.
const ELSEWHERE: &str = "update ledger_leases set holder = 'elsewhere:1:unknown.x.1'
     where holder <> ''";

/// A repair whose clock is ahead by so many seconds, stopped half way with the lease in hand.
async fn stopped_half_way(scene: &Scene, ahead: i64) -> Program {
    scene.break_day().await;
    let counted = Interference {
        on: Some(scene.portal()),
        ..Interference::default()
    };
    let requests = scene.run(REPAIR, &counted).await.effects.len() as u64;
    scene.break_day().await;
    let how = Interference {
        wall: ahead,
        on: Some(scene.portal()),
        ..Interference::of(Act::Stop, requests / 2)
    };
    let program = scene.start(REPAIR, &how);
    program.stands_still().await;
    assert!(program.is_stopped());
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_holder_with_a_clock_a_day_ahead_blocks_only_for_the_length_of_its_lease() {
    let scene = Scene::new(Backend::Services).await;
    let first = stopped_half_way(&scene, DAY).await;
    first.kill();
    first.ended().await;
    scene.in_ledger(ELSEWHERE).await;
    let second = scene.run(REPAIR, &Interference::default()).await;
    assert_eq!(second.code, Some(6), "{second:?}");
    scene.time_passes(PAST_THE_LEASE).await;
    let third = scene.run(REPAIR, &Interference::default()).await;
    assert_eq!(third.code, Some(0), "{third:?}");
    assert_eq!(scene.ended_well().await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_keeps_its_lease_however_much_the_clocks_differ() {
    for (holder, other) in [(0, DAY), (-DAY, 0), (DAY, -DAY)] {
        let scene = Scene::new(Backend::Services).await;
        let first = stopped_half_way(&scene, holder).await;
        let before = scene.standing().await;
        let second = scene.run(REPAIR, &Interference::wall(other)).await;
        assert_eq!(second.code, Some(6), "{holder} {other}: {second:?}");
        assert_eq!(scene.standing().await, before);
        first.go_on();
        let first = first.ended().await;
        assert_eq!(first.code, Some(0), "{holder} {other}: {first:?}");
        assert_eq!(scene.ended_well().await, Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_queued_by_a_daemon_a_day_ahead_is_due_now_for_all_others() {
    let shared = Shared::new(On::Postgres).await;
    shared.portal_answers(true);
    let mut daemon = Running::start_with(&shared.city, &shared.env(), |command, folder| {
        Interference::wall(DAY).load(command, &folder.join("effects"));
    });
    daemon.tells("READY=1").await;
    let written = async |sql: &str| {
        until("lines of the ledger", async || {
            let tables = shared.lines(sql).await;
            (!tables.is_empty()).then_some(tables)
        })
        .await
    };
    written("select dataset, schedule, cast(due_at as text) from ledger_schedules").await;
    written("select dataset, state, cast(checked_at as text) from ledger_days").await;
    drop(daemon);
    let ahead = "select 'x', 'y', cast(max(at) > clock_timestamp() as text) from (
           select due_at as at from ledger_schedules
           union all select queued_at from ledger_queue
           union all select checked_at from ledger_days
           union all select until - interval '16 minutes' from ledger_leases) times";
    assert_eq!(shared.lines(ahead).await[0][2], "false");
}
