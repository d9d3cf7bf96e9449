//! The shape of a text: `N14228` is `A99999`. Digits become `9`, letters `a` or `A`, all else stays.

/// Characters of a mask; longer texts end in `…`.
const LONGEST: usize = 24;

/// The masks of ASCII's characters.
const ASCII: [u8; 128] = {
    let mut table = [0; 128];
    let mut byte = 0;
    while byte < 128 {
        table[byte as usize] = match byte {
            b'0'..=b'9' => b'9',
            b'a'..=b'z' => b'a',
            b'A'..=b'Z' => b'A',
            0..=31 | 127 => b'?',
            byte => byte,
        };
        byte += 1;
    }
    table
};

/// Writes the mask of `text` into `mask`.
pub(super) fn mask(text: &str, mask: &mut String) {
    mask.clear();
    if text.len() <= LONGEST && text.is_ascii() {
        let mut bytes = [0; LONGEST];
        for (to, byte) in bytes.iter_mut().zip(text.as_bytes()) {
            *to = ASCII[usize::from(byte & 127)];
        }
        mask.push_str(std::str::from_utf8(&bytes[..text.len()]).unwrap_or_default());
        return;
    }
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

/// Characters of an outline.
const OUTLINE: usize = 8;

/// A mask with runs of one kind told once, of its beginning: `A99999` is `A9`, so that texts of other lengths have the same.
pub(super) fn outline(mask: &str) -> String {
    let mut last = None;
    let mut found: String = mask.chars().filter(|c| last.replace(*c) != Some(*c)).take(OUTLINE + 1).collect();
    if found.chars().count() > OUTLINE {
        found.pop();
        found.push('…');
    }
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn outlines_are_the_same_for_texts_of_other_lengths() {
        let outline = |mask: &str| super::outline(mask);
        assert_eq!(outline("A99999"), outline("AA9"));
        assert_eq!(outline("9999-99-99 99:99"), "9-9-9 9:…");
        assert_eq!(outline("Aaa aaaa"), "Aa a");
        assert_eq!(outline(""), "");
    }

    #[test]
    fn shapes() {
        let mut mask = String::new();
        for (text, shape) in [
            ("N14228", "A99999"),
            ("a.b@c-1 É", "a.a@a-9 A"),
            ("", ""),
            ("a_Z:0\u{7f}", "a_A:9?"),
            ("tab\there", "aaa?aaaa"),
            ("abcdefghijklmnopqrstuvwxyz", "aaaaaaaaaaaaaaaaaaaaaaaa…"),
        ] {
            super::mask(text, &mut mask);
            assert_eq!(mask, shape);
        }
    }
}
