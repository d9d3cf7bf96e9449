//! Making, finishing, tagging and deleting logged models.

use tidemill_core::{Actor, EventKind};
use tidemill_db::logged_models::{LoggedModel, LoggedModelStatus, NewLoggedModel};
use tidemill_db::tracking::{KeyValue, Stage};

use crate::fresh::hex_id;
use crate::runs::random_name;
use crate::validate::{length, python_text};
use crate::{Error, Registry, Result};

/// What is asked for when a logged model is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggedModelRequest {
    /// The number of its experiment, as text.
    pub experiment: String,
    /// Its name; one is made up if there is none.
    pub name: Option<String>,
    /// What kind of model it is; may be empty.
    pub model_type: String,
    /// The run that makes it.
    pub source_run: Option<String>,
    /// Its parameters.
    pub params: Vec<KeyValue>,
    /// Its tags.
    pub tags: Vec<KeyValue>,
}

/// Characters of a key of a parameter or tag.
const KEY: usize = 255;

impl Registry {
    /// Makes a logged model whose folder is to be filled.
    pub async fn create_logged_model(
        &self,
        actor: &Actor,
        request: LoggedModelRequest,
    ) -> Result<LoggedModel> {
        let name = request.name.filter(|name| !name.is_empty());
        name.as_deref().map_or(Ok(()), check_name)?;
        check_keys(&request.params)?;
        check_keys(&request.tags)?;
        let experiment = self.experiment(&request.experiment).await?;
        if experiment.stage != Stage::Active {
            return Err(Error::invalid(format!(
                "The experiment {} must be in the 'active' state. Current state is {}.",
                experiment.id,
                experiment.stage.word()
            )));
        }
        let (root, experiment) = (experiment.artifact_location, experiment.id);
        let id = format!("m-{}", hex_id());
        let new = NewLoggedModel {
            name: match name {
                Some(name) => name,
                None => random_name()?,
            },
            experiment,
            model_type: request.model_type,
            source_run: request.source_run.filter(|run| !run.is_empty()),
            artifact_uri: below(&root, &format!("models/{id}/artifacts")),
            created_at: self.clock.now(),
            params: request.params,
            tags: request.tags,
            id,
        };
        let mut tx = self.db.begin().await?;
        tx.create_logged_model(&new).await?;
        let model = tx.logged_model(&new.id).await?.ok_or_else(|| missing(&new.id))?;
        let kind = EventKind::LoggedModelCreated {
            model: new.id,
            experiment,
            run: new.source_run.as_deref().and_then(|run| run.parse().ok()),
        };
        self.finish(tx, vec![self.event(actor, kind)]).await?;
        Ok(model)
    }

    /// A logged model; a deleted one only if asked for.
    pub async fn logged_model(&self, id: &str, deleted_too: bool) -> Result<LoggedModel> {
        let found = self.db.logged_model(id).await?;
        found.filter(|model| deleted_too || model.stage == Stage::Active).ok_or_else(|| missing(id))
    }

    /// Says that the folder of a logged model is whole, or is not.
    pub async fn finish_logged_model(
        &self,
        actor: &Actor,
        id: &str,
        status: LoggedModelStatus,
    ) -> Result<LoggedModel> {
        let mut tx = self.db.begin().await?;
        if !tx.finish_logged_model(id, status, self.clock.now()).await? {
            return Err(missing(id));
        }
        let model = tx.logged_model(id).await?.ok_or_else(|| missing(id))?;
        let kind = EventKind::LoggedModelMoved { model: id.to_owned(), status: status.word().to_owned() };
        self.finish(tx, vec![self.event(actor, kind)]).await?;
        Ok(model)
    }

    /// Marks a logged model as deleted; again is no change.
    pub async fn delete_logged_model(&self, actor: &Actor, id: &str) -> Result<()> {
        let mut tx = self.db.begin().await?;
        let model = tx.logged_model(id).await?.ok_or_else(|| missing(id))?;
        if model.stage == Stage::Deleted {
            return Ok(());
        }
        tx.delete_logged_model(id, self.clock.now()).await?;
        let kind = EventKind::LoggedModelMoved { model: id.to_owned(), status: "DELETED".to_owned() };
        self.finish(tx, vec![self.event(actor, kind)]).await
    }

    /// Adds parameters to a logged model. One that is there cannot get another value.
    pub async fn log_model_params(&self, id: &str, params: &[KeyValue]) -> Result<()> {
        check_keys(params)?;
        let mut tx = self.db.begin().await?;
        let model = tx.logged_model(id).await?.ok_or_else(|| missing(id))?;
        for param in params {
            let before = model.params.iter().find(|before| before.key == param.key);
            if let Some(before) = before.filter(|before| before.value != param.value) {
                return Err(Error::invalid(format!(
                    "Changing param values is not allowed. Param with key='{}' was already logged with value='{}' for \
                     model ID='{id}'. Attempted logging new value '{}'.",
                    param.key, before.value, param.value
                )));
            }
        }
        tx.put_logged_model_params(id, params).await?;
        self.finish(tx, Vec::new()).await
    }

    /// Sets tags of a logged model.
    pub async fn tag_logged_model(&self, id: &str, tags: &[KeyValue]) -> Result<()> {
        check_keys(tags)?;
        let mut tx = self.db.begin().await?;
        if !tx.put_logged_model_tags(id, tags).await? {
            return Err(missing(id));
        }
        self.finish(tx, Vec::new()).await
    }

    /// Removes a tag of a logged model, which must have it.
    pub async fn untag_logged_model(&self, id: &str, key: &str) -> Result<()> {
        let mut tx = self.db.begin().await?;
        if !tx.remove_logged_model_tag(id, key).await?.ok_or_else(|| missing(id))? {
            return Err(Error::missing(format!("No tag with key '{key}' found for model with ID '{id}'.")));
        }
        self.finish(tx, Vec::new()).await
    }
}

pub(crate) fn missing(id: &str) -> Error {
    Error::missing(format!("Logged model with ID '{id}' not found."))
}

fn check_name(name: &str) -> Result<()> {
    const BAD: [char; 6] = ['/', ':', '.', '%', '"', '\''];
    if !name.contains(BAD) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "Invalid model name ({}) provided. Model name must be a non-empty string and cannot contain the following \
         characters: ('/', ':', '.', '%', '\"', \"'\")",
        python_text(name)
    )))
}

fn check_keys(pairs: &[KeyValue]) -> Result<()> {
    pairs.iter().try_for_each(|pair| length("key", KEY, &pair.key))
}

/// A path below a URI, before its query.
fn below(root: &str, path: &str) -> String {
    let (root, query) = match root.split_once('?') {
        Some((root, query)) => (root, format!("?{query}")),
        None => (root, String::new()),
    };
    format!("{}/{path}{query}", root.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_logged_models() {
        check_name("a b-c_ä").unwrap();
        for (name, shown) in [("a/b", "('a/b')"), ("a'b", "(\"a'b\")"), ("a.b", "('a.b')")] {
            let message = check_name(name).unwrap_err().message;
            assert!(message.starts_with(&format!("Invalid model name {shown} provided. ")), "{message}");
        }
    }

    #[test]
    fn paths_go_before_queries() {
        assert_eq!(below("mlflow-artifacts:/1", "a/b"), "mlflow-artifacts:/1/a/b");
        assert_eq!(below("s3://b/x/?k=v", "a"), "s3://b/x/a?k=v");
    }
}
