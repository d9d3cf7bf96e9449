//! Values that must not be kept as they are: left out, or replaced by a keyed hash.
//!
//! The hash is BLAKE3 with a secret of 32 bytes as its key, cut to 16 bytes and written as 32 hexadecimal digits.
//! Without the secret nobody can find a value by trying all of them; with it, equal values of any column, entity
//! or outcome have equal hashes, so that they can still be joined and counted. The secret is one file for each
//! project, made at first use, readable by its owner alone and never stored elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidemill_runtime::{Tensor, Values};
use utoipa::ToSchema;

use super::LogError;
use crate::{Named, Record, Status};

/// What is done with a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Redact {
    /// Its values are replaced by their keyed hashes.
    Hash,
    /// It is left out.
    Drop,
}

impl Redact {
    /// As in declarations.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Drop => "drop",
        }
    }
}

/// The secret that hashes are made with.
#[derive(Clone)]
pub struct RedactKey([u8; 32]);

impl fmt::Debug for RedactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedactKey(…)")
    }
}

impl RedactKey {
    /// Wraps a secret.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads the secret from a file of 64 hexadecimal digits; makes it where it is not there.
    ///
    /// # Errors
    ///
    /// Where the file holds something else, or cannot be read or made.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        if !path.exists() {
            Self::make(path)?;
        }
        let text = fs_err::read_to_string(path).map_err(LogError::io("read", path))?;
        let digest = tidemill_core::Digest::from_hex(text.trim_end());
        let digest = digest.map_err(|_| LogError::Secret {
            path: path.to_owned(),
            why: "expected 64 lower-case hexadecimal digits".to_owned(),
        })?;
        Ok(Self(*digest.as_bytes()))
    }

    /// Makes the file, unless another process is faster: the first that is there counts.
    fn make(path: &Path) -> Result<(), LogError> {
        let failed =
            |error: std::io::Error| LogError::Io { action: "make", path: path.to_owned(), source: error };
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs_err::create_dir_all(folder).map_err(failed)?;
        // A temporary file of this crate is readable by its owner alone.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        writeln!(file, "{}", tidemill_core::Digest::from_bytes(secret).hex()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        match file.persist_noclobber(path) {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(failed(error.error)),
        }
    }

    /// The hash of a text.
    pub fn hash(&self, value: &[u8]) -> String {
        let hash = blake3::keyed_hash(&self.0, value).to_hex();
        hash.as_str().get(..32).unwrap_or_default().to_owned()
    }
}

/// Hides the values of one endpoint's records.
#[derive(Debug)]
pub struct Redactor {
    columns: BTreeMap<String, Redact>,
    key: RedactKey,
}

/// The name by which what a request is about is hidden.
const ENTITY: &str = "entity";

impl Redactor {
    /// For these columns.
    pub fn new(columns: &BTreeMap<String, Redact>, key: &RedactKey) -> Self {
        Self { columns: columns.clone(), key: key.clone() }
    }

    /// What is kept of an entity key; outcomes go through this too, so that they find their records.
    pub fn entity(&self, value: &str) -> Option<String> {
        match self.columns.get(ENTITY) {
            None => Some(value.to_owned()),
            Some(Redact::Drop) => None,
            Some(Redact::Hash) => Some(self.key.hash(value.as_bytes())),
        }
    }

    /// Whether anything is kept of entity keys.
    pub fn keeps_entities(&self) -> bool {
        self.columns.get(ENTITY) != Some(&Redact::Drop)
    }

    /// Hides what is to be hidden. Messages that name a hidden column may hold its value, so they are replaced.
    pub fn apply(&self, record: &mut Record) {
        let note = self.leave_out_unknown(record);
        for tensors in [&mut record.inputs, &mut record.outputs] {
            tensors.retain(|named| self.columns.get(&named.name) != Some(&Redact::Drop));
            for named in tensors.iter_mut().filter(|named| self.columns.contains_key(&named.name)) {
                self.hash_tensor(named);
            }
        }
        record.headers.retain(|(name, _)| self.columns.get(name.as_ref()) != Some(&Redact::Drop));
        for (name, value) in &mut record.headers {
            if self.columns.contains_key(name.as_ref()) {
                *value = self.key.hash(value.as_bytes());
            }
        }
        if let Some(entity) = record.entity.take() {
            record.entity = self.entity(&entity).map(Arc::from);
        }
        record.warnings.iter_mut().for_each(|warning| self.hide_message(warning));
        if let Status::FellBack(failure) | Status::Failed(failure) = &mut record.status {
            self.hide_message(&mut failure.message);
        }
        record.warnings.extend(note);
    }

    /// Leaves out inputs that may hold a hidden column under another name, as the matrix of all columns does: every one where no model has
    /// said what its columns are, else those with several values in a row.
    fn leave_out_unknown(&self, record: &mut Record) -> Option<String> {
        let is_input = |name: &str| record.inputs.iter().any(|input| input.name == name);
        let is_elsewhere = |name: &str| {
            name == ENTITY
                || record.headers.iter().any(|(header, _)| &**header == name)
                || record.outputs.iter().any(|output| output.name == name)
        };
        let unknown = self.columns.keys().find(|name| !is_input(name) && !is_elsewhere(name))?;
        let is_laid_out = !record.release.is_empty();
        let before = record.inputs.len();
        record.inputs.retain(|input| {
            self.columns.contains_key(&input.name) || is_laid_out && input.tensor.row_len() <= 1
        });
        let note = || format!("inputs are left out of the log: they may hold the column `{unknown}`");
        (record.inputs.len() < before).then(note)
    }

    fn hide_message(&self, message: &mut String) {
        if let Some(column) = self.columns.keys().find(|column| message.contains(column.as_str())) {
            *message = format!("a message about the redacted column `{column}`");
        }
    }

    fn hash_tensor(&self, named: &mut Named) {
        let hash = |text: &[u8]| self.key.hash(text).into_bytes();
        macro_rules! shown {
            ($($kind:ident),*) => {
                match named.tensor.values() {
                    $(Values::$kind(values) => values.iter().map(|value| hash(value.to_string().as_bytes())).collect(),)*
                    Values::Bytes(values) => values.iter().map(|value| hash(value)).collect(),
                }
            };
        }
        // The decimal text: the same number has the same hash whatever its type.
        let hashes: Vec<Vec<u8>> = shown!(Bool, U8, U16, U32, U64, I8, I16, I32, I64, F16, Bf16, F32, F64);
        // The shape holds as many values as before.
        if let Ok(tensor) = Tensor::new(named.tensor.shape().to_vec(), Values::Bytes(hashes)) {
            named.tensor = tensor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::segment::tests::record;

    fn redactor(columns: &[(&str, Redact)]) -> Redactor {
        let columns = columns.iter().map(|(name, how)| ((*name).to_owned(), *how)).collect();
        Redactor::new(&columns, &RedactKey::from_bytes([7; 32]))
    }

    #[test]
    fn hidden_values_are_nowhere_in_what_is_left() {
        let mut it = record(1, 1_000);
        it.warnings =
            vec!["income: 1234.5 is outside of the training range".to_owned(), "harmless".to_owned()];
        it.entity = Some("customer-77".into());
        it.headers = vec![("x-team".into(), "risk".to_owned()), ("x-user".into(), "ana".to_owned())];
        it.inputs.push(Named { name: "income".into(), tensor: Tensor::vector(Values::F64(vec![1234.5])) });
        it.inputs.push(Named {
            name: "zip".into(),
            tensor: Tensor::vector(Values::Bytes(vec![b"98-765".into()])),
        });
        let hide = redactor(&[
            ("income", Redact::Drop),
            ("zip", Redact::Hash),
            ("entity", Redact::Hash),
            ("x-user", Redact::Drop),
        ]);
        hide.apply(&mut it);
        let text = format!("{it:?}");
        for secret in ["1234.5", "98-765", "customer-77", "ana"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert_eq!(it.warnings[1], "harmless");
        assert_eq!(it.headers.len(), 1);
        assert_eq!(it.entity.as_deref().map(str::to_owned), hide.entity("customer-77"));
    }

    #[test]
    fn a_matrix_whose_columns_are_not_known_is_not_kept() {
        let hide = redactor(&[("income", Redact::Hash), ("entity", Redact::Hash)]);
        let matrix = Tensor::new(vec![1, 2], Values::F64(vec![41.0, 1234.5])).unwrap();
        let input = |name: &str, tensor: &Tensor| Named { name: name.into(), tensor: tensor.clone() };
        let single = Tensor::vector(Values::F64(vec![1234.5]));
        let kept = |release: &str, inputs: Vec<Named>| {
            let mut it = Record { release: release.into(), inputs, outputs: Vec::new(), ..record(1, 1_000) };
            hide.apply(&mut it);
            assert!(!format!("{it:?}").contains("1234.5"), "{it:?}");
            it.inputs.into_iter().map(|input| input.name).collect::<Vec<_>>()
        };
        // As it is while the model is not loaded, or where a shadow fails.
        assert!(kept("", vec![input("float_input", &matrix)]).is_empty());
        assert!(kept("", vec![input("float_input", &single)]).is_empty());
        assert_eq!(
            kept("", vec![input("income", &single)]),
            ["income"],
            "given by its name it is hidden by it"
        );
        // A model that is loaded, of which nobody said what the columns of its matrix are.
        let age = Tensor::vector(Values::F64(vec![41.0]));
        let inputs = vec![input("x", &matrix), input("age", &age)];
        assert_eq!(kept("b3:00", inputs), ["age"]);
        let nothing = redactor(&[("entity", Redact::Hash)]);
        let mut it = record(1, 1_000);
        nothing.apply(&mut it);
        assert_eq!(it.inputs.len(), 2);
    }

    #[test]
    fn a_number_and_its_text_have_one_hash() {
        let hide = redactor(&[("a", Redact::Hash), ("entity", Redact::Hash)]);
        let hash = |values| {
            let mut named = Named { name: "a".into(), tensor: Tensor::vector(values) };
            hide.hash_tensor(&mut named);
            named.tensor.into_values()
        };
        let expected = Values::Bytes(vec![hide.entity("42").unwrap().into_bytes()]);
        assert_eq!(hash(Values::I64(vec![42])), expected);
        assert_eq!(hash(Values::F32(vec![42.0])), expected);
        assert_eq!(hash(Values::Bytes(vec![b"42".to_vec()])), expected);
        assert_ne!(hash(Values::I64(vec![43])), expected);
    }

    #[test]
    fn the_secret_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/redact.key");
        let first = RedactKey::open(&path).unwrap();
        assert_eq!(RedactKey::open(&path).unwrap().0, first.0);
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs_err::write(&path, "short").unwrap();
        assert!(RedactKey::open(&path).unwrap_err().to_string().contains("64 lower-case"));
    }
}
