//! A server on a fictional city, as the daemon runs it.

use std::sync::Arc;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value as Json;
use sodalake::app;
use sodalake::reconcile::SystemClock;
use sodalake::server::{self, State};
use sodalake::telemetry::Activity;
use sodalake::telemetry::metrics::Metrics;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::city::{TestCity, wednesday};

pub const TOKEN: &str = "a-token-of-the-tests";

pub struct Running {
    pub city: Arc<TestCity>,
    pub activity: Activity,
    pub url: String,
    pub http: Client,
    pub stop: Option<oneshot::Sender<()>>,
    pub served: Option<JoinHandle<()>>,
    state: State,
}

/// Settings with a token.
pub fn with_token() -> String {
    format!("http.token = \"{TOKEN}\"\n")
}

impl Running {
    /// A server with world and ledger available.
    pub async fn start(more: &str) -> Self {
        let running = Self::closed(more).await;
        running.open().await;
        running
    }

    /// A server as it is before world and ledger are available.
    pub async fn closed(more: &str) -> Self {
        Self::over(Arc::new(TestCity::around(wednesday(), more).await)).await
    }

    /// Another server on the same city.
    pub async fn restarted(&self) -> Self {
        let again = Self::over(Arc::clone(&self.city)).await;
        again.open().await;
        again
    }

    async fn over(city: Arc<TestCity>) -> Self {
        let activity = Activity::default();
        let names = city.world.settings.datasets.iter();
        let metrics = Metrics::new(names.map(|one| &one.dataset.name));
        let state = State::new(activity.clone(), metrics, Arc::new(SystemClock));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = async {
            let _ = stopped.await; // an error means that the test is over
        };
        let served = tokio::spawn(server::serve(listener, state.clone(), ended));
        Self {
            city,
            activity,
            url,
            http: crate::support::http::client(),
            stop: Some(stop),
            served: Some(served),
            state,
        }
    }

    pub async fn open(&self) {
        let settings = Arc::clone(&self.city.world.settings);
        let world = app::world(settings).await.unwrap();
        self.state.renew(&Arc::new(world), "host:1:test");
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// The JSON of a successful answer.
    pub async fn json(&self, path: &str) -> Json {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.unwrap()
    }

    /// An act with the token.
    pub async fn act(&self, path: &str, body: Json) -> Response {
        let request = self.request(Method::POST, path).bearer_auth(TOKEN);
        request.json(&body).send().await.unwrap()
    }
}

/// Asserts that an answer is a problem with this status, and returns its detail.
#[track_caller]
pub fn problem(answer: Response, status: StatusCode) -> impl Future<Output = String> {
    assert_eq!(answer.status(), status);
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
    async move {
        let body: Json = answer.json().await.unwrap();
        assert_eq!(body["status"], status.as_u16());
        assert_eq!(body["type"], "about:blank");
        body["detail"].as_str().unwrap().to_owned()
    }
}
