//! Sockets: takes connections, bounds them, and lets them finish when the server stops.

mod timer;
mod turns;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidemill_serve::oip::Wanted;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::{App, Serving, shell};
use timer::HeadTimer;
use turns::Turns;

/// Connections that the kernel keeps for us until we take them.
const BACKLOG: u32 = 1024;

/// A listener on `address`; port 0 picks a free one. An address that the last server left a moment ago can be taken.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes connections until `stop`, then waits up to `drain` for those that are open; `false` if it had to cut some.
pub(crate) async fn answer(
    app: &App,
    router: Router,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
    drain: Duration,
) -> bool {
    let room = Arc::new(Semaphore::new(app.config().connections.clamp(1, Semaphore::MAX_PERMITS)));
    let (open, stopping, cut) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
    let mut stop = pin!(stop);
    loop {
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await.ok()?;
            Some((take(&listener).await, place))
        };
        let (stream, place) = tokio::select! {
            biased;
            () = &mut stop => break,
            next = next => match next {
                Some(next) => next,
                None => break,
            },
        };
        let connection = Connection { stream, place, stopping: stopping.clone(), cut: cut.clone() };
        open.spawn(connection.run(app.clone(), router.clone()));
    }
    drop(listener);
    stopping.cancel();
    app.background().stop();
    open.close();
    if tokio::time::timeout(drain, open.wait()).await.is_ok() {
        return true;
    }
    tracing::warn!(connections = open.len(), "requests did not end in time and are cut off");
    cut.cancel();
    open.wait().await;
    false
}

/// The next connection. Errors are the system's, most often too many open files: waiting is all that helps.
async fn take(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// What answers the requests of a connection.
struct Answers {
    app: App,
    router: Router,
}

impl Answers {
    /// The answer to one request: of a model at once, of all else by the routes.
    async fn one(self: Arc<Self>, request: hyper::Request<Incoming>) -> Result<Response, Infallible> {
        let Self { app, router } = &*self;
        // Where there are users, the gate behind the routes asks what each of them may do.
        let open = app.config().access.is_none();
        let direct = app.serving().filter(|_| open).and_then(Serving::direct);
        match direct.zip(Wanted::of(request.method(), request.uri().path())) {
            Some((direct, wanted)) => Ok(shell::pass_direct(app, direct, wanted, request).await),
            None => router.clone().call(request.map(Body::new)).await,
        }
    }
}

struct Connection {
    stream: TcpStream,
    place: OwnedSemaphorePermit,
    stopping: CancellationToken,
    cut: CancellationToken,
}

impl Connection {
    async fn run(self, app: App, router: Router) {
        let Self { stream, place, stopping, cut } = self;
        let counted = app.meter().connect();
        // Answers are small and written at once; waiting for more to send would only delay them.
        drop(stream.set_nodelay(true));
        let config = app.config();
        let answers = Arc::new(Answers { app: app.clone(), router });
        let service = service_fn(move |request| Arc::clone(&answers).one(request));
        let stream = TokioIo::new(Unblocked { stream, limit: config.stall_timeout, waiting: None });
        let connection = http1::Builder::new()
            .timer(HeadTimer::default())
            .header_read_timeout(config.head_timeout)
            .serve_connection(stream, service);
        let mut connection = pin!(connection);
        let mut cut = pin!(cut.cancelled());
        let mut stopping = pin!(stopping.cancelled());
        let (of_cut, of_stopping, of_requests) = (Turns::new(), Turns::new(), Turns::new());
        let mut asked = false;
        poll_fn(|cx| {
            if of_cut.poll(cut.as_mut(), cx).is_ready() {
                return Poll::Ready(());
            }
            if !asked && of_stopping.poll(stopping.as_mut(), cx).is_ready() {
                asked = true;
                connection.as_mut().graceful_shutdown();
                of_requests.due();
            }
            // Clients that go away or send nonsense are no matter of ours.
            if let Err(error) = ready!(of_requests.poll(connection.as_mut(), cx)) {
                tracing::debug!(%error, "a connection ended with an error");
            }
            Poll::Ready(())
        })
        .await;
        drop((counted, place));
    }
}

/// A stream whose writes fail when the other side takes nothing for a while.
struct Unblocked {
    stream: TcpStream,
    limit: Duration,
    /// Set while the other side takes nothing.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Unblocked {
    fn writing<T>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let this = &mut *self;
        if let Poll::Ready(done) = write(Pin::new(&mut this.stream), cx) {
            this.waiting = None;
            return Poll::Ready(done);
        }
        let limit = this.limit;
        ready!(this.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit))).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl AsyncRead for Unblocked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Unblocked {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writing(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writing(cx, |stream, cx| stream.poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writing(cx, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writing(cx, AsyncWrite::poll_shutdown)
    }
}
