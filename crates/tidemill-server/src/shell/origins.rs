//! Which names and which web pages may reach the server.
//!
//! A browser on the same machine can be made to send requests here by any web page: by a name that resolves to a loopback
//! address (DNS rebinding), or across origins. The first is told by the `Host` header, the second by `Origin`.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, Method, header};
use url::Url;

/// What may reach the server besides this machine and private networks.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    hosts: Vec<String>,
    pages: Vec<String>,
}

/// Why a request is refused: what the client is told.
pub(super) type Why = &'static str;

const BAD_HOST: Why = "Invalid Host header - possible DNS rebinding attack detected";
const BAD_ORIGIN: Why = "Cross-origin request blocked";

impl Origins {
    /// Also answers to this name: `name`, `name:port`, `*.domain`, or `*` for every name.
    #[must_use]
    pub fn host(mut self, name: &str) -> Self {
        self.hosts.push(name.to_ascii_lowercase());
        self
    }

    /// Also lets web pages of this origin change things: `https://name`, or `*` for every origin.
    #[must_use]
    pub fn page(mut self, origin: &str) -> Self {
        self.pages.push(origin.to_ascii_lowercase());
        self
    }

    /// Refuses what a browser may have been tricked into.
    pub(super) fn check(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Why> {
        let host = text(headers, header::HOST).unwrap_or_default();
        if !matches!(path, "/health" | "/version") && !self.knows_host(host) {
            return Err(BAD_HOST);
        }
        let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        match text(headers, header::ORIGIN) {
            Some(origin) if changes && !self.knows_origin(origin, host) => Err(BAD_ORIGIN),
            _ => Ok(()),
        }
    }

    /// The `Access-Control-Allow-Origin` of an answer, where the page that asks is named in the settings.
    pub(super) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        let known = self.is_listed(origin.to_str().ok()?);
        known.then(|| origin.clone())
    }

    fn knows_host(&self, host: &str) -> bool {
        let name = without_port(host);
        let here = match name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => is_private(address),
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        };
        here || self.is_named(&host.to_ascii_lowercase())
    }

    /// Whether a host, in lower case, is one of the settings.
    fn is_named(&self, host: &str) -> bool {
        let name = without_port(host);
        self.hosts.iter().any(|known| match known.strip_prefix('*') {
            Some("") => true,
            Some(suffix) => suffix.starts_with('.') && name.ends_with(suffix),
            None => known == host || known == name,
        })
    }

    fn knows_origin(&self, origin: &str, host: &str) -> bool {
        let local = Url::parse(origin)
            .is_ok_and(|origin| matches!(origin.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")));
        is_same(origin, host) || local || self.is_listed(origin)
    }

    fn is_listed(&self, origin: &str) -> bool {
        self.pages.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(origin))
    }
}

/// Whether a page is one of this very server; its scheme is not known here where a proxy ends TLS.
pub(crate) fn is_same(origin: &str, host: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(host))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// `name:port` and `[address]:port` without the port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => {
            if name.contains(':') && !name.starts_with('[') { host } else { name }
        }
        _ => host,
    }
}

/// Addresses that no public name server hands out for a foreign name without intent: loopback, unspecified, RFC 1918,
/// unique local (RFC 4193) and link-local ones.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_unspecified() || v4.is_link_local(),
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.to_ipv4_mapped().is_some_and(|v4| is_private(IpAddr::V4(v4)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origins: &Origins, method: Method, path: &str, pairs: &[(&str, &str)]) -> Result<(), Why> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap());
        }
        origins.check(&method, path, &headers)
    }

    #[test]
    fn hosts() {
        let origins = Origins::default().host("models.example.com").host("*.corp.example").host("odd:81");
        for (host, good) in [
            ("localhost", true),
            ("LOCALHOST:5000", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("[::1]", true),
            ("0.0.0.0:5000", true),
            ("192.168.1.7:80", true),
            ("10.1.2.3", true),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
            ("[fd12::1]:80", true),
            ("8.8.8.8", false),
            ("10.evil.example", false),
            ("localhost.evil.example", false),
            ("evil.example", false),
            ("", false),
            ("models.example.com:8443", true),
            ("Models.Example.com", true),
            ("a.corp.example", true),
            ("corp.example", false),
            ("evilcorp.example", false),
            ("odd:81", true),
            ("odd:82", false),
        ] {
            let found = check(&origins, Method::GET, "/api/2.0/mlflow/runs/get", &[("host", host)]);
            assert_eq!(found, if good { Ok(()) } else { Err(BAD_HOST) }, "{host}");
        }
        assert_eq!(check(&origins, Method::GET, "/health", &[("host", "evil.example")]), Ok(()));
        assert_eq!(check(&origins, Method::GET, "/api/x", &[]), Err(BAD_HOST));
        assert_eq!(
            check(&Origins::default().host("*"), Method::GET, "/", &[("host", "any.example")]),
            Ok(())
        );
    }

    #[test]
    fn origins() {
        let listed = Origins::default().page("https://desk.example");
        for (method, origin, good) in [
            (Method::POST, "https://evil.example", false),
            (Method::DELETE, "https://evil.example", false),
            (Method::POST, "null", false),
            (Method::GET, "https://evil.example", true),
            (Method::OPTIONS, "https://evil.example", true),
            (Method::POST, "http://localhost:3000", true),
            (Method::POST, "http://[::1]:3000", true),
            (Method::POST, "http://localhost.evil.example", false),
            (Method::POST, "https://10.0.0.5:5000", true),
            (Method::POST, "https://10.0.0.5:5001", false),
            (Method::POST, "https://desk.example", true),
            (Method::POST, "https://desk.example.evil", false),
        ] {
            let pairs = [("host", "10.0.0.5:5000"), ("origin", origin)];
            let found = check(&listed, method.clone(), "/api/2.0/mlflow/runs/create", &pairs);
            assert_eq!(found, if good { Ok(()) } else { Err(BAD_ORIGIN) }, "{method} {origin}");
        }
    }
}
