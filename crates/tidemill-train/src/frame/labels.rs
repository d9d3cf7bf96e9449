//! What is predicted: numbers or classes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The target of some rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A finite number a row.
    Regression(Vec<f64>),
    /// A class a row.
    Classes {
        /// Index into `classes`.
        codes: Vec<u32>,
        /// The classes, sorted.
        classes: Vec<ClassLabel>,
    },
}

impl Target {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Regression(values) => values.len(),
            Self::Classes { codes, .. } => codes.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The target of `rows`, in that order; all classes stay, also those without rows.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        match self {
            Self::Regression(values) => Self::Regression(rows.iter().map(|&row| values[row]).collect()),
            Self::Classes { codes, classes } => Self::Classes {
                codes: rows.iter().map(|&row| codes[row]).collect(),
                classes: classes.clone(),
            },
        }
    }

    /// The classes, where it has some.
    pub fn classes(&self) -> Option<&[ClassLabel]> {
        match self {
            Self::Regression(_) => None,
            Self::Classes { classes, .. } => Some(classes),
        }
    }
}

/// A class as the table names it. All classes of one target are of one variant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClassLabel {
    /// `false` or `true`.
    Bool(bool),
    /// A whole number; whole floating-point targets too.
    Int(i64),
    /// Text.
    Text(String),
}

impl fmt::Display for ClassLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
        }
    }
}
