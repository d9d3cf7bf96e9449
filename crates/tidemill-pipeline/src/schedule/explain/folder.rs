//! In which folder a relative path in a program's message was meant, told from the shell command that ran it.
//!
//! Reads as much of the shell's language as people use to change folders: `cd`, `pushd`, `popd`, subshells, `sh -c`,
//! and the options of `make`, `git` and `env` that do the same. What a program changes itself cannot be known.

use std::path::{Component, Path};

/// Programs whose word after `-C` is the folder that they work in.
const TAKE_A_FOLDER: [&str; 6] = ["make", "git", "env", "tar", "ninja", "just"];
const SHELLS: [&str; 5] = ["sh", "bash", "dash", "zsh", "ksh"];
/// Words that may stand in front of a program's name.
const BEFORE: [&str; 13] =
    ["then", "do", "else", "elif", "if", "while", "until", "{", "!", "time", "exec", "command", "nice"];
/// Deeper nesting of `sh -c` is not followed.
const DEEPEST: usize = 4;

/// The programs of a command line with the folders that they ran in.
#[derive(Debug, Default)]
pub(super) struct Places {
    uses: Vec<Use>,
}

/// One program that the command line runs.
#[derive(Debug)]
struct Use {
    folder: String,
    words: Vec<String>,
}

impl Places {
    /// Reads a command line that starts in the folder `root`.
    pub(super) fn of(root: &Path, command: &str) -> Self {
        let mut reader = Reader { root, uses: Vec::new() };
        reader.read(command, Some(String::new()), 0);
        Self { uses: reader.uses }
    }

    /// Folders, relative to the project, from which `path` in a line of output may have been meant; the likeliest
    /// first, the project's own always among them.
    pub(super) fn folders(&self, line: &str, path: &str) -> Vec<&str> {
        let rank = |used: &Use| {
            let argument = |word: &String| {
                let redirected = word.trim_start_matches(|c: char| c.is_ascii_digit() || "<>".contains(c));
                word == path || redirected == path || word.ends_with(&format!("={path}"))
            };
            let mentions = used.words.iter().any(argument);
            let program = used.words.first().map_or("", |word| base(word));
            let named = !program.is_empty() && line.trim_start().starts_with(&format!("{program}:"));
            (!mentions, !named)
        };
        // Among equals the last one: what comes before it are usually preparations.
        let mut uses: Vec<&Use> = self.uses.iter().rev().collect();
        uses.sort_by_key(|used| rank(used));
        let mut folders: Vec<&str> = Vec::new();
        for folder in uses.into_iter().map(|used| used.folder.as_str()).chain([""]) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders
    }
}

struct Reader<'a> {
    root: &'a Path,
    uses: Vec<Use>,
}

impl Reader<'_> {
    /// Follows a command line from a folder; `None` stands for one that is not known or not in the project.
    fn read(&mut self, command: &str, start: Option<String>, depth: usize) {
        let mut here = start;
        let mut outer: Vec<Option<String>> = Vec::new();
        let mut before: Vec<Option<String>> = Vec::new();
        let mut words: Vec<String> = Vec::new();
        for token in tokens(command).into_iter().chain([Token::End]) {
            if let Token::Word(word) = token {
                words.push(word);
                continue;
            }
            self.run(std::mem::take(&mut words), &mut here, &mut before, depth);
            match token {
                Token::Open => outer.push(here.clone()),
                Token::Close => here = outer.pop().unwrap_or(here),
                Token::End | Token::Word(_) => {}
            }
        }
    }

    /// One simple command.
    fn run(
        &mut self,
        mut words: Vec<String>,
        here: &mut Option<String>,
        before: &mut Vec<Option<String>>,
        depth: usize,
    ) {
        let skipped = words.iter().take_while(|word| BEFORE.contains(&word.as_str()) || is_assignment(word));
        words.drain(..skipped.count());
        let Some(program) = words.first().map(|word| base(word).to_owned()) else { return };
        match program.as_str() {
            "cd" | "pushd" | "chdir" => {
                let target = words[1..].iter().find(|word| *word == "-" || !word.starts_with('-'));
                let there = match target.map(String::as_str) {
                    Some("-") => before.pop().unwrap_or_default(),
                    Some(target) => here.as_deref().and_then(|from| join(self.root, from, target)),
                    None => None,
                };
                before.push(std::mem::replace(here, there));
            }
            "popd" => *here = before.pop().unwrap_or_default(),
            _ => {
                let Some(from) = here.clone() else { return };
                if depth < DEEPEST
                    && SHELLS.contains(&program.as_str())
                    && let Some(at) =
                        words.iter().position(|word| word.starts_with('-') && word.ends_with('c'))
                    && let Some(script) = words.get(at + 1).cloned()
                {
                    self.read(&script, Some(from), depth + 1);
                    return;
                }
                let own = working_folder(&program, &words).and_then(|folder| join(self.root, &from, folder));
                self.uses.push(Use { folder: own.unwrap_or(from), words });
            }
        }
    }
}

/// The folder that a program is told to work in.
fn working_folder<'a>(program: &str, words: &'a [String]) -> Option<&'a str> {
    let long = words
        .iter()
        .find_map(|word| word.strip_prefix("--directory=").or_else(|| word.strip_prefix("--chdir=")));
    let short = || {
        let at = words.iter().position(|word| word == "-C")?;
        TAKE_A_FOLDER.contains(&program).then(|| words.get(at + 1).map(String::as_str)).flatten()
    };
    long.or_else(short)
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// A program's name without its folder.
fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// `path` seen from the folder `from` of the project; `None` where that is outside of it or not known.
fn join(root: &Path, from: &str, path: &str) -> Option<String> {
    if path.contains(['$', '`', '~', '*', '?']) {
        return None;
    }
    let path = Path::new(path);
    let relative = match path.strip_prefix(root) {
        Ok(below) => below.to_owned(),
        Err(_) if path.is_absolute() => return None,
        Err(_) => Path::new(from).join(path),
    };
    let mut parts: Vec<&str> = Vec::new();
    for component in relative.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => drop(parts.pop()?),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    /// `(`: what follows runs in a shell of its own.
    Open,
    Close,
    /// Anything else that ends a simple command.
    End,
}

/// Words without their quotes, and what stands between commands.
fn tokens(command: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = command.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                word.extend(characters.by_ref().take_while(|c| *c != '\''));
            }
            '"' => {
                let word = word.get_or_insert_default();
                while let Some(c) = characters.next().filter(|c| *c != '"') {
                    match c {
                        '\\' => word.extend(characters.next()),
                        c => word.push(c),
                    }
                }
            }
            '\\' => match characters.next() {
                // The line goes on.
                Some('\n') | None => {}
                Some(c) => word.get_or_insert_default().push(c),
            },
            '#' if word.is_none() => while characters.next_if(|c| *c != '\n').is_some() {},
            c if c.is_whitespace() || "();&|".contains(c) => {
                tokens.extend(word.take().map(Token::Word));
                match c {
                    '(' => tokens.push(Token::Open),
                    ')' => tokens.push(Token::Close),
                    '\n' | ';' | '&' | '|' => tokens.push(Token::End),
                    _ => {}
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    tokens.extend(word.map(Token::Word));
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn likeliest(command: &str, line: &str, path: &str) -> String {
        Places::of(Path::new("/project"), command).folders(line, path)[0].to_owned()
    }

    #[test]
    fn the_folder_of_the_program_is_followed() {
        for (command, folder) in [
            ("python x.py", ""),
            ("cd sub && python x.py", "sub"),
            ("cd sub\npython x.py", "sub"),
            ("cd 'a b'; python x.py", "a b"),
            ("cd \"a b\" && python x.py", "a b"),
            ("cd a\\ b && python x.py", "a b"),
            ("cd -- sub/./deep/.. && python x.py", "sub"),
            ("cd sub && cd deep && python x.py", "sub/deep"),
            ("cd sub && cd .. && python x.py", ""),
            ("cd sub && cd other; cd - && python x.py", "sub"),
            ("(cd sub && true); python x.py", ""),
            ("true; (cd sub; python x.py) | tee log", "sub"),
            ("pushd sub && python x.py && popd", "sub"),
            ("pushd sub; popd; python x.py", ""),
            ("cd /project/sub && python x.py", "sub"),
            ("cd \\\n  sub && python x.py", "sub"),
            ("A=1 python x.py && cd sub", ""),
            ("if cd sub; then A=1 exec python x.py; fi", "sub"),
            ("sh -euc 'cd sub && python x.py'", "sub"),
            ("cd sub && bash -c \"cd deep; python x.py\"", "sub/deep"),
            ("env -C sub python x.py", "sub"),
            ("cd sub && make -C deep x.py", "sub/deep"),
            ("tool --directory=sub x.py", "sub"),
            ("cd sub && echo 1 >x.py; cd ..; true", "sub"),
            ("# cd other\npython x.py", ""),
            ("echo 'cd other' && python x.py", ""),
            ("mkdir -p out && cd sub && python x.py > ../out/y", "sub"),
            ("cat x.txt && cd sub && python x.py && cd .. && echo done", "sub"),
        ] {
            assert_eq!(likeliest(command, "x.py: Permission denied", "x.py"), folder, "{command}");
        }
    }

    #[test]
    fn a_path_that_no_argument_names_belongs_to_the_program_that_speaks() {
        let command = "cd a && python train.py && cd ../b && Rscript plot.R";
        for (line, folder) in
            [("python: x.csv: Permission denied", "a"), ("cannot open file 'x.csv': Permission denied", "b")]
        {
            assert_eq!(likeliest(command, line, "x.csv"), folder);
        }
    }

    #[test]
    fn what_is_not_known_is_the_projects_own_folder() {
        for command in
            ["cd && cat x", "cd $DIR && cat x", "cd .. && cat x", "cd /tmp && cat x", "", "cd -", "((("]
        {
            assert_eq!(Places::of(Path::new("/project"), command).folders("", "x"), [""], "{command}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_command_line_is_read(command in "[a-z .()&|;'\"\\\\$/-]{0,40}|\\PC{0,40}", path in "\\PC{0,8}") {
            let places = Places::of(Path::new("/project"), &command);
            let folders = places.folders(&command, &path);
            proptest::prop_assert!(folders.contains(&""));
            proptest::prop_assert!(folders.iter().all(|folder| !folder.starts_with('/') && !folder.split('/').any(|part| part == "..")));
        }
    }
}
