//! A page as Markdown, for what people keep beside the code: tables, facts, sentences, and pictures with their numbers folded below.

use std::fmt::Write as _;

use crate::{Block, Cell, Empty, Figure, Page, Table};

/// Gives the address of a picture that is to be had as a file.
type Address<'a> = &'a dyn Fn(&Figure) -> String;

impl Page {
    /// As Markdown with tables. `picture` gives the address of the picture of a figure that is to be had as a file.
    pub fn written(&self, picture: &dyn Fn(&Figure) -> String) -> String {
        let mut writer = Writer { out: format!("# {}\n", plain(&self.title)), picture };
        sentence(&mut writer.out, &self.lead);
        self.blocks.iter().for_each(|block| writer.block(block, 2));
        writer.out
    }
}

/// Markdown that is being written.
struct Writer<'a> {
    out: String,
    picture: Address<'a>,
}

impl Writer<'_> {
    fn block(&mut self, block: &Block, level: usize) {
        let (out, picture) = (&mut self.out, self.picture);
        match block {
            Block::Section(section) => {
                heading(out, level, &section.title);
                sentence(out, &section.note);
                section.blocks.iter().for_each(|block| self.block(block, level + 1));
            }
            Block::Table(table) => write_table(out, table, picture),
            Block::Facts(facts) => {
                out.push('\n');
                for fact in &facts.items {
                    let _ = writeln!(out, "- **{}**: {}", plain(&fact.name), shown(&fact.value, picture));
                }
            }
            Block::Figure(figure) => self.figure(figure, level),
            Block::Figures(figures) => figures.iter().for_each(|figure| self.figure(figure, level)),
            Block::Columns(columns) => columns.iter().flatten().for_each(|block| self.block(block, level)),
            Block::Choose(_, _, blocks) => blocks.iter().for_each(|block| self.block(block, level)),
            Block::Heat(heat) => self.drawn(&heat.figure()),
            Block::Grid(grid) => self.drawn(&grid.figure()),
            Block::Stages(stages) => self.drawn(&stages.figure()),
            Block::Empty(empty) => write_empty(out, empty),
            Block::Text(text) => sentence(out, text),
            Block::Code(text) => fenced(out, text),
            Block::Log(log) => fenced(out, &log.lines.join("\n")),
            Block::Filter(_) | Block::Form(_) | Block::Markup(_) | Block::Image(..) | Block::Links(_) => {}
        }
    }

    fn figure(&mut self, figure: &Figure, level: usize) {
        let (out, picture) = (&mut self.out, self.picture);
        heading(out, level, &figure.title);
        if !figure.is_file() {
            sentence(out, &figure.note);
            write_table(out, &figure.table, picture);
            return;
        }
        self.drawn(figure);
    }

    /// A picture with its numbers folded below.
    fn drawn(&mut self, figure: &Figure) {
        let (out, picture) = (&mut self.out, self.picture);
        let _ = write!(out, "\n![{}]({})\n", plain(&figure.title), picture(figure));
        sentence(out, &figure.note);
        if !figure.table.rows.is_empty() {
            out.push_str("\n<details><summary>Numbers</summary>\n");
            write_table(out, &figure.table, picture);
            out.push_str("\n</details>\n");
        }
    }
}

fn heading(out: &mut String, level: usize, title: &str) {
    if !title.is_empty() {
        let _ = write!(out, "\n{} {}\n", "#".repeat(level.min(6)), plain(title));
    }
}

fn sentence(out: &mut String, text: &str) {
    if !text.is_empty() {
        let _ = write!(out, "\n{}\n", plain(text));
    }
}

/// Between fences that the text does not close.
fn fenced(out: &mut String, text: &str) {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let _ = write!(out, "\n{fence}\n{text}\n{fence}\n");
}

fn write_empty(out: &mut String, empty: &Empty) {
    sentence(out, &format!("{}. {}", empty.title.trim_end_matches('.'), empty.text));
}

fn write_table(out: &mut String, table: &Table, picture: Address<'_>) {
    if table.rows.is_empty() {
        if let Some(empty) = &table.empty {
            write_empty(out, empty);
        }
        return;
    }
    let heads: Vec<String> = table.columns.iter().map(|column| plain(&column.label)).collect();
    let _ = write!(out, "\n| {} |\n|{}\n", heads.join(" | "), " --- |".repeat(heads.len()));
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(|cell| shown(cell, picture)).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
}

/// A cell as people read it.
fn shown(cell: &Cell, picture: Address<'_>) -> String {
    match cell {
        Cell::Number(value) => crate::number(*value),
        Cell::Count(value) => crate::count(*value),
        Cell::Bytes(value) => crate::bytes(*value),
        Cell::Duration(value) => crate::duration(*value),
        Cell::Time(at, _) => format!("{} UTC", crate::moment(*at)),
        Cell::Many(cells) => cells.iter().map(|one| shown(one, picture)).collect::<Vec<_>>().join(", "),
        Cell::Curve(small) => format!("![{}]({})", plain(&small.words), picture(&small.figure())),
        _ => plain(&cell.plain()),
    }
}

/// Text whose signs mean nothing in Markdown, on one line.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Facts, Section};

    #[test]
    fn what_users_wrote_stays_text() {
        let table = Table::new("t", "T", &["name", "loss"])
            .with([vec![Cell::text("a|b\n# <script>"), Cell::Number(0.25)]]);
        let page = Page {
            title: "Card *of* x".into(),
            lead: "One.".into(),
            blocks: vec![
                Block::Facts(Facts::new("f").with("Size", Cell::Bytes(2048))),
                Block::Section(Section::new("s", "Part", vec![Block::Table(table)]).note("Why.")),
                Block::Table(Table::new("e", "", &["x"]).or(Empty::new("Nothing", "Do this."))),
                Block::Code("a ``` b".into()),
                Block::Figure(Box::new(Figure {
                    id: "loss".into(),
                    title: "Loss".into(),
                    picture: crate::Markup("<svg viewBox=\"0 0 1 1\"></svg>".into()),
                    table: Table::new("l", "", &["step"]).with([vec![Cell::Count(1)]]),
                    ..Figure::default()
                })),
            ],
            ..Page::default()
        };
        assert_eq!(
            page.written(&|figure| format!("{}.svg", figure.id)),
            "# Card \\*of\\* x\n\nOne.\n\n- **Size**: 2.0 KiB\n\n## Part\n\nWhy.\n\n| name | loss |\n| --- | --- |\n\
             | a\\|b \\# &lt;script&gt; | 0.25 |\n\nNothing. Do this.\n\n````\na ``` b\n````\n\n## Loss\n\n![Loss](loss.svg)\n\n\
             <details><summary>Numbers</summary>\n\n| step |\n| --- |\n| 1 |\n\n</details>\n"
        );
    }
}
