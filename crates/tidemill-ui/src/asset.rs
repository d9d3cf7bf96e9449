//! The files that pages load: a style sheet, a script, an icon. Their addresses hold a digest of what is in them, so
//! that browsers may keep them for ever.

use std::sync::LazyLock;

use tidemill_core::Digest;

/// A file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its name in the source.
    pub name: &'static str,
    /// What it holds.
    pub text: &'static str,
    /// Its media type.
    pub kind: &'static str,
}

/// Pairs of colours.
pub(crate) const COLOURS: &str = include_str!("../assets/colours.css");
/// What charts look like.
pub(crate) const CHARTS: &str = include_str!("../assets/chart.css");
/// One file, so that a page waits for one: what comes later may change what comes before.
const STYLE: &str = concat!(
    include_str!("../assets/colours.css"),
    include_str!("../assets/chart.css"),
    include_str!("../assets/app.css")
);

const ASSETS: [Asset; 3] = [
    Asset { name: "app.css", text: STYLE, kind: "text/css; charset=utf-8" },
    Asset { name: "app.js", text: include_str!("../assets/app.js"), kind: "text/javascript; charset=utf-8" },
    Asset { name: "icon.svg", text: include_str!("../assets/icon.svg"), kind: "image/svg+xml" },
];

/// Where the files are.
pub const FOLDER: &str = "/ui/static";

static PATHS: LazyLock<Vec<(String, Asset)>> = LazyLock::new(|| {
    ASSETS
        .iter()
        .map(|asset| {
            let digest = Digest::of(asset.text.as_bytes()).hex();
            let (stem, ending) = asset.name.split_once('.').unwrap_or((asset.name, ""));
            (format!("{FOLDER}/{stem}-{}.{ending}", &digest[..16]), *asset)
        })
        .collect()
});

/// The address of a file, by its name in the source; empty where there is none such.
pub fn path(name: &str) -> &'static str {
    PATHS.iter().find(|(_, asset)| asset.name == name).map_or("", |(path, _)| path)
}

/// The file at an address.
pub fn find(path: &str) -> Option<Asset> {
    PATHS.iter().find(|(known, _)| known == path).map(|(_, asset)| *asset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hold_what_is_in_the_file() {
        let style = path("app.css");
        assert!(style.starts_with("/ui/static/app-") && style.ends_with(".css"), "{style}");
        assert_eq!(find(style).map(|asset| asset.name), Some("app.css"));
        assert_eq!(find("/ui/static/app-0000000000000000.css"), None);
        assert_eq!(path("other"), "");
    }
}
