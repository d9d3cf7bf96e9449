//! The routes of MLflow's API as they stand in the source. A router does not tell them.

use std::path::Path;

/// Methods that routes take, as they are called in the source.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Paths below `/api/2.0`, `/api/3.0` or the root, each with its methods.
pub(crate) fn of_mlflow() -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/mlflow")];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs_err::read_to_string(&path).unwrap();
            let models = path.ends_with("models/mod.rs");
            for (at, call) in text.split(".route(").enumerate().skip(1) {
                let Some((literal, handlers)) =
                    call.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"'))
                else {
                    continue;
                };
                let parent = match models {
                    false => "",
                    // The file makes the router of models first.
                    true if text.split(".route(").take(at).collect::<String>().contains("let versions") => {
                        "/mlflow/model-versions"
                    }
                    true => "/mlflow/registered-models",
                };
                found.push((format!("{parent}{literal}"), methods(handlers)));
            }
        }
    }
    found
}

/// The methods in what follows the path of a route.
fn methods(handlers: &str) -> Vec<String> {
    let mut depth = 1;
    let end = handlers.char_indices().find(|(_, c)| {
        depth += i32::from(*c == '(') - i32::from(*c == ')');
        depth == 0
    });
    let handlers = &handlers[..end.map_or(handlers.len(), |(at, _)| at)];
    let named = |method: &&str| {
        handlers.match_indices(&format!("{method}(")).any(|(at, _)| {
            !handlers[..at].ends_with(|before: char| before.is_ascii_alphanumeric() || before == '_')
        })
    };
    METHODS.into_iter().filter(named).map(str::to_ascii_uppercase).collect()
}
