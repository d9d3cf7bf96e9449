//! The exponential function, written out so that every platform gives the same bits and the compiler can
//! compute several at once.
//!
//! The C library's `exp` differs between systems in the last digit, which would make models differ. The argument is
//! reduced to `r` with `x = k ln 2 + r`, `|r| <= ln 2 / 2` (Cody and Waite, "Software Manual for the Elementary
//! Functions", 1980), and `exp(r)` is its Taylor polynomial of degree 13, exact to about an ulp there.

/// Adding this to a number of magnitude below 2^51 rounds it to the nearest whole number, which the low bits of
/// the sum then hold.
pub(super) const ROUNDER: f64 = 6_755_399_441_055_744.0;

const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// `e^x`, with `x` limited to -700..=700.
#[inline]
pub(super) fn exp(x: f64) -> f64 {
    let x = x.clamp(-700.0, 700.0);
    let shifted = x * std::f64::consts::LOG2_E + ROUNDER;
    let k = shifted - ROUNDER;
    let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    let mut p = 1.0 / 6_227_020_800.0;
    for inverse in [
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        p = p * r + inverse;
    }
    p * f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52)
}

/// `1 / (1 + e^-x)`.
#[inline]
pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_c_library_to_two_ulps() {
        for step in -70_000..=70_000 {
            let x = f64::from(step) * 0.01 + 0.001;
            let (ours, theirs) = (exp(x), x.clamp(-700.0, 700.0).exp());
            assert!((ours - theirs).abs() <= theirs * 4.5e-16, "{x}: {ours} {theirs}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(sigmoid(0.0), 0.5);
        assert!(exp(f64::NAN).is_nan());
    }
}
