//! Columns of text, aligned; nothing is cut, since the output is also read by programs like `grep`.

use anstyle::Style;

/// Which side of a column its cells keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows of cells under a heading.
#[derive(Debug)]
pub(crate) struct Table {
    heads: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(heads: &[(&str, Align)]) -> Self {
        Self {
            heads: heads.iter().map(|(head, align)| ((*head).to_owned(), *align)).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row of as many cells as there are headings.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<String> = cells.into_iter().collect();
        cells.resize(self.heads.len(), String::new());
        self.rows.push(cells);
    }

    /// Whether there are no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, two spaces between columns, no spaces at the ends of lines.
    pub(crate) fn lines(&self, head_style: Option<Style>) -> Vec<String> {
        let widths: Vec<usize> = (0..self.heads.len())
            .map(|i| {
                let cells = self.rows.iter().map(|row| width(&row[i])).max().unwrap_or(0);
                cells.max(width(&self.heads[i].0))
            })
            .collect();
        let heads: Vec<String> = self.heads.iter().map(|(head, _)| head.clone()).collect();
        let mut lines = Vec::with_capacity(self.rows.len() + 1);
        if heads.iter().any(|head| !head.is_empty()) {
            let line = self.line(&heads, &widths);
            lines.push(match head_style {
                Some(style) => format!("{style}{line}{style:#}"),
                None => line,
            });
        }
        lines.extend(self.rows.iter().map(|row| self.line(row, &widths)));
        lines
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (i, cell) in cells.iter().enumerate() {
            if i > 0 {
                line.push_str("  ");
            }
            let gap = " ".repeat(widths[i].saturating_sub(width(cell)));
            match self.heads[i].1 {
                Align::Left => line.extend([cell.as_str(), &gap]),
                Align::Right => line.extend([gap.as_str(), cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Characters on the screen: escape sequences take no room.
fn width(text: &str) -> usize {
    let mut width = 0;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            for c in chars.by_ref() {
                if c.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            width += 1;
        }
    }
    width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[("step", Align::Left), ("rows", Align::Right)]);
        table.row(["features".to_owned(), "336,776".to_owned()]);
        table.row(["\u{1b}[32mok\u{1b}[0m".to_owned(), "1".to_owned()]);
        assert_eq!(
            table.lines(None),
            ["step         rows", "features  336,776", "\u{1b}[32mok\u{1b}[0m              1"]
        );
    }
}
