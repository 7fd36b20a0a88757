//! Consoles that lose, repeat and mix: what stays of a report.

use super::{closed, events, fixture, host, signals};
use lastgasp::model::{Event, Kind};

const HEADER: &str = "[  100.000000] BUG: KASAN: use-after-free in session_read+0x1a/0x40\n";
const REST: &str = "[  100.000021] Read of size 8 at addr ffff888012345678 by task worker/42\n\
    [  100.000042] CPU: 1 PID: 42 Comm: worker Not tainted 6.6.30 #1\n\
    [  100.000063] Call Trace:\n\
    [  100.000084]  dump_stack_lvl+0x1a/0x40\n\
    [  100.000105]  kasan_report+0x1a/0x40\n\
    [  100.000126]  session_read+0x1a/0x40\n\
    [  100.000147]  session_poll+0x1a/0x40\n";

fn one(text: &str) -> Event {
    let mut found = events(text);
    assert_eq!(found.len(), 1, "{text}\n{found:#?}");
    found.remove(0)
}

#[test]
fn dropped_messages_mark_the_report_and_do_not_end_it() {
    let whole = one(&format!("{HEADER}{REST}"));
    assert!(!whole.corrupted);
    for remark in ["** 12 printk messages dropped **\n", "[  100.000030] ** 3 printk messages dropped **\n"] {
        let cut = one(&format!("{HEADER}{remark}{REST}"));
        assert!(cut.corrupted, "{remark}");
        assert_eq!((cut.function.as_deref(), &cut.signature), (Some("session_read"), &whole.signature));
    }
    let after = events(&format!("{HEADER}{REST}[  300.000000] usb 1-1: reset\n** 3 printk messages dropped **\n"));
    assert!(!after[0].corrupted, "the report was over");
}

#[test]
fn a_replayed_header_counts_once() {
    let whole = one(&format!("{HEADER}{REST}"));
    for cut in [
        // The remark on the line that was cut, and on one of its own.
        "[  100.000000] BUG: KASAN: use-after-fr** replaying previous printk message **\n",
        "[  100.000000] BUG: KASAN: use-after-fr\n** replaying previous printk message **\n",
        "[  100.000000] BUG: KASAN: use-after-free in session_re\n** replaying previous printk message **\n",
    ] {
        let e = one(&format!("{cut}{HEADER}{REST}"));
        assert_eq!((&e.title, &e.signature, e.corrupted), (&whole.title, &whole.signature, false), "{cut}");
    }
}

#[test]
fn a_replayed_frame_changes_nothing() {
    let whole = one(&format!("{HEADER}{REST}"));
    let replayed = REST.replace(
        "[  100.000126]  session_read+0x1a/0x40\n",
        "[  100.000126]  session_re** replaying previous printk message **\n[  100.000126]  session_read+0x1a/0x40\n",
    );
    assert_eq!(one(&format!("{HEADER}{replayed}")).signature, whole.signature);
}

/// Without caller ids the next header ends the report before it: both are events, with what can be told apart.
#[test]
fn without_caller_ids_two_reports_in_one_stretch_are_two_events() {
    let second = "[  100.000150] WARNING: CPU: 2 PID: 77 at net/other.c:12 other_check+0x1/0x2\n\
        [  100.000171]  other_check+0x1a/0x40\n";
    let found = events(&format!("{HEADER}{REST}{second}"));
    let seen: Vec<_> = found.iter().map(|e| (e.kind, e.function.as_deref())).collect();
    assert_eq!(seen, [(Kind::Kasan, Some("session_read")), (Kind::Warning, Some("other_check"))]);
}

/// Only the mark of a backtrace of other CPUs lets their lines into a report of one caller.
#[test]
fn other_cpus_join_only_behind_the_mark() {
    let stall = "[  100.000000][    C1] rcu: INFO: rcu_preempt self-detected stall on CPU\n\
        [  100.000010][   T99] usb 1-1: somebody else speaks of f+0x1/0x2\n\
        [  100.000020][    C1] Sending NMI from CPU 1 to CPUs 0:\n\
        [  100.000030][    C0] NMI backtrace for cpu 0\n\
        [  100.000040][    C0] Call Trace:\n\
        [  100.000050][    C0]  <IRQ>\n\
        [  100.000060][    C0]  asm_sysvec_apic_timer_interrupt+0x1/0x2\n\
        [  100.000070][    C0]  </IRQ>\n\
        [  100.000080][    C0]  busy_loop+0x1a/0x40\n\
        [  100.000090][    C0]  vfs_write+0x1a/0x40\n";
    let e = one(stall);
    assert_eq!((e.kind, e.function.as_deref()), (Kind::RcuStall, Some("busy_loop")));
    assert!(!e.text.iter().any(|l| l.contains("somebody else")), "{:#?}", e.text);
}

/// Three CPUs that die at once, line by line, with each kind of caller id.
#[test]
fn callers_of_every_spelling_keep_reports_apart() {
    let log = fixture("gpf.hit");
    let log: Vec<&str> = log.lines().collect();
    for ids in [
        ["[  T11] ", "[  T22] ", "[   C3] "],
        [" [pid:11,cpu0,a] ", " [pid:22,cpu1,b] ", " [pid:33,cpu2,in irq] "],
        [" [0:  a:   11] ", " [1:  b:   22] ", "I[2:  c:   33] "],
    ] {
        let mut mixed = Vec::new();
        for line in &log {
            for (id, name) in ids.iter().zip(["alpha", "beta", "gamma"]) {
                mixed.push(line.replace("list_walk", name).replacen("] ", &format!("]{id}"), 1));
            }
        }
        let mut d = super::detector();
        let found = closed(&signals(&mut d, &host(), &mixed));
        let mut functions: Vec<_> = found.iter().filter_map(|e| e.function.as_deref()).collect();
        functions.sort_unstable();
        assert_eq!(functions, ["alpha", "beta", "gamma"], "{ids:?}");
    }
}
