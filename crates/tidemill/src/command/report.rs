//! `tidemill report PAGE`: a page of the server as files that can be kept beside the code or shown in a pull request: Markdown, and
//! each picture as an SVG file. The page is made in this process, so no server has to run.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use tidemill_core::SystemClock;
use tidemill_db::Db;
use tidemill_registry::Registry;
use tidemill_server::{App, Config};

use crate::app::runtime;
use crate::cli::Global;
use crate::failure::Failure;
use crate::home::Home;
use crate::output::Console;

/// The file of the page.
const TEXT: &str = "report.md";

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// The address of the page as the browser shows it, as in `/models/flights-late/3/card`; of a whole address, what follows the host
    page: String,
    /// The folder for the files
    #[arg(long, short, value_name = "DIR", default_value = "report")]
    out: PathBuf,
}

pub(crate) fn run(args: &Report, global: &Global, console: &Console) -> anyhow::Result<()> {
    let home = Home::find(None, global, console)?;
    home.make()?;
    let files = runtime()?.block_on(async {
        let clock = Arc::new(SystemClock);
        let db = Db::open(&home.database, clock.clone()).await?;
        let store = home.open_store()?;
        let mut config = Config::new(home.dir.join("tmp"));
        config.about.clone_from(&home.about);
        config.step_logs = Some(home.dir.join("runs"));
        let app = App::new(Registry::new(db.clone(), store, clock), config);
        let files = files(&app, &args.page).await;
        db.close().await?;
        files
    })?;
    // Everything is there before the first file is written.
    fs_err::create_dir_all(&args.out)?;
    for (name, text) in &files {
        fs_err::write(args.out.join(name), text)?;
    }
    let names: Vec<&String> = files.iter().map(|(name, _)| name).collect();
    if console.json() {
        return console.value(&json!({"page": args.page, "folder": args.out, "files": names}));
    }
    let pictures = match files.len() - 1 {
        0 => String::new(),
        1 => " with a picture".to_owned(),
        count => format!(" with {count} pictures"),
    };
    console.line(format!("wrote {}{pictures}", args.out.join(TEXT).display()));
    Ok(())
}

/// The files of a page: names and texts.
async fn files(app: &App, page: &str) -> anyhow::Result<Vec<(String, String)>> {
    let address = address(page);
    let mark = if address.contains('?') { '&' } else { '?' };
    let text = get(app, &format!("{address}{mark}format=md")).await?;
    let (mut out, mut files, mut taken) = (String::with_capacity(text.len()), Vec::new(), BTreeSet::new());
    // What stands between fences is text, whatever it looks like.
    let mut fence = None;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end();
        let is_fence = bare.len() > 2 && bare.bytes().all(|byte| byte == b'`');
        match fence {
            None if is_fence => fence = Some(bare),
            Some(open) if open == bare => fence = None,
            _ => {}
        }
        let found = if fence.is_some() { Vec::new() } else { pictures(line) };
        let mut done = 0;
        for place in found {
            let of = &line[place.clone()];
            let name = free(of, &mut taken);
            files.push((name.clone(), get(app, of).await?));
            out.push_str(&line[done..place.start]);
            out.push_str(&name);
            done = place.end;
        }
        out.push_str(&line[done..]);
    }
    files.insert(0, (TEXT.to_owned(), out));
    Ok(files)
}

/// What follows the host.
fn address(page: &str) -> String {
    let path = page.split_once("://").map_or(page, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
    let path = path.split('#').next().unwrap_or_default();
    format!("/{}", path.trim_start_matches('/'))
}

/// Where addresses of this server's pictures stand in a line: one that is all of it, and those in the cells of a table.
fn pictures(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("](/") {
        // A bracket that somebody wrote has a backslash before it; a backslash that somebody wrote has one, too.
        let backslashes = line[..at].bytes().rev().take_while(|byte| *byte == b'\\').count();
        let begin = at + 2;
        let Some(length) = closing(&line[begin..]) else { continue };
        let place = begin..begin + length;
        if backslashes % 2 == 0 && line[place.clone()].contains("format=svg") {
            found.push(place);
        }
    }
    found
}

/// Where the parenthesis closes that stands before a text; addresses may hold pairs of them.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1_u32;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => open += 1,
            b')' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

/// A file name that is not taken, after the figure in an address, or what the page is of where the picture is all of it.
fn free(address: &str, taken: &mut BTreeSet<String>) -> String {
    let page = || address.split('?').next()?.rsplit('/').next().filter(|part| !part.is_empty());
    let figure = address.rsplit_once("figure=").map(|(_, figure)| figure);
    let figure = figure.or_else(page).unwrap_or("picture");
    let plain: String = figure
        .chars()
        .take(60)
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
        .collect();
    let numbered = (2_u32..).map(|number| format!("{plain}-{number}.svg"));
    let mut names = std::iter::once(format!("{plain}.svg")).chain(numbered);
    let name = names.find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(name.clone());
    name
}

/// What the server would answer.
async fn get(app: &App, address: &str) -> anyhow::Result<String> {
    let (status, body) = tidemill_server::get(app, address).await;
    if status.is_success() {
        return String::from_utf8(body.to_vec()).context("the page is no text");
    }
    let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
    let why = problem["detail"].as_str().or_else(|| problem["title"].as_str());
    let why = match why {
        Some(why) => why.to_owned(),
        None if status.as_u16() == 404 => {
            format!("there is no page `{}`", address.split('?').next().unwrap_or_default())
        }
        None => format!("the page cannot be made ({status})"),
    };
    let hint = "give the address of a page as the browser shows it, as in `/models/NAME/VERSION/card`";
    Err(Failure::usage(why).hint(problem["hint"].as_str().unwrap_or(hint)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_copy_them() {
        for (page, expected) in [
            ("/models/m/3/card", "/models/m/3/card"),
            ("models/m/3/card", "/models/m/3/card"),
            ("http://127.0.0.1:5000/runs/1?tab=metrics#x", "/runs/1?tab=metrics"),
            ("https://host", "/"),
            ("//other.host/x", "/other.host/x"),
        ] {
            assert_eq!(address(page), expected, "{page}");
        }
    }

    #[test]
    fn pictures_become_files() {
        let found = |line: &'static str| -> Vec<&str> {
            pictures(line).into_iter().map(|place| &line[place]).collect()
        };
        let line = "![Loss \\[x\\](/y?format=svg)](/runs/1?format=svg&figure=curve-0)\n";
        assert_eq!(found(line), ["/runs/1?format=svg&figure=curve-0"]);
        assert_eq!(found("![a \\\\](/models/a(b)?format=svg)\n"), ["/models/a(b)?format=svg"]);
        let row = "| loss | 0.5 | ![loss: from 1 to 2](/r?format=svg&figure=small-a) | ![x](/r?format=svg&figure=b) |\n";
        assert_eq!(found(row), ["/r?format=svg&figure=small-a", "/r?format=svg&figure=b"]);
        for other in
            ["![x](https://example.com/x.svg)\n", "[x](/runs/1)\n", "![x](/r?format=svg\n", "a line\n"]
        {
            assert!(found(other).is_empty(), "{other}");
        }

        let mut taken = BTreeSet::new();
        let names = ["a%2F..b", "a%2F..b", "c"]
            .map(|figure| free(&format!("/x?format=svg&figure={figure}"), &mut taken));
        assert_eq!(names, ["a-2F--b.svg", "a-2F--b-2.svg", "c.svg"]);
        let curve = free("/runs/0190/curves/val%2Floss?log=1&format=svg", &mut taken);
        assert_eq!(
            (curve.as_str(), free("/?format=svg", &mut taken).as_str()),
            ("val-2Floss.svg", "picture.svg")
        );
    }
}
