//! The web pages: what is shown goes in as plain values, HTML and SVG come out as text.
//!
//! A [`Page`] is a frame with [`Block`]s: tables, facts, charts, logs. The same page can be given as JSON or CSV, since
//! every number on it stands in a [`Table`]; a chart is a picture of the table behind it. Nothing here knows a database, a
//! request or the time of day. Whatever a user wrote passes one function on its way out, [`escape`].

pub mod asset;
mod block;
mod cell;
pub mod chart;
mod empty;
mod facts;
mod figure;
mod filter;
mod form;
mod format;
mod grid;
mod heat;
mod log;
mod markdown;
mod markup;
mod numbers;
mod page;
mod stages;
mod table;
mod written;

pub use block::{Block, Section};
pub use cell::{Badge, Cell, Link, Small, Tone};
pub use empty::Empty;
pub use facts::{Fact, Facts};
pub use figure::Figure;
pub use filter::{Choice, Control, FilterBox, Find};
pub use form::{Field, Form};
pub use format::{ago, bytes, count, duration, moment, number};
pub use grid::{Grid, GridRow};
pub use heat::{Heat, HeatColumn};
pub use log::LogText;
pub use markdown::markdown;
pub use markup::{Markup, escape, href};
pub use page::{Area, Crumb, Page, Tab, Viewer};
pub use stages::{Stage, Stages};
pub use table::{Column, Pager, Sort, Table, Total};
