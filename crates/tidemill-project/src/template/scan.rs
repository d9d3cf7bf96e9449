//! Finds `${…}` in a text.

use std::ops::Range;

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Stands as it is.
    Literal(Range<usize>),
    /// `$${`: a literal `${`.
    Escape,
    /// `${…}`, with the range of what is between the braces.
    Reference { whole: Range<usize>, inner: Range<usize> },
    /// `${` that is never closed.
    Open(usize),
}

pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut done = 0;
    let mut at = 0;
    let literal = |pieces: &mut Vec<Piece>, from: usize, to: usize| {
        if from < to {
            pieces.push(Piece::Literal(from..to));
        }
    };
    while let Some(found) = text[at..].find('$').map(|i| at + i) {
        let rest = &text[found..];
        if rest.starts_with("$${") {
            literal(&mut pieces, done, found);
            pieces.push(Piece::Escape);
            done = found + 3;
            at = done;
        } else if rest.starts_with("${") {
            literal(&mut pieces, done, found);
            let inner = found + 2;
            match text[inner..].find('}').map(|i| inner + i) {
                // `${a-${b}}`: the outer one is no key; its `${` stands for itself and the inner one is seen.
                Some(end) if !text[inner..end].contains("${") => {
                    pieces.push(Piece::Reference { whole: found..end + 1, inner: inner..end });
                    done = end + 1;
                }
                _ => {
                    pieces.push(Piece::Open(found));
                    done = inner;
                }
            }
            at = done;
        } else {
            at = found + 1;
        }
    }
    literal(&mut pieces, done, text.len());
    pieces
}

/// Whether a text is exactly one `${key}`.
pub(crate) fn is_reference(text: &str) -> bool {
    matches!(pieces(text).as_slice(), [Piece::Reference { inner, .. }] if super::key_parts(&text[inner.clone()]).is_some())
}
