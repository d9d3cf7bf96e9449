//! A page for programs: everything that has numbers as JSON, one table as CSV, or one picture as SVG.

use serde_json::{Map, Value, json};

use crate::block::Numbers;
use crate::{Page, Table, Total};

impl Page {
    /// All tables and facts, by their names within the page. A table is `rows` of objects, and `next` where it goes on.
    pub fn json(&self) -> Value {
        let mut data = Map::new();
        self.walk(&mut |numbers| {
            if let Some(table) = numbers.table().filter(|table| !table.id.is_empty()) {
                let rows: Vec<Value> = table.rows.iter().map(|row| object(table, row)).collect();
                let mut entry = json!({ "rows": rows });
                if let Some(next) = table.next() {
                    entry["next"] = json!(next);
                }
                match table.total() {
                    Some(Total::Exactly(all)) => entry["total"] = json!(all),
                    Some(Total::MoreThan(all)) => entry["more_than"] = json!(all),
                    None => {}
                }
                data.insert(table.id.clone(), entry);
            }
            match numbers {
                Numbers::Facts(facts) => {
                    let facts_of = facts.items.iter().map(|fact| (fact.name.clone(), fact.value.value()));
                    data.insert(facts.id.clone(), Value::Object(facts_of.collect()));
                }
                Numbers::Lines(id, lines) => {
                    data.insert(id.to_owned(), json!({ "lines": lines }));
                }
                Numbers::Table(_)
                | Numbers::Figure(_)
                | Numbers::Heat(_)
                | Numbers::Grid(_)
                | Numbers::Stages(_) => {}
            }
        });
        json!({ "title": self.title, "data": data })
    }

    /// One picture as an SVG file: that of the named figure or small curve, or else the first figure; nothing where there is none such.
    pub fn picture(&self, name: Option<&str>) -> Option<String> {
        let mut found = None;
        self.walk(&mut |numbers| {
            if found.is_some() {
                return;
            }
            let is_wanted = |id: &str| name.is_none_or(|name| id == name);
            found = match numbers {
                Numbers::Figure(figure) if is_wanted(&figure.id) => figure.svg(),
                Numbers::Heat(heat) if is_wanted(&heat.table.id) => heat.figure().svg(),
                Numbers::Grid(grid) if is_wanted(&grid.table.id) => grid.figure().svg(),
                Numbers::Stages(stages) if is_wanted(&stages.table.id) => stages.figure().svg(),
                _ => name.and_then(|name| numbers.small(name)?.figure().svg()),
            };
        });
        found
    }

    /// One table as CSV (RFC 4180): the named one, or else the first that has rows; nothing where there is none such.
    pub fn csv(&self, name: Option<&str>) -> Option<String> {
        let mut found: Option<&Table> = None;
        self.walk(&mut |numbers| {
            if let Some(table) = numbers.table() {
                let is_wanted = name.map_or(!table.rows.is_empty(), |name| table.id == name);
                if is_wanted && found.is_none() {
                    found = Some(table);
                }
            }
        });
        let table = found?;
        let mut out = line(table.columns.iter().map(|column| column.name().to_owned()));
        for row in &table.rows {
            out.push_str(&line(row.iter().map(crate::Cell::plain)));
        }
        Some(out)
    }
}

fn object(table: &Table, row: &[crate::Cell]) -> Value {
    let cells = table.columns.iter().zip(row);
    let shown = cells.filter(|(column, _)| !column.name().is_empty());
    Value::Object(shown.map(|(column, cell)| (column.name().to_owned(), cell.value())).collect())
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.map(|cell| quoted(&cell)).collect();
    format!("{}\r\n", cells.join(","))
}

/// In quotes where it has to be. Text that a spreadsheet would run as a formula gets a quotation mark before it, which
/// spreadsheets do not show.
fn quoted(cell: &str) -> String {
    let formula = cell.starts_with(['=', '@', '\t', '\r'])
        || (cell.starts_with(['+', '-']) && cell.parse::<f64>().is_err());
    let cell = if formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Block, Cell, Facts};

    fn page() -> Page {
        let table = Table::new("runs", "Runs", &["name", "loss", ""]).with([
            vec![Cell::link("/runs/1", "a \"b\", c"), Cell::Number(f64::NAN), Cell::None],
            vec![Cell::text("=cmd|x"), Cell::Number(-1.5), Cell::None],
        ]);
        let facts = Facts::new("about").with("size", Cell::Bytes(12));
        Page { title: "T".into(), blocks: vec![Block::Facts(facts), Block::Table(table)], ..Page::default() }
    }

    #[test]
    fn json_has_every_number() {
        assert_eq!(
            page().json(),
            json!({"title": "T", "data": {
                "about": {"size": 12},
                "runs": {"rows": [{"name": "a \"b\", c", "loss": "NaN"}, {"name": "=cmd|x", "loss": -1.5}]},
            }})
        );
    }

    #[test]
    fn csv_is_safe_for_spreadsheets() {
        let text = page().csv(None).unwrap();
        assert_eq!(text, "name,loss,\r\n\"a \"\"b\"\", c\",NaN,\r\n'=cmd|x,-1.5,\r\n");
        assert_eq!(page().csv(Some("nothing")), None);
    }
}
