//! Counts a stream when it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::fault::{Refusal, status_of};
use crate::methods::Method;

/// The body of a streamed answer. A stream that its reader gives up counts as cancelled.
pub(crate) struct Metered {
    body: Body,
    method: Arc<Method>,
    begun: Instant,
    code: Code,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
}

impl Metered {
    pub(crate) fn new(
        body: Body,
        method: Arc<Method>,
        begun: Instant,
        stop: CancellationToken,
    ) -> Self {
        let stop = Box::pin(stop.cancelled_owned());
        Self {
            body,
            method,
            begun,
            code: Code::Cancelled,
            stop,
            ended: false,
        }
    }

    /// Ends a stream that is only waiting, because the server is about to go. The reader begins
    /// again elsewhere from where it was.
    fn end(&mut self) -> Frame<Bytes> {
        self.ended = true;
        self.code = Code::Unavailable;
        let message = "The server is stopping; continue with another.";
        let refusal = Refusal::new(self.code, "SERVER_STOPPING", message);
        let (mut parts, ()) = status_of(&refusal).into_http::<()>().into_parts();
        parts.headers.remove(http::header::CONTENT_TYPE);
        Frame::trailers(parts.headers)
    }
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending() && self.stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Ok(self.end())));
        }
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let status = Status::from_header_map(trailers);
                    self.code = status.map_or(Code::Unknown, |status| status.code());
                }
            }
            Poll::Ready(Some(Err(status))) => self.code = status.code(),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.method.record(self.code, self.begun.elapsed());
    }
}
