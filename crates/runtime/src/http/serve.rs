//! A router on a socket, until told to stop.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use std::future::IntoFuture;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The HTTP server could not be started or broke.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; is something else using the port?")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The server ended by itself.
    #[error("the HTTP server broke")]
    Serve(#[source] std::io::Error),
}

/// Listens on `address` (port 0: any free one) and says which it became.
pub async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Serves until `stop`; then takes no new connections, lets requests end for at most `patience`, and returns.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken, patience: Duration) -> Result<(), ServeError> {
    let listener = listener.tap_io(|stream| {
        // Without it small answers wait for the peer's delayed acknowledgement; a socket that refuses still works.
        let _ = stream.set_nodelay(true);
    });
    let stopped = stop.clone();
    let server = axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned()).into_future();
    let out_of_patience = async {
        stop.cancelled().await;
        tokio::time::sleep(patience).await;
    };
    tokio::select! {
        ended = server => ended.map_err(ServeError::Serve),
        () = out_of_patience => {
            tracing::warn!("requests were still running when the time for stopping ended");
            Ok(())
        }
    }
}
