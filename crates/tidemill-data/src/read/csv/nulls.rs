//! Texts that mean null.

/// A few texts, and which bytes they begin with: most values begin with another one and need no comparison.
pub(super) struct Nulls {
    texts: Vec<String>,
    empty: bool,
    begins: [bool; 256],
}

impl Nulls {
    pub(super) fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut nulls = Self { texts: Vec::new(), empty: false, begins: [false; 256] };
        for text in texts {
            match text.as_bytes().first() {
                None => nulls.empty = true,
                Some(&byte) => nulls.begins[usize::from(byte)] = true,
            }
            nulls.texts.push(text.to_owned());
        }
        nulls
    }

    pub(super) fn contains(&self, text: &str) -> bool {
        match text.as_bytes().first() {
            None => self.empty,
            Some(&byte) => self.begins[usize::from(byte)] && self.texts.iter().any(|null| null == text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_texts_only() {
        let nulls = Nulls::new(["", "NA", "é"]);
        for (text, null) in
            [("", true), ("NA", true), ("é", true), ("N", false), ("NAN", false), ("è", false), (" ", false)]
        {
            assert_eq!(nulls.contains(text), null, "{text}");
        }
        assert!(!Nulls::new(["NA"]).contains(""));
    }
}
