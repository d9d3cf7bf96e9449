//! What is no text is seen as well: 3:1 against what is around it (WCAG 2.2, 1.4.11), computed from the style sheet.

use tidemill_ui::asset;

type Colour = [f64; 3];

fn sheet() -> &'static str {
    asset::find(asset::path("app.css")).unwrap().text
}

/// What stands between the first `from` and the next `to` after it.
#[track_caller]
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("`{from}` is not in the style sheet"));
    rest.split_once(to).unwrap().0.trim()
}

fn colour(hex: &str) -> Colour {
    let hex = hex.trim().strip_prefix('#').unwrap_or_else(|| panic!("`{hex}` is no colour"));
    [0, 2, 4].map(|at| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0)
}

/// The light and the dark one of what a property is set to: a pair, or a variable that is one.
#[track_caller]
fn pair(value: &str) -> [Colour; 2] {
    if let Some(name) = value.strip_prefix("var(") {
        return pair(between(sheet(), &format!("{}: ", name.trim_end_matches(')')), ";"));
    }
    let (light, dark) = between(value, "light-dark(", ")").split_once(',').unwrap();
    [colour(light), colour(dark)]
}

fn luminance(colour: Colour) -> f64 {
    let linear = |c: f64| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
    let [r, g, b] = colour.map(linear);
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

fn contrast(a: Colour, b: Colour) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[track_caller]
fn is_seen(what: &str, value: &str, opacity: f64, around: &[&str]) {
    for name in around {
        for ((front, ground), scheme) in
            pair(value).into_iter().zip(pair(&format!("var({name})"))).zip(["light", "dark"])
        {
            let shown = [0, 1, 2].map(|at| front[at] * opacity + ground[at] * (1.0 - opacity));
            let found = contrast(shown, ground);
            assert!(found >= 3.0, "{what} on {name}, {scheme}: {found:.2}");
        }
    }
}

#[test]
fn numbers_are_those_of_the_guideline() {
    assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 1e-9);
    assert!((contrast(colour("#767676"), colour("#ffffff")) - 4.54).abs() < 0.01);
}

#[test]
fn borders_of_fields_are_seen() {
    for rule in ["input[type=\"text\"], input[type=\"password\"], select", ".several > summary {"] {
        let border = between(between(sheet(), rule, "}"), "border: 1px solid ", ";");
        is_seen(rule, border, 1.0, &["--sheet", "--ground", "--raised"]);
    }
}

#[test]
fn strands_of_parallel_coordinates_are_seen() {
    let opacity = between(between(sheet(), "svg .strand {", "}"), "opacity: ", ";").parse().unwrap();
    for shade in 0..5 {
        let rule = format!(".q{shade} {{ stroke: ");
        is_seen(&rule, between(sheet(), &rule, "; }"), opacity, &["--sheet"]);
    }
}

#[test]
fn curves_are_seen() {
    for style in 0..8 {
        is_seen("a curve", &format!("var(--s{style})"), 1.0, &["--sheet"]);
    }
}
