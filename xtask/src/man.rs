//! The man page, lastgasp(8): one page with every command, collector and config key, because at
//! three in the morning there is no web to look at.

use anyhow::{Result, bail};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use lastgasp::capture::{Spec, Tier, registry};
use lastgasp::cli::{Cli, Exit};
use lastgasp::config::keys;

pub const FILE: &str = "lastgasp.8";

const EXIT_STATUS: &[(Exit, &str)] = &[
    (Exit::Success, "Done. For scan: something was found."),
    (
        Exit::Nothing,
        "A clean \"no\": scan found nothing, there is no such snapshot, no watch is running, the drill failed.",
    ),
    (Exit::Error, "Wrong usage, a bad config, unreadable input, no store to write to."),
    (Exit::Damaged, "A snapshot is damaged; what is readable was shown or unpacked."),
];

const FILES: &[(&str, &str)] = &[
    ("/etc/lastgasp/lastgasp.toml", "The config. It may be absent: every key has a default."),
    ("/var/lib/lastgasp", "Snapshots, unless store.dirs says otherwise. Mode 0700."),
    ("/run/lastgasp/store", "Snapshots, in memory, when no other store can be written to; gone with a reboot."),
    ("/run/lastgasp/control.sock", "Where the running watch answers status and drill."),
    ("/usr/share/doc/lastgasp", "README, changes and licence."),
];

const EXAMPLES: &[(&str, &str)] = &[
    ("systemctl enable --now lastgasp", "Watch this machine from now on."),
    (
        "lastgasp drill",
        "Stage two failures and check that both are captured: worth doing after each change of the config.",
    ),
    ("lastgasp snap --reason \"web answers slowly\"", "Take a snapshot now, before anybody restarts anything."),
    ("lastgasp list", "The snapshots on this machine."),
    ("lastgasp show ID", "What one of them says."),
    ("tar --zstd -xf FILE", "Unpack a snapshot where there is no lastgasp."),
    ("lastgasp scan /var/log/kern.log", "Find failures in an old log."),
    ("lastgasp watch --probe tcp:127.0.0.1:80", "Watch in the foreground, with one probe more than the config has."),
];

/// The page as roff.
pub fn page() -> Result<Vec<u8>> {
    let mut root = Cli::command();
    root.build();
    let man = Man::new(root.clone()).section("8").manual("System Administration");
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    let mut roff = Roff::new();
    description(&mut roff);
    roff.to_writer(&mut out)?;
    man.render_options_section(&mut out)?;

    let mut roff = Roff::new();
    section(&mut roff, "COMMANDS");
    for command in root.get_subcommands().filter(|c| !c.is_hide_set()) {
        describe_command(&mut roff, command, "");
    }
    collectors(&mut roff)?;
    config_keys(&mut roff);
    section(&mut roff, "EXIT STATUS");
    for (exit, text) in EXIT_STATUS {
        tagged(&mut roff, &(*exit as u8).to_string(), text);
    }
    for (title, list) in [("FILES", FILES), ("EXAMPLES", EXAMPLES)] {
        section(&mut roff, title);
        for (tag, text) in list {
            tagged(&mut roff, tag, text);
        }
    }
    section(&mut roff, "SEE ALSO");
    roff.text([bold("systemctl"), roman("(1), "), bold("journalctl"), roman("(1), "), bold("dmesg"), roman("(1)")]);
    roff.to_writer(&mut out)?;
    Ok(out)
}

fn description(roff: &mut Roff) {
    section(roff, "DESCRIPTION");
    roff.text([
        bold("lastgasp"),
        roman(
            " follows the kernel log and console logs, probes services, and at the first sign of a crash or a hang \
             writes a compressed snapshot of the machine to persistent storage, before anyone restarts the service.",
        ),
    ]);
    roff.control("PP", []);
    roff.text([
        roman("It changes nothing outside its own directories. A snapshot is a "),
        italic(".tar.zst"),
        roman(" file of mode 0600 that plain "),
        bold("tar"),
        roman(
            " opens; what could not be collected is listed in its manifest. Values of environment variables and \
             credentials on command lines are masked where they are collected.",
        ),
    ]);
}

fn section(roff: &mut Roff, title: &str) {
    roff.control("SH", [title]);
}

fn tagged(roff: &mut Roff, tag: &str, text: &str) {
    roff.control("TP", []);
    roff.text([bold(tag)]);
    roff.text([roman(text)]);
}

/// A command with its own options and its sub-commands; the global options have a section of their own.
fn describe_command(roff: &mut Roff, command: &Command, parent: &str) {
    let name = format!("{parent}{}", command.get_name());
    let subcommands: Vec<&Command> =
        command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help").collect();
    if command.get_name() == "help" {
        return;
    }
    let mut line: Vec<Inline> = vec![bold(&name)];
    for arg in command.get_positionals() {
        line.push(roman(" "));
        line.push(italic(arg.to_string()));
    }
    if !subcommands.is_empty() {
        line.push(roman(" "));
        line.push(italic("COMMAND"));
    }
    roff.control("SS", []);
    roff.text(line);
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        roff.text([roman(format!("{about}."))]);
    }
    for arg in command.get_arguments().filter(|a| !a.is_hide_set() && !a.is_global_set()) {
        if matches!(arg.get_id().as_str(), "help" | "version") {
            continue;
        }
        let Some(help) = arg.get_long_help().or(arg.get_help()) else { continue };
        let short = arg.get_short().map(|c| format!("-{c}, ")).unwrap_or_default();
        tagged(roff, &format!("{short}{}", arg.to_string().trim_matches(['[', ']'])), &format!("{help}."));
    }
    for sub in subcommands {
        describe_command(roff, sub, &format!("{name} "));
    }
}

fn collectors(roff: &mut Roff) -> Result<()> {
    if registry::ALL.is_empty() {
        bail!("the registry of collectors is empty");
    }
    section(roff, "COLLECTORS");
    roff.text([roman(
        "What goes into a snapshot, the most perishable first (T0, then T1, T2 and T3). A collector that runs out of time or \
         room is cut short, and what it has delivered stays. Each is named with the capabilities that it needs to see \
         everything.",
    )]);
    for tier in Tier::ALL {
        for spec in registry::ALL.iter().filter(|s| s.tier == *tier) {
            tagged(roff, &format!("{} ({})", spec.name, tier.name()), &collector(spec));
        }
    }
    Ok(())
}

fn collector(spec: &Spec) -> String {
    let names: Vec<&str> = spec.capabilities.iter().map(|c| c.name()).collect();
    let needs = if names.is_empty() { String::new() } else { format!(" Needs {}.", names.join(", ")) };
    let (mib, rest) = (spec.cap_bytes >> 20, spec.cap_bytes % (1 << 20));
    let cap = if rest == 0 { format!("{mib} MiB") } else { format!("{} KiB", spec.cap_bytes.div_ceil(1024)) };
    let doc = spec.doc.trim_end_matches('.');
    format!("{doc}. At most {cap} in {} ms.{needs}", spec.limit_ms)
}

fn config_keys(roff: &mut Roff) {
    section(roff, "CONFIGURATION");
    roff.text([
        roman("TOML. "),
        bold("lastgasp config check"),
        roman(" names every mistake with its line; "),
        bold("lastgasp config example"),
        roman(" prints a commented file."),
    ]);
    for part in keys::SECTIONS {
        roff.control("SS", [keys::header(part).as_str()]);
        roff.text([roman(part.doc)]);
        for key in keys::of(part.name) {
            let default = match key.default {
                Some(value) => format!(" Default: {value}."),
                None if key.required => " Required.".to_owned(),
                None => format!(" Not set; for example {}.", key.sample),
            };
            tagged(roff, key.name, &format!("{} Accepted: {}.{default}", key.doc, key.form.accepts()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_command_collector_key_and_exit_code() {
        // Dashes are escaped in roff.
        let text = String::from_utf8(page().expect("the page is made")).expect("roff is UTF-8").replace("\\-", "-");
        for command in Cli::command().get_subcommands().filter(|c| !c.is_hide_set()) {
            assert!(text.contains(&format!("\\fB{}\\fR", command.get_name())), "{}", command.get_name());
        }
        for spec in registry::ALL {
            assert!(text.contains(&format!("\\fB{} (", spec.name)), "{}", spec.name);
        }
        for key in keys::KEYS {
            assert!(text.contains(&format!("\\fB{}\\fR", key.name)), "{}", key.name);
        }
        for needle in [".SH \"EXIT STATUS\"", ".SH FILES", ".SH EXAMPLES", ".TH lastgasp 8"] {
            assert!(text.contains(needle), "{needle}");
        }
        assert!(!text.contains("\\fBrole"), "hidden commands stay hidden");
    }
}
