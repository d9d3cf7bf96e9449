//! A small gRPC client of unary calls, one at a time over one connection that stays open.
//!
//! A client library would cost the two cores that the server has as well more than some of the servers; this one writes a call
//! with one system call and reads the answer with one or two. It knows as much of HTTP/2 (RFC 9113) as that takes: it does not
//! read header fields, so a refused call is one without a message.

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// Kinds of frames and flags, RFC 9113 section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// `END_STREAM` on DATA and HEADERS, `ACK` on SETTINGS and PING.
const END_OR_ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
/// What both sides may send before the other one allows more.
const WINDOW: i64 = 65_535;
/// What the server may send us.
const WIDE: u32 = i32::MAX as u32;

/// A client of one method of one server.
#[derive(Debug)]
pub(crate) struct Grpc {
    address: String,
    connection: Option<BufReader<TcpStream>>,
    /// The header fields of every call, encoded.
    fields: Vec<u8>,
    stream: u32,
    /// Bytes that may be sent, and that came since the server was last allowed more.
    window: i64,
    taken: u32,
    frame: Vec<u8>,
    body: Vec<u8>,
}

impl Grpc {
    /// A client of `/SERVICE/METHOD` at HOST:PORT, which connects with its first call.
    pub(crate) fn new(address: &str, method: &str) -> Self {
        let fields = fields(address, method);
        let (frame, body) = (Vec::new(), Vec::new());
        let address = address.to_owned();
        Self { address, connection: None, fields, stream: 1, window: WINDOW, taken: 0, frame, body }
    }

    /// Sends a message and returns that of the answer.
    pub(crate) fn send(&mut self, message: &[u8]) -> Result<&[u8]> {
        if self.connection.is_none() {
            self.connect()?;
        }
        let length = u32::try_from(message.len())? + 5;
        ensure!(i64::from(length) < WINDOW, "a message of {length} bytes is more than one frame");
        while self.window < i64::from(length) {
            self.read_frame()?;
        }
        let mut out = Vec::with_capacity(self.fields.len() + message.len() + 32);
        head(&mut out, self.fields.len() as u32, HEADERS, END_HEADERS, self.stream);
        out.extend_from_slice(&self.fields);
        head(&mut out, length, DATA, END_OR_ACK, self.stream);
        // Not compressed, then the length.
        out.push(0);
        out.extend_from_slice(&(length - 5).to_be_bytes());
        out.extend_from_slice(message);
        self.write(&out)?;
        self.window -= i64::from(length);
        self.body.clear();
        while !self.read_frame()? {}
        self.stream += 2;
        let Some((prefix, message)) = self.body.split_first_chunk::<5>() else {
            bail!("the call was refused: its answer has no message");
        };
        let [packed, length @ ..] = *prefix;
        let whole = packed == 0 && u32::from_be_bytes(length) as usize == message.len();
        ensure!(whole, "the answer of a call is not one plain message");
        Ok(message)
    }

    fn connect(&mut self) -> Result<()> {
        let stream = TcpStream::connect(&self.address).context("cannot connect over gRPC")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        self.connection = Some(BufReader::with_capacity(1 << 16, stream));
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        head(&mut out, 6, SETTINGS, 0, 0);
        // SETTINGS_INITIAL_WINDOW_SIZE
        out.extend_from_slice(&4_u16.to_be_bytes());
        out.extend_from_slice(&WIDE.to_be_bytes());
        head(&mut out, 4, WINDOW_UPDATE, 0, 0);
        out.extend_from_slice(&(WIDE - WINDOW as u32).to_be_bytes());
        self.write(&out)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let connection = self.connection.as_mut().context("there is no connection")?;
        connection.get_mut().write_all(bytes).context("cannot send over gRPC")
    }

    /// Reads a frame; whether the answer ends with it.
    fn read_frame(&mut self) -> Result<bool> {
        let connection = self.connection.as_mut().context("there is no connection")?;
        let mut start = [0; 9];
        connection.read_exact(&mut start).context("the server closed the connection")?;
        let [a, b, c, kind, flags, stream @ ..] = start;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.frame.resize(length as usize, 0);
        connection.read_exact(&mut self.frame).context("the server ended a frame early")?;
        let ours = u32::from_be_bytes(stream) == self.stream;
        match kind {
            DATA => {
                let padding =
                    if flags & PADDED == 0 { 0 } else { usize::from(*self.frame.first().unwrap_or(&0)) + 1 };
                let start = padding.min(1);
                let end =
                    self.frame.len().checked_sub(padding - start).context("a frame of padding alone")?;
                self.body.extend_from_slice(self.frame.get(start..end).context("a frame of padding alone")?);
                self.taken += length;
                if self.taken > WIDE / 2 {
                    let mut out = Vec::new();
                    head(&mut out, 4, WINDOW_UPDATE, 0, 0);
                    out.extend_from_slice(&self.taken.to_be_bytes());
                    self.write(&out)?;
                    self.taken = 0;
                }
                return Ok(ours && flags & END_OR_ACK != 0);
            }
            HEADERS => return Ok(ours && flags & END_OR_ACK != 0),
            RST_STREAM if ours => bail!("the server gave a call up"),
            GOAWAY => bail!(
                "the server ends the connection: {}",
                String::from_utf8_lossy(self.frame.get(8..).unwrap_or_default())
            ),
            SETTINGS | PING if flags & END_OR_ACK == 0 => {
                let mut out = Vec::new();
                let echo = if kind == PING { self.frame.clone() } else { Vec::new() };
                head(&mut out, echo.len() as u32, kind, END_OR_ACK, 0);
                out.extend_from_slice(&echo);
                self.write(&out)?;
            }
            WINDOW_UPDATE if stream == [0; 4] => {
                let more = self.frame.first_chunk::<4>().context("a short frame")?;
                self.window += i64::from(u32::from_be_bytes(*more));
            }
            _ => {}
        }
        Ok(false)
    }
}

/// The head of a frame.
fn head(out: &mut Vec<u8>, length: u32, kind: u8, flags: u8, stream: u32) {
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

/// The header fields of a call, without the tables that both sides would have to keep (RFC 7541): numbers are places in the
/// static table.
fn fields(authority: &str, method: &str) -> Vec<u8> {
    // `:method: POST` and `:scheme: http` are whole entries.
    let mut out = vec![0x83, 0x86];
    let mut text = |name: &[u8], value: &str| {
        out.extend_from_slice(name);
        // Lengths below 127 are one byte.
        out.push(value.len().min(126) as u8);
        out.extend_from_slice(&value.as_bytes()[..value.len().min(126)]);
    };
    text(&[0x04], method);
    text(&[0x01], authority);
    // `content-type` is entry 31, which four bits cannot hold.
    text(&[0x0f, 31 - 15], "application/grpc");
    text(b"\x00\x02te", "trailers");
    out
}
