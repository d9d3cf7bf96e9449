//! Which stored object is the profile of which stored content.
//!
//! A profile follows from the content alone and can be made again, so recording one is no change of state and has no event.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidemill_core::{Digest, Timestamp};

use crate::backend::on;
use crate::dialect::{self, Rows};
use crate::runs::parse;
use crate::{Db, Result, Tx};

const TABLE: &str = "profile";

impl Db {
    /// The stored profile of `content`, made in the caller's `form`: what it holds, and the version of its layout.
    pub async fn profile(&self, content: Digest, form: &str) -> Result<Option<Digest>> {
        const SQL: &str = "SELECT digest FROM profile WHERE content = $1 AND form = $2";
        let content = content.to_string();
        let mut reader = self.reader().await?;
        let found: Option<(String,)> = on!(reader.conn(), c => sqlx::query_as(SQL)
            .bind(&content).bind(form).fetch_optional(c).await)
        .map_err(self.ctx().fail("read a profile"))?;
        found.map(|(digest,)| parse(TABLE, "digest", &digest, "a digest")).transpose()
    }

    /// The newest stored profile of each of these contents, whatever its form; at most 500 contents are looked for.
    pub async fn profiles_of(&self, contents: &[Digest]) -> Result<Vec<(Digest, Digest)>> {
        const SQL: &str = "SELECT content, digest FROM profile WHERE content IN (SELECT r.wanted FROM {rows})
            ORDER BY content, created_at, form";
        let contents = &contents[..contents.len().min(500)];
        if contents.is_empty() {
            return Ok(Vec::new());
        }
        // Each once and in order, so that what is read in parts comes as what is read at once.
        let texts: BTreeSet<String> = contents.iter().map(ToString::to_string).collect();
        let wanted = Rows::new(texts.len()).padded().text("wanted", texts.iter().map(String::as_str));
        let mut reader = self.reader().await?;
        let rows: Vec<(String, String)> = dialect::read_rows(reader.conn(), SQL, &wanted)
            .await
            .map_err(self.ctx().fail("read profiles"))?;
        let mut found: Vec<(Digest, Digest)> = Vec::new();
        for (content, digest) in rows {
            let content = parse(TABLE, "content", &content, "a digest")?;
            let digest = parse(TABLE, "digest", &digest, "a digest")?;
            // They come by age, so the last of a content is its newest.
            match found.last_mut() {
                Some(last) if last.0 == content => last.1 = digest,
                _ => found.push((content, digest)),
            }
        }
        Ok(found)
    }

    /// All stored profiles: what they describe, and the profile itself.
    pub async fn profiles(&self) -> Result<Vec<(Digest, Digest)>> {
        const SQL: &str = "SELECT content, digest FROM profile ORDER BY content, form";
        let mut reader = self.reader().await?;
        let rows: Vec<(String, String)> = on!(reader.conn(), c => sqlx::query_as(SQL).fetch_all(c).await)
            .map_err(self.ctx().fail("read profiles"))?;
        rows.iter()
            .map(|(content, digest)| {
                Ok((
                    parse(TABLE, "content", content, "a digest")?,
                    parse(TABLE, "digest", digest, "a digest")?,
                ))
            })
            .collect()
    }
}

impl Tx {
    /// Records the profile of `content`, in the place of one of the same form. This is no state change and needs no event.
    pub async fn put_profile(
        &mut self,
        content: Digest,
        form: &str,
        digest: Digest,
        at: Timestamp,
    ) -> Result<()> {
        const SQL: &str = "INSERT INTO profile (content, form, digest, created_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (content, form) DO UPDATE SET digest = excluded.digest, created_at = excluded.created_at";
        let ctx = Arc::clone(&self.transact.ctx);
        let (content, digest) = (content.to_string(), digest.to_string());
        on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(&content).bind(form).bind(&digest).bind(at.millis()).execute(c).await.map(|_| ()))
        .map_err(ctx.fail("record a profile"))
    }

    /// Forgets the profiles of `contents`. This is no state change and needs no event.
    pub async fn drop_profiles(&mut self, contents: &[Digest]) -> Result<()> {
        const SQL: &str = "DELETE FROM profile WHERE content = $1";
        let ctx = Arc::clone(&self.transact.ctx);
        for content in contents {
            let content = content.to_string();
            on!(self.transact.conn(), c => sqlx::query(SQL).bind(&content).execute(c).await.map(|_| ()))
                .map_err(ctx.fail("forget a profile"))?;
        }
        Ok(())
    }
}
