//! `TreeEnsembleClassifier`: labels and scores of classes. The rules for two classes follow ONNX Runtime's, since the
//! standard leaves open what a single score, base values and weights of both signs mean together.

use super::build::{numbers_of, read};
use super::{Forest, Real, rows};
use crate::onnx::Attributes;
use crate::{ElementType, Tensor, Values};

use super::super::kernel::{Built, Call, Kernel, Outcome, Refusal, Surroundings};
use super::super::labels::Labels;
use super::super::post::{PostTransform, logistic, probit};

#[derive(Debug)]
struct Classifier {
    single: Classes<f32>,
    /// Only where the graph has values of 64 bits.
    double: Option<Classes<f64>>,
    labels: Labels,
}

/// Trees that score classes, in one precision.
#[derive(Debug)]
struct Classes<T> {
    forest: Forest<T>,
    classes: usize,
    base: Vec<T>,
    post: PostTransform,
    /// Two classes, and all weights speak for the same one.
    one_sided: bool,
    /// No weight is negative: then a single score is a probability.
    positive: bool,
}

/// Builds the operator.
pub(crate) fn classifier(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let labels = Labels::read(attributes, "classlabels_strings", "classlabels_int64s")?;
    if labels.len() == 0 {
        return Err(Refusal::Malformed("no class labels".to_owned()));
    }
    let single = classes(attributes, labels.len())?;
    let double = around.doubles.then(|| classes(attributes, labels.len())).transpose()?;
    Ok(Box::new(Classifier { single, double, labels }))
}

fn classes<T: Real>(attributes: &Attributes, classes: usize) -> Result<Classes<T>, Refusal> {
    let forest: Forest<T> = read(attributes, "class")?.build()?;
    if let Some((class, _)) = forest.weights().find(|(class, _)| *class as usize >= classes) {
        return Err(Refusal::Malformed(format!("a weight for class {class} of {classes}")));
    }
    let first = forest.first_target();
    let one_sided = classes == 2 && forest.weights().all(|(class, _)| Some(class) == first);
    let positive = forest.weights().all(|(_, weight)| weight >= T::ZERO);
    let base: Vec<T> = numbers_of(attributes, "base_values")?;
    if base.len() > classes {
        return Err(Refusal::Malformed(format!("{} base values for {classes} classes", base.len())));
    }
    Ok(Classes { forest, classes, base, post: PostTransform::read(attributes)?, one_sided, positive })
}

impl Kernel for Classifier {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.tensor(0)?;
        let (places, scores) = match &self.double {
            Some(double) if x.element() == ElementType::F64 => double.run(call, x)?,
            _ => self.single.run(call, x)?,
        };
        let rows = places.len();
        call.give(vec![rows], self.labels.pick(&places))?;
        // A single class has one score; two have two even where trees give one.
        call.give(vec![rows, self.labels.len()], Values::F32(scores))
    }

    fn memory_bytes(&self) -> u64 {
        let double = self.double.as_ref().map_or(0, |double| double.forest.memory_bytes());
        self.single.forest.memory_bytes() + double + self.labels.memory_bytes()
    }
}

impl<T: Real> Classes<T> {
    /// Places of the labels, and the scores.
    fn run(&self, call: &Call<'_>, x: &Tensor) -> Outcome<(Vec<usize>, Vec<f32>)> {
        let (values, count, width) = rows(&self.forest, x)?;
        let size = call.bounded(&[count, self.classes])?;
        let mut places = Vec::with_capacity(count);
        let mut answers = vec![0.0; size];
        if self.one_sided || self.classes == 1 {
            // All weights are of one class: sums alone say everything.
            let class = self.forest.first_target().map_or(0, |class| class as usize);
            let mut sums = vec![T::ZERO; count];
            self.forest.add_first_weights(&values, width, &mut sums);
            for (sum, answer) in sums.into_iter().zip(answers.chunks_exact_mut(self.classes)) {
                let mut scores = [T::ZERO; 2];
                let mut seen = [false; 2];
                scores[class] = sum;
                seen[class] = true;
                places.push(self.few(scores, seen, answer));
            }
            return Ok((places, answers));
        }
        let mut scores = vec![T::ZERO; size];
        let mut seen = vec![false; size];
        self.forest.each_weights(&values, width, |row, weights| {
            for (class, weight) in weights {
                let place = row * self.classes + *class as usize;
                scores[place] += *weight;
                seen[place] = true;
            }
        });
        let rows = scores.chunks_exact_mut(self.classes).zip(seen.chunks_exact_mut(self.classes));
        for ((scores, seen), answer) in rows.zip(answers.chunks_exact_mut(self.classes)) {
            places.push(match (&*scores, &*seen) {
                ([first, second], [saw_first, saw_second]) => {
                    self.few([*first, *second], [*saw_first, *saw_second], answer)
                }
                _ => self.many(scores, seen, answer),
            });
        }
        Ok((places, answers))
    }

    /// Three classes or more: the largest score wins.
    fn many(&self, scores: &mut [T], seen: &mut [bool], answer: &mut [f32]) -> usize {
        for ((score, seen), base) in scores.iter_mut().zip(seen.iter_mut()).zip(&self.base) {
            *score += *base;
            *seen = true;
        }
        let mut best: Option<(usize, T)> = None;
        for (place, (score, seen)) in scores.iter().zip(seen.iter()).enumerate() {
            if *seen && best.is_none_or(|(_, largest)| *score > largest) {
                best = Some((place, *score));
            }
        }
        answer.iter_mut().zip(scores.iter()).for_each(|(to, from)| *to = from.to_f32());
        self.post.apply(answer);
        best.map_or(0, |(place, _)| place)
    }

    /// One class or two.
    fn few(&self, mut scores: [T; 2], seen: [bool; 2], answer: &mut [f32]) -> usize {
        let mut both = true;
        match self.base.as_slice() {
            [_, second] if seen[1] => {
                // The first base value is not used.
                scores[1] = *second + scores[0];
                scores[0] = T::from_f64(-f64::from(scores[1].to_f32()));
            }
            [first, second] => {
                scores[1] += *second;
                scores[0] += *first;
            }
            [first] => {
                scores[0] += *first;
                both = seen[1];
            }
            _ => both = seen[1],
        }
        // A class that no leaf spoke of has the score 0, whatever its base value.
        for (score, seen) in scores.iter_mut().zip(seen) {
            if !seen {
                *score = T::ZERO;
            }
        }
        let decisive = if both && seen[1] { scores[1] } else { scores[0] };
        let (place, probability) = if self.one_sided && self.positive {
            (usize::from(decisive > T::from_f32(0.5)), true)
        } else {
            (usize::from(decisive > T::ZERO), false)
        };
        let [first, second] = scores.map(Real::to_f32);
        match answer {
            [one, two] if both => {
                (*one, *two) = (first, second);
                self.post.apply(answer);
            }
            [one, two] => {
                (*one, *two) = match self.post {
                    PostTransform::Probit => (probit(first), 0.0),
                    PostTransform::Logistic => (logistic(-first), logistic(first)),
                    _ if probability => (1.0 - first, first),
                    _ => (-first, first),
                };
            }
            [one] => *one = if self.post == PostTransform::Probit { probit(first) } else { first },
            _ => {}
        }
        place.min(self.classes - 1)
    }
}
