//! The config as written: TOML with positions, walked along the table of keys. Each mistake is noted
//! and the walk goes on, so that one run shows them all.

use crate::config::form::{Fault, Form, Value, nearest};
use crate::config::keys::{self, Key, Section};
use crate::config::problem::Problem;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One table of the file: the keys that were written and are good.
#[derive(Debug)]
pub(crate) struct Table {
    pub section: &'static Section,
    /// Its header.
    pub span: Range<usize>,
    values: BTreeMap<&'static str, (Value, Range<usize>)>,
    /// Keys that were written with a bad value, which was reported.
    bad: Vec<&'static str>,
    /// A required key is missing or bad: nothing can be made of it.
    pub unusable: bool,
}

/// All tables in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    pub tables: Vec<Table>,
    pub problems: Vec<Problem>,
}

/// Reads the text. Where it is not TOML, only that is reported: what a broken line does to the
/// lines after it is guesswork.
pub(crate) fn read(text: &str) -> Raw {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut raw = Raw::default();
    for e in errors {
        raw.problems.push(Problem::new(e.span().unwrap_or(0..0), "", e.message().to_owned(), None));
    }
    if raw.problems.is_empty() {
        raw.inside("", document.get_ref());
        raw.tables.sort_by_key(|t| t.span.start);
    }
    raw
}

impl Raw {
    /// Walks what stands below `parent`: its sections (its keys are read by [`Raw::table`]).
    fn inside(&mut self, parent: &'static str, table: &DeTable<'_>) {
        for (name, value) in table {
            let found = keys::sections_below(parent).find(|(n, _)| *n == name.get_ref().as_ref());
            match (found, value.get_ref()) {
                (Some((_, section)), DeValue::Table(t)) if section.many.is_none() => {
                    self.table(section, name.span(), t)
                }
                (Some((_, section)), DeValue::Array(list)) if section.many.is_some() => {
                    let max = section.many.unwrap_or(0);
                    if list.len() > max {
                        let message = format!("comes {} times; at most {max} are accepted", list.len());
                        self.problem(name.span(), section.name, message, None);
                    }
                    for element in list.iter().take(max) {
                        match element.get_ref() {
                            DeValue::Table(t) => self.table(section, element.span(), t),
                            _ => self.not_a_table(section, element.span()),
                        }
                    }
                }
                (Some((_, section)), _) => self.not_a_table(section, name.span()),
                (None, _) if parent.is_empty() => self.unknown_section(name),
                // A key of `parent`, or an unknown one: told by `table`.
                (None, _) => {}
            }
        }
    }

    fn table(&mut self, section: &'static Section, span: Range<usize>, table: &DeTable<'_>) {
        let mut read = Table { section, span: span.clone(), values: BTreeMap::new(), bad: Vec::new(), unusable: false };
        for (name, value) in table {
            let word: &str = name.get_ref();
            if keys::sections_below(section.name).any(|(n, _)| n == word) {
                continue;
            }
            let Some(key) = keys::find(section.name, word) else {
                self.unknown_key(section, name);
                continue;
            };
            match key.form.convert(value) {
                Ok(v) => {
                    read.values.insert(key.name, (v, value.span()));
                }
                Err(faults) => {
                    read.unusable |= key.required;
                    read.bad.push(key.name);
                    for Fault { span, message, help } in faults {
                        let accepts = key.form.accepts();
                        let said = message.contains(&accepts);
                        let help = help.or_else(|| (!said).then(|| format!("accepted: {accepts}")));
                        self.problem(span, &path(section, key.name), message, help);
                    }
                }
            }
        }
        for key in keys::of(section.name).filter(|k| k.required) {
            if !table.keys().any(|k| k.get_ref() == key.name) {
                read.unusable = true;
                let help = format!("write {} = {}", key.name, key.sample);
                self.problem(span.clone(), &path(section, key.name), "is missing".to_owned(), Some(help));
            }
        }
        self.tables.push(read);
        self.inside(section.name, table);
    }

    fn not_a_table(&mut self, section: &'static Section, span: Range<usize>) {
        let header = keys::header(section);
        let message = match section.many {
            Some(_) => "is not a list of tables".to_owned(),
            None => "is not one table".to_owned(),
        };
        self.problem(span, section.name, message, Some(format!("write {header} on a line of its own")));
    }

    fn unknown_section(&mut self, name: &Spanned<std::borrow::Cow<'_, str>>) {
        let word: &str = name.get_ref();
        let near = nearest(word, keys::sections_below("").map(|(n, _)| n));
        let help = match (near, keys::KEYS.iter().find(|k| k.name == word)) {
            (_, Some(key)) => Some(format!("{word} belongs below {}", header_of(key.section))),
            (Some(near), None) => Some(format!("did you mean {}?", header_of(near))),
            (None, None) => {
                let all: Vec<String> = keys::sections_below("").map(|(_, s)| keys::header(s)).collect();
                Some(format!("there are {}", all.join(", ")))
            }
        };
        self.problem(name.span(), &cut(word), "is not known".to_owned(), help);
    }

    fn unknown_key(&mut self, section: &'static Section, name: &Spanned<std::borrow::Cow<'_, str>>) {
        let word: &str = name.get_ref();
        let names = || {
            let below = keys::sections_below(section.name).map(|(n, _)| n);
            keys::of(section.name).map(|k| k.name).chain(below)
        };
        let elsewhere = keys::KEYS.iter().find(|k| k.name == word);
        let help = match (nearest(word, names()), elsewhere) {
            (Some(near), _) => format!("did you mean {near:?}?"),
            (None, Some(key)) => format!("{word} belongs below {}", header_of(key.section)),
            (None, None) => format!("{} has {}", keys::header(section), names().collect::<Vec<_>>().join(", ")),
        };
        self.problem(name.span(), &path(section, &cut(word)), "is not known".to_owned(), Some(help));
    }

    pub fn problem(&mut self, span: Range<usize>, key: &str, message: String, help: Option<String>) {
        self.problems.push(Problem::new(span, key, message, help));
    }
}

/// `probe.interval`.
fn path(section: &Section, name: &str) -> String {
    format!("{}.{name}", section.name)
}

fn header_of(section: &str) -> String {
    keys::SECTIONS.iter().find(|s| s.name == section).map_or_else(|| section.to_owned(), keys::header)
}

/// A name of the file, short enough for a message.
fn cut(word: &str) -> String {
    if word.chars().count() <= 60 { word.to_owned() } else { word.chars().take(60).chain(['…']).collect() }
}

/// The default of a key, converted as if it had been written. Panics when the table is wrong, which
/// a test over all keys rules out.
pub(crate) fn default_of(key: &Key) -> Option<Value> {
    let text = key.default?;
    let value = DeValue::parse(text).unwrap_or_else(|e| panic!("default of {}.{}: {e}", key.section, key.name));
    let value = key.form.convert(&value);
    Some(value.unwrap_or_else(|e| panic!("default of {}.{}: {e:?}", key.section, key.name)))
}

impl Table {
    /// A table that was not written: all defaults.
    pub fn absent(section: &'static str) -> Table {
        let section = keys::SECTIONS.iter().find(|s| s.name == section).expect("callers name sections of the table");
        Table { section, span: 0..0, values: BTreeMap::new(), bad: Vec::new(), unusable: false }
    }

    /// What was written, or the default.
    fn get(&self, name: &str) -> Option<Value> {
        match self.values.get(name) {
            Some((v, _)) => Some(v.clone()),
            None => default_of(
                keys::find(self.section.name, name).unwrap_or_else(|| panic!("{name} is a key of the table")),
            ),
        }
    }

    /// Where the value stands, if it was written and is good.
    pub fn place(&self, name: &str) -> Option<Range<usize>> {
        self.values.get(name).map(|(_, span)| span.clone())
    }

    /// Whether it was written with a value that was refused: further checks would only repeat that.
    pub fn is_bad(&self, name: &str) -> bool {
        self.bad.contains(&name)
    }

    /// Only for keys with a number as default.
    pub fn number(&self, name: &str) -> u64 {
        match self.get(name) {
            Some(Value::Number(n)) => n,
            other => panic!("{}.{name} is a number with a default, not {other:?}", self.section.name),
        }
    }

    /// A count whose form ends below 2^32.
    pub fn count(&self, name: &str) -> u32 {
        u32::try_from(self.number(name)).expect("the forms of counts end below 2^32")
    }

    pub fn bool(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            Value::Bool(b) => Some(b),
            _ => None,
        }
    }

    pub fn text(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            Value::Text(s) => Some(s),
            _ => None,
        }
    }

    pub fn list(&self, name: &str) -> Vec<Value> {
        match self.get(name) {
            Some(Value::List(l)) => l,
            _ => Vec::new(),
        }
    }

    pub fn texts(&self, name: &str) -> Vec<String> {
        let text = |v| if let Value::Text(s) = v { Some(s) } else { None };
        self.list(name).into_iter().filter_map(text).collect()
    }

    /// Any other value.
    pub fn value(&self, name: &str) -> Option<Value> {
        self.get(name)
    }
}

const _: () = {
    // Every count fits `Table::count`.
    let mut i = 0;
    while i < keys::KEYS.len() {
        if let Form::Count { max, .. } = keys::KEYS[i].form {
            assert!(max <= u32::MAX as u64);
        }
        i += 1;
    }
};
