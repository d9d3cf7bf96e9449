//! Fairness beside what Fairlearn answers, and estimates without labels as NannyML defines them: what its documentation says of
//! confidence-based performance estimation is written down here in numpy, threshold by threshold. NannyML itself is asked in `nannyml`.

use serde_json::json;
use tidemill_stats::estimate::{Isotonic, cbpe};
use tidemill_stats::quality::{Confusion, Fairness, Gap, Group, fairness};
use tidemill_stats::random::Random;

use crate::python::{close, python};

/// Labels, answers and groups of rows; later groups are fewer, are answered otherwise, and are harder to tell.
struct People {
    truth: Vec<bool>,
    said: Vec<bool>,
    group: Vec<usize>,
}

fn people(rows: usize, groups: u32, seed: u64) -> People {
    let mut random = Random::new(seed, u64::from(groups));
    let mut all = People { truth: vec![], said: vec![], group: vec![] };
    for row in 0..rows {
        // The first rows are in each group once, so that none is empty.
        let group =
            if row < groups as usize { row } else { random.below(groups).min(random.below(groups)) as usize };
        let truth = random.unit() < 0.3 + 0.05 * group as f64;
        let right = random.unit() < 0.9 - 0.07 * group as f64;
        all.truth.push(truth);
        all.said.push(truth == right);
        all.group.push(group);
    }
    all
}

fn found(people: &People, groups: u32) -> Fairness {
    let mut counted: Vec<Group> =
        (0..groups).map(|group| Group { name: group.to_string(), counts: Confusion::default() }).collect();
    for (row, group) in people.group.iter().enumerate() {
        counted[*group].counts.add(people.truth[row], people.said[row], 1.0);
    }
    fairness(&counted, 0.95)
}

#[test]
fn gaps_between_groups_are_fairlearns() {
    let cases = [(4_000, 2, 1), (3_001, 3, 2), (900, 6, 3), (60, 2, 4)];
    let samples = cases.map(|(rows, groups, seed)| people(rows, groups, seed));
    let told =
        samples.each_ref().map(|sample| json!({"y": sample.truth, "s": sample.said, "g": sample.group}));
    // Fairlearn takes seconds to begin, so it is asked once.
    let answers = python(
        "
import numpy as np
import fairlearn.metrics as f
def of(case):
    y, s, g = [np.array(case[k]).astype(int) for k in 'ysg']
    k = dict(sensitive_features=g)
    both = lambda name: [getattr(f, name + '_difference')(y, s, **k), getattr(f, name + '_ratio')(y, s, **k)]
    rates = dict(selected=f.selection_rate, tpr=f.true_positive_rate)
    by = f.MetricFrame(metrics=rates, y_true=y, y_pred=s, **k).by_group
    return dict(parity=both('demographic_parity'), opportunity=both('equal_opportunity'), odds=both('equalized_odds'),
      selected=by['selected'].tolist(), tpr=by['tpr'].tolist())
answer = [of(case) for case in data]
",
        &json!(told),
    );
    for (case, ((rows, groups, _), sample)) in cases.into_iter().zip(&samples).enumerate() {
        let expected = &answers[case];
        let what = |name: &str| format!("{name} of {groups} groups in {rows} rows");
        let found = found(sample, groups);
        let both = |gap: Option<&Gap>, name: &str| {
            let gap = gap.unwrap();
            close(gap.difference.estimate, &expected[name][0], &what(&format!("{name} difference")));
            close(gap.ratio.map(|ratio| ratio.estimate), &expected[name][1], &what(&format!("{name} ratio")));
        };
        both(found.demographic_parity.as_ref(), "parity");
        both(found.equal_opportunity.as_ref(), "opportunity");
        let odds = found.equalized_odds_difference().unwrap();
        close(odds.difference.estimate, &expected["odds"][0], &what("equalized odds difference"));
        let ratio = found.equalized_odds_ratio().map(|ratio| ratio.estimate);
        close(ratio, &expected["odds"][1], &what("equalized odds ratio"));
        let rates = |gap: Option<&Gap>, name: &str| {
            for (group, rate) in gap.unwrap().rates.iter().enumerate() {
                close(rate.map(|rate| rate.estimate), &expected[name][group], &what(name));
            }
        };
        rates(found.demographic_parity.as_ref(), "selected");
        rates(found.equal_opportunity.as_ref(), "tpr");
    }
}

#[test]
fn estimates_without_labels_are_those_that_nannyml_defines() {
    let mut random = Random::new(9, 0);
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..2_400 {
        let logit = 1.4 * random.normal() - 0.6;
        // Scores on a grid, too sure of themselves: many rows share one.
        scores.push((100.0 / (1.0 + (-1.7 * logit).exp())).round() / 100.0);
        labels.push(f64::from(u8::from(random.unit() < 1.0 / (1.0 + (-logit).exp()))));
    }
    let (reference, monitored) = scores.split_at(1_200);
    let said: Vec<bool> = monitored.iter().map(|score| *score >= 0.45).collect();
    let expected = python(
        "
import numpy as np
from sklearn.isotonic import IsotonicRegression
x, y, s = [np.array(data[k]) for k in 'xys']
said = np.array(data['said'])
# A calibrated probability p makes a positive answer right with chance p and wrong with 1 - p.
p = IsotonicRegression(out_of_bounds='clip', increasing=True).fit(x, y).predict(s)
def matrix(said):
    return [sum(p[said]), sum(1 - p[said]), sum(p[~said]), sum(1 - p[~said])]
tp, fp, fn, tn = matrix(said)
# Of every threshold the expected rates, and the area below their line.
line = [(0.0, 0.0)]
for t in sorted(set(s), reverse=True):
    a, b, c, d = matrix(s >= t)
    line.append((b / (b + d), a / (a + c)))
area = sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in zip(line, line[1:]))
answer = dict(accuracy=(tp + tn) / len(s), precision=tp / (tp + fp), recall=tp / (tp + fn), f1=tp / (tp + (fp + fn) / 2), auc=area)
",
        &json!({"x": reference, "y": labels[..1_200], "s": monitored, "said": said}),
    );
    let calibrated = Isotonic::fit(reference, &labels[..1_200], None).unwrap().map(monitored);
    let found = cbpe(&calibrated, monitored, &said).unwrap();
    for (figure, name) in [
        (Some(found.accuracy), "accuracy"),
        (found.precision, "precision"),
        (found.recall, "recall"),
        (found.f1, "f1"),
        (found.auc, "auc"),
    ] {
        close(figure, &expected[name], name);
    }
}
