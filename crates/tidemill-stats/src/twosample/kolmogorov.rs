//! How likely a Kolmogorov-Smirnov distance is when nothing changed.
//!
//! The figure that scipy calls `asymp` is the distribution of the one-sample statistic at the effective size
//! round(n·m/(n+m)), by the methods that R. Simard and P. L'Ecuyer (J. Stat. Softw. 39(11), 2011) choose by region:
//! Durbin's matrix in the form of Marsaglia, Tsang and Wang (J. Stat. Softw. 8(18), 2003), Smirnov's one-sided sum
//! twice, and the expansion of Pelz and Good (J. R. Stat. Soc. B 38, 1976). Where they use Pomeranz' recursion the
//! matrix gives the same digits, so it is used there too.

use std::f64::consts::PI;

use crate::special::binomial_chance;

/// P(D_n ≥ `d`) of the two-sided one-sample statistic, scipy's `kstwo.sf(d, n)`.
pub(super) fn above(n: u64, d: f64) -> f64 {
    let size = n as f64;
    if n == 0 || d <= 0.0 {
        return 1.0;
    }
    if d >= 1.0 {
        return 0.0;
    }
    let t = size * d;
    if t <= 0.5 {
        return 1.0;
    }
    if t <= 1.0 {
        // Ruben and Gambino: P(D_n < d) = n!·((2t − 1)/n)^n.
        let below = (1..=n).fold(1.0, |product, k| product * k as f64 / size * (2.0 * t - 1.0));
        return (1.0 - below).clamp(0.0, 1.0);
    }
    if t >= size - 1.0 {
        return 2.0 * (1.0 - d).powf(size);
    }
    let square = t * d;
    if square >= 370.0 {
        return 0.0;
    }
    let one_sided_twice = d >= 0.5 || square > if n <= 140 { 4.0 } else { 2.2 };
    if one_sided_twice {
        return (2.0 * smirnov(n, d)).min(1.0);
    }
    // Below this the chance of so small a distance is under 1e-15.
    if square < 0.03 && n > 140 {
        return 1.0;
    }
    let below = if n <= 140 || (n <= 100_000 && size * d.powf(1.5) <= 1.4) {
        durbin(n, d)
    } else {
        pelz_good(size, d)
    };
    (1.0 - below).clamp(0.0, 1.0)
}

/// P(D_n⁺ ≥ d) by Smirnov's sum d·Σ C(n,v)(d+v/n)^(v−1)(1−d−v/n)^(n−v), each term written as a binomial probability.
///
/// For large n the terms are a smooth bump that vanishes with all derivatives at both ends, so the sum over every s-th
/// term times s is the same number to rounding.
fn smirnov(n: u64, d: f64) -> f64 {
    let size = n as f64;
    let last = (size * (1.0 - d)).floor() as u64;
    let stride = (n / 2_048).max(1);
    let mut sum = 0.0;
    let mut v = 0;
    while v <= last {
        let chance = (d + v as f64 / size).min(1.0);
        sum += binomial_chance(v, n, chance) / chance;
        v += stride;
    }
    d * sum * stride as f64
}

/// P(D_n < d) by the matrix power of Marsaglia, Tsang and Wang.
fn durbin(n: u64, d: f64) -> f64 {
    let t = n as f64 * d;
    let k = t.ceil() as usize;
    let h = k as f64 - t;
    let m = 2 * k - 1;
    let mut base = vec![0.0; m * m];
    let mut inverse_factorial = vec![1.0; m + 1];
    for j in 1..=m {
        inverse_factorial[j] = inverse_factorial[j - 1] / j as f64;
    }
    for row in 0..m {
        for column in 0..m {
            if row + 1 >= column {
                base[row * m + column] = inverse_factorial[row + 1 - column];
            }
        }
    }
    let mut power = 1.0;
    for j in 0..m {
        power *= h;
        let edge = (1.0 - power) * inverse_factorial[j + 1];
        base[j * m] = edge;
        base[(m - 1) * m + (m - 1 - j)] = edge;
    }
    let corner = 1.0 - 2.0 * power + (2.0 * h - 1.0).max(0.0).powi(m as i32);
    base[(m - 1) * m] = corner * inverse_factorial[m];

    // base^n by squaring, with powers of two taken out so that nothing overflows.
    let (mut result, mut result_scale) = (identity(m), 0_i64);
    let mut base_scale = 0_i64;
    let mut left = n;
    let mut scratch = vec![0.0; m * m];
    while left > 0 {
        if left % 2 == 1 {
            multiply(&result, &base, m, &mut scratch);
            std::mem::swap(&mut result, &mut scratch);
            result_scale += base_scale + rescale(&mut result, (k - 1) * m + k - 1);
        }
        left /= 2;
        if left > 0 {
            multiply(&base, &base, m, &mut scratch);
            std::mem::swap(&mut base, &mut scratch);
            base_scale = 2 * base_scale + rescale(&mut base, (k - 1) * m + k - 1);
        }
    }
    let (mut p, mut scale) = (result[(k - 1) * m + k - 1], result_scale);
    for i in 1..=n {
        p = p * i as f64 / n as f64;
        if p < 1e-140 {
            p *= 2.0_f64.powi(400);
            scale -= 400;
        }
    }
    p * 2.0_f64.powi(scale.clamp(-2_000, 1_000) as i32)
}

fn identity(m: usize) -> Vec<f64> {
    let mut matrix = vec![0.0; m * m];
    for j in 0..m {
        matrix[j * m + j] = 1.0;
    }
    matrix
}

fn multiply(a: &[f64], b: &[f64], m: usize, into: &mut [f64]) {
    into.fill(0.0);
    for row in 0..m {
        let (target, source) = (&mut into[row * m..(row + 1) * m], &a[row * m..(row + 1) * m]);
        for (factor, other) in source.iter().zip(b.chunks_exact(m)) {
            if *factor != 0.0 {
                for (t, o) in target.iter_mut().zip(other) {
                    *t += factor * o;
                }
            }
        }
    }
}

/// Divides by 2^400 when the entry in the middle is large; returns the exponent that was taken out.
fn rescale(matrix: &mut [f64], middle: usize) -> i64 {
    if matrix[middle] < 1e140 {
        return 0;
    }
    let factor = 2.0_f64.powi(-400);
    matrix.iter_mut().for_each(|x| *x *= factor);
    400
}

/// P(D_n < d) by the expansion of Pelz and Good in powers of 1/√n, in the theta-function form for small arguments.
fn pelz_good(n: f64, d: f64) -> f64 {
    let z = n.sqrt() * d;
    let (z2, z4, z6, z8) = (z.powi(2), z.powi(4), z.powi(6), z.powi(8));
    let (p2, p4, p6) = (PI.powi(2), PI.powi(4), PI.powi(6));
    let (mut k0, mut k1, mut k2, mut k3) = (0.0, 0.0, 0.0, 0.0);
    let terms = (16.0 * z / PI).ceil() as i32;
    for k in (1..=terms).rev() {
        let odd = f64::from(2 * k - 1).powi(2);
        let weight = (-p2 * odd / (8.0 * z2)).exp();
        k0 += weight;
        k1 += weight * (p2 / 4.0 * odd - z2);
        k2 += weight
            * (6.0 * z6
                + 2.0 * z4
                + (2.0 * z4 - 5.0 * z2) * p2 / 4.0 * odd
                + p4 * (1.0 - 2.0 * z2) / 16.0 * odd * odd);
        k3 += weight
            * (-30.0 * z6 - 90.0 * z8
                + p2 * (135.0 * z4 - 96.0 * z6) / 4.0 * odd
                + p4 * (-60.0 * z2 + 212.0 * z4) / 16.0 * odd * odd
                + p6 * (5.0 - 30.0 * z2) / 64.0 * odd.powi(3));
    }
    let root = (2.0 * PI).sqrt();
    k0 *= root / z;
    k1 *= root / (6.0 * z4);
    k2 *= root / (72.0 * z.powi(7));
    k3 *= root / (6_480.0 * z.powi(10));
    for k in (1..=terms).rev() {
        let square = f64::from(k).powi(2);
        let weight = square * (-p2 * square / (2.0 * z2)).exp();
        k2 -= weight * p2 * root / (36.0 * z.powi(3));
        k3 += weight * (3.0 * z2 - p2 * square) * p2 * root / (216.0 * z6);
    }
    k0 + k1 / n.sqrt() + k2 / n + k3 / n.powf(1.5)
}

/// Exact P(D ≥ `d`) of the two-sample statistic without ties, by the share of lattice paths from (0, 0) to (n, m)
/// that leave the band |i/n − j/m| < d.
///
/// The share of paths to (i, j) that have left is the mixture of its two predecessors with weights i/(i+j) and j/(i+j),
/// all terms positive. Equal sizes have a closed form (Gnedenko and Korolyuk 1951). `None` when n·m/gcd does not fit.
pub(super) fn exact_above(n: u64, m: u64, d: f64) -> Option<f64> {
    let common = gcd(n, m);
    let steps = (n / common).checked_mul(m)?;
    if steps > i32::MAX as u64 * common {
        return None;
    }
    let h = (d * steps as f64).round() as u64;
    if h == 0 {
        return Some(1.0);
    }
    if n == m {
        return Some(equal_sizes(n, h).clamp(0.0, 1.0));
    }
    // Rows run along the longer side, so that the row that is kept is the shorter one. Cells outside of the band are one:
    // those above it were never written, the one just below it is set when the band moves on.
    let (long, short) = if n > m { (n, m) } else { (m, n) };
    let (a, b) = ((short / common) as i64, (long / common) as i64);
    let h = h as i64;
    let width = short as usize;
    let mut row = vec![1.0; width + 1];
    for i in 0..=long as i64 {
        // Inside means |i·a − j·b| < h.
        let first = (i * a - h).div_euclid(b) + 1;
        let last = (i * a + h - 1).div_euclid(b);
        let (first, last) = (first.max(0), last.min(short as i64));
        if first > 0 {
            row[first as usize - 1] = 1.0;
        }
        for j in first..=last {
            let at = j as usize;
            row[at] = match (i, j) {
                (0, 0) => 0.0,
                (_, 0) => row[0],
                (0, _) => row[at - 1],
                _ => (i as f64 * row[at] + j as f64 * row[at - 1]) / (i + j) as f64,
            };
        }
    }
    Some(row[width].clamp(0.0, 1.0))
}

/// 2·Σ (−1)^(i+1) C(2n, n − i·h) / C(2n, n), folded from the inside so that nothing cancels.
fn equal_sizes(n: u64, h: u64) -> f64 {
    let mut p = 0.0;
    for k in (0..=n / h).rev() {
        let mut ratio = 1.0;
        for j in 0..h {
            ratio *= (n as f64 - (k * h + j) as f64) / (n + k * h + j + 1) as f64;
        }
        p = ratio * (1.0 - p);
    }
    2.0 * p
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}
