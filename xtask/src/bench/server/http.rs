//! A small HTTP client over one connection that stays open. It does as little as possible, so that a measurement is one of
//! the server, but it reads every answer whole and checks its status.

use std::io::{BufRead as _, BufReader, Read, Write as _};
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
struct Head {
    status: u16,
    length: Option<u64>,
    closes: bool,
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

    /// Sends a request made by [`request`] and returns the body of the answer, which must be a good one.
    pub(crate) fn send(&mut self, request: &[u8]) -> Result<&[u8]> {
        self.connected()?.get_mut().write_all(request).context("cannot send a request")?;
        let head = self.head()?;
        self.body.clear();
        self.read_body(&head, |body, part| {
            body.extend_from_slice(part);
            Ok(())
        })?;
        ensure!(
            (200..300).contains(&head.status),
            "status {} for `{}`: {}",
            head.status,
            String::from_utf8_lossy(&request[..request.len().min(300)]),
            String::from_utf8_lossy(&self.body[..self.body.len().min(500)])
        );
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
        let connection = self.connected()?;
        let line = line(connection)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("no status in `{line}`"))?;
        let (mut length, mut chunked, mut closes) = (Some(0), false, false);
        loop {
            let line = self::line(connection)?.to_ascii_lowercase();
            let Some((name, value)) = line.split_once(':') else { break };
            match (name, value.trim()) {
                ("content-length", value) => length = Some(value.parse().context("no length")?),
                ("transfer-encoding", "chunked") => chunked = true,
                ("connection", "close") => closes = true,
                _ => {}
            }
        }
        Ok(Head { status, length: if chunked { None } else { length }, closes })
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
                let size = line(connection)?;
                let size = u64::from_str_radix(size.trim(), 16).context("no size of a chunk")?;
                pieces(connection, size, |part| take(&mut self.body, part))?;
                line(connection)?;
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

/// One line without its end.
fn line(source: &mut BufReader<TcpStream>) -> Result<String> {
    let mut text = String::new();
    source.read_line(&mut text).context("cannot read an answer")?;
    ensure!(text.ends_with('\n'), "the server closed the connection");
    text.truncate(text.trim_end().len());
    Ok(text)
}
