//! YAML 1.2 (core schema) from and to trees with places. The only module that knows a YAML library.
//!
//! Foreign bytes arrive here: size, depth and number of nodes are bounded, with aliases counted as what they
//! stand for.

mod build;
mod print;
mod scalar;

use std::sync::Arc;

use crate::node::Node;
use crate::report::{Diagnostic, Report};

pub(crate) use build::parse_tree;
pub(crate) use print::print;
pub(crate) use scalar::plain as plain_scalar;

/// Largest file, in bytes.
pub(crate) const MOST_BYTES: usize = 4 << 20;
/// Deepest nesting of lists and maps, aliases filled in.
pub(crate) const MOST_DEPTH: usize = 64;
/// Most nodes, aliases filled in.
pub(crate) const MOST_NODES: usize = 250_000;

/// The text of a file. The report names what is wrong with bytes that are none.
pub(crate) fn text_of(bytes: &[u8], file: &str) -> Result<Arc<str>, Report> {
    if bytes.len() > MOST_BYTES {
        let message =
            format!("the file is {} MiB large; at most {} MiB are read", bytes.len() >> 20, MOST_BYTES >> 20);
        let hint = "this is a place for declarations; keep data in files of its own".to_owned();
        return Err(Report::of(file, Diagnostic::new(&(0..0), message).hint(Some(hint))));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Arc::from(text)),
        Err(error) => {
            let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
            let line = 1 + good.matches('\n').count();
            let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
            let what = if utf16 { "looks like UTF-16" } else { "has a byte that is no text" };
            let message = format!("the file is not UTF-8: line {line} {what} (byte {})", error.valid_up_to());
            let problem = Diagnostic::new(&(0..0), message).expected("text in UTF-8");
            Err(Report::of(file, problem.hint(Some("save the file as UTF-8".to_owned()))))
        }
    }
}

/// Parses one document.
pub(crate) fn parse(text: &Arc<str>, file: &str) -> Result<Node, Report> {
    parse_tree(text).map_err(|problems| {
        let mut report = Report::default();
        for problem in problems {
            report.push(file, text, problem);
        }
        report
    })
}
