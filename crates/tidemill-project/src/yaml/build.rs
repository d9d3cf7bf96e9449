//! Builds a tree from the parser's events. A loop with its own stack: no input can overflow the call stack.

use std::collections::HashMap;

use granit_parser::{Event, ScalarStyle, Span as Mark, Tag};

use super::{MOST_DEPTH, MOST_NODES, scalar};
use crate::node::{Entry, Kind, Node, Span};
use crate::report::Diagnostic;

/// The only document of a text, as a tree.
pub(crate) fn parse_tree(text: &str) -> Result<Node, Vec<Diagnostic>> {
    let mut options = granit_parser::options! {
        flow_nesting_limit: MOST_DEPTH + 1,
        block_nesting_limit: MOST_DEPTH + 1,
        simple_key_max_lookahead: 4096,
        disallow_directives: false,
    };
    options.set_emit_comments(false);
    let mut parser = granit_parser::Parser::new_from_str_with_options(text, options);
    let mut builder = Builder::new(text);
    loop {
        match parser.next_event() {
            None => break,
            Some(Ok((event, mark))) => {
                let span = builder.span(&mark);
                if let Err(problem) = builder.event(event, span) {
                    builder.problems.push(*problem);
                    break;
                }
            }
            Some(Err(error)) => {
                let problem = scan_problem(&error, text);
                builder.problems.push(problem);
                break;
            }
        }
    }
    builder.finish()
}

/// A list or map that is not closed yet.
struct Frame {
    anchor: usize,
    start: usize,
    content: Content,
    /// Depth of what is inside, aliases filled in.
    depth: usize,
    nodes: usize,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<Key>, merged: Vec<Entry>, seen: HashMap<String, usize> },
}

/// A key whose value has not come yet.
struct Key {
    text: String,
    span: Span,
    merges: bool,
}

/// A finished node that aliases may name.
struct Anchored {
    node: Node,
    depth: usize,
    nodes: usize,
}

struct Builder<'t> {
    text: &'t str,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
    problems: Vec<Diagnostic>,
    /// Whether the last scalar was written without quotes: only a plain `<<` merges.
    plain: bool,
    /// Character and byte offset reached so far, for marks without byte offsets.
    reached: (usize, usize),
}

type Outcome = Result<(), Box<Diagnostic>>;

fn fatal(span: &Span, message: impl Into<String>, hint: &str) -> Outcome {
    let hint = (!hint.is_empty()).then(|| hint.to_owned());
    Err(Box::new(Diagnostic::new(span, message).hint(hint)))
}

impl<'t> Builder<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            stack: Vec::new(),
            anchors: HashMap::new(),
            root: None,
            documents: 0,
            nodes: 0,
            problems: Vec::new(),
            plain: false,
            reached: (0, 0),
        }
    }

    fn span(&mut self, mark: &Mark) -> Span {
        if let Some(range) = mark.byte_range() {
            return range;
        }
        let start = self.byte(mark.start.index());
        start..self.byte(mark.end.index()).max(start)
    }

    fn byte(&mut self, index: usize) -> usize {
        let (mut chars, mut bytes) = if index >= self.reached.0 { self.reached } else { (0, 0) };
        for c in self.text[bytes..].chars() {
            if chars == index {
                break;
            }
            chars += 1;
            bytes += c.len_utf8();
        }
        self.reached = (chars, bytes);
        bytes
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Outcome {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return fatal(
                        &span,
                        "a second document begins here",
                        "keep one document; remove the `---`",
                    );
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, &span)?;
                self.plain = style == ScalarStyle::Plain;
                let kind = self.scalar(&text, style, tag.as_deref(), &span);
                self.add(Node::new(kind, self.trimmed(span)), anchor, 0, 1)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.structure_tag(tag.as_deref(), "seq", &span);
                self.open(Content::List(Vec::new()), anchor, &span)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.structure_tag(tag.as_deref(), "map", &span);
                let content =
                    Content::Map { entries: Vec::new(), key: None, merged: Vec::new(), seen: HashMap::new() };
                self.open(content, anchor, &span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(&span),
            Event::Alias(id) => self.alias(id, &span),
            _ => Ok(()),
        }
    }

    /// A block scalar's mark may reach over the line break behind it.
    fn trimmed(&self, span: Span) -> Span {
        let text = self.text.get(span.clone()).unwrap_or_default();
        span.start..span.start + text.trim_end().len()
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> Kind {
        let plain = style == ScalarStyle::Plain;
        let resolved = match tag.map(|tag| (tag, tag.core_suffix())) {
            None if plain => scalar::plain(text),
            None | Some((_, Some("str"))) => Ok(Kind::String(text.to_owned())),
            Some((tag, Some(wanted @ ("int" | "float" | "bool" | "null")))) => match scalar::plain(text) {
                Ok(kind) if matches_tag(&kind, wanted) => Ok(kind),
                Ok(_) => Err(format!("`{text}` is no value of `{}`", tag.original())),
                Err(message) => Err(message),
            },
            Some((tag, _)) if tag.handle() == "!" && tag.suffix().is_empty() => {
                Ok(Kind::String(text.to_owned()))
            }
            Some((tag, _)) => Err(format!("the tag `{}` has no meaning here", tag.original())),
        };
        resolved.unwrap_or_else(|message| {
            self.problems
                .push(Diagnostic::new(span, message).hint(Some("write it in quotes for text".to_owned())));
            Kind::Null
        })
    }

    fn structure_tag(&mut self, tag: Option<&Tag>, own: &str, span: &Span) {
        if let Some(tag) = tag
            && tag.core_suffix() != Some(own)
            && !(tag.handle() == "!" && tag.suffix().is_empty())
        {
            let message = format!("the tag `{}` has no meaning here", tag.original());
            self.problems.push(Diagnostic::new(span, message).hint(Some("remove the tag".to_owned())));
        }
    }

    fn open(&mut self, content: Content, anchor: usize, span: &Span) -> Outcome {
        if let Some(Frame { content: Content::Map { key: None, .. }, .. }) = self.stack.last() {
            return fatal(span, "a list or map cannot be a key", "write the key in quotes if it is text");
        }
        if self.stack.len() >= MOST_DEPTH {
            return too_deep(span);
        }
        self.count(1, span)?;
        self.stack.push(Frame { anchor, start: span.start, content, depth: 0, nodes: 1 });
        Ok(())
    }

    fn count(&mut self, nodes: usize, span: &Span) -> Outcome {
        self.nodes += nodes;
        if self.nodes > MOST_NODES {
            let message = format!("the file has more than {MOST_NODES} values, with aliases filled in");
            return fatal(span, message, "repeat less by aliases");
        }
        Ok(())
    }

    fn close(&mut self, span: &Span) -> Outcome {
        let Some(Frame { anchor, start, content, depth, nodes }) = self.stack.pop() else { return Ok(()) };
        let (kind, end) = match content {
            Content::List(items) => {
                let end = items.last().map_or(span.end, |last| last.span.end);
                (Kind::List(items), end)
            }
            Content::Map { mut entries, merged, mut seen, .. } => {
                for entry in merged {
                    if !seen.contains_key(&entry.key) {
                        seen.insert(entry.key.clone(), entry.key_span.start);
                        entries.push(entry);
                    }
                }
                let end = entries.iter().map(|e| e.value.span.end).max().unwrap_or(span.end);
                (Kind::Map(entries), end)
            }
        };
        // The end mark of a block is where the next thing begins; of `[…]` and `{…}` it is the bracket.
        let bracket = matches!(self.text.as_bytes().get(start), Some(b'[' | b'{'));
        let end = if bracket { span.end } else { end };
        self.add(Node::new(kind, start..end.max(start)), anchor, depth + 1, nodes)
    }

    fn alias(&mut self, id: usize, span: &Span) -> Outcome {
        let Some(Anchored { depth, nodes, .. }) = self.anchors.get(&id) else {
            return fatal(span, "this alias stands inside of what it refers to", "");
        };
        let (depth, nodes) = (*depth, *nodes);
        if self.stack.len() + depth > MOST_DEPTH {
            return too_deep(span);
        }
        self.count(nodes, span)?;
        let Some(Anchored { node, .. }) = self.anchors.get(&id) else { return Ok(()) };
        let mut node = node.clone();
        node.span = span.clone();
        self.add(node, 0, depth, nodes)
    }

    fn add(&mut self, node: Node, anchor: usize, depth: usize, nodes: usize) -> Outcome {
        if anchor != 0 {
            // The copy that aliases take is counted too.
            self.count(nodes, &node.span)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), depth, nodes });
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.depth = frame.depth.max(depth);
        frame.nodes += nodes;
        match &mut frame.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, key, merged, seen } => match key.take() {
                None => {
                    let text = match &node.kind {
                        Kind::String(text) => text.clone(),
                        Kind::List(_) | Kind::Map(_) => {
                            return fatal(&node.span, "a list or map cannot be a key", "");
                        }
                        Kind::Null | Kind::Bool(_) | Kind::Number(_) => {
                            self.text.get(node.span.clone()).unwrap_or_default().to_owned()
                        }
                    };
                    let merges = self.plain && text == "<<";
                    *key = Some(Key { text, span: node.span, merges });
                }
                Some(Key { merges: true, .. }) => match node.kind {
                    Kind::Map(other) => merged.extend(other),
                    Kind::List(items) if items.iter().all(|i| matches!(i.kind, Kind::Map(_))) => {
                        merged.extend(items.into_iter().flat_map(|item| match item.kind {
                            Kind::Map(other) => other,
                            _ => Vec::new(),
                        }));
                    }
                    _ => return fatal(&node.span, "`<<` wants a map to merge", "write `<<: *anchor`"),
                },
                Some(Key { text: name, span, .. }) => {
                    if let Some(first) = seen.get(&name) {
                        let line = 1 + self.text[..*first].matches('\n').count();
                        let problem = Diagnostic::new(&span, format!("the key `{name}` stands here twice"));
                        self.problems
                            .push(problem.hint(Some(format!("the first is in line {line}; remove one"))));
                    } else {
                        seen.insert(name.clone(), span.start);
                        entries.push(Entry { key: name, key_span: span, value: node });
                    }
                }
            },
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Node, Vec<Diagnostic>> {
        match self.root.take() {
            Some(root) if self.problems.is_empty() => Ok(root),
            None if self.problems.is_empty() => Ok(Node::null()),
            _ => Err(self.problems),
        }
    }
}

fn too_deep(span: &Span) -> Outcome {
    fatal(span, format!("nested more than {MOST_DEPTH} levels deep"), "")
}

fn matches_tag(kind: &Kind, tag: &str) -> bool {
    match kind {
        Kind::Null => tag == "null",
        Kind::Bool(_) => tag == "bool",
        Kind::Number(n) => tag == "float" || (tag == "int" && !n.is_f64()),
        Kind::String(_) | Kind::List(_) | Kind::Map(_) => false,
    }
}

/// The parser's own errors in our words, as far as people meet them.
fn scan_problem(error: &granit_parser::ScanError, text: &str) -> Diagnostic {
    use granit_parser::ErrorKind as E;
    let marker = error.marker();
    let at = marker
        .byte_offset()
        .unwrap_or_else(|| text.char_indices().nth(marker.index()).map_or(text.len(), |(at, _)| at));
    let at = at.min(text.len());
    let line_start = text.get(..at).and_then(|t| t.rfind('\n')).map_or(0, |i| i + 1);
    let indent = text.get(line_start..).unwrap_or_default();
    let indent = &indent[..indent.len() - indent.trim_start_matches([' ', '\t']).len()];
    let mut tab = indent.find('\t').map(|i| line_start + i);
    let info = error.info();
    if tab.is_none() && info.contains("tab") {
        // Inside of a value that may go on, the parser stops before the line with the tab.
        let next = text.get(at..).unwrap_or_default();
        let skipped = next.len() - next.trim_start_matches(['\r', '\n', ' ']).len();
        tab = next[skipped..].starts_with('\t').then_some(at + skipped);
    }
    let line = text.get(line_start..).and_then(|t| t.lines().next()).unwrap_or_default();
    let template = line.get(..at - line_start).is_some_and(|before| before.ends_with('$'))
        && line[at - line_start..].starts_with('{');
    let (message, hint) = match error.kind() {
        _ if template => {
            ("`{` begins a map here".to_owned(), "put text with `${` in quotes inside of `[…]` and `{…}`")
        }
        _ if tab.is_some() => ("a tab in the indentation".to_owned(), "indent with spaces"),
        E::TabNotAllowed | E::TabInBlockIndentation | E::TabInIndentation | E::TabAtBlockScalarStart => {
            ("a tab where YAML wants spaces".to_owned(), "indent with spaces")
        }
        E::UnknownAnchor => {
            ("no anchor of this name stands before it".to_owned(), "write `&name` before the first use")
        }
        E::RecursionLimitExceeded => (format!("nested more than {MOST_DEPTH} levels deep"), ""),
        E::UnclosedQuotedScalar => {
            ("the quotes are not closed".to_owned(), "close the quotes, or double a quote inside `'…'`")
        }
        E::UnclosedFlowCollection { open } => (format!("`{open}` is not closed"), ""),
        E::MismatchedFlowCollectionEnd { open, close } => (format!("`{open}` is closed by `{close}`"), ""),
        E::UnexpectedEofFlowSequence => ("`[` is not closed".to_owned(), ""),
        E::UnexpectedEofFlowMapping | E::UnexpectedEofImplicitFlowMapping => {
            ("`{` is not closed".to_owned(), "")
        }
        E::SimpleKeyExpected | E::InvalidSimpleKey => (
            "this is neither `key: value` nor part of what stands before it".to_owned(),
            "write a colon and a space after the key; put text with `: ` or ` #` in quotes",
        ),
        E::InvalidIndentation | E::ExpectedBlockMappingKey => (
            "the indentation fits nothing before it".to_owned(),
            "indent all keys of a map by the same number of spaces",
        ),
        _ if info.starts_with("mapping values") => {
            ("a second `: ` in one value".to_owned(), "put text with `: ` in quotes")
        }
        _ => (info, ""),
    };
    let at = tab.unwrap_or(at);
    let end = text[at.min(text.len())..]
        .chars()
        .next()
        .map_or(at, |c| at + if c == '\n' { 0 } else { c.len_utf8() });
    let hint = (!hint.is_empty()).then(|| hint.to_owned());
    Diagnostic::new(&(at..end), format!("not valid YAML: {message}")).hint(hint)
}
