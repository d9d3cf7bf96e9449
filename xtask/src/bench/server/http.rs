//! A small HTTP client over one connection that stays open. It does as little as possible, so that a measurement is one of
//! the server, but it reads every answer whole and checks its status.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// A client of one server.
#[derive(Debug)]
pub(crate) struct Client {
    address: String,
    connection: Option<BufReader<TcpStream>>,
    body: Vec<u8>,
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Of the body; none where it comes in chunks.
    length: Option<u64>,
    /// Whether the server closes the connection.
    pub(super) closes: bool,
}

/// A whole request, ready to be sent.
pub(crate) fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

impl Client {
    /// A client of `http://HOST:PORT`, which connects with its first request.
    pub(crate) fn new(url: &str) -> Self {
        let address = url.trim_start_matches("http://").to_owned();
        Self { address, connection: None, body: Vec::new() }
    }

    /// Where it connects to.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request made by [`request`] and returns the body of the answer, which must be a good one.
    pub(crate) fn send(&mut self, request: &[u8]) -> Result<&[u8]> {
        self.connected()?.get_mut().write_all(request).context("cannot send a request")?;
        let head = self.head()?;
        self.body.clear();
        self.read_body(&head, |body, part| {
            body.extend_from_slice(part);
            Ok(())
        })?;
        good(head.status, request, &self.body)?;
        Ok(&self.body)
    }

    /// Sends a request and returns the JSON of the answer.
    pub(crate) fn json(&mut self, method: &str, path: &str, body: &str) -> Result<serde_json::Value> {
        let answer = self.send(&request(method, path, body))?;
        serde_json::from_slice(answer).with_context(|| format!("the answer of {path} is not JSON"))
    }

    /// Sends a file as the body of a PUT, piece by piece.
    pub(crate) fn upload(&mut self, path: &str, file: &Path) -> Result<()> {
        let mut source = fs_err::File::open(file)?;
        let length = source.metadata()?.len();
        let head = format!("PUT {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n");
        let stream = self.connected()?.get_mut();
        stream.write_all(head.as_bytes())?;
        let mut piece = vec![0; 1 << 18];
        loop {
            let count = source.read(&mut piece)?;
            if count == 0 {
                break;
            }
            stream.write_all(&piece[..count]).context("the server took only a part of an upload")?;
        }
        let head = self.head()?;
        self.body.clear();
        self.read_body(&head, |body, part| {
            body.extend_from_slice(part);
            Ok(())
        })?;
        let said = String::from_utf8_lossy(&self.body);
        ensure!(head.status == 200, "status {} for an upload: {said}", head.status);
        Ok(())
    }

    /// Gets a file and hands its bytes on; returns how many they were.
    pub(crate) fn download(&mut self, path: &str, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
        self.connected()?.get_mut().write_all(&request("GET", path, ""))?;
        let head = self.head()?;
        ensure!(head.status == 200, "status {} for a download of `{path}`", head.status);
        let mut count = 0;
        self.read_body(&head, |_, part| {
            count += part.len() as u64;
            take(part)
        })?;
        Ok(count)
    }

    fn connected(&mut self) -> Result<&mut BufReader<TcpStream>> {
        if self.connection.is_none() {
            let stream = TcpStream::connect(&self.address).context("cannot connect to the server")?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_mins(15)))?;
            self.connection = Some(BufReader::with_capacity(1 << 18, stream));
        }
        self.connection.as_mut().context("there is no connection")
    }

    fn head(&mut self) -> Result<Head> {
        Head::read(self.connected()?)
    }

    /// Reads a body piece by piece; closes the connection where the server does.
    fn read_body(
        &mut self,
        head: &Head,
        mut take: impl FnMut(&mut Vec<u8>, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let Some(connection) = self.connection.as_mut() else { bail!("there is no connection") };
        match head.length {
            Some(length) => pieces(connection, length, |part| take(&mut self.body, part))?,
            None => loop {
                let mut text = String::new();
                let size = u64::from_str_radix(line(connection, &mut text)?, 16);
                let size = size.context("no size of a chunk")?;
                pieces(connection, size, |part| take(&mut self.body, part))?;
                line(connection, &mut text)?;
                if size == 0 {
                    break;
                }
            },
        }
        if head.closes {
            self.connection = None;
        }
        Ok(())
    }
}

/// Reads `count` bytes as they come.
fn pieces(
    source: &mut BufReader<TcpStream>,
    count: u64,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut left = count;
    while left > 0 {
        let there = source.fill_buf().context("cannot read an answer")?;
        ensure!(!there.is_empty(), "the server ended an answer early");
        let part = there.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        take(&there[..part])?;
        source.consume(part);
        left -= part as u64;
    }
    Ok(())
}

impl Head {
    fn read(source: &mut impl BufRead) -> Result<Self> {
        let mut text = String::new();
        let first = line(source, &mut text)?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("no status in `{first}`"))?;
        let (mut length, mut chunked, mut closes) = (Some(0), false, false);
        while let Some((name, value)) = line(source, &mut text)?.split_once(':') {
            let (value, is) = (value.trim(), |known: &str| name.eq_ignore_ascii_case(known));
            if is("content-length") {
                length = Some(value.parse().context("no length")?);
            } else if is("transfer-encoding") {
                chunked = value.eq_ignore_ascii_case("chunked");
            } else if is("connection") {
                closes = value.eq_ignore_ascii_case("close");
            }
        }
        Ok(Self { status, length: if chunked { None } else { length }, closes })
    }
}

/// The next line without its end; `text` is where it is kept.
fn line<'t>(source: &mut impl BufRead, text: &'t mut String) -> Result<&'t str> {
    text.clear();
    source.read_line(text).context("cannot read an answer")?;
    ensure!(text.ends_with('\n'), "the server closed the connection");
    Ok(text.trim_end())
}

/// The answer at the beginning of `bytes`, with its length in them, once all of it is there; its body goes into `body`.
pub(super) fn whole(bytes: &[u8], body: &mut Vec<u8>) -> Result<Option<(Head, usize)>> {
    const END: &[u8] = b"\r\n\r\n";
    if !bytes.windows(END.len()).any(|window| window == END) {
        return Ok(None);
    }
    let mut rest = bytes;
    let head = Head::read(&mut rest)?;
    body.clear();
    loop {
        let (size, end) = match head.length {
            Some(length) => (usize::try_from(length)?, 0),
            None => {
                let Some(size) = rest.windows(2).position(|window| window == b"\r\n") else {
                    return Ok(None);
                };
                let text = std::str::from_utf8(&rest[..size]).context("no size of a chunk")?;
                rest = &rest[size + 2..];
                (usize::from_str_radix(text.trim(), 16).context("no size of a chunk")?, 2)
            }
        };
        let Some((part, behind)) = size.checked_add(end).and_then(|size| rest.split_at_checked(size)) else {
            return Ok(None);
        };
        body.extend_from_slice(&part[..size]);
        rest = behind;
        if end == 0 || size == 0 {
            return Ok(Some((head, bytes.len() - rest.len())));
        }
    }
}

/// Says what an answer of a bad status said.
pub(super) fn good(status: u16, request: &[u8], body: &[u8]) -> Result<()> {
    ensure!(
        (200..300).contains(&status),
        "status {status} for `{}`: {}",
        String::from_utf8_lossy(&request[..request.len().min(300)]),
        String::from_utf8_lossy(&body[..body.len().min(500)])
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let plain = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        let empty = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        let chunked = "HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
        let (length, none) = (Some(5), Some(0));
        for (text, status, length, closes, expected) in [
            (plain, 200, length, false, "hello"),
            (empty, 204, none, true, ""),
            (chunked, 500, None, false, "hello"),
        ] {
            let mut body = Vec::new();
            for end in 0..text.len() {
                assert_eq!(whole(&text.as_bytes()[..end], &mut body).unwrap(), None, "{}", &text[..end]);
            }
            let followed = format!("{text}HTTP");
            let head = Head { status, length, closes };
            assert_eq!(whole(followed.as_bytes(), &mut body).unwrap(), Some((head, text.len())));
            assert_eq!(body, expected.as_bytes());
        }
        assert!(whole(b"HTTP/1.1 OK\r\n\r\n", &mut Vec::new()).is_err());
    }

    #[test]
    fn what_went_wrong_is_said() {
        assert!(good(200, b"", b"").is_ok());
        let error = good(404, b"GET / HTTP/1.1", b"nothing").unwrap_err();
        assert_eq!(error.to_string(), "status 404 for `GET / HTTP/1.1`: nothing");
    }
}
