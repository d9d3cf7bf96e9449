//! Bodies as they pass: a request's that must keep coming, an answer's that is counted.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::record::Record;

/// A request's body that fails when nothing comes for a while, so that a client cannot hold a handler for ever.
pub(super) struct Patient<B = Body> {
    body: B,
    limit: Duration,
    /// Set while nothing is there.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Whether it was asked a second time for what comes next.
    was_asked: bool,
}

/// The client sent nothing for too long.
#[derive(Debug, thiserror::Error)]
#[error("the body of the request did not go on for {} seconds", .0.as_secs())]
pub(super) struct Stalled(Duration);

impl<B> Patient<B> {
    pub(super) const fn new(body: B, limit: Duration) -> Self {
        Self { body, limit, waiting: None, was_asked: false }
    }
}

impl Patient {
    /// Bodies that are there in full are left as they are.
    pub(super) fn wrap(body: Body, limit: Duration) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Self::new(body, limit))
    }
}

impl<B> HttpBody for Patient<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<axum::BoxError>,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            (this.waiting, this.was_asked) = (None, false);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        // The connection hands on what it has read when it sees that somebody asks, so mostly it is there at the next poll: a timer for each
        // request would be set only to be taken away.
        if !this.was_asked {
            this.was_asked = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let limit = this.limit;
        let sleep =
            this.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Some(Err(Stalled(limit).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body that counts what passes and closes the record of its request at the end, or when the client goes.
pub(super) struct Counted {
    body: UnsyncBoxBody<Bytes, axum::Error>,
    record: Option<Record>,
    bytes: u64,
}

impl Counted {
    pub(super) fn wrap(body: Body, record: Record) -> Body {
        Body::new(Self { body: UnsyncBoxBody::new(body), record: Some(record), bytes: 0 })
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            record.close(self.bytes);
        }
    }
}
