//! The shape of a text: `N14228` is `A99999`. Digits become `9`, letters `a` or `A`, all else stays.

/// Characters of a mask; longer texts end in `…`.
const LONGEST: usize = 24;

/// Writes the mask of `text` into `mask`.
pub(super) fn mask(text: &str, mask: &mut String) {
    mask.clear();
    for (place, c) in text.chars().enumerate() {
        if place == LONGEST {
            mask.push('…');
            return;
        }
        mask.push(match c {
            '0'..='9' => '9',
            'a'..='z' => 'a',
            'A'..='Z' => 'A',
            c if c.is_numeric() => '9',
            c if c.is_uppercase() => 'A',
            c if c.is_alphabetic() => 'a',
            c if c.is_control() => '?',
            c => c,
        });
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn shapes() {
        let mut mask = String::new();
        for (text, shape) in [
            ("N14228", "A99999"),
            ("a.b@c-1 É", "a.a@a-9 A"),
            ("", ""),
            ("tab\there", "aaa?aaaa"),
            ("abcdefghijklmnopqrstuvwxyz", "aaaaaaaaaaaaaaaaaaaaaaaa…"),
        ] {
            super::mask(text, &mut mask);
            assert_eq!(mask, shape);
        }
    }
}
