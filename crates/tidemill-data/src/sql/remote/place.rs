//! What an object-store address names: one object, the objects of a folder, or those that match a pattern.

use futures::TryStreamExt;
use globset::{GlobBuilder, GlobMatcher};
use object_store::path::Path as Location;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use url::Url;

use super::{failed, is_remote};
use crate::{Error, Format};

/// An address taken apart.
#[derive(Debug)]
pub(super) struct Place<'a> {
    address: &'a str,
    /// `s3://bucket`.
    root: &'a str,
    /// What comes after it, as it is written.
    key: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn parse(address: &'a str) -> Result<Self, Error> {
        if !is_remote(address) {
            return Err(failed(address, &"the address begins with none of `s3://`, `gs://`, `az://`"));
        }
        let host = address.find("://").map_or(0, |at| at + 3);
        let end = address[host..].find('/').map_or(address.len(), |at| host + at);
        if end == host {
            return Err(failed(address, &"it names no bucket"));
        }
        Ok(Self { address, root: &address[..end], key: address[end..].trim_start_matches('/') })
    }

    /// The bucket or container.
    pub(super) fn url(&self) -> Result<Url, Error> {
        Url::parse(&format!("{}/", self.root)).map_err(|error| failed(self.address, &error))
    }

    /// Whether more than one object may be meant.
    pub(super) fn is_pattern(&self) -> bool {
        self.is_folder() || self.key.contains(['*', '?', '[', '{'])
    }

    fn is_folder(&self) -> bool {
        self.key.is_empty() || self.key.ends_with('/')
    }

    /// The objects, sorted by name; at least one.
    pub(super) async fn objects(&self, store: &dyn ObjectStore) -> Result<Vec<ObjectMeta>, Error> {
        let wrong = |error: &dyn std::fmt::Display| failed(self.address, error);
        if !self.is_pattern() {
            let location = Location::parse(self.key).map_err(|error| wrong(&error))?;
            return Ok(vec![store.head(&location).await.map_err(|error| wrong(&error))?]);
        }
        let matcher = self.matcher()?;
        let base = self.base();
        let prefix = (!base.is_empty()).then(|| Location::parse(base)).transpose();
        let prefix = prefix.map_err(|error| wrong(&error))?;
        let listed: Vec<ObjectMeta> =
            store.list(prefix.as_ref()).try_collect().await.map_err(|error| wrong(&error))?;
        let mut found: Vec<ObjectMeta> = listed
            .into_iter()
            .filter(|object| match &matcher {
                Some(matcher) => matcher.is_match(object.location.as_ref()),
                // As in a local folder: the files directly in it that are tables by their names.
                None => {
                    let name = object.location.as_ref().strip_prefix(base).unwrap_or_default();
                    let name = name.trim_start_matches('/');
                    !name.contains('/') && Format::of_name(std::path::Path::new(name)).is_some()
                }
            })
            .collect();
        if found.is_empty() {
            return Err(wrong(&"no object matches"));
        }
        found.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }

    fn matcher(&self) -> Result<Option<GlobMatcher>, Error> {
        if self.is_folder() {
            return Ok(None);
        }
        let glob = GlobBuilder::new(self.key).literal_separator(true).build();
        glob.map(|glob| Some(glob.compile_matcher())).map_err(|error| failed(self.address, &error.kind()))
    }

    /// The folder that everything is in, without a slash at its end.
    fn base(&self) -> &str {
        let plain = match self.key.find(['*', '?', '[', '{']) {
            Some(first) => &self.key[..first],
            None => self.key,
        };
        plain.rfind('/').map_or("", |end| &plain[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(address: &str) -> Result<Vec<String>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = object_store::memory::InMemory::new();
            for name in [
                "t/1.parquet",
                "t/2.parquet",
                "t/3.csv",
                "t/deep/4.parquet",
                "t/notes.txt",
                "x.csv",
                "tt/5.csv",
                "a b.csv",
            ] {
                store.put(&Location::from(name), "x".into()).await.unwrap();
            }
            let found = match Place::parse(address) {
                Ok(place) => place.objects(&store).await,
                Err(error) => Err(error),
            };
            found
                .map(|objects| objects.into_iter().map(|object| object.location.to_string()).collect())
                .map_err(|error| error.to_string())
        })
    }

    #[test]
    fn one_object_a_folder_or_a_pattern() {
        for (address, expected) in [
            ("s3://bucket/x.csv", &["x.csv"][..]),
            ("gs://bucket/a b.csv", &["a b.csv"]),
            ("az://bucket/t/*.parquet", &["t/1.parquet", "t/2.parquet"]),
            ("s3://bucket/t/**/*.parquet", &["t/1.parquet", "t/2.parquet", "t/deep/4.parquet"]),
            ("s3://bucket/t/{1,2}.parquet", &["t/1.parquet", "t/2.parquet"]),
            ("s3://bucket/t/?.csv", &["t/3.csv"]),
            ("s3://bucket/t/", &["t/1.parquet", "t/2.parquet", "t/3.csv"]),
            ("s3://bucket/", &["a b.csv", "x.csv"]),
            ("s3://bucket", &["a b.csv", "x.csv"]),
        ] {
            assert_eq!(
                names(address).as_deref(),
                Ok(&expected.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()[..]),
                "{address}"
            );
        }
    }

    #[test]
    fn what_names_nothing_says_so() {
        for (address, why) in [
            ("s3://bucket/none/*.parquet", "cannot read `s3://bucket/none/*.parquet`: no object matches"),
            ("s3://bucket/[.csv", "cannot read `s3://bucket/[.csv`: unclosed character class"),
            ("ftp://bucket/x", "cannot read `ftp://bucket/x`: the address begins with none of"),
            ("s3:///x", "cannot read"),
        ] {
            let error = names(address).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }
}
