//! Closing a connection whose body was not read, without losing the answer.
//!
//! A socket that is closed while bytes wait in it, or still come, is reset, and the reset takes an answer that
//! the client did not read yet away from it. So our half is closed, and what comes is read and thrown away
//! for a moment, until the client has seen the answer and closes its half.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::limits;

/// A stream that comes back when whom it was lent to drops it.
#[derive(Debug)]
pub(super) struct Reclaimable<S> {
    /// There until the drop.
    stream: Option<S>,
    back: Arc<Mutex<Option<S>>>,
}

/// Where it comes back to.
#[derive(Debug)]
pub(super) struct Reclaim<S>(Arc<Mutex<Option<S>>>);

impl<S> Reclaimable<S> {
    pub fn new(stream: S) -> (Self, Reclaim<S>) {
        let back = Arc::new(Mutex::new(None));
        let lent = Self {
            stream: Some(stream),
            back: Arc::clone(&back),
        };
        (lent, Reclaim(back))
    }

    fn with<T>(
        self: Pin<&mut Self>,
        then: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>>
    where
        S: Unpin,
    {
        match &mut self.get_mut().stream {
            Some(stream) => then(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl<S> Reclaim<S> {
    /// The stream, if it came back.
    pub fn take(&self) -> Option<S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<S> Drop for Reclaimable<S> {
    fn drop(&mut self) {
        *self.back.lock().unwrap_or_else(PoisonError::into_inner) = self.stream.take();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Reclaimable<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_read(cx, buffer))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Reclaimable<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(S::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }
}

/// Closes our half and throws away what comes, until the client closes, or for as long as is reasonable.
pub(super) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let until_closed = async {
        stream.shutdown().await?;
        let mut buffer = vec![0; limits::LINGER_READ_BYTES];
        let mut left = limits::LINGER_BYTES;
        loop {
            match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                n if n > left => return Ok(()),
                n => left -= n,
            }
        }
    };
    let _: Result<io::Result<()>, _> =
        tokio::time::timeout(limits::LINGER_TIMEOUT, until_closed).await;
}
