//! Bodies of requests in whole messages. The transport reserves what the head of a message declares; behind this, the
//! head arrives only together with the message, so that a caller cannot make the server reserve what it never sends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, BodyDataStream, HttpBody};
use bytes::{Bytes, BytesMut};
use futures::Stream;
use tonic::Status;

/// A flag and the length of the message.
const HEAD: usize = 5;

/// The chunks of a body, each one or more whole messages.
pub(super) struct Whole {
    chunks: BodyDataStream,
    held: BytesMut,
    most: usize,
    ended: bool,
}

impl Whole {
    /// Messages above `most` bytes are handed on as they come, for the transport to refuse.
    pub(super) fn of<B>(body: B, most: usize) -> Body
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let chunks = Body::new(body).into_data_stream();
        Body::from_stream(Self { chunks, held: BytesMut::new(), most, ended: false })
    }

    /// How many of these bytes are whole messages.
    fn whole(&self, bytes: &[u8]) -> usize {
        let mut whole = 0;
        while let Some([_, length @ ..]) = bytes.get(whole..).and_then(|rest| rest.first_chunk::<HEAD>()) {
            let length = u32::from_be_bytes(*length) as usize;
            if length > self.most {
                return bytes.len();
            }
            if bytes.len() - whole < HEAD + length {
                break;
            }
            whole += HEAD + length;
        }
        whole
    }
}

impl Stream for Whole {
    type Item = Result<Bytes, axum::BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.ended {
            match ready!(Pin::new(&mut self.chunks).poll_next(cx)) {
                Some(Ok(chunk)) if self.held.is_empty() && self.whole(&chunk) == chunk.len() => {
                    if !chunk.is_empty() {
                        return Poll::Ready(Some(Ok(chunk)));
                    }
                }
                Some(Ok(chunk)) => {
                    self.held.extend_from_slice(&chunk);
                    let whole = self.whole(&self.held);
                    if whole > 0 {
                        return Poll::Ready(Some(Ok(self.held.split_to(whole).freeze())));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => {
                    self.ended = true;
                    if !self.held.is_empty() {
                        let cut = Status::invalid_argument("the last message of the request is cut off");
                        return Poll::Ready(Some(Err(cut.into())));
                    }
                }
            }
        }
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    /// What comes out of pieces of a body.
    async fn through(pieces: Vec<&'static [u8]>) -> Vec<Result<Vec<u8>, String>> {
        let pieces = futures::stream::iter(
            pieces.into_iter().map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece))),
        );
        let chunks = Whole::of(Body::from_stream(pieces), 10).into_data_stream();
        chunks
            .map(|chunk| chunk.map(|bytes| bytes.to_vec()).map_err(|error| error.to_string()))
            .collect()
            .await
    }

    #[tokio::test]
    async fn messages_come_whole() {
        let one: &[u8] = b"\0\0\0\0\x03abc";
        let ok = |bytes: &[u8]| Ok(bytes.to_vec());
        assert_eq!(through(vec![one]).await, [ok(one)]);
        assert_eq!(through(vec![b"\0\0", b"\0\0\x03a", b"bc"]).await, [ok(one)]);
        assert_eq!(through(vec![b"\0\0\0\0\x03abc\0\0", b"\0\0\0"]).await, [ok(one), ok(b"\0\0\0\0\0")]);
        assert_eq!(through(vec![]).await, []);
        let cut = through(vec![b"\0\0\0\0\x03ab"]).await;
        assert!(matches!(cut.as_slice(), [Err(why)] if why.contains("cut off")), "{cut:?}");
        // Too long: the head goes on, and the transport refuses it.
        assert_eq!(through(vec![b"\0\xff\xff\xff\xff"]).await, [ok(b"\0\xff\xff\xff\xff")]);
    }
}
