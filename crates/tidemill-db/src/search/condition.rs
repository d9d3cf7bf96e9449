//! The conditions and orders that every search takes. All conditions of a list must hold.

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// A property of the thing itself, by its canonical name, for example `start_time`.
    Attribute(String),
    /// The newest value of a metric.
    Metric(String),
    /// A parameter.
    Param(String),
    /// A tag.
    Tag(String),
    /// A property of a dataset that a run read: `name`, `digest` or `context`.
    Dataset(String),
    /// An entry of a trace's metadata.
    Metadata(String),
    /// A property of a trace's spans, for example `name`, or `attributes.KEY`.
    Span(String),
    /// An assessment of a trace by people or programs, by its name.
    Feedback(String),
    /// What a trace was expected to give, by its name.
    Expectation(String),
}

/// How a condition compares. A thing without the field meets only [`Op::IsNull`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `=`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// SQL's pattern with `%` and `_`, upper and lower case told apart.
    Like,
    /// The same, not told apart.
    ILike,
    /// A regular expression.
    RLike,
    /// One of a list.
    In,
    /// None of a list.
    NotIn,
    /// Not there.
    IsNull,
    /// There.
    IsNotNull,
}

/// What is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// Nothing, for `IS NULL` and `IS NOT NULL`.
    Nothing,
    /// Text.
    Text(String),
    /// A number.
    Number(f64),
    /// A list of texts.
    List(Vec<String>),
}

/// One comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// What it looks at.
    pub field: Field,
    /// How it compares.
    pub op: Op,
    /// What with.
    pub value: Operand,
}

/// One key of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderBy {
    /// What is compared.
    pub field: Field,
    /// Whether the greatest comes first.
    pub descending: bool,
}
