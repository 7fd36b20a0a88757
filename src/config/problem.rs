//! What is wrong with a config: each mistake with file, line, column, key and remedy, drawn beneath
//! the line it is in.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

/// Most mistakes that are drawn; the rest is counted.
const SHOWN_MAX: usize = 50;
/// Longest line that is drawn, in bytes.
const LINE_MAX: usize = 1000;

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read {path}: {cause}", path = path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("read {path}: larger than {limit} bytes, which no config is", path = path.display())]
    TooLarge { path: PathBuf, limit: usize },
    #[error("read {path}: not UTF-8 in line {line}; save it as UTF-8", path = path.display())]
    NotUtf8 { path: PathBuf, line: usize },
    #[error("{0}")]
    Invalid(Problems),
}

/// All mistakes of one file.
#[derive(Debug)]
pub struct Problems {
    pub file: String,
    pub list: Vec<Problem>,
    drawn: String,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// `probe.interval`; empty where the file is not TOML.
    pub key: String,
    pub message: String,
    pub help: Option<String>,
    #[serde(skip)]
    pub(crate) span: Range<usize>,
}

impl Problem {
    /// `span`: bytes of the file. Line and column are filled in by [`Problems::new`].
    pub(crate) fn new(
        span: Range<usize>,
        key: impl Into<String>,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Problem {
        Problem { line: 0, column: 0, key: key.into(), message: message.into(), help, span }
    }
}

impl Problems {
    /// Sorts by place and draws. `text` is the file.
    pub(crate) fn new(file: &str, text: &str, mut list: Vec<Problem>) -> Problems {
        list.sort_by_key(|p| (p.span.start, p.span.end));
        let mut drawn = String::new();
        let mut place = Place { text, at: 0, line: 1, line_start: 0 };
        for (i, problem) in list.iter_mut().enumerate() {
            place.go(problem.span.start);
            let before = &text[place.line_start..place.at];
            (problem.line, problem.column) = (place.line, before.chars().count() + 1);
            if i < SHOWN_MAX {
                drawn.push_str(&draw(file, problem, place.line_start, text));
                drawn.push_str("\n\n");
            }
        }
        let count = match list.len() {
            1 => "1 mistake".to_owned(),
            n if n > SHOWN_MAX => format!("{n} mistakes, the first {SHOWN_MAX} shown"),
            n => format!("{n} mistakes"),
        };
        drawn.push_str(&format!("{count} in {file}"));
        Problems { file: file.to_owned(), list, drawn }
    }
}

/// Begins with the file, so that it reads well behind `lastgasp: `.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad config {}\n{}", self.file, self.drawn)
    }
}

/// A position that only moves forward, so that all lines and columns together take one pass.
struct Place<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    line_start: usize,
}

impl Place<'_> {
    fn go(&mut self, to: usize) {
        let mut to = to.min(self.text.len()).max(self.at);
        while !self.text.is_char_boundary(to) {
            to -= 1;
        }
        for (i, b) in self.text.as_bytes()[self.at..to].iter().enumerate() {
            if *b == b'\n' {
                (self.line, self.line_start) = (self.line + 1, self.at + i + 1);
            }
        }
        self.at = to;
    }
}

fn draw(file: &str, problem: &Problem, line_start: usize, text: &str) -> String {
    let title =
        if problem.key.is_empty() { problem.message.clone() } else { format!("`{}` {}", problem.key, problem.message) };
    let line = text[line_start..].lines().next().unwrap_or_default();
    let help = problem.help.as_deref();
    if line.len() > LINE_MAX {
        let help = help.map_or(String::new(), |h| format!("\n  = help: {h}"));
        return format!("error: {title}\n --> {file}:{}:{}{help}", problem.line, problem.column);
    }
    let within = |at: usize| {
        let mut at = at.saturating_sub(line_start).min(line.len());
        while !line.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = within(problem.span.start);
    let end = within(problem.span.end).max(start);
    let snippet =
        Snippet::source(line).line_start(problem.line).path(file).annotation(AnnotationKind::Primary.span(start..end));
    let mut group = Level::ERROR.primary_title(title).element(snippet);
    if let Some(help) = help {
        group = group.element(Level::HELP.message(help));
    }
    Renderer::plain().render(&[group])
}
