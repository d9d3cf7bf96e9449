//! Charts as SVG text: own code, no library, no script needed to read them.
//!
//! A series has a colour, a dash pattern, a marker and a name at its end, so that it is told from others without
//! colour. Pictures are drawn in user units of about a pixel and scale with the page.

mod bars;
mod cone;
mod dag;
pub(crate) mod file;
mod line;
mod pairs;
mod parallel;
pub(crate) mod places;
mod river;
mod sample;
mod scale;
mod scatter;
mod spans;
mod spark;
mod svg;
mod trend;

pub use bars::{Bar, Bars};
pub use cone::{Cone, ConeLimit, ConePoint};
pub use dag::{Graph, GraphNode};
pub use line::{LineChart, Series};
pub use pairs::{Pair, Pairs};
pub use parallel::{Axis, Parallel, Strand};
pub use river::{River, Station};
pub use scatter::{Dot, Scatter};
pub use spans::{Span, Spans};
pub use spark::spark;
pub use trend::{Trend, TrendPoint};

/// How many series are told from each other.
const STYLES: usize = 8;
