//! Numbers of events: exact draws whose cost does not grow with how many there are.

use super::Random;

/// From so many expected events on, rejection is quicker than counting them one by one.
const MANY: f64 = 10.0;

impl Random {
    /// How many of `n` happen with chance `p` each. Few are counted by the gaps between them, many are drawn by Hörmann's transformed
    /// rejection (BTRS; W. Hörmann, The generation of binomial random variates, J. Stat. Comput. Simul. 46, 1993).
    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if n == 0 || p.is_nan() || p <= 0.0 {
            return 0;
        }
        if p >= 1.0 {
            return n;
        }
        if p > 0.5 {
            return n - self.binomial(n, 1.0 - p);
        }
        if n as f64 * p < MANY { self.few_of(n, p) } else { self.many_of(n as f64, p) }
    }

    /// How many events happen where `mean` are expected. Few are counted by the times between them, many are drawn by Hörmann's transformed
    /// rejection (PTRS; W. Hörmann, The transformed rejection method for generating Poisson random variables, Insur. Math. Econ.
    /// 12, 1993).
    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean.is_nan() || mean <= 0.0 {
            return 0;
        }
        if mean >= MANY {
            return self.many(mean);
        }
        let (mut time, mut events) = (0.0, 0);
        loop {
            time -= libm::log(1.0 - self.unit());
            if time > mean {
                return events;
            }
            events += 1;
        }
    }

    fn few_of(&mut self, n: u64, p: f64) -> u64 {
        let (ln_miss, mut at, mut hits) = (libm::log1p(-p), 0.0, 0);
        loop {
            at += libm::floor(libm::log(1.0 - self.unit()) / ln_miss) + 1.0;
            if at > n as f64 {
                return hits;
            }
            hits += 1;
        }
    }

    fn many_of(&mut self, n: f64, p: f64) -> u64 {
        let spread = libm::sqrt(n * p * (1.0 - p));
        let b = 1.15 + 2.53 * spread;
        let a = -0.0873 + 0.0248 * b + 0.01 * p;
        let centre = n * p + 0.5;
        let sure = 0.92 - 4.2 / b;
        let scale = (2.83 + 5.1 / b) * spread;
        let ln_odds = libm::log(p / (1.0 - p));
        let mode = libm::floor((n + 1.0) * p);
        let at_mode = libm::lgamma(mode + 1.0) + libm::lgamma(n - mode + 1.0);
        loop {
            let (u, v) = (self.unit() - 0.5, 1.0 - self.unit());
            let edge = 0.5 - u.abs();
            let k = libm::floor((2.0 * a / edge + b) * u + centre);
            if edge <= 0.0 || k < 0.0 || k > n {
                continue;
            }
            if edge >= 0.07 && v <= sure {
                return k as u64;
            }
            let height = libm::log(v * scale / (a / (edge * edge) + b));
            let chance = at_mode - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0) + (k - mode) * ln_odds;
            if height <= chance {
                return k as u64;
            }
        }
    }

    fn many(&mut self, mean: f64) -> u64 {
        let b = 0.931 + 2.53 * libm::sqrt(mean);
        let a = -0.059 + 0.02483 * b;
        let ln_scale = libm::log(1.1239 + 1.1328 / (b - 3.4));
        let sure = 0.9277 - 3.6224 / (b - 2.0);
        let ln_mean = libm::log(mean);
        loop {
            let (u, v) = (self.unit() - 0.5, 1.0 - self.unit());
            let edge = 0.5 - u.abs();
            let k = libm::floor((2.0 * a / edge + b) * u + mean + 0.43);
            if edge <= 0.0 || k < 0.0 || (edge < 0.013 && v > edge) {
                continue;
            }
            if edge >= 0.07 && v <= sure {
                return k as u64;
            }
            let height = libm::log(v) + ln_scale - libm::log(a / (edge * edge) + b);
            if height <= k * ln_mean - mean - libm::lgamma(k + 1.0) {
                return k as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::special::{binomial_chance, chi_square_above};

    const DRAWS: u64 = 40_000;

    /// Pearson's test of draws against chances; cells of fewer than 20 expected draws are pooled into one.
    fn fit(mut draw: impl FnMut() -> u64, chance: impl Fn(u64) -> f64, most: u64) -> f64 {
        let mut seen = vec![0_u64; most as usize + 1];
        (0..DRAWS).for_each(|_| seen[draw().min(most) as usize] += 1);
        let (mut statistic, mut cells) = (0.0, 0.0);
        let (mut rest_seen, mut rest_expected) = (0.0, 0.0);
        for (k, seen) in seen.into_iter().enumerate() {
            let expected = DRAWS as f64 * chance(k as u64);
            if expected < 20.0 {
                (rest_seen, rest_expected) = (rest_seen + seen as f64, rest_expected + expected);
            } else {
                statistic += (seen as f64 - expected).powi(2) / expected;
                cells += 1.0;
            }
        }
        if rest_expected > 5.0 {
            statistic += (rest_seen - rest_expected).powi(2) / rest_expected;
            cells += 1.0;
        }
        chi_square_above(statistic, cells - 1.0)
    }

    #[test]
    fn binomial_draws_have_the_chances_of_the_law() {
        for (case, (n, p)) in
            [(5, 0.3), (40, 0.2), (40, 0.9), (100, 0.5), (1_000, 0.01), (1_000, 0.3), (200, 0.97)]
                .into_iter()
                .enumerate()
        {
            let mut random = Random::new(11, case as u64);
            let p_value = fit(|| random.binomial(n, p), |k| binomial_chance(k, n, p), n);
            assert!(p_value > 1e-4, "{n} {p}: {p_value}");
        }
    }

    #[test]
    fn poisson_draws_have_the_chances_of_the_law() {
        for (case, mean) in [0.3, 4.0, 9.9, 10.1, 35.0, 400.0].into_iter().enumerate() {
            let mut random = Random::new(12, case as u64);
            let chance = |k: u64| {
                let k = k as f64;
                (k * libm::log(mean) - mean - libm::lgamma(k + 1.0)).exp()
            };
            let p_value = fit(|| random.poisson(mean), chance, 1_000);
            assert!(p_value > 1e-4, "{mean}: {p_value}");
        }
    }

    #[test]
    fn what_cannot_be_otherwise_needs_no_draw() {
        let mut random = Random::new(1, 1);
        let before = random.clone();
        assert_eq!((random.binomial(9, 0.0), random.binomial(9, 1.0), random.binomial(0, 0.4)), (0, 9, 0));
        assert_eq!((random.poisson(0.0), random.poisson(f64::NAN), random.binomial(3, f64::NAN)), (0, 0, 0));
        assert_eq!(random, before);
        // Large numbers neither overflow nor take long.
        let (half, many) = (random.binomial(1 << 40, 0.5), random.poisson(1e12));
        assert!(half.abs_diff(1 << 39) < 6 << 20 && many.abs_diff(1_000_000_000_000) < 6_000_000);
    }
}
