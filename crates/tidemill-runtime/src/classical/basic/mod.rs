//! The standard operators that converters put around classical models.

pub(crate) mod binary;
pub(crate) mod cast;
pub(crate) mod create;
pub(crate) mod order;
pub(crate) mod place;
pub(crate) mod product;
pub(crate) mod reduce;
pub(crate) mod reshape;
pub(crate) mod softmax;
pub(crate) mod unary;
pub(crate) mod view;
