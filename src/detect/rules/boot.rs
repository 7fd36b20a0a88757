//! A kernel that starts in the middle of a console log.

use super::{Role, Rule, rule};
use crate::model::{Kind, Severity};

/// Only `assemble` knows whether the stream was already running: it decides whether this is an event.
pub(super) const RULES: &[Rule] = &[rule(
    "reboot",
    Kind::Reboot,
    Severity::Fatal,
    &["Booting the kernel.", "Linux version ", "SeaBIOS (version "],
    "unexpected reboot",
    "init/main.c start_kernel (linux_banner); arch/x86/boot/compressed/misc.c extract_kernel",
    "A kernel starts although its predecessor in the same log neither shut down nor panicked.",
)
.within(4)
.role(Role::Boot)
.single()];
