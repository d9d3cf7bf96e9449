//! How a metric's value is stored: as an integer whose order is that of the numbers.
//!
//! SQLite has no NaN, and an integer is as good a part of a primary key as any. MLflow counts NaN as 0 where it
//! compares; here it has the place just below 0 that the negative zero leaves, which is stored as 0.

/// The integer for a number.
pub(crate) fn encode(value: f64) -> i64 {
    if value.is_nan() {
        return NAN;
    }
    // Adding zero turns the negative zero into zero and changes nothing else.
    order((value + 0.0).to_bits() as i64)
}

/// The number for an integer.
pub(crate) fn decode(code: i64) -> f64 {
    if code == NAN { f64::NAN } else { f64::from_bits(order(code) as u64) }
}

/// Where a value stands among others of the same step and time: NaN counts as 0.
pub(crate) fn rank(code: i64) -> i64 {
    if code == NAN { 0 } else { code }
}

/// The negative zero's integer.
const NAN: i64 = -1;

/// Bits of a negative number grow as the number falls: all but the sign are turned round. Its own inverse.
fn order(bits: i64) -> i64 {
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_have_the_order_of_the_numbers() {
        let numbers = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.5,
            -f64::MIN_POSITIVE,
            -5e-324,
            0.0,
            5e-324,
            f64::MIN_POSITIVE,
            0.1,
            f64::MAX,
            f64::INFINITY,
        ];
        assert!(numbers.windows(2).all(|pair| encode(pair[0]) < encode(pair[1])));
        assert!(encode(f64::NAN) < encode(0.0) && encode(f64::NAN) > encode(-5e-324));
        assert_eq!(encode(-0.0), encode(0.0));
        assert!(decode(encode(f64::NAN)).is_nan());
        assert!(decode(encode(-f64::NAN)).is_nan());
        assert_eq!(rank(encode(f64::NAN)), rank(encode(0.0)));
    }

    proptest! {
        #[test]
        fn every_number_comes_back(bits in any::<u64>(), other in any::<u64>()) {
            let (value, other) = (f64::from_bits(bits), f64::from_bits(other));
            let back = decode(encode(value));
            prop_assert!(back == value || back.is_nan() && value.is_nan());
            if !value.is_nan() && !other.is_nan() {
                prop_assert_eq!(encode(value).cmp(&encode(other)), value.partial_cmp(&other).unwrap());
            }
        }
    }
}
