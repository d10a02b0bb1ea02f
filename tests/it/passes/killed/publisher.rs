//! Kills a repair that runs the existing publisher (`republish.mode = "command"`) at every effect:
//! what the publisher has done remains, and the next run must finish the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use sodalake::sandbox::city::Breakage;
use tokio::net::TcpListener;

use super::scene::{Backend, Scene};
use super::{Walk, killed_at_any_effect};
use crate::support::city::{wednesday, written_at};
use crate::support::program;

/// The breakages that publishing files again can repair. Stale values are not among them.
const FAULTS: [Breakage; 5] = [
    Breakage::OtherSpelling,
    Breakage::TailLost,
    Breakage::Strangers(5),
    Breakage::NotCatalogued,
    Breakage::GhostEntry,
];

/// A city, and how often its publisher has run.
struct Published {
    scene: Arc<Scene>,
    runs: AtomicU64,
}

/// Runs the publisher when the command sends a request.
async fn publish(State(city): State<Arc<Published>>) -> StatusCode {
    city.runs.fetch_add(1, Ordering::Relaxed);
    let stage = &city.scene.city.stage;
    match stage.publish(wednesday(), written_at()).await {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Sets up the scene's settings to run its publisher with a command.
async fn with_a_publisher(scene: Scene) -> Arc<Published> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/", listener.local_addr().unwrap());
    let file = program::config(&scene.city);
    let settings = std::fs::read_to_string(&file).unwrap();
    // Effects of the publisher must not count as effects of the program.
    let command = format!(
        "mode = \"command\"\ncommand = [\"env\", \"-u\", \"LD_PRELOAD\", \"curl\", \
         \"--silent\", \"--fail\", \"--request\", \"POST\", \"{endpoint}?from={{from}}&to={{to}}\"]"
    );
    let settings = format!("{settings}\n[republish]\n{command}\n");
    std::fs::write(&file, settings).unwrap();
    let city = Arc::new(Published {
        scene: Arc::new(scene),
        runs: AtomicU64::new(0),
    });
    let service = Router::new()
        .route("/", post(publish))
        .with_state(Arc::clone(&city));
    tokio::spawn(async move { axum::serve(listener, service).await });
    city
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_by_the_publisher_killed_at_any_effect_is_finished_by_the_next() {
    let city = with_a_publisher(Scene::new(Backend::Embedded).await).await;
    let mut walk = Walk::of(Arc::clone(&city.scene), &FAULTS, false);
    let length = walk.length().await;
    assert_eq!(city.runs.load(Ordering::Relaxed), 1);
    let kill = async |act, at| walk.kill(act, at).await;
    killed_at_any_effect("Embedded, repair by the publisher", length, kill).await;
}
