//! Alerts as mail: the little of SMTP (RFC 5321) that one text to a few addresses needs.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidemill_core::Timestamp;
use tidemill_monitor::Message;
use tidemill_project::{EmailReceiver, MailSecurity};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::notify::Refused;

/// How long a mail server may take for a message.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest line of a server, and the most lines of one reply.
const LINE: u64 = 2_000;
const LINES: usize = 64;

/// Sends a message once. Its id is that of the mail, so that a repetition is known as one.
pub(super) async fn send(
    receiver: &EmailReceiver,
    password: Option<String>,
    message: &Message,
    (id, at): (&str, Timestamp),
) -> Result<(), Refused> {
    let mail = Mail::of(receiver, message, id, at)?;
    if password.is_some() && receiver.security == MailSecurity::None {
        let why = "a password is not sent over a connection that is not protected; set `security: starttls` or `tls`";
        return Err(Refused::for_good(why));
    }
    let login = receiver.user.clone().zip(password);
    let late =
        |_| Refused::passing(format!("the mail server did not answer in {} seconds", TIMEOUT.as_secs()));
    tokio::time::timeout(TIMEOUT, talk(receiver, login, &mail)).await.map_err(late)?
}

async fn talk(receiver: &EmailReceiver, login: Option<(String, String)>, mail: &Mail) -> Result<(), Refused> {
    let host = receiver.host.as_str();
    let port = receiver.port.unwrap_or(match receiver.security {
        MailSecurity::Starttls => 587,
        MailSecurity::Tls => 465,
        MailSecurity::None => 25,
    });
    let stream = TcpStream::connect((host, port)).await.map_err(broken)?;
    match receiver.security {
        MailSecurity::None => Session::greeted(stream).await?.deliver(login, mail).await,
        MailSecurity::Tls => {
            Session::greeted(protected(stream, host).await?).await?.deliver(login, mail).await
        }
        MailSecurity::Starttls => {
            let mut session = Session::greeted(stream).await?;
            if !session.hello().await?.iter().any(|line| line.eq_ignore_ascii_case("STARTTLS")) {
                return Err(Refused::for_good("the mail server does not offer STARTTLS"));
            }
            session.command("STARTTLS", &[220]).await?;
            // What came in the clear after the answer is not the server's word (CVE-2011-0411).
            if !session.0.buffer().is_empty() {
                return Err(Refused::for_good("the mail server spoke before the connection was protected"));
            }
            let mut session = Session(BufReader::new(protected(session.0.into_inner(), host).await?));
            session.deliver(login, mail).await
        }
    }
}

async fn protected(
    stream: TcpStream,
    host: &str,
) -> Result<impl AsyncRead + AsyncWrite + Unpin + use<>, Refused> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| Refused::for_good(format!("`{host}` is no name of a server: {error}")))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Refused::for_good(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(broken)
}

fn broken(error: std::io::Error) -> Refused {
    Refused::passing(format!("the mail server cannot be reached: {error}"))
}

/// A conversation with a mail server.
struct Session<S>(BufReader<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn greeted(stream: S) -> Result<Self, Refused> {
        let mut session = Self(BufReader::new(stream));
        session.reply("connecting", &[220]).await?;
        Ok(session)
    }

    /// Introduces itself; gives what the server offers.
    async fn hello(&mut self) -> Result<Vec<String>, Refused> {
        self.command("EHLO tidemill", &[250]).await
    }

    /// Introduces itself, logs in where there is a login, and hands the mail over.
    async fn deliver(&mut self, login: Option<(String, String)>, mail: &Mail) -> Result<(), Refused> {
        self.hello().await?;
        if let Some((user, password)) = login {
            let secret = STANDARD.encode(format!("\0{user}\0{password}"));
            self.write(&format!("AUTH PLAIN {secret}\r\n")).await?;
            self.reply("logging in", &[235]).await?;
        }
        self.command(&format!("MAIL FROM:<{}>", mail.from), &[250]).await?;
        for to in &mail.to {
            self.command(&format!("RCPT TO:<{to}>"), &[250, 251]).await?;
        }
        self.command("DATA", &[354]).await?;
        self.write(&mail.text).await?;
        self.command(".", &[250]).await?;
        // It is delivered; how the server says goodbye does not matter.
        drop(self.write("QUIT\r\n").await);
        Ok(())
    }

    async fn command(&mut self, command: &str, expected: &[u16]) -> Result<Vec<String>, Refused> {
        self.write(&format!("{command}\r\n")).await?;
        self.reply(command.split(':').next().unwrap_or(command), expected).await
    }

    async fn write(&mut self, text: &str) -> Result<(), Refused> {
        let stream = self.0.get_mut();
        stream.write_all(text.as_bytes()).await.map_err(broken)?;
        stream.flush().await.map_err(broken)
    }

    /// The lines of a reply, without their code.
    async fn reply(&mut self, what: &str, expected: &[u16]) -> Result<Vec<String>, Refused> {
        let mut lines = Vec::new();
        while lines.len() < LINES {
            let mut line = String::new();
            (&mut self.0).take(LINE).read_line(&mut line).await.map_err(broken)?;
            let line = line.trim_end();
            let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
            let Some(code) = code else {
                return Err(Refused::passing(format!("the mail server ended the conversation at {what}")));
            };
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            if expected.contains(&code) {
                return Ok(lines);
            }
            let said: String = lines.join(" ").chars().filter(|c| !c.is_control()).take(200).collect();
            let reason = format!("the mail server answered {code} to {what}: {said}");
            // 4yz may pass by itself, 5yz does not.
            return Err(Refused { reason, again: code < 500 });
        }
        Err(Refused::passing(format!("the mail server's reply to {what} has no end")))
    }
}

/// A mail as it is sent.
#[derive(Debug, PartialEq, Eq)]
struct Mail {
    from: String,
    to: Vec<String>,
    /// Headers and body, every line with its end.
    text: String,
}

impl Mail {
    fn of(receiver: &EmailReceiver, message: &Message, id: &str, at: Timestamp) -> Result<Self, Refused> {
        let from = address(&receiver.from)?;
        let to = receiver.to.iter().map(|to| address(to)).collect::<Result<Vec<_>, _>>()?;
        let domain = from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
        let date = OffsetDateTime::from_unix_timestamp(at.millis().div_euclid(1_000))
            .ok()
            .and_then(|at| at.format(&Rfc2822).ok())
            .unwrap_or_default();
        let subject = encoded(&format!("[{}] {}", message.project, message.subject()));
        let mut text = format!(
            "From: <{from}>\r\nTo: {}\r\nSubject: {subject}\r\nDate: {date}\r\nMessage-ID: <{id}@{domain}>\r\n\
             Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n",
            to.iter().map(|to| format!("<{to}>")).collect::<Vec<_>>().join(", ")
        );
        // In Base64 no line is too long, none begins with a dot, and every character arrives.
        let body = STANDARD.encode(message.text().replace('\n', "\r\n"));
        for line in body.as_bytes().chunks(76) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push_str("\r\n");
        }
        Ok(Self { from, to, text })
    }
}

/// `ops@example.com`, also out of `Operations <ops@example.com>`.
fn address(text: &str) -> Result<String, Refused> {
    let inner = text.rsplit_once('<').and_then(|(_, rest)| rest.strip_suffix('>')).unwrap_or(text).trim();
    let is_plain =
        |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '(' | ')' | ',' | ';' | ':' | '\\' | '"');
    match inner.split_once('@') {
        Some((user, domain)) if !user.is_empty() && !domain.is_empty() && inner.chars().all(is_plain) => {
            Ok(inner.to_owned())
        }
        _ => Err(Refused::for_good(format!("`{text}` is no address of mail"))),
    }
}

/// A header's text as encoded words of at most 75 characters (RFC 2047).
fn encoded(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut piece = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if piece.len() + c.len_utf8() > 42 {
            words.push(std::mem::take(&mut piece));
        }
        piece.push(c);
    }
    words.push(piece);
    let words = words.iter().map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
    words.collect::<Vec<_>>().join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_addresses_becomes_a_command() {
        for (text, expected) in [
            ("ops@example.com", Some("ops@example.com")),
            ("Operations <ops@example.com>", Some("ops@example.com")),
            ("ops@example.com>\r\nRCPT TO:<eve@example.com", None),
            ("ops", None),
            ("a b@example.com", None),
            ("", None),
        ] {
            assert_eq!(address(text).ok().as_deref(), expected, "{text}");
        }
        assert_eq!(encoded("ä\r\nBcc: x"), format!("=?utf-8?B?{}?=", STANDARD.encode("äBcc: x")));
        assert!(encoded(&"ä".repeat(200)).lines().all(|line| line.len() <= 76));
    }
}
