//! `HOST-TIME-KIND-ID.tar.zst`: the name alone says what the list shows, so there is no index to break.

use crate::model::{Incident, IncidentId, Kind, Wall};

pub(crate) const SUFFIX: &str = ".tar.zst";
pub(crate) const PARTIAL: &str = ".tar.zst.partial";
/// A partial between its creation and its lock.
pub(crate) const NEWBORN: &str = ".tar.zst.partial.new";
pub(crate) const UNREADABLE: &str = ".unreadable";
pub(crate) const PIN: &str = ".pin";
/// Longest host in a name, in bytes.
const HOST_MAX: usize = 64;

/// What a name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub host: String,
    pub at: Wall,
    pub kind: Kind,
    pub id: IncidentId,
}

/// The name of an incident's snapshot without `.tar.zst`; also its top directory.
pub fn stem(incident: &Incident) -> String {
    // The host comes from a console log's name or the network: letters, digits, dots, dashes only.
    let mut host: String = incident
        .host
        .chars()
        .take(HOST_MAX)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' })
        .collect();
    if host.is_empty() || host.starts_with(['.', '-']) {
        host.insert(0, 'h');
    }
    let id: String = incident.id.0.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    format!("{host}-{}-{}-{id}", incident.opened_at.compact(), incident.kind)
}

/// Takes a stem apart; `None` for a foreign file.
pub(crate) fn parse(stem: &str) -> Option<Parsed> {
    let (rest, id) = stem.rsplit_once('-')?;
    let (rest, kind) = rest.rsplit_once('-')?;
    let (host, time) = rest.rsplit_once('-')?;
    let at = chrono::NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%SZ").ok()?.and_utc();
    let plain = |c: char| c.is_ascii_alphanumeric();
    if host.is_empty() || id.is_empty() || !id.chars().all(plain) {
        return None;
    }
    Some(Parsed {
        host: host.into(),
        at: Wall(at.timestamp_micros()),
        kind: kind.parse().ok()?,
        id: IncidentId(id.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_dashes_in_the_host_are_taken_apart() {
        let p = parse("web-01.example-20261123T021500Z-hung_task-ab12cd34").expect("ours");
        assert_eq!((p.host.as_str(), p.kind, p.id.0.as_str()), ("web-01.example", Kind::HungTask, "ab12cd34"));
        assert_eq!(p.at.to_string(), "2026-11-23T02:15:00.000Z");
        for foreign in
            ["", "a-b-c", "x-20261123T021500Z-nokind-ab", "sosreport-x-2026-11-23-abc", "x-20261123T021500Z-oops-"]
        {
            assert_eq!(parse(foreign), None, "{foreign}");
        }
    }
}
