//! The usual decimal numbers, such as `-12.0345`, as the nearest floats: what the standard library's parser gives, in less time. Where the form
//! is another, or where this takes no decision, that parser has to be asked.
//!
//! A number of up to 19 digits is a whole number over a power of ten. Below 2^53 both are floats, and one division rounds as it should (Clinger,
//! "How to read floating point numbers accurately", PLDI 1990). Above, the whole number is multiplied by the first 64 bits of the
//! power's inverse: what is cut off there is less than one in the upper half of the product, and seldom matters to its first 53 bits.

/// Most digits of a whole number that always fits 64 bits.
const MOST_DIGITS: usize = 19;

/// Powers of ten, all of them exact.
const POWERS: [f64; MOST_DIGITS + 1] = [
    1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19,
];

/// The first 64 bits of 1 / 10^places, rounded down, and the e for which they are multiplied by 2^-(64 + e); 10^places
/// lies between 2^e and 2^(e + 1).
const INVERSES: [(u64, i32); MOST_DIGITS + 1] = {
    let (mut table, mut places, mut power) = ([(0, 0); MOST_DIGITS + 1], 1, 10_u64);
    while places <= MOST_DIGITS {
        let exponent = power.ilog2();
        // 2^(64 + e) / power, by long division that begins with 2^e.
        let (mut rest, mut inverse, mut bit) = (1_u128 << exponent, 0_u64, 0);
        while bit < 64 {
            rest <<= 1;
            inverse <<= 1;
            if rest >= power as u128 {
                rest -= power as u128;
                inverse |= 1;
            }
            bit += 1;
        }
        table[places] = (inverse, exponent as i32);
        places += 1;
        if places <= MOST_DIGITS {
            power *= 10;
        }
    }
    table
};

/// The float nearest to digits, a point and digits, perhaps after a minus; `None` for any other text, and for a few such texts.
#[inline]
pub(super) fn parse(text: &[u8]) -> Option<f64> {
    let (text, is_negative) = match text {
        [b'-', text @ ..] => (text, true),
        text => (text, false),
    };
    let (mut whole, mut before) = (0_u64, 0);
    loop {
        match *text.get(before)? {
            byte @ b'0'..=b'9' if before < MOST_DIGITS => whole = whole * 10 + u64::from(byte - b'0'),
            b'.' => break,
            _ => return None,
        }
        before += 1;
    }
    let mut places = &text[before + 1..];
    let count = places.len();
    if before == 0 || count == 0 || before + count > MOST_DIGITS {
        return None;
    }
    while let Some((eight, rest)) = places.split_first_chunk::<8>() {
        whole = whole * 100_000_000 + eight_digits(*eight)?;
        places = rest;
    }
    for byte in places {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        whole = whole * 10 + u64::from(digit);
    }
    let value = if whole < 1 << 53 { whole as f64 / POWERS[count] } else { quotient(whole, count)? };
    Some(if is_negative { -value } else { value })
}

/// The number of eight digits.
#[inline]
fn eight_digits(bytes: [u8; 8]) -> Option<u64> {
    const ALL: u64 = u64::MAX / 255;
    let digits = u64::from_le_bytes(bytes).wrapping_sub(ALL * u64::from(b'0'));
    // The highest bit of the first byte that is no digit is set in one of the two, and of no byte before it.
    if (digits | digits.wrapping_add(ALL * 0x76)) & (ALL * 0x80) != 0 {
        return None;
    }
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

/// The float nearest to `whole` / 10^`places`, for a whole number from 2^53 and 1 to 19 places.
fn quotient(whole: u64, places: usize) -> Option<f64> {
    let (inverse, exponent) = INVERSES[places];
    let shift = whole.leading_zeros();
    // The exact product is more than this times 2^64, and less than two more.
    let product = ((u128::from(whole << shift) * u128::from(inverse)) >> 64) as u64;
    let below = 11 - product.leading_zeros();
    let (kept, rest, half) = (product >> below, product & ((1 << below) - 1), 1 << (below - 1));
    if rest + 1 == half {
        return None;
    }
    let mantissa = kept + u64::from(rest >= half);
    let power = below as i32 - exponent - shift as i32;
    Some(mantissa as f64 * f64::from_bits(((1023 + power) as u64) << 52))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_like_the_standard_library(text: &str) -> bool {
        parse(text.as_bytes()).is_none_or(|found| text.parse().map(f64::to_bits) == Ok(found.to_bits()))
    }

    #[test]
    fn the_usual_forms_are_taken_and_no_others() {
        for text in
            ["0.5", "-0.0", "12.25", "0.1", "9.621789493181637", "2.3710951975142196", "1234567890.123456789"]
        {
            let value: f64 = text.parse().unwrap();
            assert_eq!(parse(text.as_bytes()).map(f64::to_bits), Some(value.to_bits()), "{text}");
        }
        for text in [
            "",
            "-",
            "1",
            ".5",
            "5.",
            "1.5e3",
            "+1.5",
            " 1.5",
            "1.5 ",
            "1..5",
            "1.2.3",
            "--1.5",
            "inf",
            "1.1234567/",
            "1.1234567:",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"12345678901.123456789"), None, "20 digits");
        assert_eq!(parse("1.12345é7".as_bytes()), None);
    }

    #[test]
    fn inverses_are_cut_off_and_not_rounded() {
        for (places, &(inverse, exponent)) in INVERSES.iter().enumerate().skip(1) {
            let (power, wanted) = (10_u128.pow(places as u32), u128::from(inverse));
            // wanted * power <= 2^(64 + exponent) < (wanted + 1) * power, without numbers of more than 128 bits.
            let upto = (1_u128 << (64 + exponent)) - wanted * power;
            assert!(upto > 0 && upto < power, "{places}");
            assert!(inverse >= 1 << 63, "{places}");
        }
    }

    /// Halfway between two floats the last digit decides.
    #[test]
    fn halves_and_what_is_next_to_them_are_rounded_like_the_standard_library() {
        let mut taken = 0;
        for step in 0..2_000_u64 {
            // An odd number of 54 bits over a power of two lies in the middle of two floats.
            let odd = (1 << 53) + 2 * (step * 4_611_686_018_427 % (1 << 52)) + 1;
            for places in 2..4_u32 {
                let (whole, rest) = (odd >> places, odd & ((1 << places) - 1));
                let fraction = rest * 10_u64.pow(places) / 2_u64.pow(places);
                for fraction in fraction.saturating_sub(1)..=fraction + 1 {
                    let text = format!("{whole}.{fraction:0width$}", width = places as usize);
                    assert!(is_like_the_standard_library(&text), "{text}");
                    taken += u32::from(parse(text.as_bytes()).is_some());
                }
            }
        }
        // All but the middles themselves.
        assert_eq!(taken, 8_000);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn every_number_is_the_standard_librarys(text in "-?[0-9]{1,11}\\.[0-9]{1,18}", float in any::<f64>(), unit in 0.0..10.0) {
            for text in [text, format!("{float:?}"), format!("{unit:?}"), format!("{:?}", unit * 1e5)] {
                prop_assert!(is_like_the_standard_library(&text), "{}", text);
            }
        }

        #[test]
        fn few_texts_are_left_to_the_standard_library(texts in prop::collection::vec(0.0..10.0, 50)) {
            let texts: Vec<String> = texts.into_iter().map(|value: f64| format!("{value:?}")).filter(|text| !text.contains('e')).collect();
            let left = texts.iter().filter(|text| parse(text.as_bytes()).is_none()).count();
            prop_assert!(left <= 5, "{} of {}", left, texts.len());
        }
    }
}
