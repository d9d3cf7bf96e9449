//! Operators over texts: `StringNormalizer`, `Tokenizer` and `TfIdfVectorizer`.

use std::collections::{HashMap, HashSet};

use regex::Regex;

use super::kernel::{Built, Call, Kernel, Outcome, Refusal, Surroundings};
use crate::{Tensor, Values};

/// The longest pattern of a tokenizer, compiled.
const MAX_PATTERN_BYTES: usize = 1 << 20;

fn utf8(text: &[u8]) -> Outcome<&str> {
    std::str::from_utf8(text).map_err(|_| "a text that is not UTF-8".to_owned())
}

fn texts(tensor: &Tensor) -> Outcome<&[Vec<u8>]> {
    match tensor.values() {
        Values::Bytes(texts) => Ok(texts),
        other => Err(format!("elements of type {} where texts are expected", other.element())),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Keep,
    Lower,
    Upper,
}

impl Case {
    fn apply(self, text: &str, ascii: bool) -> String {
        match self {
            Self::Keep => text.to_owned(),
            Self::Lower if ascii => text.to_ascii_lowercase(),
            Self::Upper if ascii => text.to_ascii_uppercase(),
            Self::Lower => text.chars().map(|c| single(c, c.to_lowercase())).collect(),
            Self::Upper => text.chars().map(|c| single(c, c.to_uppercase())).collect(),
        }
    }
}

/// Character by character, as `towlower` has it: what would become two stays.
fn single(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

#[derive(Debug)]
struct StringNormalizer {
    case: Case,
    sensitive: bool,
    /// Only the letters of ASCII have cases, as in the locale `C`.
    ascii: bool,
    stop_words: HashSet<String>,
}

/// Builds `StringNormalizer`.
pub(crate) fn string_normalizer(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let case = match attributes.text("case_change_action")?.unwrap_or("NONE") {
        "NONE" => Case::Keep,
        "LOWER" => Case::Lower,
        "UPPER" => Case::Upper,
        other => return Err(Refusal::Malformed(format!("case_change_action `{other}`"))),
    };
    let sensitive = attributes.flag("is_case_sensitive", false)?;
    let ascii = matches!(attributes.text("locale")?, Some("C" | "POSIX"));
    let fold = |word: &str| if sensitive { word.to_owned() } else { Case::Lower.apply(word, ascii) };
    let stop_words =
        attributes.texts("stopwords")?.iter().map(|word| utf8(word).map(fold)).collect::<Result<_, _>>()?;
    Ok(Box::new(StringNormalizer { case, sensitive, ascii, stop_words }))
}

impl Kernel for StringNormalizer {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.tensor(0)?;
        let one_row = match x.shape() {
            [_] => false,
            [1, _] => true,
            other => return Err(format!("texts of shape {other:?}, where [C] or [1, C] are taken")),
        };
        let mut kept = Vec::new();
        for text in texts(x)? {
            let text = utf8(text)?;
            let stopped = !self.stop_words.is_empty()
                && if self.sensitive {
                    self.stop_words.contains(text)
                } else {
                    self.stop_words.contains(&Case::Lower.apply(text, self.ascii))
                };
            if !stopped {
                kept.push(self.case.apply(text, self.ascii).into_bytes());
            }
        }
        if kept.is_empty() {
            kept.push(Vec::new());
        }
        let shape = if one_row { vec![1, kept.len()] } else { vec![kept.len()] };
        call.give(shape, Values::Bytes(kept))
    }
}

#[derive(Debug)]
enum Cut {
    /// Each character is a token.
    Characters,
    /// What the pattern matches is a token.
    Tokens(Regex),
    /// What lies between matches of the patterns is a token.
    Separators(Vec<Regex>),
}

#[derive(Debug)]
struct Tokenizer {
    cut: Cut,
    mark: bool,
    padding: Vec<u8>,
    shortest: usize,
}

/// Builds `com.microsoft.Tokenizer`.
pub(crate) fn tokenizer(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let compile = |pattern: &[u8]| -> Result<Regex, Refusal> {
        regex::RegexBuilder::new(utf8(pattern)?)
            .size_limit(MAX_PATTERN_BYTES)
            .build()
            .map_err(|error| Refusal::Missing(format!("a pattern that is not understood: {error}")))
    };
    let separators = attributes.texts("separators")?;
    let cut = match attributes.bytes("tokenexp")? {
        Some(pattern) if !pattern.is_empty() => Cut::Tokens(compile(pattern)?),
        _ => match separators {
            [] => return Err(Refusal::Malformed("neither tokenexp nor separators".to_owned())),
            [only] if only.is_empty() => Cut::Characters,
            several => Cut::Separators(several.iter().map(|one| compile(one)).collect::<Result<_, _>>()?),
        },
    };
    let shortest = attributes.int("mincharnum")?.unwrap_or(1);
    Ok(Box::new(Tokenizer {
        cut,
        mark: attributes.flag("mark", false)?,
        padding: attributes.bytes("pad_value")?.unwrap_or_default().to_vec(),
        shortest: usize::try_from(shortest).map_err(|_| format!("mincharnum {shortest}"))?,
    }))
}

impl Tokenizer {
    fn tokens<'a>(&self, text: &'a str, tokens: &mut Vec<&'a str>) {
        let long_enough = |token: &&str| !token.is_empty() && token.chars().count() >= self.shortest;
        match &self.cut {
            Cut::Characters => tokens.extend(text.split_inclusive(|_: char| true)),
            Cut::Tokens(pattern) => {
                tokens.extend(pattern.find_iter(text).map(|found| found.as_str()).filter(long_enough));
            }
            Cut::Separators(patterns) => {
                let mut parts = vec![text];
                for pattern in patterns {
                    parts =
                        parts.into_iter().flat_map(|part| pattern.split(part)).filter(long_enough).collect();
                }
                tokens.extend(parts);
            }
        }
    }
}

impl Kernel for Tokenizer {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.tensor(0)?;
        if !(1..=2).contains(&x.shape().len()) {
            return Err(format!("texts of shape {:?}, where [C] or [N, C] are taken", x.shape()));
        }
        let mut ends = Vec::with_capacity(x.values().len());
        let mut tokens: Vec<&str> = Vec::new();
        for text in texts(x)? {
            self.tokens(utf8(text)?, &mut tokens);
            ends.push(tokens.len());
        }
        let mut start = 0;
        let most = ends.iter().map(|end| end - std::mem::replace(&mut start, *end)).max().unwrap_or(0);
        let marks = if self.mark { 2 } else { 0 };
        let width = if most == 0 { 0 } else { most + marks };
        let mut shape = x.shape().to_vec();
        shape.push(width);
        let mut values: Vec<Vec<u8>> = Vec::with_capacity(call.bounded(&shape)?);
        if width > 0 {
            let mut start = 0;
            for end in ends {
                let own = &tokens[start..end];
                start = end;
                if self.mark {
                    values.push(vec![0x02]);
                }
                values.extend(own.iter().map(|token| token.as_bytes().to_vec()));
                if self.mark {
                    values.push(vec![0x03]);
                }
                values.extend(std::iter::repeat_n(self.padding.clone(), most - own.len()));
            }
        }
        call.give(shape, Values::Bytes(values))
    }
}

/// A word of the vocabulary by its number; words that occur in no n-gram have none.
#[derive(Debug)]
enum Words {
    Texts(HashMap<Vec<u8>, u32>),
    Ints(HashMap<i64, u32>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weighting {
    Frequency,
    Presence,
    Weighted,
}

#[derive(Debug)]
struct TfIdf {
    words: Words,
    /// From an n-gram and the next word to the n-gram with that word; the empty n-gram is 0.
    longer: HashMap<(u32, u32), u32>,
    /// The output column of each n-gram.
    columns: Vec<Option<u32>>,
    width: usize,
    shortest: usize,
    longest: usize,
    /// Distances between words that are tried.
    distances: usize,
    weighting: Weighting,
    weights: Vec<f32>,
}

/// Builds `TfIdfVectorizer`.
pub(crate) fn tf_idf(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let length = |name: &str| -> Outcome<usize> {
        let value = attributes.int(name)?.ok_or_else(|| format!("no {name}"))?;
        usize::try_from(value).map_err(|_| format!("{name} {value}"))
    };
    let weighting = match attributes.text("mode")?.unwrap_or_default() {
        "TF" => Weighting::Frequency,
        "IDF" => Weighting::Presence,
        "TFIDF" => Weighting::Weighted,
        other => return Err(Refusal::Malformed(format!("mode `{other}`"))),
    };
    let columns_of = attributes.ints("ngram_indexes")?;
    let mut width = 0;
    for column in columns_of {
        let column = u32::try_from(*column).map_err(|_| format!("output column {column}"))?;
        width = width.max(column as usize + 1);
    }
    let weights = attributes.floats("weights")?.to_vec();
    if !weights.is_empty() && weights.len() != columns_of.len() {
        return Err(Refusal::Malformed("weights and ngram_indexes of different lengths".to_owned()));
    }
    let (shortest, longest) = (length("min_gram_length")?.max(1), length("max_gram_length")?);
    let distances = length("max_skip_count")?.saturating_add(1);
    let texts = attributes.texts("pool_strings")?;
    let (pool, words) = if texts.is_empty() {
        let (pool, words) = number(attributes.ints("pool_int64s")?.iter().copied());
        (pool, Words::Ints(words))
    } else {
        let (pool, words) = number(texts.iter().cloned());
        (pool, Words::Texts(words))
    };
    let mut vectorizer = TfIdf {
        words,
        longer: HashMap::new(),
        columns: vec![None],
        width,
        shortest,
        longest,
        distances,
        weighting,
        weights,
    };
    vectorizer.learn(&pool, attributes.ints("ngram_counts")?, columns_of)?;
    Ok(Box::new(vectorizer))
}

/// The pool in numbers of its words.
fn number<K: std::hash::Hash + Eq>(pool: impl Iterator<Item = K>) -> (Vec<u32>, HashMap<K, u32>) {
    let mut words = HashMap::new();
    let pool = pool
        .map(|word| {
            let next = words.len() as u32;
            *words.entry(word).or_insert(next)
        })
        .collect();
    (pool, words)
}

impl TfIdf {
    /// Takes the n-grams of all lengths: `starts[n - 1]` is where those of n words start in the pool.
    fn learn(&mut self, pool: &[u32], starts: &[i64], columns: &[i64]) -> Outcome {
        let mut next = 0;
        for (index, start) in starts.iter().enumerate() {
            let size = index + 1;
            let end = starts.get(size).copied().unwrap_or(pool.len() as i64);
            let part = usize::try_from(*start).ok().zip(usize::try_from(end).ok());
            let Some(part) = part.and_then(|(start, end)| pool.get(start..end)) else {
                return Err(format!("{size}-grams from {start} to {end} of a pool of {}", pool.len()));
            };
            for gram in part.chunks(size) {
                let mut at = 0;
                for word in gram {
                    let fresh = self.columns.len() as u32;
                    at = *self.longer.entry((at, *word)).or_insert(fresh);
                    if at == fresh {
                        self.columns.push(None);
                    }
                }
                let column = columns.get(next).ok_or_else(|| "more n-grams than ngram_indexes".to_owned())?;
                next += 1;
                if (self.shortest..=self.longest).contains(&size) {
                    self.columns[at as usize] = Some(*column as u32);
                }
            }
        }
        Ok(())
    }

    fn count(&self, words: &[Option<u32>], counts: &mut [f32]) {
        let mut hit = |at: u32| {
            if let Some(column) = self.columns[at as usize] {
                counts[column as usize] += 1.0;
            }
        };
        let mut shortest = self.shortest;
        if shortest == 1 {
            // Single words have no distance.
            words.iter().flatten().filter_map(|word| self.longer.get(&(0, *word))).for_each(|at| hit(*at));
            shortest = 2;
        }
        if shortest > self.longest {
            return;
        }
        for distance in 1..=self.distances.min(words.len()) {
            for start in 0..words.len() {
                let mut at = 0;
                let spaced = words[start..].iter().step_by(distance).take(self.longest);
                for (index, word) in spaced.enumerate() {
                    let Some(next) = word.and_then(|word| self.longer.get(&(at, word))) else { break };
                    at = *next;
                    if index + 1 >= shortest {
                        hit(at);
                    }
                }
            }
        }
    }
}

impl Kernel for TfIdf {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.tensor(0)?;
        let (rows, length, shape) = match x.shape() {
            [length] => (1, *length, vec![self.width]),
            [rows, length] => (*rows, *length, vec![*rows, self.width]),
            other => return Err(format!("words of shape {other:?}, where [C] or [N, C] are taken")),
        };
        let words: Vec<Option<u32>> = match (&self.words, x.values()) {
            (Words::Texts(words), Values::Bytes(values)) => {
                values.iter().map(|value| words.get(value).copied()).collect()
            }
            (Words::Ints(words), Values::I64(values)) => {
                values.iter().map(|value| words.get(value).copied()).collect()
            }
            (Words::Ints(words), Values::I32(values)) => {
                values.iter().map(|value| words.get(&i64::from(*value)).copied()).collect()
            }
            (_, other) => return Err(format!("words of type {}", other.element())),
        };
        let mut counts = vec![0.0; call.bounded(&[rows, self.width])?];
        for (row, counts) in counts.chunks_exact_mut(self.width.max(1)).enumerate() {
            self.count(&words[row * length..(row + 1) * length], counts);
            match self.weighting {
                Weighting::Frequency => {}
                Weighting::Presence => counts.iter_mut().for_each(|count| *count = count.min(1.0)),
                Weighting::Weighted => {}
            }
            if self.weighting != Weighting::Frequency {
                counts.iter_mut().zip(&self.weights).for_each(|(count, weight)| *count *= *weight);
            }
        }
        call.give(shape, Values::F32(counts))
    }

    fn memory_bytes(&self) -> u64 {
        let words = match &self.words {
            Words::Texts(words) => words.keys().map(|word| word.len() as u64 + 40).sum(),
            Words::Ints(words) => words.len() as u64 * 16,
        };
        words + self.longer.len() as u64 * 16 + self.columns.len() as u64 * 8 + self.weights.len() as u64 * 4
    }
}
