//! What lies directly in a folder, found without visiting what lies deeper.

use std::sync::Arc;

use crate::artifacts::bounds;
use crate::backend::{Conn, Context, on};
use crate::{Db, Result, Tx, dialect};

/// A file or folder in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageItem {
    /// Its name, without a slash.
    pub name: String,
    /// The size of a file; none for a folder.
    pub bytes: Option<u64>,
}

/// A part of what a folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Files and folders in the order of their paths.
    pub items: Vec<PageItem>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

/// Finds the first path, then the first one that is not below the folder where that one lies, and so on: as many index
/// look-ups as there are items, however many files lie below them. Parameters: the folder's bounds, how many items,
/// where in a path the name begins (in characters, from 1), and the least character.
const SQL: &str = "WITH RECURSIVE found (path, place) AS (
        SELECT (SELECT path FROM artifact WHERE path >= $1 AND path < $2 ORDER BY path LIMIT 1), 1
        UNION ALL
        SELECT (SELECT a.path FROM artifact a WHERE a.path < $2 AND a.path >= CASE
                WHEN {position}(substr(found.path, CAST($4 AS INTEGER)), '/') > 0
                THEN substr(found.path, 1, CAST($4 AS INTEGER) - 2
                    + {position}(substr(found.path, CAST($4 AS INTEGER)), '/')) || '0'
                ELSE found.path || $5 END
            ORDER BY a.path LIMIT 1), found.place + 1
        FROM found WHERE found.path IS NOT NULL AND found.place < $3)
    SELECT a.path, a.bytes FROM found f JOIN artifact a ON a.path = f.path ORDER BY a.path";

/// No path has a smaller character.
const LEAST: &str = "\u{1}";

impl Db {
    /// What lies directly in a folder (or in the root, for an empty path): at most `limit` items, beginning where the
    /// page before says.
    pub async fn list_artifacts(&self, folder: &str, from: Option<&str>, limit: usize) -> Result<Page> {
        let mut reader = self.reader().await?;
        list(reader.conn(), self.ctx(), folder, from, limit).await
    }
}

impl Tx {
    /// The names of everything directly in a folder.
    pub(super) async fn names_in(&mut self, folder: &str) -> Result<Vec<String>> {
        const PAGE: usize = 10_000;
        let ctx = Arc::clone(&self.transact.ctx);
        let (mut names, mut from) = (Vec::new(), None);
        loop {
            let page = list(self.transact.conn(), &ctx, folder, from.as_deref(), PAGE).await?;
            names.extend(page.items.into_iter().map(|item| item.name));
            from = page.next;
            if from.is_none() {
                return Ok(names);
            }
        }
    }
}

async fn list(conn: Conn<'_>, ctx: &Context, folder: &str, from: Option<&str>, limit: usize) -> Result<Page> {
    let (low, high) = bounds(folder);
    let start = from.map_or(low.as_str(), |from| from.max(low.as_str())).to_owned();
    let name_at = low.chars().count() as i64 + 1;
    let sql = dialect::position(&conn, SQL);
    // One more than wanted tells whether there is a next page.
    let rows: Vec<(String, i64)> = on!(conn, c => sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(start).bind(high).bind(limit as i64 + 1).bind(name_at).bind(LEAST)
        .fetch_all(c).await)
    .map_err(ctx.fail("list artifacts"))?;
    let mut page = Page::default();
    for (path, bytes) in rows {
        let rest = path.get(low.len()..).unwrap_or_default();
        let item = match rest.split_once('/') {
            Some((name, _)) => PageItem { name: name.to_owned(), bytes: None },
            None => PageItem { name: rest.to_owned(), bytes: Some(bytes as u64) },
        };
        if page.items.len() == limit {
            page.next = Some(if item.bytes.is_some() { path } else { format!("{low}{}/", item.name) });
            break;
        }
        page.items.push(item);
    }
    Ok(page)
}
