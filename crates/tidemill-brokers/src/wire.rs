//! A connection to a broker: bytes in and out, bounded in time and memory.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::address::Address;
use crate::{Error, PATIENCE};

/// So long the broker may take to say goodbye.
pub(crate) const GOODBYE: Duration = Duration::from_secs(2);
/// The longest line of a protocol of lines, in bytes.
const LINE: usize = 64 << 10;
/// So much is read at a time, in bytes.
const CHUNK: usize = 8 << 10;

/// Both directions of a connection.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    /// What was read and not taken yet.
    read: Vec<u8>,
    server: String,
}

impl Wire {
    /// Without encryption, whatever the address says: some protocols begin it later.
    pub(crate) async fn plain(address: &Address) -> Result<Self, Error> {
        let unreachable = |source| Error::Unreachable { server: address.shown(), source };
        let connecting = TcpStream::connect((address.host.as_str(), address.port));
        let stream = match tokio::time::timeout(PATIENCE, connecting).await {
            Ok(stream) => stream.map_err(unreachable)?,
            Err(_) => return Err(unreachable(io::ErrorKind::TimedOut.into())),
        };
        stream.set_nodelay(true).map_err(unreachable)?;
        Ok(Self { stream: Box::new(stream), read: Vec::new(), server: address.shown() })
    }

    /// Encrypted where the address says so.
    pub(crate) async fn connect(address: &Address) -> Result<Self, Error> {
        let wire = Self::plain(address).await?;
        if address.tls { wire.encrypt(address).await } else { Ok(wire) }
    }

    /// Goes on encrypted. Whoever answers must have a certificate that this machine trusts.
    pub(crate) async fn encrypt(self, address: &Address) -> Result<Self, Error> {
        let refused = |why: String| Error::Refused { server: address.shown(), why };
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            return Err(refused("this machine trusts no certificates; install `ca-certificates`".to_owned()));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(address.host.clone()).map_err(|error| refused(error.to_string()))?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, self.stream)
            .await
            .map_err(|error| refused(format!("no encrypted connection: {error}")))?;
        Ok(Self { stream: Box::new(stream), read: Vec::new(), server: self.server })
    }

    pub(crate) fn lost(&self, why: impl Into<String>) -> Error {
        Error::Lost { server: self.server.clone(), why: why.into() }
    }

    pub(crate) fn refused(&self, why: impl Into<String>) -> Error {
        Error::Refused { server: self.server.clone(), why: why.into() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match tokio::time::timeout(PATIENCE, sending).await {
            Ok(sent) => sent.map_err(|error| self.lost(error.to_string())),
            Err(_) => Err(self.lost("it takes nothing any more")),
        }
    }

    /// Says that nothing follows, and waits until the other side has read what was sent: a connection that is dropped with
    /// something unread may take that with it.
    pub(crate) async fn end(&mut self) {
        let ending = async {
            // Where it fails, there is nobody to wait for.
            if self.stream.shutdown().await.is_ok() {
                while self.fill().await.is_ok() {
                    self.read.clear();
                }
            }
        };
        drop(tokio::time::timeout(GOODBYE, ending).await);
    }

    /// Waits until there is something to read; `false` where there is nothing for so long.
    pub(crate) async fn wait(&mut self, time: Duration) -> Result<bool, Error> {
        if !self.read.is_empty() {
            return Ok(true);
        }
        match tokio::time::timeout(time, self.fill()).await {
            Ok(filled) => filled.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// The next byte, where it is here already.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.read.first().copied()
    }

    /// Reads some. A future of it that is dropped has read nothing.
    async fn fill(&mut self) -> Result<(), Error> {
        self.read.reserve(CHUNK);
        match self.stream.read_buf(&mut self.read).await {
            Ok(0) => Err(self.lost("the other side has closed it")),
            Ok(_) => Ok(()),
            Err(error) => Err(self.lost(error.to_string())),
        }
    }

    /// In the middle of something the rest comes soon.
    async fn more(&mut self) -> Result<(), Error> {
        match tokio::time::timeout(PATIENCE, self.fill()).await {
            Ok(filled) => filled,
            Err(_) => Err(self.lost("it stopped in the middle of a message")),
        }
    }

    /// The next line, without its end.
    pub(crate) async fn line(&mut self) -> Result<String, Error> {
        loop {
            if let Some(at) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=at).collect();
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                return Ok(String::from_utf8_lossy(line).into_owned());
            }
            if self.read.len() > LINE {
                return Err(self.lost("a line without end"));
            }
            self.more().await?;
        }
    }

    /// The next `count` bytes, of which the first `keep` are kept.
    pub(crate) async fn take(&mut self, count: usize, keep: usize) -> Result<Vec<u8>, Error> {
        let mut kept = Vec::with_capacity(count.min(keep).min(64 << 10));
        let mut left = count;
        while left > 0 {
            if self.read.is_empty() {
                self.more().await?;
            }
            let now = left.min(self.read.len());
            let wanted = now.min(keep - kept.len());
            kept.extend_from_slice(&self.read[..wanted]);
            self.read.drain(..now);
            left -= now;
        }
        Ok(kept)
    }

    /// The next bytes as an array.
    pub(crate) async fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes = self.take(N, N).await?;
        let mut array = [0; N];
        array.copy_from_slice(&bytes);
        Ok(array)
    }
}
