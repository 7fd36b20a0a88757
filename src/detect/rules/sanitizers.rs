//! The kernel's own sanitizers: KASAN, KFENCE, KMSAN, KCSAN, UBSAN.

use super::{Recipe, Rule, rule};
use crate::model::{Kind, Severity};

pub(super) const RULES: &[Rule] = &[
    rule(
        "kasan",
        Kind::Kasan,
        Severity::Error,
        &["BUG: KASAN:", "KASAN: use after free", "BUG: KASan:"],
        "KASAN",
        "mm/kasan/report.c print_error_description",
        "The kernel address sanitizer saw a bad access.",
    )
    .recipe(Recipe::Header)
    .up_to(" in "),
    rule(
        "kfence",
        Kind::Kfence,
        Severity::Error,
        &["BUG: KFENCE:"],
        "KFENCE",
        "mm/kfence/report.c kfence_report_error",
        "A sampled allocation was misused.",
    )
    .recipe(Recipe::Header)
    .up_to(" in "),
    rule(
        "kmsan",
        Kind::Kmsan,
        Severity::Error,
        &["BUG: KMSAN:"],
        "KMSAN",
        "mm/kmsan/report.c kmsan_report",
        "Uninitialised memory was used or leaves the kernel.",
    )
    .recipe(Recipe::Header)
    .up_to(" in "),
    rule(
        "kcsan",
        Kind::Kcsan,
        Severity::Warning,
        &["BUG: KCSAN:"],
        "KCSAN",
        "kernel/kcsan/report.c print_report",
        "Two contexts access the same memory without order.",
    )
    .recipe(Recipe::Header)
    .up_to(" in "),
    rule(
        "ubsan",
        Kind::Ubsan,
        Severity::Warning,
        &["UBSAN: "],
        "UBSAN",
        "lib/ubsan.c ubsan_prologue",
        "Undefined behaviour: an index, a shift or an overflow.",
    )
    .check(|b, at| !b[at + 7..].starts_with(b"Undefined Behaviour Sanitizer"))
    .up_to(" in "),
];
