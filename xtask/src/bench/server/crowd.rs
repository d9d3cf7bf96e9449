//! Many HTTP clients in one thread. With a thread for each of them the load takes two or three times as much of the processor, which
//! the server needs.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::bench::server::http::{good, whole};

/// How long nobody may answer.
const PATIENCE: Duration = Duration::from_mins(15);
/// Bytes that are read at once.
const PIECE: usize = 1 << 16;

/// What a crowd does.
pub(super) trait Work {
    /// The next request of a client, if there is one.
    fn request(&mut self, client: usize) -> Option<Vec<u8>>;

    /// The answer to it, and when it was sent.
    fn answer(&mut self, sent: Instant, body: &[u8]) -> Result<()>;
}

/// Connections to one server.
pub(super) struct Crowd {
    address: String,
    poll: Poll,
    clients: Vec<Client>,
}

/// One of them, with a request at a time.
struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    /// How much of it is sent, and when that began.
    written: usize,
    sent: Instant,
    /// What came of the answer.
    answer: Vec<u8>,
}

impl Crowd {
    /// So many clients of the server at HOST:PORT.
    pub(super) fn connect(address: &str, clients: usize) -> Result<Self> {
        let poll = Poll::new()?;
        let connect = |index| Client::connect(address, poll.registry(), index);
        let clients = (0..clients).map(connect).collect::<Result<_>>()?;
        Ok(Self { address: address.to_owned(), poll, clients })
    }

    /// Has every client do its work until there is none.
    pub(super) fn run(&mut self, work: &mut impl Work) -> Result<()> {
        let mut waiting = 0;
        for (index, client) in self.clients.iter_mut().enumerate() {
            waiting += client.begin(work.request(index))?;
        }
        let (mut events, mut piece, mut body) = (Events::with_capacity(1024), vec![0; PIECE], Vec::new());
        while waiting > 0 {
            match self.poll.poll(&mut events, Some(PATIENCE)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                done => done?,
            }
            ensure!(!events.is_empty(), "the server did not answer for {PATIENCE:?}");
            for event in &events {
                let Token(index) = event.token();
                let Some(client) = self.clients.get_mut(index) else { continue };
                client.write()?;
                if !event.is_readable() || !client.read(&mut piece, &mut body)? {
                    continue;
                }
                waiting -= 1;
                let (sent, closed) = (client.sent, client.request.is_empty());
                work.answer(sent, &body)?;
                if closed {
                    *client = Client::connect(&self.address, self.poll.registry(), index)?;
                }
                waiting += client.begin(work.request(index))?;
            }
        }
        Ok(())
    }
}

impl Client {
    fn connect(address: &str, registry: &Registry, index: usize) -> Result<Self> {
        let stream = std::net::TcpStream::connect(address).context("cannot connect to the server")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, request: Vec::new(), written: 0, sent: Instant::now(), answer: Vec::new() })
    }

    /// Begins a request; gives how many answers are waited for.
    fn begin(&mut self, request: Option<Vec<u8>>) -> Result<usize> {
        let waiting = usize::from(request.is_some());
        (self.request, self.written, self.sent) = (request.unwrap_or_default(), 0, Instant::now());
        self.write()?;
        Ok(waiting)
    }

    /// Sends as much as goes.
    fn write(&mut self) -> Result<()> {
        while self.written < self.request.len() {
            match self.stream.write(&self.request[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot send a request"),
            }
        }
        Ok(())
    }

    /// Takes what came; says whether that is the whole answer. Its body is in `body` then, and the request is empty where the server
    /// closes the connection.
    fn read(&mut self, piece: &mut [u8], body: &mut Vec<u8>) -> Result<bool> {
        while !self.request.is_empty() {
            let count = match self.stream.read(piece) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("cannot read an answer"),
            };
            ensure!(count > 0, "the server ended an answer early");
            self.answer.extend_from_slice(&piece[..count]);
            if let Some((head, length)) = whole(&self.answer, body)? {
                good(head.status, &self.request, body)?;
                ensure!(length == self.answer.len(), "the server said more than was asked");
                self.answer.clear();
                if head.closes {
                    self.request.clear();
                }
                return Ok(true);
            }
            // A new event comes with more; nothing else is there where less came than would fit.
            if count < piece.len() {
                break;
            }
        }
        Ok(false)
    }
}
