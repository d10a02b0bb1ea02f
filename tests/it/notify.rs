//! Messages by webhook, to a real receiver: one for each change, none twice, none lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use axum::routing::post;
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use serde_json::Value as Json;
use sodalake::app;
use sodalake::compare::Depth;
use sodalake::reconcile::{Clock, State, World};
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::telemetry::metrics::Metrics;
use sodalake::telemetry::notify::Notifier;
use tokio::net::TcpListener;

use crate::support::city::{TestCity, wednesday};

/// A clock that stands until it is moved. It begins in the small hours, before any digest.
struct Hand(Mutex<DateTime<Utc>>);

impl Clock for Hand {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock()
    }
}

/// A receiver that refuses the first messages, and keeps the others.
#[derive(Default)]
struct Receiver {
    refuse: AtomicUsize,
    asked: AtomicUsize,
    kept: Mutex<Vec<Json>>,
}

async fn receive(
    Shared(receiver): Shared<Arc<Receiver>>,
    axum::Json(message): axum::Json<Json>,
) -> StatusCode {
    receiver.asked.fetch_add(1, Ordering::SeqCst);
    let left = |left: usize| left.checked_sub(1);
    let ordering = Ordering::SeqCst;
    if receiver
        .refuse
        .fetch_update(ordering, ordering, left)
        .is_ok()
    {
        return StatusCode::BAD_GATEWAY;
    }
    receiver.kept.lock().push(message);
    StatusCode::OK
}

async fn elsewhere(Shared(receiver): Shared<Arc<Receiver>>) -> impl IntoResponse {
    receiver.asked.fetch_add(1, Ordering::SeqCst);
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, "/hook")])
}

struct Told {
    city: TestCity,
    world: Arc<World>,
    clock: Arc<Hand>,
    receiver: Arc<Receiver>,
    metrics: Arc<Metrics>,
}

impl Told {
    /// A city with a doubled day, and a receiver at `path` of its server.
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
        let clock = Arc::new(Hand(Mutex::new(now)));
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

    fn later(&self, span: TimeDelta) {
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
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_told_once_however_often_it_is_looked_at_and_whoever_restarts() {
    let told = Told::at("/hook", "").await;
    let mut first = told.notifier("host:1:a");
    for _ in 0..3 {
        assert_eq!(told.check().await, State::Differs);
        first.turn(&told.world).await.unwrap();
    }
    let kept = told.kept();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let message = &kept[0];
    assert_eq!(message["kind"], "changed");
    assert_eq!(
        (&message["was"], &message["state"]),
        (&"in-step".into(), &"differs".into())
    );
    assert_eq!(message["dataset"], "radar-counts");
    let text = message["text"].as_str().unwrap();
    assert!(
        text.starts_with("radar-counts 2020-10-14 is differs"),
        "{text}"
    );
    assert!(text.contains("are twins"), "{text}");

    told.later(TimeDelta::minutes(5));
    let mut again = told.notifier("host:2:b");
    assert_eq!(again.turn(&told.world).await.unwrap(), 0);
    let report = told
        .city
        .repair(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(report.state, State::Repaired);
    told.later(TimeDelta::minutes(5));
    *told.clock.0.lock() = Utc::now();
    again.turn(&told.world).await.unwrap();
    let kept = told.kept();
    assert_eq!(kept[1]["kind"], "repaired");
    assert_eq!(kept[1]["pass"], report.pass.unwrap().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_comes_again_later_and_later_and_then_arrives() {
    let told = Told::at("/hook", "").await;
    told.receiver.refuse.store(2, Ordering::SeqCst);
    told.check().await;
    let mut notifier = told.notifier("host:1:a");
    for (wait, asked, arrived) in [(0, 1, 0), (14, 1, 0), (1, 2, 0), (29, 2, 0), (1, 3, 1)] {
        told.later(TimeDelta::seconds(wait));
        notifier.turn(&told.world).await.unwrap();
        assert_eq!(
            told.receiver.asked.load(Ordering::SeqCst),
            asked,
            "after {wait} more"
        );
        assert_eq!(told.kept().len(), arrived);
    }
    let text = told.metrics.text().unwrap();
    assert!(text.contains("sodalake_notifications_total{outcome=\"failed\"} 2"));
    assert!(text.contains("sodalake_notifications_total{outcome=\"taken\"} 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_replicas_one_tells() {
    let told = Told::at("/hook", "").await;
    told.check().await;
    let (mut a, mut b) = (told.notifier("host:1:a"), told.notifier("host:2:b"));
    let (first, second) = tokio::join!(a.turn(&told.world), b.turn(&told.world));
    assert_eq!(first.unwrap() + second.unwrap(), 1);
    assert_eq!(told.kept().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed_and_old_news_is_given_up() {
    let told = Told::at("/moved", "").await;
    told.check().await;
    let mut notifier = told.notifier("host:1:a");
    assert_eq!(notifier.turn(&told.world).await.unwrap(), 0);
    assert_eq!(
        told.receiver.asked.load(Ordering::SeqCst),
        1,
        "the hook itself was not asked"
    );
    told.later(TimeDelta::hours(25));
    notifier.turn(&told.world).await.unwrap();
    let untold = told
        .world
        .ledger
        .untold(told.clock.now(), 10)
        .await
        .unwrap();
    assert!(untold.is_empty());
    assert!(told.kept().is_empty());
    let text = told.metrics.text().unwrap();
    assert!(text.contains("sodalake_notifications_total{outcome=\"given-up\"} 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_day_names_the_very_command_that_approves_it() {
    let told = Told::at("/hook", "rails.max_purge_rows_per_day = 1\n").await;
    let held = told
        .city
        .repair(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(held.state, State::Held);
    *told.clock.0.lock() = Utc::now();
    told.notifier("host:1:a").turn(&told.world).await.unwrap();
    let message = &told.kept()[0];
    let digest = held.refusal.unwrap().digest;
    let command = format!("sodalake apply held.plan --approve {digest}");
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
    let told = Told::at("/hook", "").await;
    let mut notifier = told.notifier("host:1:a");
    let digests = || {
        let kept = told.kept().into_iter();
        kept.filter(|message| message["kind"] == "digest")
            .collect::<Vec<Json>>()
    };
    told.check().await;
    notifier.turn(&told.world).await.unwrap();
    assert!(digests().is_empty(), "it is 02:00");
    told.later(TimeDelta::hours(6));
    for _ in 0..3 {
        notifier.turn(&told.world).await.unwrap();
    }
    told.notifier("host:2:b").turn(&told.world).await.unwrap();
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
    told.later(TimeDelta::hours(24));
    notifier.turn(&told.world).await.unwrap();
    assert_eq!(digests().len(), 2);
}
