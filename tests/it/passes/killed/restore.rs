//! Kills a restore at every effect: each row and entry must be as the repair left it or as it was
//! archived, and the next run must restore the rest.

use super::effects::{Act, Interference};
use super::scene::{Backend, RowDay, Scene};
use super::{REPAIR, SIGKILL, killed_at_any_effect};

struct Restoration {
    scene: Scene,
    /// The state after the repair of the broken day.
    repaired: RowDay,
    /// The state after a restore of that.
    end: RowDay,
}

impl Restoration {
    /// Breaks and repairs the day. Returns the command that restores that pass.
    async fn repair(scene: &Scene) -> String {
        scene.break_day().await;
        let ran = scene.run(REPAIR, &Interference::default()).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let (_, rest) = ran
            .out
            .split_once("\"pass\":\"")
            .expect("the output names the pass");
        let (pass, _) = rest.split_once('"').expect("the pass is quoted");
        format!("restore {pass}")
    }

    /// Runs the uninterrupted restore. Returns how many effects it has.
    async fn new(backend: Backend) -> (Self, u64) {
        let scene = Scene::new(backend).await;
        let line = Self::repair(&scene).await;
        let repaired = scene.standing().await;
        let ran = scene.run(&line, &Interference::default()).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let end = scene.standing().await;
        assert_ne!(end.rows, repaired.rows);
        assert_ne!(end.entries, repaired.entries);
        let effects = ran.effects.len() as u64;
        (
            Self {
                scene,
                repaired,
                end,
            },
            effects,
        )
    }

    /// Kills it at one effect and lets the next run finish. Returns whether it reached that effect.
    async fn kill(&self, act: Act, at: u64) -> Result<bool, String> {
        let line = Self::repair(&self.scene).await;
        assert_eq!(self.scene.standing().await, self.repaired);
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
            return Err(broken("the next run ended in a different state".into()));
        }
        self.scene.is_left_clean().await.map_err(broken)?;
        Ok(true)
    }

    /// Checks that each row and entry is as after the repair or after the restore.
    fn is_between(&self, now: &RowDay) -> Result<(), String> {
        let RowDay { rows, entries } = now;
        let (from, to) = (&self.repaired, &self.end);
        for key in from.rows.keys().chain(to.rows.keys()).chain(rows.keys()) {
            let is = rows.get(key);
            if is != from.rows.get(key) && is != to.rows.get(key) {
                return Err(format!("row {key} is neither as repaired nor as archived"));
            }
        }
        let invented =
            |entry: &&String| !from.entries.contains(*entry) && !to.entries.contains(*entry);
        if let Some(entry) = entries.iter().find(invented) {
            return Err(format!("the entry {entry} is new and unexpected"));
        }
        match from
            .entries
            .intersection(&to.entries)
            .find(|entry| !entries.contains(*entry))
        {
            Some(entry) => Err(format!("the entry {entry} is missing")),
            None => Ok(()),
        }
    }
}

async fn killed_anywhere(backend: Backend) {
    let (restoration, length) = Restoration::new(backend).await;
    let kill = async |act, at| restoration.kill(act, at).await;
    killed_at_any_effect(&format!("{backend:?}, restore"), length, kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_restore_killed_at_any_effect_is_finished_by_the_next() {
    killed_anywhere(Backend::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_with_services_killed_at_any_effect_is_finished_by_the_next() {
    killed_anywhere(Backend::Services).await;
}
