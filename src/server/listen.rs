//! Connections: a limited number, each for a limited time.
//!
//! A client that sends its request head byte by byte, keeps an idle connection open or does not
//! read the response is disconnected after a while. Until then it takes only one of many places.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower_service::Service as _;

/// Maximum concurrent connections. More wait until one is free.
const CONNECTIONS: usize = 128;
/// How long a request head may take, and how long a connection may be idle before the next one.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Maximum lifetime of a connection.
const CONNECTION_WITHIN: Duration = Duration::from_mins(2);
/// Maximum size of a request head, in bytes.
const HEAD_BYTES: usize = 16 << 10;
/// How long running requests may take once the program shuts down.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);
/// Pause after accepting a connection failed, usually because no file handles are left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

pub(super) async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let (ending, ended) = watch::channel(false);
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = &mut stop => break,
        };
        let (stream, peer, place) = accepted;
        let (router, ended) = (router.clone(), ended.clone());
        tokio::spawn(async move {
            let connection = connection(stream, peer, router, ended);
            if tokio::time::timeout(CONNECTION_WITHIN, connection)
                .await
                .is_err()
            {
                tracing::debug!(%peer, "closed a connection that was open too long");
            }
            drop(place);
        });
    }
    drop(listener);
    ending.send_replace(true);
    let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(DRAIN_WITHIN, places.acquire_many(all)).await; // the rest are dropped
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    mut ended: watch::Receiver<bool>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut router = router.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let answer: Result<_, Infallible> = router.call(request).await;
            answer
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(true);
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = &mut served => result,
        () = wait_for_end(&mut ended) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, "a connection ended: {error}");
    }
}

async fn wait_for_end(ended: &mut watch::Receiver<bool>) {
    let _ = ended.wait_for(|ended| *ended).await; // an error means that the sender is gone, which is an end too
}
