//! zstd where it pays: decides from a sample whether to try, and keeps the result only if it is smaller enough.

use std::cell::RefCell;

/// zstd's fastest ordinary level; higher levels cost several times more for a few percent.
const LEVEL: i32 = 1;
/// Below this, headers outweigh what could be saved.
const SMALLEST: usize = 128;

thread_local! {
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    // Its tables are made once for a thread: for small objects to make them costs more than to unpack.
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// One zstd frame of `raw` if that saves at least a sixteenth, otherwise `None`.
pub(crate) fn encode(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.len() < SMALLEST || looks_dense(raw) {
        return None;
    }
    COMPRESSOR.with(|cell| {
        let mut slot = cell.try_borrow_mut().ok()?;
        if slot.is_none() {
            *slot = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        let room = raw.len() - raw.len() / 16;
        let mut out = vec![0; room];
        // The destination is smaller than the source: what does not shrink enough ends as an error, early.
        let length = slot.as_mut()?.compress_to_buffer(raw, &mut out[..]).ok()?;
        out.truncate(length);
        Some(out)
    })
}

/// The content of a zstd frame that must give exactly `raw` bytes.
pub(crate) fn decode(stored: &[u8], raw: usize) -> Option<Vec<u8>> {
    DECOMPRESSOR.with(|cell| {
        let mut slot = cell.try_borrow_mut().ok()?;
        if slot.is_none() {
            *slot = zstd::bulk::Decompressor::new().ok();
        }
        slot.as_mut()?.decompress(stored, raw).ok().filter(|out| out.len() == raw)
    })
}

/// Whether the bytes of a sample are so evenly distributed that they are compressed, encrypted or random already.
///
/// The sample's entropy in bits a byte; for 4 KiB of random bytes its mean is 8 - 255 / (2 · 4096 · ln 2) = 7.955.
fn looks_dense(raw: &[u8]) -> bool {
    const WINDOW: usize = 1024;
    if raw.len() < 4 * WINDOW {
        return false;
    }
    let mut counts = [0_u32; 256];
    for quarter in 0..4 {
        let start = (raw.len() - WINDOW) / 3 * quarter;
        for &byte in &raw[start..start + WINDOW] {
            counts[usize::from(byte)] += 1;
        }
    }
    let total = (4 * WINDOW) as f32;
    let entropy: f32 =
        counts.iter().filter(|&&n| n > 0).map(|&n| -(n as f32 / total) * (n as f32 / total).log2()).sum();
    entropy > 7.9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new_keyed(&[7; 32]).finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn text_shrinks_and_comes_back() {
        let raw = b"2013-01-01,EWR,IAH,517,830\n".repeat(5000);
        let stored = encode(&raw).unwrap();
        assert!(stored.len() < raw.len() / 10);
        assert_eq!(decode(&stored, raw.len()), Some(raw.clone()));
        assert_eq!(decode(&stored, raw.len() - 1), None);
        assert_eq!(decode(&stored[1..], raw.len()), None);
    }

    #[test]
    fn noise_and_compressed_data_are_left_alone() {
        assert!(encode(&noise(300_000)).is_none());
        assert!(encode(&noise(10_000)).is_none());
        let digits: Vec<u8> = noise(200_000).iter().map(|byte| b'0' + byte % 10).collect();
        let compressed = zstd::bulk::compress(&digits, 3).unwrap();
        assert!(compressed.len() < digits.len() / 2 && encode(&compressed).is_none());
        assert!(encode(b"short short short").is_none());
    }

    #[test]
    fn noise_that_looks_compressible_is_stored_plain() {
        // Even bytes only: entropy 7, but a zstd frame of it is kept only if it is really smaller.
        let raw: Vec<u8> = noise(100_000).into_iter().map(|b| b & 0xFE).collect();
        if let Some(stored) = encode(&raw) {
            assert!(stored.len() <= raw.len() - raw.len() / 16);
        }
    }
}
