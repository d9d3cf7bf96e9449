//! The files of a run and of the models that it made, and a look into those that people can read.

use tidemill_db::logged_models::LoggedModel;
use tidemill_db::tracking::Run;
use tidemill_registry::artifacts::{ArtifactPath, Content, Place};
use tidemill_registry::{Code, Error, Registry};
use tidemill_ui::{Block, Cell, Empty, Link, Section, Table, href, markdown};

use super::ask::Ask;

/// Items of a folder that are listed at once.
const LISTED: usize = 500;
/// Bytes of a file that are shown.
const SHOWN: u64 = 256 << 10;
/// Models of a run that are shown.
const MODELS: usize = 20;
/// Rows of a table that are shown.
const ROWS: usize = 200;

/// Whose files they are.
struct Shelf {
    run: String,
    /// The model that the run made and whose files they are; those of the run itself without one.
    model: Option<String>,
    /// Where they are: a URI.
    root: String,
}

impl Shelf {
    /// The page of a folder or a file.
    fn page(&self, path: &str) -> String {
        let all = [("tab", "files"), ("model", self.model.as_deref().unwrap_or_default()), ("path", path)];
        let given: Vec<_> = all.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        href(&["runs", &self.run], &given)
    }

    /// Where a file itself is.
    fn download(&self, path: &str) -> String {
        match &self.model {
            Some(model) => href(
                &["ajax-api", "2.0", "mlflow", "logged-models", model, "artifacts", "files"],
                &[("artifact_file_path", path)],
            ),
            None => href(&["get-artifact"], &[("run_uuid", self.run.as_str()), ("path", path)]),
        }
    }
}

/// The models that a run made.
pub(super) async fn models(ask: &Ask, run: &Run) -> Result<Vec<LoggedModel>, Error> {
    let mut models = Vec::new();
    for output in run.model_outputs.iter().take(MODELS) {
        models.extend(ask.app.registry().db().logged_model(&output.model_id).await?);
    }
    Ok(models)
}

/// The page of the files of a model that a run made.
pub(super) fn of_model(run: &Run, model: &LoggedModel) -> String {
    href(&["runs", &run.info.id.to_string()], &[("tab", "files"), ("model", &model.id)])
}

pub(super) async fn files(ask: &Ask, run: &Run) -> Result<Vec<Block>, Error> {
    let path = ArtifactPath::parse(ask.get("path").unwrap_or_default())?;
    let mut shelf = Shelf { run: run.info.id.to_string(), model: None, root: run.info.artifact_uri.clone() };
    if let Some(id) = ask.get("model") {
        let made = run.model_outputs.iter().any(|output| output.model_id == id);
        let model = if made { ask.app.registry().db().logged_model(id).await? } else { None };
        let model = model.ok_or_else(|| Error::missing(format!("the run made no model `{id}`")))?;
        (shelf.model, shelf.root) = (Some(model.id), model.artifact_uri);
    }
    let listed = list(ask, &shelf.root, &path).await;
    let above = Section::new(
        "listing",
        "",
        match listed {
            Ok(Some(table)) => vec![Block::Table(table)],
            Ok(None) => return file(ask, &shelf, &path).await,
            Err(error) if error.code == Code::InvalidParameterValue => {
                vec![Block::Empty(Empty::new("The files are not kept by this server", error.message))]
            }
            Err(error) => return Err(error),
        },
    );
    let mut blocks = vec![trail(&shelf, &path), Block::Section(above)];
    if path.is_root() && shelf.model.is_none() {
        let made = models(ask, run).await?;
        let link =
            |model: &LoggedModel| Link::new(of_model(run, model), format!("of the model {}", model.name));
        if !made.is_empty() {
            blocks.push(Block::Links(made.iter().map(link).collect()));
        }
    }
    Ok(blocks)
}

/// The beginning of a file as text; nothing where there is none such, it is no text, or it lies where this server does not read.
pub(super) async fn text(ask: &Ask, root: &str, name: &str) -> Option<String> {
    let registry = ask.app.registry();
    let path = ArtifactPath::parse(name).ok()?;
    let place = registry.artifact_place(root).await.ok()?.join(&path).ok()?;
    let content = registry.artifact(&place, &ask.app.config().artifact_roots, path.as_str()).await.ok()?;
    let size = content.bytes();
    let bytes = beginning(registry.clone(), content).await.ok()?;
    text_of(bytes, size > SHOWN)
}

/// The beginning of a file.
async fn beginning(owner: Registry, content: Content) -> Result<Vec<u8>, Error> {
    let read = tokio::task::spawn_blocking(move || -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let size = content.bytes();
        for piece in owner.pieces(&content, 0..size.min(SHOWN))? {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    });
    read.await.map_err(|error| Error::new(Code::InternalError, error.to_string()))?
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
    table.pager = page.next.map(|next| ask.pager(Some(&next), table.rows.len(), None, ["file", "files"]));
    Ok(Some(table))
}

/// The folders above, each a link.
fn trail(shelf: &Shelf, path: &ArtifactPath) -> Block {
    let mut links = vec![Link::new(href(&["runs", &shelf.run], &[("tab", "files")]), "All files")];
    if shelf.model.is_some() {
        links.push(Link::new(shelf.page(""), "of the model"));
    }
    let parts: Vec<&str> = path.as_str().split('/').filter(|part| !part.is_empty()).collect();
    for end in 1..=parts.len() {
        links.push(Link::new(shelf.page(&parts[..end].join("/")), parts[end - 1]));
    }
    Block::Links(links)
}

async fn file(ask: &Ask, shelf: &Shelf, path: &ArtifactPath) -> Result<Vec<Block>, Error> {
    let registry = ask.app.registry();
    let place = registry.artifact_place(&shelf.root).await?.join(path)?;
    let content = registry.artifact(&place, &ask.app.config().artifact_roots, path.as_str()).await?;
    let size = content.bytes();
    let download = shelf.download(path.as_str());
    let mut blocks = vec![trail(shelf, path), Block::Links(vec![Link::new(download.clone(), "Download")])];
    let ending =
        path.name().rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    if matches!(ending.as_str(), "png" | "jpg" | "jpeg" | "gif" | "webp" | "svg" | "bmp") {
        blocks.push(Block::Image(download, format!("The picture {}", path.as_str())));
        return Ok(blocks);
    }
    let bytes = beginning(registry.clone(), content).await?;
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
