//! The reference page of the project file.

/// The reference page of the project file in Markdown: every key with its type, default and description.
pub fn reference() -> String {
    String::new()
}
