//! The one statistical core: used on data before training, on models before release, on production after it, and by the
//! judge of rollouts.
//!
//! Pure numerics. Slices of numbers and counts go in, figures come out; nothing here reads files, knows tables or
//! columns of Arrow, prints, or takes the time. Results that are stored derive serde's traits.
//!
//! Two rules hold throughout:
//!
//! - A figure that is not defined (an empty side, no variance) is `None`, never NaN.
//! - Missing values have left the samples before they come here; how many there were is a figure of its own.
//!
//! The definitions are those of scipy and numpy where these have one, and the tests hold every figure against them.

pub mod association;
pub mod beyond;
pub mod categorical;
pub mod correlation;
pub mod dependence;
pub mod divergence;
pub mod drift;
pub mod estimate;
pub mod exact;
pub mod interval;
pub mod multiple;
pub mod online;
pub mod quality;
pub mod random;
pub mod sample;
pub mod seasonal;
pub mod sequential;
pub mod slices;
pub mod special;
pub mod twosample;
