//! What a table of predictions says about decisions: their cost at every threshold, and where two models decide differently.

use arrow::array::RecordBatch;

use super::predictions::{codes, read, texts};
use crate::metric::{Threshold, Truth, best_threshold, calibrated_threshold};
use crate::{Error, Result};

/// Thresholds of a curve.
const STEPS: u32 = 200;
/// A difference of so many standard errors is told from none, once in twenty times by luck.
const TOLD: f64 = 1.959_964;

/// The cost of decisions at one threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostPoint {
    /// Act where the probability of the positive class reaches this.
    pub threshold: f64,
    /// Mean cost of a decision.
    pub cost: f64,
    /// Share of the weight that is acted on.
    pub acted: f64,
}

/// Cost against threshold on the rows of a table of predictions.
#[derive(Clone, Debug, PartialEq)]
pub struct CostCurve {
    /// In the order of the threshold, from 0 to 1.
    pub points: Vec<CostPoint>,
    /// The cheapest threshold on these rows.
    pub best: Threshold,
    /// The thresholds around the cheapest one whose cost cannot be told from its own on so many rows.
    pub flat: (f64, f64),
    /// The threshold that the model decides by.
    pub chosen: CostPoint,
    /// The threshold of a perfectly calibrated model.
    pub calibrated: Option<f64>,
    /// The unit of costs.
    pub currency: Option<String>,
}

/// The cost of decisions at every threshold; nothing for predictions without two classes or without costs.
///
/// # Errors
/// [`Error::Unfit`] for a table that does not hold predictions.
pub fn cost_curve(predictions: &RecordBatch) -> Result<Option<CostCurve>> {
    let (scored, about) = read(predictions)?;
    let (Truth::Classes { values, classes: 2 }, Some(costs)) = (&scored.truth, &about.costs) else {
        return Ok(None);
    };
    let positive: Vec<bool> = values.iter().map(|class| *class == 1).collect();
    let weight = |row: usize| scored.weights.as_ref().map_or(1.0, |weights| weights[row]);
    let Some(best) = best_threshold(&positive, &scored.answers, scored.weights.as_deref(), costs) else {
        return Ok(None);
    };
    let total: f64 = (0..positive.len()).map(weight).sum();
    let at = |threshold: f64| {
        let (mut cost, mut acted, mut more, mut square) = (0.0, 0.0, 0.0, 0.0);
        for (row, (positive, probability)) in positive.iter().zip(&scored.answers).enumerate() {
            let (weight, act) = (weight(row), *probability >= threshold);
            let here = costs.of(*positive, act);
            let difference = here - costs.of(*positive, *probability >= best.value);
            cost += weight * here;
            acted += if act { weight } else { 0.0 };
            more += weight * difference;
            square += weight * weight * difference * difference;
        }
        let point = CostPoint { threshold, cost: cost / total, acted: acted / total };
        // Paired: most rows are decided alike at both thresholds and add no noise.
        let error = (square - more * more / positive.len() as f64).max(0.0).sqrt() / total;
        (point, more / total <= TOLD * error)
    };
    let seen: Vec<(CostPoint, bool)> = (0..=STEPS).map(|n| at(f64::from(n) / f64::from(STEPS))).collect();
    let middle = best.value.clamp(0.0, 1.0);
    let below = seen.iter().rev().filter(|(point, _)| point.threshold <= middle);
    let above = seen.iter().filter(|(point, _)| point.threshold >= middle);
    let low = below.take_while(|(_, like)| *like).last().map_or(middle, |(point, _)| point.threshold);
    let high = above.take_while(|(_, like)| *like).last().map_or(middle, |(point, _)| point.threshold);
    Ok(Some(CostCurve {
        points: seen.into_iter().map(|(point, _)| point).collect(),
        best,
        flat: (low, high),
        chosen: at(about.threshold).0,
        calibrated: calibrated_threshold(costs),
        currency: costs.currency.clone(),
    }))
}

/// How two models' decisions on the same rows differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flips {
    /// `rows[old][new]`, where 0 is wrong and 1 is right.
    pub rows: [[u64; 2]; 2],
    /// The same by true class.
    pub by_class: Vec<(String, [[u64; 2]; 2])>,
}

/// Counts rows that both, one or none of two models answer rightly.
///
/// # Errors
/// [`Error::Unpaired`] where the two do not hold the same rows with the same targets and classes.
pub fn flips(new: &RecordBatch, old: &RecordBatch) -> Result<Flips> {
    let ((_, about), (_, other)) = (read(new)?, read(old)?);
    if about.classes.is_empty() || about.classes != other.classes {
        return Err(Error::Unpaired("they do not answer with the same classes".into()));
    }
    super::predictions::same_rows(new, old)?;
    let (truth, new) = (codes(new, "target", &about.classes)?, texts(new, "label")?);
    let old = texts(old, "label")?;
    let mut flips = Flips {
        rows: [[0; 2]; 2],
        by_class: about.classes.iter().map(|class| (class.clone(), [[0; 2]; 2])).collect(),
    };
    for ((class, new), old) in truth.iter().zip(new).zip(old) {
        let Some((name, counts)) = flips.by_class.get_mut(*class as usize) else { continue };
        let is_right = |label: Option<String>| usize::from(label.as_deref() == Some(name.as_str()));
        let (old, new) = (is_right(old), is_right(new));
        counts[old][new] += 1;
        flips.rows[old][new] += 1;
    }
    Ok(flips)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use arrow::array::{Float64Array, StringArray, UInt64Array};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::fit::PREDICTIONS_KEY;

    /// Rows of truth and probability, decided at one half.
    fn table(rows: &[(bool, f64)], costs: &str) -> RecordBatch {
        let about = format!(
            "{{\"version\":1,\"classes\":[\"no\",\"yes\"],\"threshold\":0.5,\"costs\":{costs},\"seed\":1}}"
        );
        let word = |yes: bool| if yes { "yes" } else { "no" };
        let fields = vec![
            Field::new("row", DataType::UInt64, false),
            Field::new("target", DataType::Utf8, false),
            Field::new("label", DataType::Utf8, false),
            Field::new("probability", DataType::Float64, false),
        ];
        let schema = Schema::new_with_metadata(fields, HashMap::from([(PREDICTIONS_KEY.to_owned(), about)]));
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(UInt64Array::from_iter_values(0..rows.len() as u64)),
                Arc::new(StringArray::from_iter_values(rows.iter().map(|(yes, _)| word(*yes)))),
                Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, p)| word(*p >= 0.5)))),
                Arc::new(Float64Array::from_iter_values(rows.iter().map(|(_, p)| *p))),
            ],
        )
        .unwrap()
    }

    const COSTS: &str = "{\"currency\":\"EUR\",\"false_negative\":10.0,\"false_positive\":1.0}";

    #[test]
    fn the_curve_has_its_least_where_the_best_threshold_is() {
        let rows: Vec<(bool, f64)> =
            (0..400).map(|n| (n % 7 == 0 || n > 330, f64::from(n) / 400.0)).collect();
        let curve = cost_curve(&table(&rows, COSTS)).unwrap().unwrap();
        let least = curve.points.iter().map(|point| point.cost).fold(f64::INFINITY, f64::min);
        assert!(curve.best.cost <= least && least - curve.best.cost < 0.05, "{least} {:?}", curve.best);
        assert!(curve.flat.0 <= curve.best.value && curve.best.value <= curve.flat.1 + 1e-9);
        assert!(curve.flat.1 - curve.flat.0 < 1.0, "{:?}", curve.flat);
        assert_eq!((curve.points[0].acted, curve.points[200].acted), (1.0, 0.0));
        assert!((curve.chosen.acted - 0.5).abs() < 1e-9 && curve.calibrated == Some(1.0 / 11.0));
        assert_eq!(cost_curve(&table(&rows, "null")).unwrap(), None);
    }

    #[test]
    fn flips_are_counted_by_class() {
        let old = table(&[(true, 0.9), (true, 0.1), (false, 0.9), (false, 0.1)], COSTS);
        let new = table(&[(true, 0.1), (true, 0.9), (false, 0.8), (false, 0.2)], COSTS);
        let found = flips(&new, &old).unwrap();
        assert_eq!(found.rows, [[1, 1], [1, 1]]);
        assert_eq!(found.by_class[1], ("yes".to_owned(), [[0, 1], [1, 0]]));
        let other = table(&[(false, 0.1), (true, 0.9), (false, 0.8), (false, 0.2)], COSTS);
        assert!(matches!(flips(&other, &old), Err(Error::Unpaired(_))));
    }
}
