//! The real program, killed at every effect of a repair: whatever it had done by then did no harm,
//! and the next run finishes.
//!
//! `tests/run` kills at a sample of the effects. Every one of them, which takes long, is tried by
//! `SODALAKE_TEST_KILL=all cargo nextest run --test it killed::`

pub mod effects;
mod faults;
pub mod process;
pub mod scene;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use self::effects::{Act, Interference};
use self::process::Ran;
use self::scene::{Backend, Scene};

/// Kills per test where only a sample is asked for.
const SAMPLE: u64 = 8;
/// Longer than any lease of ours lasts.
pub const PAST_THE_LEASE: i64 = 16 * 60;
pub const SIGKILL: i32 = 9;

pub const REPAIR: &str = "repair camera-counts --day 2020-10-14 --depth content --format json";

/// Whether every effect is asked for.
pub fn is_at_length() -> bool {
    std::env::var("SODALAKE_TEST_KILL").is_ok_and(|which| which == "all")
}

/// One kill: what was broken, what stood, what came of it.
struct Walk {
    scene: Scene,
    rewrite: bool,
    /// Kills so far, and those among them after which a purge had to be waited for.
    killed: u64,
    waited: u64,
    failures: Vec<String>,
}

impl Walk {
    async fn new(backend: Backend, rewrite: bool) -> Self {
        Self {
            scene: Scene::new(backend).await,
            rewrite,
            killed: 0,
            waited: 0,
            failures: Vec::new(),
        }
    }

    fn line(&self) -> String {
        let rewrite = if self.rewrite { " --rewrite" } else { "" };
        format!("{REPAIR}{rewrite}")
    }

    /// The uninterrupted repair; how many effects it has.
    async fn length(&self) -> u64 {
        let before = self.scene.break_day().await;
        assert_ne!(&before, self.scene.healthy());
        let ran = self.scene.run(&self.line(), &Interference::default()).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(self.scene.ended_well().await, Ok(()), "{}", ran.out);
        ran.effects.len() as u64
    }

    /// Kills at one effect. `false`: the program ended before it came to so many.
    async fn kill(&mut self, act: Act, at: u64) -> bool {
        let before = self.scene.break_day().await;
        let ran = self
            .scene
            .run(&self.line(), &Interference::of(act, at))
            .await;
        if ran.signal != Some(SIGKILL) {
            assert_eq!(ran.code, Some(0), "{ran:?}");
            return false;
        }
        self.killed += 1;
        let what = ran.effects.last().cloned().unwrap_or_default();
        let checked = match self.scene.holds(&before, self.rewrite).await {
            Ok(()) => self.finished(&ran).await,
            broken => broken,
        };
        if let Err(why) = checked {
            self.failures.push(format!("{act:?} at {what}: {why}"));
        }
        true
    }

    /// The next pass, and its end.
    async fn finished(&mut self, killed: &Ran) -> Result<(), String> {
        let mut next = self.scene.run(REPAIR, &Interference::default()).await;
        let in_doubt = next.out.contains("whose purge may still be under way");
        if self.rewrite && next.code == Some(6) && in_doubt {
            self.waited += 1;
            let later = Interference::ahead(PAST_THE_LEASE);
            next = self.scene.run(REPAIR, &later).await;
        }
        if next.code != Some(0) {
            return Err(format!("{killed:?}\nthen {next:?}"));
        }
        self.scene.ended_well().await
    }
}

async fn killed_anywhere(backend: Backend, rewrite: bool) {
    let seed = rand::rng().random();
    let mut chance = StdRng::seed_from_u64(seed);
    let mut walk = Walk::new(backend, rewrite).await;
    let length = walk.length().await;
    if is_at_length() {
        for act in [Act::Kill, Act::Torn] {
            let mut at = 1;
            while walk.kill(act, at).await {
                at += 1;
            }
        }
    } else {
        let part = length.div_ceil(SAMPLE);
        for nth in 0..SAMPLE {
            let act = if nth % 2 == 0 { Act::Kill } else { Act::Torn };
            let at = nth * part + chance.random_range(1..=part);
            walk.kill(act, at).await;
        }
        assert!(walk.killed >= SAMPLE / 2, "seed {seed}: {}", walk.killed);
    }
    let Walk {
        killed,
        waited,
        failures,
        ..
    } = walk;
    let strategy = if rewrite { "rewrite" } else { "mend" };
    println!(
        "{backend:?}, {strategy}: {length} effects, killed {killed} times, {} survived, \
         {waited} waited for a purge in doubt",
        killed - failures.len() as u64
    );
    assert!(failures.is_empty(), "seed {seed}:\n{}", failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_on_this_machine_killed_at_any_effect_is_finished_by_the_next() {
    killed_anywhere(Backend::Embedded, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_on_this_machine_killed_at_any_effect_is_finished_by_the_next() {
    killed_anywhere(Backend::Embedded, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_over_services_killed_at_any_effect_is_finished_by_the_next() {
    killed_anywhere(Backend::Services, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_over_services_killed_at_any_effect_is_finished_by_the_next() {
    killed_anywhere(Backend::Services, true).await;
}
