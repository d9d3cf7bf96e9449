//! The engine's errors in our words, with the place in the query's text.

use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use tidemill_core::did_you_mean;

use crate::Error;

/// The text of a query and where it is from.
pub(super) struct Text<'a> {
    pub(super) source: &'a str,
    pub(super) text: &'a str,
}

/// Line and column, from 1.
pub(super) type Place = (u64, u64);

impl Text<'_> {
    pub(super) fn error(&self, place: Option<Place>, message: String, hint: Option<String>) -> Error {
        Error::Sql {
            source_name: self.source.to_owned(),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            message,
            hint,
        }
    }

    /// The first place where the word `name` stands, in any case, quoted or not.
    pub(super) fn find(&self, name: &str) -> Option<Place> {
        let tokens = Tokenizer::new(&GenericDialect {}, self.text).tokenize_with_location().ok()?;
        let found = tokens.into_iter().find(|token| match &token.token {
            Token::Word(word) => word.value.eq_ignore_ascii_case(name),
            Token::SingleQuotedString(text) => text == name,
            _ => false,
        })?;
        Some((found.span.start.line, found.span.start.column))
    }

    /// What the engine said.
    pub(super) fn engine(&self, error: &DataFusionError) -> Error {
        self.translate(error, None)
    }

    fn translate(&self, error: &DataFusionError, place: Option<Place>) -> Error {
        match error {
            DataFusionError::Diagnostic(diagnostic, inner) => {
                let start = diagnostic.span.map(|span| (span.start.line, span.start.column));
                self.translate(inner, start.filter(|(line, _)| *line > 0).or(place))
            }
            DataFusionError::Context(_, inner) => self.translate(inner, place),
            DataFusionError::Shared(inner) => self.translate(inner, place),
            DataFusionError::Collection(all) if !all.is_empty() => self.translate(&all[0], place),
            DataFusionError::SQL(error, _) => self.syntax(&error.to_string()),
            DataFusionError::SchemaError(error, _) => self.schema(error, place),
            DataFusionError::ResourcesExhausted(why) => self.error(
                None,
                format!("the query needs more memory than it may use: {}", first_line(why)),
                Some("raise `memory` of the step, or join and group fewer rows at once".to_owned()),
            ),
            DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
                Some(own) => self.error(None, own.to_string(), tidemill_core::Hint::hint(own)),
                None => self.error(place, inner.to_string(), None),
            },
            other => self.plain(other, place),
        }
    }

    fn plain(&self, error: &DataFusionError, place: Option<Place>) -> Error {
        let text = error.strip_backtrace();
        let text =
            text.split_once(": ").filter(|(kind, _)| kind.ends_with("rror") || kind.contains("planning"));
        let full = error.strip_backtrace();
        let text = text.map_or(full.as_str(), |(_, rest)| rest);
        let (message, help) = match text.split_once('\n') {
            Some((message, help)) => (message, Some(help.trim())),
            None => (text, None),
        };
        let hint = help.and_then(|help| {
            let meant = help.strip_prefix("Did you mean '")?.strip_suffix("'?")?;
            Some(format!("did you mean `{meant}`?"))
        });
        let named = message.strip_prefix("Invalid function '").and_then(|rest| rest.split_once('\''));
        match named {
            Some((name, _)) => {
                self.error(place.or_else(|| self.find(name)), format!("there is no function `{name}`"), hint)
            }
            None => self.error(place, lower(message.trim_end_matches('.')), hint),
        }
    }

    /// The parser writes its place at the end: `… at Line: 3, Column: 14`.
    fn syntax(&self, message: &str) -> Error {
        let message = message.trim_start_matches("sql parser error: ");
        let parts = message.rsplit_once(" at Line: ").and_then(|(what, place)| {
            let (line, column) = place.split_once(", Column: ")?;
            Some((what, (line.trim().parse().ok()?, column.trim().parse().ok()?)))
        });
        match parts {
            Some((what, place)) => self.error(Some(place), lower(what), None),
            None => self.error(None, lower(message), None),
        }
    }

    fn schema(&self, error: &SchemaError, place: Option<Place>) -> Error {
        match error {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let name = field.name();
                let capitals = valid_fields
                    .iter()
                    .find(|known| known.name() != name && known.name().eq_ignore_ascii_case(name));
                let hint = match capitals {
                    Some(known) => Some(format!(
                        "write `\"{}\"`: names with capitals stand in double quotes",
                        known.name()
                    )),
                    None => did_you_mean(name, valid_fields.iter().map(Column::name)),
                };
                self.error(
                    place.or_else(|| self.find(name)),
                    format!("there is no column `{}`", field.flat_name()),
                    hint,
                )
            }
            SchemaError::AmbiguousReference { field } => self.error(
                place.or_else(|| self.find(field.name())),
                format!("`{}` is a column of more than one table", field.name()),
                Some(format!("write the table before it: `t.{}`", field.name())),
            ),
            other => self.error(place, lower(&other.to_string()), None),
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if letters.clone().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}
