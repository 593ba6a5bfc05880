//! Two streams for lettre's connection that it cannot open itself.
//! Reads and writes: one socket. Never: waits; the deadlines are the session's.
//!
//! lettre leaves Nagle's algorithm on: each message then waits about 40 ms for a delayed acknowledgement.
//! It takes a stream of our own, but only a plain one; for TLS from the first byte the encrypted stream
//! is made first and handed over as if it were plain.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::io::{AsyncRead as FuturesRead, AsyncWrite as FuturesWrite};
use lettre::transport::smtp::Error;
#[expect(
    deprecated,
    reason = "the only type of lettre that can encrypt a stream which was opened elsewhere"
)]
use lettre::transport::smtp::client::AsyncNetworkStream;
use lettre::transport::smtp::client::{AsyncTokioStream, TlsParameters};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// An encrypted stream that lettre takes for a plain one.
#[expect(deprecated, reason = "see the import")]
pub(super) struct Encrypted {
    inner: AsyncNetworkStream,
    peer: SocketAddr,
}

impl Encrypted {
    /// Shakes hands on a fresh connection.
    #[expect(deprecated, reason = "see the import")]
    pub(super) async fn connect(
        stream: TcpStream,
        peer: SocketAddr,
        tls: TlsParameters,
    ) -> Result<Self, Error> {
        let mut inner = AsyncNetworkStream::use_existing_tokio1(Box::new(stream));
        inner.upgrade_tls(tls).await?;
        Ok(Self { inner, peer })
    }
}

impl fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encrypted")
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let space = buffer.initialize_unfilled();
        match Pin::new(&mut self.inner).poll_read(context, space) {
            Poll::Ready(Ok(count)) => {
                buffer.advance(count);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }
}

impl AsyncTokioStream for Encrypted {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}
