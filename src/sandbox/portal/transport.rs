//! Sockets that can be broken on purpose. Every connection has a [`Line`]. When a handler cuts it,
//! the next write fails, so that the client sees a closed connection instead of a reply.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// How a body is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Delivery {
    #[default]
    Whole,
    /// This many bytes, then the connection breaks.
    Broken(usize),
    /// The connection breaks before the headers.
    Unsent,
    /// Pieces of this many bytes, with pauses.
    Dripped(usize, Duration),
    /// This many bytes, then nothing more.
    Stalled(usize),
}

const CHUNK: usize = 64 * 1024;

/// A chunked body without a length, as the real server sends.
pub(super) fn body(content: Vec<u8>, delivery: &Delivery) -> Body {
    let mut content = Bytes::from(content);
    match delivery {
        Delivery::Whole | Delivery::Unsent => Body::from_stream(pieces(content, CHUNK)),
        Delivery::Dripped(size, pause) => {
            let pause = *pause;
            Body::from_stream(
                pieces(content, (*size).max(1)).then(move |piece| async move {
                    tokio::time::sleep(pause).await;
                    piece
                }),
            )
        }
        Delivery::Broken(after) => {
            content.truncate(*after);
            // The pause lets the bytes before the break reach the client.
            let broken = stream::once(async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Err(io::Error::from(io::ErrorKind::ConnectionReset))
            });
            Body::from_stream(
                pieces(content, CHUNK)
                    .map(|piece| piece.map_err(|never| match never {}))
                    .chain(broken),
            )
        }
        Delivery::Stalled(after) => {
            content.truncate(*after);
            Body::from_stream(pieces(content, CHUNK).chain(stream::pending()))
        }
    }
}

fn pieces(
    content: Bytes,
    size: usize,
) -> impl futures::Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    stream::unfold(content, move |mut rest| async move {
        (!rest.is_empty()).then(|| {
            let piece = rest.split_to(size.min(rest.len()));
            (Ok(piece), rest)
        })
    })
}

/// The connection of a request.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub peer: SocketAddr,
    cut: Arc<AtomicBool>,
}

impl Line {
    /// Stops all further output on this connection.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }
}

/// A listener whose connections can be cut.
pub(super) struct CuttableListener(pub TcpListener);

impl Listener for CuttableListener {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (CuttableStream, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.0).await;
        // A failure here only affects speed.
        let _ = stream.set_nodelay(true);
        (
            CuttableStream {
                stream,
                cut: Arc::default(),
            },
            peer,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, CuttableListener>> for Line {
    fn connect_info(incoming: IncomingStream<'_, CuttableListener>) -> Line {
        Line {
            peer: *incoming.remote_addr(),
            cut: Arc::clone(&incoming.io().cut),
        }
    }
}

/// A connection whose writes fail once it is cut.
pub(super) struct CuttableStream {
    stream: TcpStream,
    cut: Arc<AtomicBool>,
}

impl CuttableStream {
    fn alive(&self) -> io::Result<()> {
        if self.cut.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Err(cut) = self.alive() {
            return Poll::Ready(Err(cut));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
