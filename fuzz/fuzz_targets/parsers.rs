//! The parsers behind each rule: a header that begins with a phrase of the rule, then lines made of words that
//! kernels use, so that frames, registers, stacks, victims, devices, locks and the rest are reached at once.
//!
//! ```text
//! carrier (0 /dev/kmsg, 1 with stamps, 2 with stamps and callers, 3 syslog, 4 nothing) | phrase u16 | text
//! ```
//!
//! In the text a byte below 0x80 is itself, 0xc0 and two bytes are another phrase, 0xc1 and a byte any byte, the other
//! high ones a word of [`WORDS`].

#![no_main]

use lastgasp::model::{KernelTime, Mono, Origin, Record};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};

/// What the parsers look for, beside the phrases of the rules.
const WORDS: &[&str] = &[
    "CPU: 1 PID: 4242 Comm: worker",
    " Not tainted ",
    " Tainted: G        W  OE ",
    "6.6.30 #1",
    "Hardware name: ",
    "Workqueue: events ",
    "RIP: 0010:",
    "RIP: 0033:",
    "queue_init+0x1a/0x40",
    " [example]",
    "Call Trace:\n",
    " <TASK>\n",
    " </TASK>\n",
    " <IRQ>\n",
    " ? ",
    "pc : ",
    "lr : ",
    "PC is at ",
    "LR is at ",
    "NIP [c000000000123456] ",
    "Krnl PSW : ",
    "epc : ",
    "backtrace:\n",
    "Modules linked in: ",
    "Code: 48 8b <0f> 0b",
    "RSP: 0018:ffff888000000000 EFLAGS: 00010246",
    "---[ end trace 0000000000000000 ]---\n",
    "---[ end Kernel panic",
    "------------[ cut here ]------------\n",
    "WARNING: CPU: 0 PID: 1 at fs/inode.c:12 ",
    "Kernel panic - not syncing: ",
    "Fatal exception",
    " in interrupt",
    "Unable to handle kernel ",
    "NULL pointer dereference at ",
    "virtual address 0000000000000010",
    "0xffffffff81234567",
    "Internal error: Oops: ",
    "Oops: 0002 [#1] PREEMPT SMP",
    "Killed process 77 (name) ",
    "total-vm:1kB",
    ",pid=77,uid=0",
    "oom-kill:constraint=CONSTRAINT_MEMCG,",
    "oom_memcg=/a,task_memcg=/b,task=x",
    "invoked oom-killer: gfp_mask=0x0, order=0",
    "blocked for more than 120 seconds.",
    "task:worker          state:D ",
    "is holding ",
    "stuck for 22s! [worker:42]",
    "Sending NMI from CPU 0 to CPUs 1:\n",
    "NMI backtrace for cpu 1\n",
    "rcu: \t1-...!: (1 GPSs behind) ",
    "detected stalls on CPUs/tasks:\n",
    "Possible unsafe locking scenario",
    " at: ",
    "but task is already holding lock:\n",
    "[<ffffffff81234567>] ",
    "stack backtrace:\n",
    "sector 12345 op 0x0:(READ)",
    "dev sda, ",
    "(sda1): ",
    "nvme0n1: ",
    "eth0 (e1000e): ",
    "transmit queue 0 timed out",
];

static PHRASES: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| lastgasp::detect::catalogue().flat_map(|r| r.phrases.iter().copied()).collect());

fuzz_target!(|data: &[u8]| {
    let [carrier, high, low, rest @ ..] = data else { return };
    let mut text = phrase(*high, *low).as_bytes().to_vec();
    expand(rest, &mut text);
    lastgasp_fuzz::detect(|detector, host| {
        for (n, line) in text.split(|b| *b == b'\n').enumerate() {
            // 20 ms a line, as far as the detector knows.
            let now = Mono(n as u64 * 20_000_000);
            detector.feed(&carried(carrier % 5, n as u64, line, &host), now);
            detector.tick(now);
        }
    });
});

fn phrase(high: u8, low: u8) -> &'static str {
    PHRASES[usize::from(u16::from_be_bytes([high, low])) % PHRASES.len()]
}

fn expand(coded: &[u8], text: &mut Vec<u8>) {
    let mut rest = coded.iter().copied();
    while let Some(b) = rest.next() {
        match b {
            0..0x80 => text.push(b),
            0xc0 => {
                let (high, low) = (rest.next().unwrap_or(0), rest.next().unwrap_or(0));
                text.extend_from_slice(phrase(high, low).as_bytes());
            }
            0xc1 => text.extend(rest.next()),
            _ => text.extend_from_slice(WORDS[usize::from(b & 0x7f) % WORDS.len()].as_bytes()),
        }
    }
}

fn carried(carrier: u8, n: u64, line: &[u8], host: &Arc<str>) -> Record {
    let us = 100_000_000 + n * 21;
    let stamp = format!("[{:5}.{:06}] ", us / 1_000_000, us % 1_000_000);
    let caller = if n % 7 == 6 { "C0" } else { "T4242" };
    let (origin, before) = match carrier {
        0 => (Origin::Kmsg, String::new()),
        1 => (Origin::Console("/c.log".into()), stamp),
        2 => (Origin::Console("/c.log".into()), format!("{stamp}[{caller:>8}] ")),
        3 => (Origin::Replay("/x".into()), format!("Nov 23 10:19:35 host kernel: {stamp}")),
        _ => (Origin::Netconsole("192.0.2.1".into()), String::new()),
    };
    let mut record = Record::plain(origin, Arc::clone(host), [before.as_bytes(), line].concat());
    if carrier == 0 {
        (record.facility, record.level, record.seq) = (Some(0), Some(4), Some(n));
        record.stamp = Some(KernelTime(us));
        record.caller = Some(caller.into());
    }
    record
}
