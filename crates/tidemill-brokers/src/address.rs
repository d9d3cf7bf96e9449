//! Where a broker is.

use percent_encoding::percent_decode_str;
use url::Url;

use crate::Error;

/// The address of a broker, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) scheme: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Whether the connection is encrypted.
    pub(crate) tls: bool,
    pub(crate) user: Option<String>,
    /// What follows the port, decoded and without the first `/`.
    pub(crate) path: Option<String>,
}

impl Address {
    /// Of `SCHEME://[USER@]HOST[:PORT][/PATH]` with one of these schemes: name, port, whether encrypted.
    pub(crate) fn parse(text: &str, schemes: &[(&str, u16, bool)]) -> Result<Self, Error> {
        let names: Vec<String> = schemes.iter().map(|(name, ..)| format!("`{name}://`")).collect();
        let bad = |address: &str, why: String| Error::Address { address: address.to_owned(), why };
        let Ok(url) = Url::parse(text) else {
            // What cannot be taken apart may hold a password anywhere.
            let shown = text.rsplit('@').next().unwrap_or_default();
            return Err(bad(shown, format!("is none; expected {}HOST:PORT", names.join(" or "))));
        };
        let mut shown = url.clone();
        // Fails for addresses that cannot have a password.
        let _ = shown.set_password(None);
        let Some((_, port, tls)) = schemes.iter().find(|(name, ..)| *name == url.scheme()) else {
            let why = format!("begins with `{}://`; expected {}", url.scheme(), names.join(" or "));
            return Err(bad(shown.as_str(), why));
        };
        if url.password().is_some() {
            let why = "holds a password, which would stand in Git; name its place with `secret` instead";
            return Err(bad(shown.as_str(), why.to_owned()));
        }
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return Err(bad(shown.as_str(), "names no host".to_owned()));
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let path = url.path().strip_prefix('/').filter(|path| !path.is_empty()).map(decoded);
        Ok(Self {
            scheme: url.scheme().to_owned(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(*port),
            tls: *tls,
            user: Some(decoded(url.username())).filter(|user| !user.is_empty()),
            path,
        })
    }

    /// Of `SCHEME://[USER@]HOST[:PORT],HOST[:PORT]…[/PATH]`: one for each of the hosts, all else the same.
    pub(crate) fn several(text: &str, schemes: &[(&str, u16, bool)]) -> Result<Vec<Self>, Error> {
        let (before, after) =
            text.split_once("://").map_or((text, ""), |(scheme, _)| text.split_at(scheme.len() + 3));
        let (all, path) = after.find('/').map_or((after, ""), |at| after.split_at(at));
        let (user, hosts) = all.rfind('@').map_or(("", all), |at| all.split_at(at + 1));
        hosts.split(',').map(|host| Self::parse(&format!("{before}{user}{host}{path}"), schemes)).collect()
    }

    /// For messages.
    pub(crate) fn shown(&self) -> String {
        let Self { scheme, host, port, .. } = self;
        if host.contains(':') {
            format!("{scheme}://[{host}]:{port}")
        } else {
            format!("{scheme}://{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMQP: [(&str, u16, bool); 2] = [("amqp", 5672, false), ("amqps", 5671, true)];

    #[test]
    fn addresses() {
        let at = Address::parse("amqp://ada@rabbit:5673/a%2Fb", &AMQP).unwrap();
        assert_eq!((at.host.as_str(), at.port, at.tls), ("rabbit", 5673, false));
        assert_eq!((at.user.as_deref(), at.path.as_deref()), (Some("ada"), Some("a/b")));
        let at = Address::parse("amqps://[::1]", &AMQP).unwrap();
        assert_eq!((at.shown().as_str(), at.tls, at.path), ("amqps://[::1]:5671", true, None));
    }

    #[test]
    fn several_addresses() {
        let all = Address::several("amqp://ada@a:1,[::1]:2,c/x", &AMQP).unwrap();
        let all: Vec<String> = all.iter().map(Address::shown).collect();
        assert_eq!(all, ["amqp://a:1", "amqp://[::1]:2", "amqp://c:5672"]);
        let all = Address::several("amqps://a%2Cda@a,b/x,y", &AMQP).unwrap();
        assert_eq!(all.len(), 2);
        assert!(
            all.iter().all(|one| one.user.as_deref() == Some("a,da") && one.path.as_deref() == Some("x,y"))
        );
        for text in
            ["", "amqp", "amqp://a,", "amqp://a,,b", "amqp://ada:s3cret@a,b", "amqp://ada:s3,cret@a:x,b"]
        {
            let said = Address::several(text, &AMQP).unwrap_err().to_string();
            assert!(!said.contains("s3"), "{text}: {said}");
        }
    }

    #[test]
    fn addresses_that_are_refused_never_show_a_password() {
        for (text, why) in [
            ("rabbit:5672", "expected `amqp://`"),
            ("http://rabbit", "begins with `http://`"),
            ("amqp://", "names no host"),
            ("amqp://ada:s3cret@rabbit", "holds a password"),
            ("http://ada:s3cret@rabbit", "begins with"),
            ("amqp://ada:s3cret@rab bit:x", "is none"),
        ] {
            let said = Address::parse(text, &AMQP).unwrap_err().to_string();
            assert!(said.contains(why) && !said.contains("s3cret"), "{text}: {said}");
        }
    }
}
