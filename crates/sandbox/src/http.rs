//! The HTTP side of every server: listening on loopback only, hanging up in the middle of an exchange, and
//! stopping at once.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::extract::connect_info::Connected;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::serve::{IncomingStream, Listener};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::fault::Fault;

/// Largest request body taken, in bytes.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long a stop waits for exchanges under way.
const STOP_WAIT: Duration = Duration::from_secs(1);

/// Why a server did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// What arrives is shown to whoever asks, so no other machine may ask.
    #[error("{0} is not a loopback address; a sandbox server listens on no other")]
    NotLoopback(SocketAddr),
    #[error("cannot listen on {addr}")]
    Bind { addr: SocketAddr, source: io::Error },
}

/// Binds `addr` if it is a loopback address, and returns where it then listens.
pub(crate) async fn bind(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    if !addr.ip().is_loopback() {
        return Err(StartError::NotLoopback(addr));
    }
    let failed = |source| StartError::Bind { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}

/// A running HTTP server. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct HttpServer {
    addr: SocketAddr,
    severed: Arc<AtomicBool>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl HttpServer {
    pub(crate) async fn start(addr: SocketAddr, router: Router) -> Result<Self, StartError> {
        let (listener, addr) = bind(addr).await?;
        let severed = Arc::<AtomicBool>::default();
        let lines = Lines { listener, severed: Arc::clone(&severed) };
        let (stop, stopped) = oneshot::channel::<()>();
        let service = router.layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).into_make_service_with_connect_info::<HangUp>();
        let serve = axum::serve(lines, service).with_graceful_shutdown(async {
            // An error means that the handle was dropped: stop as well.
            stopped.await.unwrap_or_default();
        });
        let task = tokio::spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!(%addr, %error, "sandbox server ended");
            }
        });
        Ok(Self { addr, severed, stop: Some(stop), task })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Frees the port. Exchanges still under way after a second are cut off.
    pub(crate) async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // Fails only when the server has ended already.
            stop.send(()).unwrap_or_default();
        }
        if tokio::time::timeout(STOP_WAIT, &mut self.task).await.is_err() {
            tracing::debug!(addr = %self.addr, "exchanges cut off by the stop");
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.severed.store(true, Ordering::Release);
        self.task.abort();
    }
}

/// Does what the fault leaves to be done: `act` (given the code to refuse with), wait, answer or hang up.
pub(crate) async fn perform(fault: Fault, line: &HangUp, act: impl FnOnce(Option<&str>) -> Response) -> Response {
    let response = match fault.status {
        Some(status) => StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE).into_response(),
        None => act(fault.refuse.as_deref()),
    };
    fault.wait().await;
    if fault.drop_before_reply {
        line.now();
    }
    response
}

/// Lets a request handler close its own connection before anything of the answer is written.
#[derive(Debug, Clone)]
pub(crate) struct HangUp {
    this_line: Arc<AtomicBool>,
    all_lines: Arc<AtomicBool>,
}

impl HangUp {
    fn now(&self) {
        self.this_line.store(true, Ordering::Release);
    }

    fn is_asked(&self) -> bool {
        self.this_line.load(Ordering::Acquire) || self.all_lines.load(Ordering::Acquire)
    }
}

impl Connected<IncomingStream<'_, Lines>> for HangUp {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        stream.io().hang_up.clone()
    }
}

pub(crate) struct Lines {
    listener: TcpListener,
    severed: Arc<AtomicBool>,
}

impl Listener for Lines {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        let hang_up = HangUp { this_line: Arc::default(), all_lines: Arc::clone(&self.severed) };
        (Line { stream, hang_up }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails to write once it was hung up, which makes the HTTP layer close it.
pub(crate) struct Line {
    stream: TcpStream,
    hang_up: HangUp,
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.hang_up.is_asked() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A listener of plain TCP sessions that takes every session down with it when dropped.
#[derive(Debug)]
pub(crate) struct TcpServer {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl TcpServer {
    pub(crate) async fn start<S, F>(addr: SocketAddr, session: S) -> Result<Self, StartError>
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let (mut listener, addr) = bind(addr).await?;
        let task = tokio::spawn(async move {
            let mut sessions = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    (stream, _) = Listener::accept(&mut listener) => {
                        let talk = session(stream);
                        sessions.spawn(async move {
                            if let Err(error) = talk.await {
                                tracing::debug!(kind = ?error.kind(), "sandbox session broke off");
                            }
                        });
                    }
                    Some(_) = sessions.join_next() => {}
                }
            }
        });
        Ok(Self { addr, task })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Frees the port and ends every session.
    pub(crate) async fn stop(mut self) {
        self.task.abort();
        // The only outcome is the cancellation just asked for.
        (&mut self.task).await.unwrap_or_default();
    }
}

impl Drop for TcpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
