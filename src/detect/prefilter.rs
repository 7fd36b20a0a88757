//! The rules in force, and the one literal pass that decides whether a line is worth a second look.
//!
//! A quiet line costs one look-up for every four of its bytes ([`crate::detect::sieve`]) and nothing else: no prefix is
//! parsed, no regex runs, nothing is allocated.

use crate::config::RulesConfig;
use crate::detect::Error;
use crate::detect::prefix::Line;
use crate::detect::rules::{self, Place, Recipe, Role, Rule, Shape, Title};
use crate::detect::sieve::Sieve;
use crate::model::{Kind, Severity};
use regex::bytes::Regex;
use std::borrow::Cow;

/// Bytes of a line that are looked at.
pub(crate) const SCAN_BYTES_MAX: usize = 4096;

/// A rule as configured.
pub(crate) struct Active {
    pub id: Cow<'static, str>,
    pub kind: Kind,
    pub severity: Severity,
    pub alarm: bool,
    /// Takes its lines, says nothing.
    pub silenced: bool,
    pub title: Option<String>,
    pub rule: &'static Rule,
    pattern: Option<Regex>,
}

/// What a rule of the operator's own behaves like.
static ADDED: Rule = {
    let mut r = rules::rule("added", Kind::Other, Severity::Error, &[], "", "the config", "A rule of the config.");
    r.place = Place::Anywhere;
    r.shape = Shape::Single;
    r.recipe = Recipe::None;
    r.role = Role::Start;
    r.title = Title::Fixed("");
    r.program = true;
    r
};

/// Owner of a literal that no rule has.
const NO_RULE: u16 = u16::MAX;

pub(crate) struct Prefilter {
    /// The triggers: 80 KiB.
    literals: Sieve,
    /// The rule of each literal.
    owner: Vec<u16>,
    pub rules: Vec<Active>,
}

/// A header: which rule, and where in the body its trigger begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub rule: usize,
    pub at: usize,
}

impl Prefilter {
    /// Fails on rule ids that do not exist and on patterns that are no regex.
    pub fn new(config: &RulesConfig) -> Result<Prefilter, Error> {
        let mut active: Vec<Active> = Vec::new();
        for added in &config.add {
            let pattern = match &added.pattern {
                Some(p) => {
                    Some(Regex::new(p).map_err(|e| Error::Pattern { rule: added.id.clone(), source: Box::new(e) })?)
                }
                None => None,
            };
            if added.phrase.is_empty() {
                return Err(Error::EmptyPhrase { rule: added.id.clone() });
            }
            if rules::all().any(|r| r.id == added.id) || active.iter().any(|a| a.id == added.id) {
                return Err(Error::Duplicate { rule: added.id.clone() });
            }
            active.push(Active {
                id: Cow::Owned(added.id.clone()),
                kind: added.kind,
                severity: added.severity,
                alarm: added.alarm,
                silenced: false,
                title: Some(added.title.clone().unwrap_or_else(|| added.phrase.clone())),
                rule: &ADDED,
                pattern,
            });
        }
        active.extend(rules::all().map(|r| Active {
            id: Cow::Borrowed(r.id),
            kind: r.kind,
            severity: r.severity,
            alarm: r.alarm,
            silenced: false,
            title: None,
            rule: r,
            pattern: None,
        }));
        for id in &config.silence {
            named(&mut active, id)?.silenced = true;
        }
        for change in &config.regrade {
            let rule = named(&mut active, &change.rule)?;
            rule.severity = change.severity.unwrap_or(rule.severity);
            rule.alarm = change.alarm.unwrap_or(rule.alarm);
        }
        let mut owner = Vec::new();
        let mut literals: Vec<&[u8]> = Vec::new();
        for (n, rule) in active.iter().enumerate() {
            let own: Vec<&[u8]> = match config.add.get(n) {
                Some(added) => vec![added.phrase.as_bytes()],
                None => rule.rule.triggers.iter().map(|t| t.as_bytes()).collect(),
            };
            for literal in own {
                literals.push(literal);
                owner.push(u16::try_from(n).unwrap_or(NO_RULE));
            }
        }
        // Not headers, but the assembly must see them.
        for phrase in rules::SHUTDOWN {
            literals.push(phrase.as_bytes());
            owner.push(NO_RULE);
        }
        let literals = Sieve::new(literals.into_iter().map(Box::from).collect()).ok_or(Error::Phrases)?;
        Ok(Prefilter { literals, owner, rules: active })
    }

    /// Whether any literal stands in the scanned part of the text.
    pub fn is_candidate(&self, text: &[u8]) -> bool {
        self.find(&text[..text.len().min(SCAN_BYTES_MAX)]).is_some()
    }

    /// Where a literal begins that no earlier line has one before; for callers that skip quiet lines wholesale.
    pub fn find(&self, text: &[u8]) -> Option<usize> {
        self.literals.find(text)
    }

    /// The first rule, in the order of the table, that accepts the line.
    pub fn header(&self, line: &Line<'_>, console: bool) -> Option<Hit> {
        let body = &line.body[..line.body.len().min(SCAN_BYTES_MAX)];
        // The first rule, and of its triggers the one that ends first, or begins first where two end together.
        let mut best: Option<((usize, usize, usize), Hit)> = None;
        for (literal, at) in self.literals.each(body) {
            let owner = self.owner[literal];
            let rule = usize::from(owner);
            let order = (rule, at + self.literals.literal_len(literal), at);
            if owner == NO_RULE || best.is_some_and(|b| b.0 <= order) {
                continue;
            }
            if self.accepts(rule, body, at, line, console) {
                best = Some((order, Hit { rule, at }));
            }
        }
        best.map(|b| b.1)
    }

    fn accepts(&self, n: usize, body: &[u8], at: usize, line: &Line<'_>, console: bool) -> bool {
        let active = &self.rules[n];
        let rule = active.rule;
        let placed = match rule.place {
            Place::Within(max) => at <= max,
            Place::Anywhere => true,
        };
        let trusted = (!line.user || rule.program) && (!console || !rule.stamped || line.kernel);
        placed
            && trusted
            && !rules::chosen_by_user(&body[..at])
            && !rule.vetoes.iter().any(|v| memchr::memmem::find(body, v.as_bytes()).is_some())
            && rule.check.is_none_or(|check| check(body, at))
            && active.pattern.as_ref().is_none_or(|p| p.is_match(body))
    }
}

fn named<'a>(rules: &'a mut [Active], id: &str) -> Result<&'a mut Active, Error> {
    match rules.iter().position(|r| r.id == id) {
        Some(n) => Ok(&mut rules[n]),
        None => {
            let near = rules
                .iter()
                .map(|r| (strsim::damerau_levenshtein(&r.id, id), r.id.as_ref()))
                .min()
                .map_or_else(String::new, |(_, near)| near.to_owned());
            Err(Error::UnknownRule { id: id.to_owned(), near })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_carries_little() {
        let filter = Prefilter::new(&RulesConfig::default()).expect("the built-in rules are sound");
        assert!(filter.literals.memory_usage() < 128 << 10);
        assert_eq!(filter.find(b"all is well\nkernel BUG at x"), Some(12));
        assert!(filter.is_candidate(b"kernel BUG at x") && !filter.is_candidate(b"all is well"));
    }

    #[test]
    fn a_phrase_of_the_config_may_be_short() {
        let added = |phrase: &str| crate::config::AddedRule {
            id: "mine".into(),
            phrase: phrase.into(),
            pattern: None,
            kind: Kind::Other,
            severity: Severity::Error,
            alarm: true,
            title: None,
        };
        for phrase in ["xyz", "xyzzy", "a longer one"] {
            let config = RulesConfig { add: vec![added(phrase)], ..RulesConfig::default() };
            let filter = Prefilter::new(&config).expect("a sound config");
            assert!(filter.is_candidate(format!("here is {phrase}, and").as_bytes()), "{phrase}");
            assert_eq!(filter.find(b"kernel BUG at x"), Some(0));
        }
    }

    #[test]
    fn every_trigger_is_found_wherever_it_stands() {
        let filter = Prefilter::new(&RulesConfig::default()).expect("the built-in rules are sound");
        for trigger in rules::all().flat_map(|r| r.triggers) {
            for before in 0..8 {
                let text = format!("{}{trigger}", "\u{1}".repeat(before));
                assert!(filter.is_candidate(text.as_bytes()), "{trigger} behind {before} bytes");
            }
        }
    }

    #[test]
    fn the_first_rule_of_the_table_takes_the_line() {
        let filter = Prefilter::new(&RulesConfig::default()).expect("the built-in rules are sound");
        let line = crate::detect::prefix::parse(b"[1.000000] BUG: KASAN: use-after-free in f+0x1/0x2");
        let hit = filter.header(&line, true).expect("a header");
        assert_eq!((filter.rules[hit.rule].id.as_ref(), hit.at), ("kasan", 0));
    }
}
