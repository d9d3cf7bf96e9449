//! The files of a run, and a look into those that people can read.

use tidemill_db::tracking::Run;
use tidemill_registry::artifacts::{ArtifactPath, Place};
use tidemill_registry::{Code, Error};
use tidemill_ui::{Block, Cell, Empty, Link, Section, Table, href, markdown};

use super::ask::Ask;

/// Items of a folder that are listed at once.
const LISTED: usize = 500;
/// Bytes of a file that are shown.
const SHOWN: u64 = 256 << 10;
/// Rows of a table that are shown.
const ROWS: usize = 200;

pub(super) async fn files(ask: &Ask, run: &Run) -> Result<Vec<Block>, Error> {
    let id = run.info.id.to_string();
    let path = ArtifactPath::parse(ask.get("path").unwrap_or_default())?;
    let root = run.info.artifact_uri.clone();
    let listed = list(ask, &root, &path).await;
    let above = Section::new(
        "listing",
        "",
        match listed {
            Ok(Some(table)) => vec![Block::Table(table)],
            Ok(None) => return file(ask, &id, &root, &path).await,
            Err(error) if error.code == Code::InvalidParameterValue => {
                vec![Block::Empty(Empty::new("The files are not kept by this server", error.message))]
            }
            Err(error) => return Err(error),
        },
    );
    Ok(vec![trail(&id, &path), Block::Section(above)])
}

/// What is in a folder; nothing where the path is a file.
async fn list(ask: &Ask, root: &str, path: &ArtifactPath) -> Result<Option<Table>, Error> {
    let registry = ask.app.registry();
    let place = Place::of(root)?.join(path)?;
    let page =
        registry.list_artifacts(&place, &ask.app.config().artifact_roots, ask.get("page"), LISTED).await?;
    if page.files.is_empty() && !path.is_root() {
        return Ok(None);
    }
    let rows = page.files.iter().map(|file| {
        let below =
            if path.is_root() { file.name.clone() } else { format!("{}/{}", path.as_str(), file.name) };
        let text = if file.bytes.is_none() { format!("{}/", file.name) } else { file.name.clone() };
        let address = ask.with(&[("path", &below)]);
        vec![Cell::link(address, text), file.bytes.map_or(Cell::None, Cell::Bytes)]
    });
    let mut table = Table::new("files", "Files", &["file", "size"]).with(rows).or(Empty::new(
        "No files",
        "A program leaves them with mlflow.log_artifact; outputs of steps are on the page of the pipeline's run.",
    ));
    table.pager = page.next.map(|next| tidemill_ui::Pager {
        next: Some(ask.with(&[("page", &next)])),
        shown: format!("{} files", table.rows.len()),
        ..tidemill_ui::Pager::default()
    });
    Ok(Some(table))
}

/// The folders above, each a link.
fn trail(run: &str, path: &ArtifactPath) -> Block {
    let address = |path: &str| href(&["runs", run], &[("tab", "files"), ("path", path)]);
    let mut links = vec![Link::new(href(&["runs", run], &[("tab", "files")]), "All files")];
    let parts: Vec<&str> = path.as_str().split('/').filter(|part| !part.is_empty()).collect();
    for end in 1..=parts.len() {
        links.push(Link::new(address(&parts[..end].join("/")), parts[end - 1]));
    }
    Block::Links(links)
}

async fn file(ask: &Ask, run: &str, root: &str, path: &ArtifactPath) -> Result<Vec<Block>, Error> {
    let registry = ask.app.registry();
    let place = registry.artifact_place(root).await?.join(path)?;
    let content = registry.artifact(&place, &ask.app.config().artifact_roots, path.as_str()).await?;
    let (size, owner) = (content.bytes(), registry.clone());
    let download = href(&["get-artifact"], &[("run_uuid", run), ("path", path.as_str())]);
    let mut blocks = vec![trail(run, path), Block::Links(vec![Link::new(download.clone(), "Download")])];
    let ending =
        path.name().rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    if matches!(ending.as_str(), "png" | "jpg" | "jpeg" | "gif" | "webp" | "svg" | "bmp") {
        blocks.push(Block::Image(download, format!("The picture {}", path.as_str())));
        return Ok(blocks);
    }
    let read = tokio::task::spawn_blocking(move || -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        for piece in owner.pieces(&content, 0..size.min(SHOWN))? {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    });
    let bytes = read.await.map_err(|error| Error::new(Code::InternalError, error.to_string()))??;
    let Some(text) = text_of(bytes, size > SHOWN) else {
        let why = "It holds no text. Download it, or read it with mlflow.artifacts.load_text or the program that wrote it.";
        blocks
            .push(Block::Empty(Empty::new(format!("{} of {}", path.name(), tidemill_ui::bytes(size)), why)));
        return Ok(blocks);
    };
    blocks.push(match ending.as_str() {
        "md" => Block::Markup(markdown(&text)),
        "csv" => Block::Table(cells(&text, ',')),
        "tsv" => Block::Table(cells(&text, '\t')),
        "json" => Block::Code(pretty(&text).unwrap_or(text)),
        _ => Block::Code(text),
    });
    if size > SHOWN {
        let (shown, all) = (tidemill_ui::bytes(SHOWN), tidemill_ui::bytes(size));
        blocks.push(Block::Text(format!("The first {shown} of {all} are shown; download it for the rest.")));
    }
    Ok(blocks)
}

/// Text, where the bytes are some; a character that was cut at the end is left out.
fn text_of(mut bytes: Vec<u8>, is_cut: bool) -> Option<String> {
    if bytes.contains(&0) {
        return None;
    }
    if is_cut && let Err(error) = std::str::from_utf8(&bytes) {
        let whole = error.valid_up_to();
        if bytes.len() - whole < 4 {
            bytes.truncate(whole);
        }
    }
    String::from_utf8(bytes).ok()
}

fn pretty(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    serde_json::to_string_pretty(&value).ok()
}

/// The first rows of a table of text (RFC 4180).
fn cells(text: &str, comma: char) -> Table {
    let mut rows = rows(text, comma).into_iter();
    let head = rows.next().unwrap_or_default();
    let width = head.len().min(100);
    let labels: Vec<&str> = head.iter().take(width).map(String::as_str).collect();
    Table::new("table", "The first rows", &labels).with(rows.map(|mut row| {
        row.resize(width, String::new());
        row.into_iter().map(Cell::text).collect()
    }))
}

fn rows(text: &str, comma: char) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            _ if quoted => cell.push(c),
            _ if c == comma => row.push(std::mem::take(&mut cell)),
            '\n' => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
                if rows.len() > ROWS {
                    return rows;
                }
            }
            '\r' => {}
            _ => cell.push(c),
        }
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_text() {
        let found = rows("a,b\r\n\"x,\"\"y\"\"\",\"two\nlines\"\nlast", ',');
        assert_eq!(found, [vec!["a", "b"], vec!["x,\"y\"", "two\nlines"], vec!["last"]]);
        let table = cells("a,b\n1,2,3\n4\n", ',');
        assert!(table.rows.iter().all(|row| row.len() == 2), "{table:?}");
    }

    #[test]
    fn bytes_are_no_text() {
        assert_eq!(text_of(vec![b'a', 0], false), None);
        assert_eq!(text_of("aü".as_bytes()[..2].to_vec(), true).as_deref(), Some("a"));
        assert_eq!(text_of(vec![0xff, 0xfe, b'x', b'y', b'z'], true), None);
    }
}
