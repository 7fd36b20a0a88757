//! Policy routing rules: which table is asked for which packets.

use crate::host::net::attributes::{Attributes, u32_at};
use crate::host::net::names;
use serde::Serialize;
use std::fmt::Write;
use std::net::IpAddr;

/// Size of `struct fib_rule_hdr`.
const HEADER: usize = 12;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    pub family: u8,
    pub priority: u32,
    pub inverted: bool,
    /// The interfaces it names do not exist at present.
    pub input_gone: bool,
    pub output_gone: bool,
    pub from: Option<(IpAddr, u8)>,
    pub to: Option<(IpAddr, u8)>,
    pub tos: u8,
    pub mark: Option<u32>,
    pub mask: Option<u32>,
    pub input: Option<String>,
    pub output: Option<String>,
    pub action: u8,
    pub table: u32,
    pub goto: Option<u32>,
}

impl Rule {
    /// Reads one RTM_NEWRULE body; `None` for families other than IP.
    pub fn parse(body: &[u8]) -> Option<Rule> {
        let a = Attributes::after(body, HEADER);
        let family = *body.first()?;
        if !matches!(family, names::AF_INET | names::AF_INET6) {
            return None;
        }
        // FIB_RULE_INVERT, _IIF_DETACHED, _OIF_DETACHED.
        let flags = u32_at(body, 8)?;
        Some(Rule {
            family,
            // A rule without a priority attribute has priority 0.
            priority: a.u32(6).unwrap_or(0),
            inverted: flags & 0x2 != 0,
            input_gone: flags & 0x8 != 0,
            output_gone: flags & 0x10 != 0,
            from: a.ip(2).zip(body.get(2).copied()),
            to: a.ip(1).zip(body.get(1).copied()),
            tos: *body.get(3)?,
            mark: a.u32(10),
            mask: a.u32(16),
            input: a.string(3),
            output: a.string(17),
            action: *body.get(7)?,
            table: a.u32(15).or_else(|| body.get(4).map(|t| u32::from(*t)))?,
            goto: a.u32(4),
        })
    }

    /// Its line in `ip rule list`.
    pub fn line(&self, out: &mut String) {
        let net = |n: Option<(IpAddr, u8)>| match n {
            None => "all".to_owned(),
            Some((ip, p)) if p == if ip.is_ipv4() { 32 } else { 128 } => ip.to_string(),
            Some((ip, p)) => format!("{ip}/{p}"),
        };
        let _ = write!(out, "{}:\t{}from {}", self.priority, if self.inverted { "not " } else { "" }, net(self.from));
        if self.to.is_some() {
            let _ = write!(out, " to {}", net(self.to));
        }
        if self.tos != 0 {
            let _ = write!(out, " tos {:#x}", self.tos);
        }
        match (self.mark, self.mask) {
            (Some(m), Some(k)) if k != u32::MAX => drop(write!(out, " fwmark {m:#x}/{k:#x}")),
            (Some(m), _) => drop(write!(out, " fwmark {m:#x}")),
            _ => {}
        }
        if let Some(i) = &self.input {
            let _ = write!(out, " iif {i}{}", if self.input_gone { " [detached]" } else { "" });
        }
        if let Some(o) = &self.output {
            let _ = write!(out, " oif {o}{}", if self.output_gone { " [detached]" } else { "" });
        }
        // FR_ACT_*: linux/fib_rules.h.
        let _ = match self.action {
            1 => writeln!(out, " lookup {}", names::table(self.table)),
            2 => writeln!(out, " goto {}", self.goto.map_or_else(|| "none".into(), |g| g.to_string())),
            3 => writeln!(out, " nop"),
            6 => writeln!(out, " blackhole"),
            7 => writeln!(out, " unreachable"),
            8 => writeln!(out, " prohibit"),
            n => writeln!(out, " action {n}"),
        };
    }
}
