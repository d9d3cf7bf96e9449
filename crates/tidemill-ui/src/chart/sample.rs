//! Thinning out a curve without losing what is seen of it.

/// At most about four points for each of `columns` equally wide parts of the x axis, in the order in which they are
/// given: of each run of points in one part the first, the lowest, the highest and the last. A point that is not a number
/// is kept once for each run of such points, so that the gap stays; infinities count as such. Points must be in the order
/// of x.
pub(super) fn thin(points: &[(f64, f64)], columns: usize) -> Vec<(f64, f64)> {
    let columns = columns.max(1);
    let xs = points.iter().map(|(x, _)| *x).filter(|x| x.is_finite());
    let (from, to) = xs.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
    if points.len() <= columns * 4 || from >= to {
        return points.to_vec();
    }
    let column = |x: f64| (((x - from) / (to - from)) * columns as f64).min(columns as f64 - 1.0) as usize;
    let mut kept = Vec::new();
    let mut start = 0;
    while start < points.len() {
        let (x, y) = points[start];
        let mut end = start + 1;
        while end < points.len()
            && points[end].1.is_finite() == y.is_finite()
            && column(points[end].0) == column(x)
        {
            end += 1;
        }
        if y.is_finite() {
            keep(points, start, end, &mut kept);
        } else if start == 0 || points[start - 1].1.is_finite() {
            kept.push(start);
        }
        start = end;
    }
    kept.into_iter().map(|at| points[at]).collect()
}

/// The first, lowest, highest and last of a part, each once, in order.
fn keep(points: &[(f64, f64)], start: usize, end: usize, kept: &mut Vec<usize>) {
    let by_value = |a: &usize, b: &usize| points[*a].1.total_cmp(&points[*b].1);
    let low = (start..end).min_by(by_value).unwrap_or(start);
    let high = (start..end).max_by(by_value).unwrap_or(start);
    let mut chosen = [start, low, high, end - 1];
    chosen.sort_unstable();
    for at in chosen {
        if kept.last() != Some(&at) {
            kept.push(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn peaks_stay() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|n| (f64::from(n), f64::from(n % 7))).collect();
        points[4321].1 = 1e6;
        points[7777].1 = -1e6;
        let thinned = thin(&points, 200);
        assert!(thinned.len() <= 800, "{}", thinned.len());
        assert!(thinned.contains(&(4321.0, 1e6)) && thinned.contains(&(7777.0, -1e6)));
        assert_eq!((thinned.first(), thinned.last()), (points.first(), points.last()));
    }

    #[test]
    fn gaps_stay() {
        let mut points: Vec<(f64, f64)> = (0..2_000).map(|n| (f64::from(n), 1.0)).collect();
        for point in &mut points[500..700] {
            point.1 = f64::NAN;
        }
        let thinned = thin(&points, 50);
        assert_eq!(thinned.iter().filter(|(_, y)| y.is_nan()).count(), 1);
        let all_nan: Vec<(f64, f64)> = (0..2_000).map(|n| (f64::from(n), f64::NAN)).collect();
        assert_eq!(thin(&all_nan, 50).len(), 1);
    }

    proptest! {
        #[test]
        fn extremes_of_any_curve_stay(ys in prop::collection::vec(-1e9f64..1e9, 1..3_000), columns in 1usize..60) {
            let points: Vec<(f64, f64)> = ys.iter().enumerate().map(|(n, y)| (n as f64, *y)).collect();
            let thinned = thin(&points, columns);
            let range = |points: &[(f64, f64)]| points.iter().fold((f64::INFINITY, f64::NEG_INFINITY),
                |(a, b), (_, y)| (a.min(*y), b.max(*y)));
            prop_assert_eq!(range(&points), range(&thinned));
            prop_assert!(thinned.len() <= columns * 4);
            prop_assert!(thinned.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }
}
