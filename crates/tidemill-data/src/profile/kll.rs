//! The KLL quantile sketch: Karnin, Lang and Liberty, "Optimal quantile approximation in streams" (FOCS 2016).
//!
//! Levels of values, each level twice the weight of the one below. A full level is halved: every other value moves
//! up. A sorted batch goes in as every 2ʲ-th of its values at once, which is the same thing done j times but with the
//! error of one step. Offsets are drawn from a fixed sequence, so that equal input gives an equal sketch.

const SHRINK: f64 = 2.0 / 3.0;
const SMALLEST: usize = 8;
/// Most levels: weights stay within 64 bits.
const DEEPEST: usize = 60;

/// Quantiles of a stream of numbers that are not NaN. Levels above the lowest are sorted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kll {
    k: u16,
    levels: Vec<Vec<f64>>,
    count: u64,
    coin: u64,
    /// Variance of the rank of a value, in values: s² / 4 for every time that one of s values was kept for all of them.
    variance: f64,
}

impl Kll {
    /// An empty sketch whose top level holds `k` values.
    pub(super) fn new(k: u16) -> Self {
        Self { k: k.max(8), levels: vec![Vec::new()], count: 0, coin: 0x9e37_79b9_7f4a_7c15, variance: 0.0 }
    }

    /// Rank error that holds with 99 % confidence for all values together; 0 while every value is there. The smaller of
    /// what Apache `DataSketches` measured for this family of sketches, 2.296 / k^0.9021, and of 3.3 standard deviations
    /// of what was really rounded.
    pub(super) fn rank_error(&self) -> f64 {
        if self.is_exact() {
            return 0.0;
        }
        let known = 3.3 * self.variance.sqrt() / self.count as f64;
        (2.296 / f64::from(self.k).powf(0.9021)).min(known)
    }

    /// Adds ascending values, each as often as `counts` says.
    pub(super) fn insert(&mut self, values: &[f64], counts: &[u32]) {
        let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        self.count += total;
        let level = self.entry(total);
        if level == 0 {
            let low = &mut self.levels[0];
            for (&value, &count) in values.iter().zip(counts) {
                low.extend(std::iter::repeat_n(value, count as usize));
            }
        } else {
            self.insert_spaced(values, counts, level, total);
        }
        self.compress();
    }

    /// The lowest level at which `total` sorted values, spaced by its weight, do not overflow it.
    fn entry(&self, total: u64) -> usize {
        let held = self.levels[0].len() as u64;
        if self.is_exact() && held + total <= 3 * u64::from(self.k) {
            return 0;
        }
        let fits = |level: usize| {
            let levels = self.levels.len().max(level + 1);
            total >> level <= self.capacity(level, levels) as u64
        };
        (0..DEEPEST).find(|&level| fits(level)).unwrap_or(DEEPEST)
    }

    fn insert_spaced(&mut self, values: &[f64], counts: &[u32], level: usize, total: u64) {
        while self.levels.len() <= level {
            self.levels.push(Vec::new());
        }
        let spacing = 1_u64 << level;
        self.variance += (spacing as f64 / 2.0).powi(2);
        // The greatest values that fill no group keep their own weight.
        let grouped = total >> level << level;
        let mut next = self.draw() & (spacing - 1);
        let mut place = 0;
        let (low, rest) = self.levels.split_at_mut(1);
        let target = &mut rest[level - 1];
        for (&value, &count) in values.iter().zip(counts) {
            let end = place + u64::from(count);
            while next < end.min(grouped) {
                target.push(value);
                next += spacing;
            }
            if end > grouped {
                low[0].extend(std::iter::repeat_n(value, (end - grouped.max(place)) as usize));
            }
            place = end;
        }
        // Two ascending runs: the stable sort merges them in one walk.
        target.sort_by(f64::total_cmp);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.k = self.k.min(other.k);
        self.variance += other.variance;
        for (level, values) in other.levels.iter().enumerate() {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].extend_from_slice(values);
            if level > 0 {
                self.levels[level].sort_by(f64::total_cmp);
            }
        }
        self.compress();
    }

    /// Numbers seen.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Whether every value is still there.
    pub(super) fn is_exact(&self) -> bool {
        self.levels.len() == 1
    }

    /// The values kept, ascending, and how many values each stands for.
    pub(super) fn points(&self) -> (Vec<f64>, Vec<f64>) {
        self.weighted().into_iter().map(|(value, weight)| (value, weight as f64)).unzip()
    }

    /// The values at `probabilities`, each the smallest whose share of values at or below it reaches it.
    pub(super) fn quantiles(&self, probabilities: &[f64]) -> Option<Vec<f64>> {
        let mut weighted = self.weighted();
        let last = weighted.last()?.0;
        let mut below = 0;
        for (_, weight) in &mut weighted {
            below += *weight;
            *weight = below;
        }
        let at = |probability: f64| {
            let rank = (probability * below as f64).ceil().max(1.0) as u64;
            weighted.get(weighted.partition_point(|(_, upto)| *upto < rank)).map_or(last, |found| found.0)
        };
        Some(probabilities.iter().map(|&probability| at(probability)).collect())
    }

    fn weighted(&self) -> Vec<(f64, u64)> {
        let mut weighted: Vec<(f64, u64)> = Vec::new();
        for (level, values) in self.levels.iter().enumerate() {
            weighted.extend(values.iter().map(|&value| (value, 1_u64 << level)));
        }
        weighted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        weighted
    }

    /// How many values `level` of `levels` may hold before half of them move up.
    fn capacity(&self, level: usize, levels: usize) -> usize {
        let k = usize::from(self.k);
        let depth = (levels - 1 - level) as i32;
        // The lowest levels share a floor; while there is one level, it holds all that the sketch may.
        let size = if levels == 1 { 3 * k } else { (k as f64 * SHRINK.powi(depth)).ceil() as usize };
        size.max(SMALLEST)
    }

    fn compress(&mut self) {
        let mut level = 0;
        while level < self.levels.len() {
            let full = self.levels[level].len() > self.capacity(level, self.levels.len());
            if !full || level >= DEEPEST {
                level += 1;
                continue;
            }
            if level + 1 == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let mut values = std::mem::take(&mut self.levels[level]);
            if level == 0 {
                values.sort_unstable_by(f64::total_cmp);
            }
            // An odd value stays behind.
            let kept = if values.len() % 2 == 1 { values.pop() } else { None };
            let offset = (self.draw() >> 63) as usize;
            self.variance += ((1_u64 << level) as f64).powi(2);
            let above = &mut self.levels[level + 1];
            above.extend(values.iter().skip(offset).step_by(2));
            above.sort_by(f64::total_cmp);
            values.clear();
            values.extend(kept);
            self.levels[level] = values;
            level += 1;
        }
    }

    /// The next number of a xorshift sequence.
    fn draw(&mut self) -> u64 {
        self.coin ^= self.coin << 13;
        self.coin ^= self.coin >> 7;
        self.coin ^= self.coin << 17;
        self.coin
    }

    /// What is stored: size of the top level, state of the sequence, variance, levels.
    pub(super) fn parts(&self) -> (u16, u64, f64, &[Vec<f64>]) {
        (self.k, self.coin, self.variance, &self.levels)
    }

    /// From what was stored, if it can be a sketch.
    pub(super) fn from_parts(k: u16, coin: u64, variance: f64, levels: Vec<Vec<f64>>) -> Option<Self> {
        let sorted = levels.iter().skip(1).all(|level| level.is_sorted_by(|a, b| a <= b));
        let numbers = levels.iter().flatten().all(|value| !value.is_nan());
        let varies = variance.is_finite() && variance >= 0.0;
        if k < 8
            || !varies
            || coin == 0
            || levels.is_empty()
            || levels.len() > DEEPEST + 1
            || !sorted
            || !numbers
        {
            return None;
        }
        let mut count = 0_u64;
        for (level, values) in levels.iter().enumerate() {
            count = count.checked_add((values.len() as u64).checked_mul(1 << level)?)?;
        }
        Some(Self { k, levels, count, coin, variance })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extend(sketch: &mut Kll, values: impl Iterator<Item = f64>, batch: usize) {
        let values: Vec<f64> = values.collect();
        for part in values.chunks(batch) {
            let mut part = part.to_vec();
            part.sort_by(f64::total_cmp);
            sketch.insert(&part, &vec![1; part.len()]);
        }
    }

    fn worst(sketch: &Kll, n: u64) -> f64 {
        // The values are 0..n in some order, so that a value is its own rank.
        let probabilities: Vec<f64> = (1..100).map(|i| f64::from(i) / 100.0).collect();
        let found = sketch.quantiles(&probabilities).unwrap();
        probabilities.iter().zip(found).map(|(p, value)| (value / n as f64 - p).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn few_values_are_exact() {
        let mut sketch = Kll::new(256);
        extend(&mut sketch, [3.0, 1.0, 2.0, 5.0, 4.0].into_iter(), 2);
        assert!(sketch.is_exact());
        assert_eq!(sketch.quantiles(&[0.0, 0.2, 0.5, 1.0]), Some(vec![1.0, 1.0, 3.0, 5.0]));
        assert_eq!(sketch.points(), (vec![1.0, 2.0, 3.0, 4.0, 5.0], vec![1.0; 5]));
        assert_eq!(Kll::new(256).quantiles(&[0.5]), None);
        let mut repeated = Kll::new(1024);
        repeated.insert(&[1.0, 2.0], &[20_000, 60_000]);
        assert_eq!(repeated.quantiles(&[0.2, 0.3]), Some(vec![1.0, 2.0]));
    }

    #[test]
    fn the_rank_error_holds_for_streams_in_any_order_and_for_merges() {
        let n = 1_000_000_u64;
        for (k, batch) in [(256, 8192), (1024, 8192), (256, 1), (1024, 100)] {
            for stride in [1, 999_983, 500_001] {
                let mut whole = Kll::new(k);
                extend(&mut whole, (0..n).map(|i| (i * stride % n) as f64), batch);
                assert!(worst(&whole, n) < whole.rank_error(), "{k} {stride}: {}", worst(&whole, n));
                assert_eq!(whole.weighted().iter().map(|(_, weight)| weight).sum::<u64>(), n);
                assert!(whole.levels.iter().map(Vec::len).sum::<usize>() < 4 * usize::from(k));
            }
        }
        let mut merged = Kll::new(1024);
        for part in 0..20 {
            let mut sketch = Kll::new(1024);
            extend(&mut sketch, (0..n / 20).map(|i| (i * 20 + part) as f64), 8192);
            merged.merge(&sketch);
        }
        assert_eq!(merged.count(), n);
        assert!(worst(&merged, n) < merged.rank_error(), "{}", worst(&merged, n));
    }

    #[test]
    fn stored_parts_are_checked() {
        let mut sketch = Kll::new(64);
        extend(&mut sketch, (0..10_000).map(f64::from), 1000);
        let (k, coin, v, levels) = sketch.parts();
        assert_eq!(Kll::from_parts(k, coin, v, levels.to_vec()), Some(sketch.clone()));
        assert_eq!(Kll::from_parts(k, coin, v, vec![vec![], vec![2.0, 1.0]]), None);
        assert_eq!(Kll::from_parts(k, coin, v, vec![vec![f64::NAN]]), None);
        assert_eq!(Kll::from_parts(k, coin, v, vec![vec![]; 70]), None);
    }
}
