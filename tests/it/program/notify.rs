//! Messages by webhook to a real receiver: one for each change, none twice, none lost.

mod order;
mod pauses;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use serde_json::Value as Json;
use sodalake::app;
use sodalake::compare::Depth;
use sodalake::ledger::{DayRecord, Tell};
use sodalake::model::Day;
use sodalake::reconcile::{Clock, State, World};
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::telemetry::metrics::Metrics;
use sodalake::telemetry::notify::Notifier;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::support::city::{TestCity, wednesday};

/// A clock that stays where it is set. It starts in the early morning, before any digest.
struct ManualClock(Mutex<DateTime<Utc>>);

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock()
    }
}

/// How the receiver answers instead of accepting a message.
enum Reply {
    /// Answers with this status and this `Retry-After`.
    Refuse(u16, Option<String>),
    /// Accepts the message, and breaks the connection before it answers.
    Lose,
    /// Accepts the message, and never answers.
    Hang,
}

/// A receiver that keeps the messages it accepts. It answers the first ones with the given replies.
#[derive(Default)]
struct Receiver {
    refuse: AtomicUsize,
    replies: Mutex<VecDeque<Reply>>,
    request_count: AtomicUsize,
    kept: Mutex<Vec<Json>>,
}

async fn receive(
    Shared(receiver): Shared<Arc<Receiver>>,
    axum::Json(message): axum::Json<Json>,
) -> Response {
    receiver.request_count.fetch_add(1, Ordering::SeqCst);
    let left = |left: usize| left.checked_sub(1);
    let ordering = Ordering::SeqCst;
    if receiver
        .refuse
        .fetch_update(ordering, ordering, left)
        .is_ok()
    {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let reply = receiver.replies.lock().pop_front();
    if let Some(Reply::Refuse(status, wait)) = reply {
        let status = StatusCode::from_u16(status).unwrap();
        let wait = wait.map(|wait| [(RETRY_AFTER, wait)]);
        return wait.map_or_else(
            || status.into_response(),
            |wait| (status, wait).into_response(),
        );
    }
    receiver.kept.lock().push(message);
    match reply {
        Some(Reply::Lose) => std::panic::resume_unwind(Box::new("no answer")),
        Some(Reply::Hang) => std::future::pending().await,
        Some(Reply::Refuse(..)) | None => StatusCode::OK.into_response(),
    }
}

async fn elsewhere(Shared(receiver): Shared<Arc<Receiver>>) -> impl IntoResponse {
    receiver.request_count.fetch_add(1, Ordering::SeqCst);
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, "/hook")])
}

struct Scene {
    city: TestCity,
    world: Arc<World>,
    clock: Arc<ManualClock>,
    receiver: Arc<Receiver>,
    metrics: Arc<Metrics>,
}

impl Scene {
    /// A city with a duplicated day, and a receiver at `path` of its server.
    async fn at(path: &str, more: &str) -> Self {
        let receiver = Arc::new(Receiver::default());
        let router = Router::new()
            .route("/hook", post(receive))
            .route("/moved", post(elsewhere))
            .with_state(Arc::clone(&receiver));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hook = format!("http://{}{path}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let more = format!("notify.webhook = \"{hook}\"\n{more}");
        let city = TestCity::around(wednesday(), &more).await;
        city.damage(
            Breakage::ChainedAgain,
            Table::RadarCounts,
            wednesday(),
            "Austin",
        );
        let now = "2026-03-03T08:00:00Z".parse().unwrap(); // 02:00 in Chicago
        let clock = Arc::new(ManualClock(Mutex::new(now)));
        let settings = Arc::clone(&city.world.settings);
        let world = app::world_at(settings, Arc::clone(&clock) as _)
            .await
            .unwrap();
        let names = city.world.settings.datasets.iter();
        let metrics = Metrics::new(names.map(|one| &one.dataset.name));
        Self {
            city,
            world: Arc::new(world),
            clock,
            receiver,
            metrics,
        }
    }

    fn notifier(&self, holder: &str) -> Notifier {
        Notifier::new(Arc::clone(&self.metrics), holder).unwrap()
    }

    fn advance(&self, span: TimeDelta) {
        *self.clock.0.lock() += span;
    }

    async fn check(&self) -> State {
        let target = self.city.target(Table::RadarCounts, wednesday());
        let report = sodalake::reconcile::check(&self.world, &target, Depth::Keys).await;
        report.state
    }

    fn kept(&self) -> Vec<Json> {
        self.receiver.kept.lock().clone()
    }

    fn request_count(&self) -> usize {
        self.receiver.request_count.load(Ordering::SeqCst)
    }

    fn answer_with(&self, replies: impl IntoIterator<Item = Reply>) {
        self.receiver.replies.lock().extend(replies);
    }

    /// Records in the ledger that the day has just reached this state.
    async fn becomes(&self, day: Day, state: State, pass: Option<Uuid>) {
        let now = self.clock.now();
        let record = DayRecord {
            dataset: Table::RadarCounts.dataset_name().parse().unwrap(),
            day,
            state: state.to_string(),
            since: now,
            checked_at: now,
            why: None,
            cause: None,
            counts: Json::Null,
            fingerprint: None,
            digest: None,
            expected: None,
            published: None,
            guards: Vec::new(),
            open_since: None,
            pass,
            drafted: None,
            compared: sodalake::ledger::Compared::default(),
        };
        self.world
            .ledger
            .set_day(&record, Tell::Change)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_notified_once_despite_more_checks_and_restarts() {
    let scene = Scene::at("/hook", "").await;
    let mut first = scene.notifier("host:1:a");
    for _ in 0..3 {
        assert_eq!(scene.check().await, State::Differs);
        first.turn(&scene.world).await.unwrap();
    }
    let kept = scene.kept();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let message = &kept[0];
    assert_eq!(message["kind"], "changed");
    assert_eq!(
        (&message["was"], &message["state"]),
        (&"in-sync".into(), &"differs".into())
    );
    assert_eq!(message["dataset"], "radar-counts");
    let text = message["text"].as_str().unwrap();
    assert!(
        text.starts_with("radar-counts 2020-10-14 is differs"),
        "{text}"
    );
    assert!(text.contains("are duplicates"), "{text}");

    scene.advance(TimeDelta::minutes(5));
    let mut again = scene.notifier("host:2:b");
    assert_eq!(again.turn(&scene.world).await.unwrap(), 0);
    let report = scene
        .city
        .repair(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(report.state, State::Repaired);
    scene.advance(TimeDelta::minutes(5));
    *scene.clock.0.lock() = Utc::now();
    again.turn(&scene.world).await.unwrap();
    let kept = scene.kept();
    assert_eq!(kept[1]["kind"], "repaired");
    assert_eq!(kept[1]["pass"], report.pass.unwrap().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_is_retried_less_and_less_often_until_it_arrives() {
    let scene = Scene::at("/hook", "").await;
    scene.receiver.refuse.store(2, Ordering::SeqCst);
    scene.check().await;
    let mut notifier = scene.notifier("host:1:a");
    for (wait, request_count, arrived) in [(0, 1, 0), (14, 1, 0), (1, 2, 0), (29, 2, 0), (1, 3, 1)]
    {
        scene.advance(TimeDelta::seconds(wait));
        notifier.turn(&scene.world).await.unwrap();
        assert_eq!(
            scene.receiver.request_count.load(Ordering::SeqCst),
            request_count,
            "after {wait} more"
        );
        assert_eq!(scene.kept().len(), arrived);
    }
    let text = scene.metrics.text().unwrap();
    assert!(text.contains("sodalake_notifications_total{outcome=\"failed\"} 2"));
    assert!(text.contains("sodalake_notifications_total{outcome=\"taken\"} 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_two_replicas_notifies() {
    let scene = Scene::at("/hook", "").await;
    scene.check().await;
    let (mut a, mut b) = (scene.notifier("host:1:a"), scene.notifier("host:2:b"));
    let (first, second) = tokio::join!(a.turn(&scene.world), b.turn(&scene.world));
    assert_eq!(first.unwrap() + second.unwrap(), 1);
    assert_eq!(scene.kept().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed_and_old_messages_are_dropped() {
    let scene = Scene::at("/moved", "").await;
    scene.check().await;
    let mut notifier = scene.notifier("host:1:a");
    assert_eq!(notifier.turn(&scene.world).await.unwrap(), 0);
    assert_eq!(
        scene.receiver.request_count.load(Ordering::SeqCst),
        1,
        "the hook itself was not asked"
    );
    scene.advance(TimeDelta::hours(25));
    notifier.turn(&scene.world).await.unwrap();
    let untold = scene
        .world
        .ledger
        .untold(scene.clock.now(), 10)
        .await
        .unwrap();
    assert!(untold.is_empty());
    assert!(scene.kept().is_empty());
    let text = scene.metrics.text().unwrap();
    assert!(text.contains("sodalake_notifications_total{outcome=\"given-up\"} 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_about_a_held_day_contains_the_command_that_approves_it() {
    let scene = Scene::at("/hook", "rails.max_purge_rows_per_day = 1\n").await;
    let held = scene
        .city
        .repair(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(held.state, State::Held);
    *scene.clock.0.lock() = Utc::now();
    scene.notifier("host:1:a").turn(&scene.world).await.unwrap();
    let message = &scene.kept()[0];
    let digest = held.refusal.unwrap().digest;
    let command = format!(
        "sodalake apply radar-counts-{}.plan --approve {digest}",
        wednesday()
    );
    assert_eq!(message["approve"][1], command);
    assert!(message["text"].as_str().unwrap().contains(&command));
    assert!(
        message["why"]
            .as_str()
            .unwrap()
            .contains("max_purge_rows_per_day")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_comes_once_a_day_in_the_morning() {
    let scene = Scene::at("/hook", "").await;
    let mut notifier = scene.notifier("host:1:a");
    let digests = || {
        let kept = scene.kept().into_iter();
        kept.filter(|message| message["kind"] == "digest")
            .collect::<Vec<Json>>()
    };
    scene.check().await;
    notifier.turn(&scene.world).await.unwrap();
    assert!(digests().is_empty(), "it is 02:00");
    scene.advance(TimeDelta::hours(6));
    for _ in 0..3 {
        notifier.turn(&scene.world).await.unwrap();
    }
    scene.notifier("host:2:b").turn(&scene.world).await.unwrap();
    let first = digests();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0]["date"], "2026-03-03");
    assert_eq!(first[0]["days"]["radar-counts"]["differs"], 1);
    assert!(
        first[0]["text"]
            .as_str()
            .unwrap()
            .contains("radar-counts: 1 differs")
    );
    scene.advance(TimeDelta::hours(24));
    notifier.turn(&scene.world).await.unwrap();
    assert_eq!(digests().len(), 2);
}
