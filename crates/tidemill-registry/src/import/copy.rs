//! Copying artifacts of a source into our store.

use super::{Imported, Importer};
use crate::Result;
use crate::artifacts::ArtifactPath;

/// Whether files of this address stay where they are: clients reach an object store themselves.
pub(super) fn stays(uri: &str) -> bool {
    let scheme = uri.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| !matches!(scheme, "file" | "mlflow-artifacts"))
}

impl Importer<'_> {
    /// Copies the files of a folder to `to` below the artifact root, except those that are there already.
    pub(super) async fn copy(&self, uri: &str, to: &str, done: &mut Imported) -> Result<()> {
        if uri.is_empty() {
            return Ok(());
        }
        if stays(uri) {
            let place = uri.split('/').take(3).collect::<Vec<_>>().join("/");
            done.add(Imported { left: vec![place], ..Imported::default() });
            return Ok(());
        }
        let Some(files) = self.source.files(uri).await? else {
            done.problems.push(format!("`{uri}` cannot be read from here, so its files are missing"));
            return Ok(());
        };
        let root = ArtifactPath::parse(to)?;
        for file in files {
            let path = match ArtifactPath::parse(&file.path).and_then(|path| root.join(&path)) {
                Ok(path) => path,
                Err(error) => {
                    done.problems.push(format!("`{uri}/{}`: {error}", file.path));
                    continue;
                }
            };
            let there = self.registry.db.artifact(path.as_str()).await?;
            if there.is_some_and(|there| file.bytes.is_none_or(|bytes| bytes == there.bytes)) {
                continue;
            }
            let mut writer = self.registry.artifact_writer(path, file.bytes)?;
            self.source.fetch(uri, &file, &mut writer).await?;
            let written = writer.finish().await?;
            done.files += 1;
            done.bytes += written.bytes;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_stores_are_left_alone() {
        assert!(stays("s3://bucket/1/r/artifacts"));
        assert!(!stays("mlflow-artifacts://host/1/r"));
        assert!(!stays("mlflow-artifacts:/1/r"));
        assert!(!stays("file:///data/mlruns"));
        assert!(!stays("./mlruns/0"));
    }
}
