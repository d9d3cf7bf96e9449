//! Where deliveries may go. The server sits inside of a network whose other hosts trust it, so a URL that somebody
//! gives must not make it talk to them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::{Error, Result};

/// Which addresses deliveries may go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Addresses of the internet, over TLS.
    #[default]
    Public,
    /// Any address, also without TLS: for receivers in the own network.
    Anywhere,
}

/// The host of a webhook's URL, whose addresses [`check_address`] has to allow. Refuses what is no such URL.
pub fn webhook_host(url: &str, reach: Reach) -> Result<String> {
    if url.trim().is_empty() {
        return Err(Error::invalid(format!("Webhook URL cannot be empty or just whitespace: '{url}'")));
    }
    let schemes: &[&str] = match reach {
        Reach::Public => &["https"],
        Reach::Anywhere => &["http", "https"],
    };
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    if !schemes.contains(&scheme) {
        return Err(Error::invalid(format!(
            "Invalid webhook URL scheme: '{scheme}'. Allowed schemes are: {}.",
            schemes.join(", ")
        )));
    }
    let hostless = || Error::invalid(format!("Webhook URL must include a hostname: '{url}'"));
    // `https:///x` would be read as the host `x`.
    let rest = url.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")).ok_or_else(hostless)?;
    if rest.starts_with('/') {
        return Err(hostless());
    }
    let parsed =
        Url::parse(url).map_err(|error| Error::invalid(format!("Invalid webhook URL '{url}': {error}")))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(Error::invalid("Webhook URL must not include embedded credentials."));
    }
    // Spellings of an address like `127.1` or `0x7f000001` are addresses by now.
    match parsed.host().ok_or_else(hostless)? {
        Host::Domain(name) => Ok(name.to_owned()),
        Host::Ipv4(address) => Ok(address.to_string()),
        Host::Ipv6(address) => Ok(address.to_string()),
    }
}

/// Refuses an address that a host of a webhook has, if deliveries may not go there.
pub fn check_address(host: &str, address: IpAddr, reach: Reach) -> Result<()> {
    if reach == Reach::Anywhere || is_public(address) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "Webhook URL must not resolve to a non-public IP address. '{host}' resolves to {address}."
    )))
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match carried_v4(address) {
            Some(carried) => is_public_v4(carried),
            None => is_public_v6(address),
        },
    }
}

/// The IPv4 address that an address of a transition carries: mapped, compatible, 6to4, NAT64.
fn carried_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// The IANA registry of special-purpose IPv4 addresses, and multicast.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && b & 0xfe == 18)
        || a >= 240)
}

/// Global unicast that is not set aside for something.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let s = address.segments();
    s[0] & 0xe000 == 0x2000
        && !(s[0] == 0x2001 && s[1] < 0x200)
        && !(s[0] == 0x2001 && s[1] == 0xdb8)
        && !(s[0] == 0x3fff && s[1] < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for public in
            ["1.1.1.1", "100.63.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "2002:7f00:1::",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
        ] {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn urls_of_webhooks() {
        for (url, host) in [
            ("https://example.com/x?y", "example.com"),
            ("https://127.1/", "127.0.0.1"),
            ("https://0x7f000001/", "127.0.0.1"),
            ("https://[::1]:8443/", "::1"),
        ] {
            assert_eq!(webhook_host(url, Reach::Public).unwrap(), host);
        }
        for (url, message) in [
            (" ", "Webhook URL cannot be empty or just whitespace: ' '"),
            ("http://h/", "Invalid webhook URL scheme: 'http'. Allowed schemes are: https."),
            ("foo", "Invalid webhook URL scheme: ''. Allowed schemes are: https."),
            ("https:///x", "Webhook URL must include a hostname: 'https:///x'"),
            ("https://u:p@h/", "Webhook URL must not include embedded credentials."),
        ] {
            assert_eq!(webhook_host(url, Reach::Public).unwrap_err().message, message);
        }
        assert_eq!(webhook_host("http://h/", Reach::Anywhere).unwrap(), "h");
    }
}
