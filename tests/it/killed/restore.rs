//! A restore, killed at every effect: whatever stands then is what the repair made or what was
//! archived, and the next run puts the rest back.

use super::effects::{Act, Interference};
use super::scene::{Backend, Scene, Standing};
use super::{REPAIR, SIGKILL, killed_at_any_effect};

struct Undone {
    scene: Scene,
    /// What the repair makes of the broken day.
    mended: Standing,
    /// What a restore makes of that.
    end: Standing,
}

impl Undone {
    /// Breaks the day, mends it, and names the pass that did.
    async fn mend(scene: &Scene) -> String {
        scene.break_day().await;
        let ran = scene.run(REPAIR, &Interference::default()).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let (_, rest) = ran
            .out
            .split_once("\"pass\":\"")
            .expect("it names its pass");
        let (pass, _) = rest.split_once('"').expect("the name ends");
        format!("restore {pass}")
    }

    /// The uninterrupted restore, and how many effects it has.
    async fn new(backend: Backend) -> (Self, u64) {
        let scene = Scene::new(backend).await;
        let line = Self::mend(&scene).await;
        let mended = scene.standing().await;
        let ran = scene.run(&line, &Interference::default()).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let end = scene.standing().await;
        assert_ne!(end.rows, mended.rows);
        assert_ne!(end.entries, mended.entries);
        let effects = ran.effects.len() as u64;
        (Self { scene, mended, end }, effects)
    }

    /// Kills it at one effect and lets the next finish; whether it came to so many.
    async fn kill(&self, act: Act, at: u64) -> Result<bool, String> {
        let line = Self::mend(&self.scene).await;
        assert_eq!(self.scene.standing().await, self.mended);
        let killed = self.scene.run(&line, &Interference::of(act, at)).await;
        if killed.signal != Some(SIGKILL) {
            assert_eq!(killed.code, Some(0), "{killed:?}");
            return Ok(false);
        }
        let what = killed.effects.last().cloned().unwrap_or_default();
        let broken = |why: String| format!("{act:?} at {what}: {why}");
        self.is_between(&self.scene.standing().await)
            .map_err(broken)?;
        let next = self.scene.run(&line, &Interference::default()).await;
        if next.code != Some(0) {
            return Err(broken(format!("{killed:?}\nthen {next:?}")));
        }
        if self.scene.standing().await != self.end {
            return Err(broken("the next one came to another end".into()));
        }
        self.scene.is_left_clean().await.map_err(broken)?;
        Ok(true)
    }

    /// Whether each row and entry is as the repair or as the whole restore leaves it.
    fn is_between(&self, now: &Standing) -> Result<(), String> {
        let Standing { rows, entries } = now;
        let (from, to) = (&self.mended, &self.end);
        for key in from.rows.keys().chain(to.rows.keys()).chain(rows.keys()) {
            let is = rows.get(key);
            if is != from.rows.get(key) && is != to.rows.get(key) {
                return Err(format!("row {key} is neither as mended nor as archived"));
            }
        }
        let invented =
            |entry: &&String| !from.entries.contains(*entry) && !to.entries.contains(*entry);
        if let Some(entry) = entries.iter().find(invented) {
            return Err(format!("the entry {entry} was invented"));
        }
        match from
            .entries
            .intersection(&to.entries)
            .find(|entry| !entries.contains(*entry))
        {
            Some(entry) => Err(format!("the entry {entry} is gone")),
            None => Ok(()),
        }
    }
}

async fn killed_anywhere(backend: Backend) {
    let (undone, length) = Undone::new(backend).await;
    let kill = async |act, at| undone.kill(act, at).await;
    killed_at_any_effect(&format!("{backend:?}, restore"), length, kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_on_this_machine_killed_at_any_effect_is_finished_by_the_next() {
    killed_anywhere(Backend::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_over_services_killed_at_any_effect_is_finished_by_the_next() {
    killed_anywhere(Backend::Services).await;
}
