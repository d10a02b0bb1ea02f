//! A repair that has the existing publisher publish (`republish.mode = "command"`), killed at every
//! effect: what the publisher did stands, and the next run finishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use sodalake::sandbox::city::Breakage;
use tokio::net::TcpListener;

use super::effects::{Act, Interference};
use super::scene::{Backend, Scene};
use super::{REPAIR, SIGKILL, killed_at_any_effect};
use crate::support::city::{wednesday, written_at};
use crate::support::program;

/// What having files published again can mend: stale values it leaves as they are.
const FAULTS: [Breakage; 5] = [
    Breakage::OtherSpelling,
    Breakage::TailLost,
    Breakage::Strangers(5),
    Breakage::NotCatalogued,
    Breakage::GhostEntry,
];

/// A city whose publisher can be run by a command.
struct Published {
    scene: Scene,
    runs: AtomicU64,
}

/// The publisher behind the door at which the command knocks.
async fn publish(State(city): State<Arc<Published>>) -> StatusCode {
    city.runs.fetch_add(1, Ordering::Relaxed);
    let stage = &city.scene.city.stage;
    match stage.publish(wednesday(), written_at()).await {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl Published {
    async fn new() -> Arc<Self> {
        let scene = Scene::new(Backend::Embedded).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = format!("http://{}/", listener.local_addr().unwrap());
        let file = program::config(&scene.city);
        let settings = std::fs::read_to_string(&file).unwrap();
        // What the publisher does is no effect of the program's.
        let command = format!(
            "mode = \"command\"\ncommand = [\"env\", \"-u\", \"LD_PRELOAD\", \"curl\", \
             \"--silent\", \"--fail\", \"--request\", \"POST\", \"{door}?from={{from}}&to={{to}}\"]"
        );
        let settings = format!("{settings}\n[republish]\n{command}\n");
        std::fs::write(&file, settings).unwrap();
        let city = Arc::new(Self {
            scene,
            runs: AtomicU64::new(0),
        });
        let service = Router::new()
            .route("/", post(publish))
            .with_state(Arc::clone(&city));
        tokio::spawn(async move { axum::serve(listener, service).await });
        city
    }

    /// Kills it at one effect and lets the next finish; whether it came to so many.
    async fn kill(&self, act: Act, at: u64) -> Result<bool, String> {
        let before = self.scene.break_day_by(&FAULTS).await;
        let killed = self.scene.run(REPAIR, &Interference::of(act, at)).await;
        if killed.signal != Some(SIGKILL) {
            assert_eq!(killed.code, Some(0), "{killed:?}");
            return Ok(false);
        }
        let what = killed.effects.last().cloned().unwrap_or_default();
        let broken = |why: String| format!("{act:?} at {what}: {why}");
        self.scene.holds(&before, false).await.map_err(broken)?;
        let next = self.scene.run(REPAIR, &Interference::default()).await;
        if next.code != Some(0) {
            return Err(broken(format!("{killed:?}\nthen {next:?}")));
        }
        self.scene.ended_well().await.map_err(broken)?;
        Ok(true)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_by_the_publisher_killed_at_any_effect_is_finished_by_the_next() {
    let city = Published::new().await;
    city.scene.break_day_by(&FAULTS).await;
    let whole = city.scene.run(REPAIR, &Interference::default()).await;
    assert_eq!(whole.code, Some(0), "{whole:?}");
    assert_eq!(city.scene.ended_well().await, Ok(()), "{}", whole.out);
    assert_eq!(city.runs.load(Ordering::Relaxed), 1, "{}", whole.out);
    let length = whole.effects.len() as u64;
    let kill = async |act, at| city.kill(act, at).await;
    killed_at_any_effect("the publisher's command", length, kill).await;
}
