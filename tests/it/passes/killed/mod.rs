//! Kills the real program at every effect of a repair or a restore: what it did before must do no
//! harm, and the next run must finish the work.
//!
//! `tests/run` kills at a few random effects. For more, set `SODALAKE_TEST_KILL` to the minutes
//! each test may take, or to `all`.

pub mod effects;
mod faults;
pub mod process;
mod publisher;
mod restore;
pub mod scene;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sodalake::sandbox::city::Breakage;

use self::effects::{Act, Interference};
use self::process::Ran;
use self::scene::{Backend, FAULTS, Scene};

/// Kills per test for a sample.
const SAMPLE: u64 = 8;
/// Longer than any of our leases lasts.
pub const PAST_THE_LEASE: i64 = 16 * 60;
pub const SIGKILL: i32 = 9;

pub const REPAIR: &str = "repair camera-counts --day 2020-10-14 --depth content --format json";

/// How many of the possible places to try.
pub enum Length {
    Sample,
    Until(Instant),
    All,
}

impl Length {
    pub fn asked_for() -> Self {
        match std::env::var("SODALAKE_TEST_KILL") {
            Err(_) => Self::Sample,
            Ok(all) if all == "all" => Self::All,
            Ok(minutes) => {
                let minutes = minutes
                    .parse()
                    .expect("SODALAKE_TEST_KILL: minutes, or all");
                Self::Until(Instant::now() + Duration::from_mins(minutes))
            }
        }
    }

    /// Whether to try another place after this many.
    pub fn goes_on(&self, tried: u64, sample: u64) -> bool {
        match self {
            Self::Sample => tried < sample,
            Self::Until(end) => Instant::now() < *end,
            Self::All => true,
        }
    }
}

/// The places in a random order, which the printed seed reproduces.
pub fn shuffled<T>(mut places: Vec<T>) -> Vec<T> {
    let seed = match std::env::var("SODALAKE_TEST_SEED") {
        Ok(seed) => seed.parse().expect("SODALAKE_TEST_SEED: a number"),
        Err(_) => rand::rng().random(),
    };
    println!("SODALAKE_TEST_SEED={seed}");
    places.shuffle(&mut StdRng::seed_from_u64(seed));
    places
}

/// Calls `kill` for kills before and within each of `length` effects, in a random order, as many as
/// requested. `kill` returns whether the program reached that effect, or what went wrong.
async fn killed_at_any_effect(
    what: &str,
    length: u64,
    mut kill: impl AsyncFnMut(Act, u64) -> Result<bool, String>,
) {
    let asked = Length::asked_for();
    let every = (1..=length).flat_map(|at| [(Act::Kill, at), (Act::Torn, at)]);
    let (mut killed, mut failures) = (0, Vec::new());
    for (act, at) in shuffled(every.collect()) {
        if !asked.goes_on(killed, SAMPLE) {
            break;
        }
        match kill(act, at).await {
            Ok(was) => killed += u64::from(was),
            Err(why) => {
                killed += 1;
                failures.push(why);
            }
        }
    }
    println!(
        "{what}: {length} effects, killed before or within one {killed} times, {} without harm",
        killed - failures.len() as u64
    );
    assert!(killed >= SAMPLE.min(length), "killed {killed} times");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Kills of a repair: what is broken each time, and how it is repaired.
struct Walk {
    scene: Arc<Scene>,
    faults: &'static [Breakage],
    rewrite: bool,
    /// Kills after which the next run had to wait for a purge.
    waited: u64,
}

impl Walk {
    fn of(scene: Arc<Scene>, faults: &'static [Breakage], rewrite: bool) -> Self {
        Self {
            scene,
            faults,
            rewrite,
            waited: 0,
        }
    }

    fn line(&self) -> String {
        let rewrite = if self.rewrite { " --rewrite --yes" } else { "" };
        format!("{REPAIR}{rewrite}")
    }

    /// Runs the uninterrupted repair. Returns how many effects it has.
    async fn length(&self) -> u64 {
        let before = self.scene.break_day_by(self.faults).await;
        assert_ne!(&before, self.scene.healthy());
        let ran = self.scene.run(&self.line(), &Interference::default()).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(self.scene.ended_well().await, Ok(()), "{}", ran.out);
        ran.effects.len() as u64
    }

    /// Kills at one effect. Returns false if the program ends before it reaches that effect.
    async fn kill(&mut self, act: Act, at: u64) -> Result<bool, String> {
        let before = self.scene.break_day_by(self.faults).await;
        let ran = self
            .scene
            .run(&self.line(), &Interference::of(act, at))
            .await;
        if ran.signal != Some(SIGKILL) {
            assert_eq!(ran.code, Some(0), "{ran:?}");
            return Ok(false);
        }
        let what = ran.effects.last().cloned().unwrap_or_default();
        let broken = |why: String| format!("{act:?} at {what}: {why}");
        let holds = self.scene.holds(&before, self.rewrite).await;
        holds.map_err(broken)?;
        self.finish(&ran).await.map_err(broken)?;
        Ok(true)
    }

    /// Runs the next pass, and checks its end.
    async fn finish(&mut self, killed: &Ran) -> Result<(), String> {
        let mut next = self.scene.run(REPAIR, &Interference::default()).await;
        let in_doubt = next.out.contains("whose purge may still be under way");
        if self.rewrite && next.code == Some(6) && in_doubt {
            self.waited += 1;
            next = self.scene.run_past_the_lease(REPAIR).await;
        }
        if next.code != Some(0) {
            return Err(format!("{killed:?}\nthen {next:?}"));
        }
        self.scene.ended_well().await
    }
}

async fn killed_anywhere(backend: Backend, rewrite: bool) {
    let scene = Arc::new(Scene::new(backend).await);
    let mut walk = Walk::of(scene, &FAULTS, rewrite);
    let length = walk.length().await;
    let strategy = if rewrite { "rewrite" } else { "repair" };
    let what = format!("{backend:?}, {strategy}");
    killed_at_any_effect(&what, length, async |act, at| walk.kill(act, at).await).await;
    println!("{} of them waited for a purge in doubt", walk.waited);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_repair_killed_at_any_effect_is_finished_by_the_next() {
    killed_anywhere(Backend::Embedded, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_rewrite_killed_at_any_effect_is_finished_by_the_next() {
    killed_anywhere(Backend::Embedded, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_with_services_killed_at_any_effect_is_finished_by_the_next() {
    killed_anywhere(Backend::Services, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_with_services_killed_at_any_effect_is_finished_by_the_next() {
    killed_anywhere(Backend::Services, true).await;
}
