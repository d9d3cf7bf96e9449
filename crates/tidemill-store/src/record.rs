//! One object inside a pack file: a header of fixed size and the stored bytes. No IO.
//!
//! ```text
//! 0   2  magic "TR"
//! 2   1  kind: 1 bytes, 2 file of chunks
//! 3   1  encoding: 0 as is, 1 zstd
//! 4   4  stored length, little endian
//! 8   4  raw length
//! 12 32  digest that names the object
//! 44  8  first bytes of the BLAKE3 of the 44 before
//! 52  …  stored bytes
//! ```

use tidemill_core::Digest;

use crate::Error;
use crate::compress;

/// What a pack file begins with.
pub(crate) const PACK_MAGIC: &[u8; 8] = b"TMPACK01";
/// Bytes of a record before its stored bytes.
pub(crate) const HEADER: usize = 52;
/// No object is larger than this, before or after compression; what is larger is cut.
pub(crate) const MAX_OBJECT: u32 = 16 << 20;

/// What an object's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Content whose BLAKE3 is the digest: a small file, a chunk, a listing, a part of a chunk list.
    Blob,
    /// The chunk list of the file that the digest names, after the BLAKE3 of that list.
    File,
}

impl Kind {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Blob => 1,
            Self::File => 2,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Blob),
            2 => Some(Self::File),
            _ => None,
        }
    }
}

/// How the raw bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Encoding {
    /// As they are.
    Plain,
    /// One zstd frame.
    Zstd,
}

impl Encoding {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Zstd => 1,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Plain),
            1 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// The fixed part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) digest: Digest,
    pub(crate) kind: Kind,
    pub(crate) encoding: Encoding,
    pub(crate) stored: u32,
    pub(crate) raw: u32,
}

impl Header {
    /// Bytes that the whole record takes.
    pub(crate) const fn record_len(&self) -> u64 {
        HEADER as u64 + self.stored as u64
    }

    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..2].copy_from_slice(b"TR");
        out[2] = self.kind.code();
        out[3] = self.encoding.code();
        out[4..8].copy_from_slice(&self.stored.to_le_bytes());
        out[8..12].copy_from_slice(&self.raw.to_le_bytes());
        out[12..44].copy_from_slice(self.digest.as_bytes());
        let check = Digest::of(&out[..44]);
        out[44..].copy_from_slice(&check.as_bytes()[..8]);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let bad = |why: &str| Error::malformed("pack entry", why);
        let bytes: &[u8; HEADER] =
            bytes.get(..HEADER).and_then(|b| b.try_into().ok()).ok_or_else(|| bad("it ends too early"))?;
        if bytes[..2] != *b"TR" {
            return Err(bad("its first bytes are not those of an entry"));
        }
        if Digest::of(&bytes[..44]).as_bytes()[..8] != bytes[44..] {
            return Err(bad("its header does not fit its checksum"));
        }
        let kind = Kind::from_code(bytes[2]).ok_or_else(|| bad("unknown kind"))?;
        let encoding = Encoding::from_code(bytes[3]).ok_or_else(|| bad("unknown encoding"))?;
        let stored = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        let raw = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if stored > MAX_OBJECT || raw > MAX_OBJECT || (encoding == Encoding::Plain && stored != raw) {
            return Err(bad("impossible length"));
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(&bytes[12..44]);
        Ok(Self { digest: Digest::from_bytes(digest), kind, encoding, stored, raw })
    }
}

/// Whether the stored bytes of a blob that is not compressed are its content.
pub(crate) fn check(header: &Header, stored: &[u8]) -> Result<(), Error> {
    if Digest::of(stored) == header.digest {
        Ok(())
    } else {
        Err(Error::malformed("pack entry", "its content does not fit its digest"))
    }
}

/// The raw bytes of an object from its stored ones, verified: the content of a blob fits its digest, the chunk list
/// of a file fits the checksum before it (which is taken off).
pub(crate) fn open(header: &Header, stored: &[u8]) -> Result<Vec<u8>, Error> {
    let bad = |why: &str| Error::malformed("pack entry", why);
    if stored.len() != header.stored as usize {
        return Err(bad("it ends too early"));
    }
    let mut raw = match header.encoding {
        Encoding::Plain => stored.to_vec(),
        Encoding::Zstd => compress::decode(stored, header.raw as usize)
            .ok_or_else(|| bad("its compressed bytes cannot be decoded"))?,
    };
    match header.kind {
        Kind::Blob if Digest::of(&raw) == header.digest => Ok(raw),
        Kind::Blob => Err(bad("its content does not fit its digest")),
        Kind::File => {
            if raw.len() < 32 || Digest::of(&raw[32..]).as_bytes() != &raw[..32] {
                return Err(bad("its chunk list does not fit its checksum"));
            }
            Ok(raw.split_off(32))
        }
    }
}

/// The raw bytes that store the chunk list `list`.
pub(crate) fn seal_list(list: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + list.len());
    out.extend_from_slice(Digest::of(list).as_bytes());
    out.extend_from_slice(list);
    out
}

/// Feeds foreign bytes to the parser of pack entries.
pub fn fuzz_pack_entry(bytes: &[u8]) {
    if let Ok(header) = Header::decode(bytes) {
        let _ = open(&header, &bytes[HEADER..]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(raw: &[u8], encoding: Encoding) -> Vec<u8> {
        let stored = match encoding {
            Encoding::Plain => raw.to_vec(),
            Encoding::Zstd => compress::encode(raw).unwrap_or_else(|| panic!("compressible")),
        };
        let header = Header {
            digest: Digest::of(raw),
            kind: Kind::Blob,
            encoding,
            stored: stored.len() as u32,
            raw: raw.len() as u32,
        };
        [header.encode().as_slice(), &stored].concat()
    }

    fn read(bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let header = Header::decode(bytes)?;
        open(&header, &bytes[HEADER..])
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let raw = b"tide, mill, tide, mill, tide, mill, tide, mill, tide, mill, tide, mill".repeat(4);
        for encoding in [Encoding::Plain, Encoding::Zstd] {
            let good = record(&raw, encoding);
            assert_eq!(read(&good).ok().as_deref(), Some(raw.as_slice()));
            for at in 0..good.len() {
                let mut bad = good.clone();
                bad[at] ^= 1 << (at % 8);
                // A flip that zstd ignores must still give the right bytes.
                if let Ok(got) = read(&bad) {
                    assert_eq!(got, raw, "flip at {at} gave wrong bytes");
                    assert_eq!(encoding, Encoding::Zstd, "flip at {at} not found");
                }
            }
        }
    }

    #[test]
    fn a_chunk_list_has_its_own_checksum() {
        let sealed = seal_list(b"list");
        let header = Header {
            digest: Digest::of(b"the file"),
            kind: Kind::File,
            encoding: Encoding::Plain,
            stored: sealed.len() as u32,
            raw: sealed.len() as u32,
        };
        assert_eq!(open(&header, &sealed).ok().as_deref(), Some(b"list".as_slice()));
        let mut bad = sealed;
        bad[33] ^= 1;
        assert!(open(&header, &bad).is_err());
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            fuzz_pack_entry(&bytes);
        }
    }
}
