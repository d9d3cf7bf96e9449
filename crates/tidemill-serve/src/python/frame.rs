//! Frames on the socket: a kind, a length, a payload; see `worker.py`.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

pub(super) const HELLO: u8 = b'H';
pub(super) const CALL: u8 = b'Q';
pub(super) const ANSWER: u8 = b'A';
pub(super) const FAILED: u8 = b'E';

/// Answers with more bytes end the worker.
pub(super) const MAX_FRAME: usize = 512 << 20;

/// Sends a frame; each write is tried until `until`.
pub(super) fn send(stream: &mut UnixStream, kind: u8, payload: &[u8], until: Instant) -> io::Result<()> {
    let length = u32::try_from(payload.len())
        .ok()
        .filter(|length| *length as usize <= MAX_FRAME)
        .ok_or_else(|| io::Error::other("the call is too large"))?;
    let mut head = [kind, 0, 0, 0, 0];
    if let Some(bytes) = head.get_mut(1..) {
        bytes.copy_from_slice(&length.to_le_bytes());
    }
    for mut part in [head.as_slice(), payload] {
        while !part.is_empty() {
            stream.set_write_timeout(Some(left(until)?))?;
            let written = stream.write(part).map_err(late)?;
            part = part.get(written..).unwrap_or_default();
        }
    }
    Ok(())
}

/// Receives a frame, complete before `until`.
pub(super) fn receive(stream: &mut UnixStream, until: Instant) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    fill(stream, &mut head, until)?;
    let [kind, length @ ..] = head;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::other(format!("the answer has {length} bytes; at most {MAX_FRAME} are read")));
    }
    let mut payload = vec![0; length];
    fill(stream, &mut payload, until)?;
    Ok((kind, payload))
}

fn fill(stream: &mut UnixStream, mut buffer: &mut [u8], until: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        stream.set_read_timeout(Some(left(until)?))?;
        let read = stream.read(buffer).map_err(late)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = buffer.get_mut(read..).unwrap_or_default();
    }
    Ok(())
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A timeout of a socket is told as one, whichever of its two names the system uses.
fn late(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}
