//! A small HTTP client over one connection which is kept open. It knows what a crash test has to know: whether an answer
//! arrived whole.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// A client of one server.
pub(super) struct Client {
    host: String,
    connection: BufReader<TcpStream>,
}

/// What a server answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Client {
    /// Connects to `http://HOST:PORT`.
    pub(super) fn connect(url: &str) -> io::Result<Self> {
        let host = url.strip_prefix("http://").unwrap().to_owned();
        let stream = TcpStream::connect(&host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { host, connection: BufReader::new(stream) })
    }

    /// One request. An error means that no whole answer came, and nothing about what the server did.
    pub(super) fn send(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<Answer> {
        self.send_with(method, path, &[("Content-Type", kind)], body)
    }

    /// One request with these headers.
    pub(super) fn send_with(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        self.connection.get_mut().write_all(&request)?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status in `{line}`")))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
        }
        let mut body = Vec::new();
        if chunked {
            while let Some(part) = self.chunk()? {
                body.extend(part);
            }
        } else {
            body = self.bytes(length)?;
        }
        Ok(Answer { status, body })
    }

    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = usize::from_str_radix(self.line()?.trim(), 16).map_err(io::Error::other)?;
        let part = self.bytes(size)?;
        self.line()?;
        Ok((size > 0).then_some(part))
    }

    fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.connection.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// One line without its end.
    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.connection.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(whole) => Ok(whole.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// A call of the MLflow API which has to succeed; the answer's JSON.
    #[track_caller]
    pub(super) fn call(&mut self, method: &str, path: &str, body: &Value) -> io::Result<Value> {
        let sent = if method == "GET" { Vec::new() } else { serde_json::to_vec(body).unwrap() };
        let answer = self.send(method, &format!("/api/2.0/mlflow/{path}"), "application/json", &sent)?;
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 200, "{method} {path} {body}: {text}");
        Ok(serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}: {text}")))
    }
}
