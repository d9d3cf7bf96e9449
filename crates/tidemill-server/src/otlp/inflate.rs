//! `Content-Encoding` of requests, with a largest size for what comes out.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use crate::otlp::Refusal;

/// The bytes that a body stands for.
pub(super) fn inflate(body: &[u8], encoding: &str, limit: usize) -> Result<Vec<u8>, Refusal> {
    match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(body.to_vec()),
        "gzip" => all(MultiGzDecoder::new(body), limit, "gzip"),
        "deflate" => match all(ZlibDecoder::new(body), limit, "deflate") {
            // Some clients send the stream without its head.
            Err(Refusal::Encoding(_)) => all(DeflateDecoder::new(body), limit, "deflate"),
            done => done,
        },
        _ => Err(Refusal::Encoding(format!("Unsupported Content-Encoding: {encoding}"))),
    }
}

fn all(decoder: impl Read, limit: usize, name: &str) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder
        .take(most)
        .read_to_end(&mut out)
        .map_err(|_| Refusal::Encoding(format!("Failed to decompress {name} payload")))?;
    if out.len() > limit {
        return Err(Refusal::TooLarge(limit));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    #[test]
    fn every_encoding_gives_the_same_bytes() {
        let text = b"traces ".repeat(1000);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&text).unwrap();
        zlib.write_all(&text).unwrap();
        bare.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        for (body, encoding) in [
            (text.as_slice(), ""),
            (&gzip, "gzip"),
            (&gzip, "GZip"),
            (&zlib.finish().unwrap(), "deflate"),
            (&bare.finish().unwrap(), "deflate"),
        ] {
            assert_eq!(inflate(body, encoding, 7000).as_deref(), Ok(text.as_slice()), "{encoding}");
        }
        assert_eq!(inflate(&gzip, "gzip", 6999), Err(Refusal::TooLarge(6999)));
        assert!(matches!(inflate(b"no", "gzip", 100), Err(Refusal::Encoding(_))));
        assert!(matches!(inflate(b"\xff\xff", "deflate", 100), Err(Refusal::Encoding(_))));
        assert!(matches!(inflate(b"", "br", 100), Err(Refusal::Encoding(_))));
    }
}
