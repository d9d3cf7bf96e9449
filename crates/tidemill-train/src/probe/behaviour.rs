//! Answers to rows and to the same rows changed, side by side.

/// How answers changed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Changes {
    /// Rows that were answered both times.
    pub rows: u64,
    /// Rows whose change is within what is allowed.
    pub held: u64,
    /// The row with the largest change, and that change; the first where several have it.
    pub worst: Option<(usize, f64)>,
}

impl Changes {
    /// Share of the rows whose change is within what is allowed. `None` without rows.
    pub fn share(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.held as f64 / self.rows as f64)
    }

    fn of(changes: impl Iterator<Item = Option<f64>>, allowed: f64) -> Self {
        let mut found = Self::default();
        for (row, change) in changes.enumerate() {
            let Some(change) = change else { continue };
            // An answer that is not a number is as far away as can be.
            let change = if change.is_nan() { f64::INFINITY } else { change };
            found.rows += 1;
            found.held += u64::from(change <= allowed);
            if found.worst.is_none_or(|(_, worst)| change > worst) {
                found.worst = Some((row, change));
            }
        }
        found
    }
}

/// The largest change of any number of each row's answer over all variants, against what is allowed. Rows that were not
/// answered to begin with do not count; one that no variant answers neither.
pub fn invariance(before: &[Option<Vec<f64>>], variants: &[Vec<Option<Vec<f64>>>], allowed: f64) -> Changes {
    let change = |(row, before): (usize, &Option<Vec<f64>>)| {
        let before = before.as_ref()?;
        let answers = variants.iter().filter_map(|variant| variant.get(row)?.as_ref());
        let far = answers.flat_map(|after| before.iter().zip(after).map(|(a, b)| (a - b).abs()));
        // `f64::max` would lose an answer that is not a number.
        far.reduce(|a, b| if a.is_nan() || a >= b { a } else { b })
    };
    Changes::of(before.iter().enumerate().map(change), allowed)
}

/// How far the last number of each row's answer (the prediction, or the probability of the positive class) went the wrong
/// way: up where it must not rise, down otherwise.
pub fn direction(
    before: &[Option<Vec<f64>>],
    after: &[Option<Vec<f64>>],
    must_not_rise: bool,
    allowed: f64,
) -> Changes {
    let change = |(before, after): (&Option<Vec<f64>>, &Option<Vec<f64>>)| {
        let rise = after.as_ref()?.last()? - before.as_ref()?.last()?;
        Some(if must_not_rise { rise } else { -rise })
    };
    Changes::of(before.iter().zip(after).map(change), allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(values: &[f64]) -> Vec<Option<Vec<f64>>> {
        values.iter().map(|value| Some(vec![1.0 - value, *value])).collect()
    }

    #[test]
    fn changes_are_the_largest_over_variants() {
        let before = answers(&[0.2, 0.5, 0.9]);
        let mut variants = vec![answers(&[0.2, 0.4, 0.9]), answers(&[0.21, 0.5, f64::NAN])];
        let found = invariance(&before, &variants, 0.05);
        assert_eq!((found.rows, found.held, found.worst), (3, 1, Some((2, f64::INFINITY))));
        assert_eq!(found.share(), Some(1.0 / 3.0));
        // What is not answered is not judged, and the order of variants does not matter.
        variants.swap(0, 1);
        variants[0][2] = None;
        let found = invariance(&before, &variants, 0.2);
        assert_eq!((found.rows, found.held, found.worst.unwrap().0), (3, 3, 1));
        assert_eq!(invariance(&[None], &variants, 0.1), Changes::default());
        assert_eq!(Changes::default().share(), None);
    }

    #[test]
    fn only_the_wrong_way_counts() {
        let (before, after) = (answers(&[0.2, 0.5, 0.9]), answers(&[0.3, 0.5, 0.5]));
        let (rise, fall) = (direction(&before, &after, true, 1e-6), direction(&before, &after, false, 1e-6));
        assert_eq!((rise.held, rise.worst.unwrap().0), (2, 0));
        assert_eq!((fall.held, fall.worst.unwrap().0), (2, 2));
        assert!((fall.worst.unwrap().1 - 0.4).abs() < 1e-12);
    }
}
