//! `Content-Encoding` in both directions, with a largest size for what comes out.

use std::io::{Read, Write as _};

use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

/// Why a body cannot be unpacked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is larger than it may be.
    TooLarge,
    /// Its encoding is none that we know.
    Unknown(String),
    /// It is not what its encoding says.
    Broken(&'static str),
}

/// What a body stands for; `None` where it is as it stands.
pub(crate) fn unpack(body: &[u8], encoding: &str, most: usize) -> Result<Option<Vec<u8>>, Unreadable> {
    match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(None),
        "gzip" | "x-gzip" => all(MultiGzDecoder::new(body), most).map_err(|why| why.or("gzip")).map(Some),
        "deflate" => match all(ZlibDecoder::new(body), most) {
            Ok(out) => Ok(Some(out)),
            Err(Stopped::TooLarge) => Err(Unreadable::TooLarge),
            // Some clients send the stream without its head.
            Err(Stopped::Broken) => {
                all(DeflateDecoder::new(body), most).map_err(|why| why.or("deflate")).map(Some)
            }
        },
        other => Err(Unreadable::Unknown(other.chars().take(40).collect())),
    }
}

enum Stopped {
    TooLarge,
    Broken,
}

impl Stopped {
    fn or(self, encoding: &'static str) -> Unreadable {
        match self {
            Self::TooLarge => Unreadable::TooLarge,
            Self::Broken => Unreadable::Broken(encoding),
        }
    }
}

fn all(decoder: impl Read, most: usize) -> Result<Vec<u8>, Stopped> {
    let mut out = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(limit).read_to_end(&mut out).map_err(|_| Stopped::Broken)?;
    if out.len() > most { Err(Stopped::TooLarge) } else { Ok(out) }
}

/// An encoding of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Deflate,
}

impl Packing {
    /// The one that `Accept-Encoding` prefers; of equals, the first. `q=0` excludes one.
    pub(crate) fn accepted(accept: &str) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        for item in accept.split(',') {
            let mut parts = item.split(';');
            let packing = match parts.next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => Self::Gzip,
                "deflate" => Self::Deflate,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.trim().strip_prefix("q=")?.parse::<f32>().ok());
            let quality = quality.unwrap_or(1.0);
            if quality > 0.0 && best.is_none_or(|(before, _)| quality > before) {
                best = Some((quality, packing));
            }
        }
        best.map(|(_, packing)| packing)
    }

    /// The name in `Content-Encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// The packed bytes; `None` where packing fails, and the answer goes out as it is.
    pub(crate) fn pack(self, body: &[u8]) -> Option<Vec<u8>> {
        let out = Vec::with_capacity(body.len() / 2);
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(out, Compression::fast());
                encoder.write_all(body).ok()?;
                encoder.finish().ok()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(out, Compression::fast());
                encoder.write_all(body).ok()?;
                encoder.finish().ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::write::DeflateEncoder;

    use super::*;

    #[test]
    fn every_encoding_gives_the_same_bytes() {
        let text = b"tensors ".repeat(1000);
        let gzip = Packing::Gzip.pack(&text).unwrap();
        let zlib = Packing::Deflate.pack(&text).unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
        bare.write_all(&text).unwrap();
        let bare = bare.finish().unwrap();
        for (body, encoding) in [(&gzip, "gzip"), (&gzip, " GZIP"), (&zlib, "deflate"), (&bare, "deflate")] {
            assert_eq!(unpack(body, encoding, 8000), Ok(Some(text.clone())), "{encoding}");
            assert_eq!(unpack(body, encoding, 7999), Err(Unreadable::TooLarge), "{encoding}");
        }
        assert_eq!(unpack(&text, "identity", 1), Ok(None));
        assert_eq!(unpack(b"no", "gzip", 9), Err(Unreadable::Broken("gzip")));
        assert_eq!(unpack(b"\xff\xff", "deflate", 9), Err(Unreadable::Broken("deflate")));
        assert_eq!(unpack(b"", "br", 9), Err(Unreadable::Unknown("br".to_owned())));
    }

    #[test]
    fn the_accepted_encoding() {
        for (accept, packing) in [
            ("gzip", Some(Packing::Gzip)),
            ("deflate, gzip", Some(Packing::Deflate)),
            ("gzip;q=0.5, deflate;q=0.8", Some(Packing::Deflate)),
            ("gzip;q=0", None),
            ("br, identity", None),
            ("", None),
        ] {
            assert_eq!(Packing::accepted(accept), packing, "{accept}");
        }
    }
}
