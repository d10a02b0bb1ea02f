//! A proxy that records requests and forwards none, and the variables that name it.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Every variable that can give a program a proxy.
pub const VARIABLES: [&str; 6] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
];

/// A recording proxy.
pub struct Proxy {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(refuse(stream, Arc::clone(&kept)));
            }
        });
        Self { url, seen }
    }

    /// The environment with all variables set to this proxy.
    pub fn environment(&self) -> Vec<(&str, &str)> {
        VARIABLES.map(|name| (name, self.url.as_str())).into()
    }

    /// The environment with only this variable set.
    pub fn by<'a>(&'a self, variable: &'a str) -> (&'a str, &'a str) {
        (variable, &self.url)
    }

    /// The head of every request it received.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().clone()
    }

    /// The first lines of the requests it received.
    pub fn lines(&self) -> Vec<String> {
        let first = |head: &String| head.lines().next().unwrap_or_default().to_owned();
        self.seen().iter().map(first).collect()
    }
}

async fn refuse(mut stream: TcpStream, seen: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    seen.lock()
        .push(String::from_utf8_lossy(&head).into_owned());
    let answer = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let _ = stream.write_all(answer).await; // the client may have closed the connection
}

/// The address of a server on this machine for `router`.
pub async fn serve(router: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}
