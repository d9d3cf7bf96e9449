//! "Did you mean": the closest of some known words.

/// The candidate closest to `word`, if it is close enough to be what the user meant.
///
/// Distance is optimal string alignment (insert, delete, replace, swap of neighbours, each 1) over characters,
/// ignoring case; at most a third of the word's length, and at least 1, is "close enough". Ties go to the first.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// ``did you mean `x`?`` if something is close, otherwise the list of what is known, otherwise nothing.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(found) = closest(word, candidates.iter().copied()) {
        return Some(format!("did you mean `{found}`?"));
    }
    match candidates.len() {
        0 => None,
        1..=12 => Some(format!("known: {}", quoted(&candidates))),
        more => Some(format!("known: {} and {} more", quoted(&candidates[..12]), more - 12)),
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_was_meant() {
        let known = ["pipeline", "params", "project", "tests", "triggers"];
        for (word, meant) in [
            ("pipline", Some("pipeline")),
            ("Pipeline", Some("pipeline")),
            ("tets", Some("tests")),
            ("trigers", Some("triggers")),
            ("monitoring", None),
            ("x", None),
        ] {
            assert_eq!(closest(word, known), meant, "{word}");
        }
    }

    #[test]
    fn a_list_where_nothing_is_close() {
        assert_eq!(did_you_mean("zzz", ["a", "bb"]).as_deref(), Some("known: `a`, `bb`"));
        assert_eq!(did_you_mean("zzz", []), None);
    }
}
