//! What went wrong (`Kind`) and how bad it is (`Severity`): two independent axes.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! kinds {
    ($($variant:ident $name:literal $doc:literal),+ $(,)?) => {
        /// The class of a failure. The spelling is part of the output format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $(#[doc = $doc] $variant),+ }

        impl Kind {
            /// Every kind, in the order of the documentation.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant),+];

            /// The spelling used in output, file names and the config.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name),+ }
            }

            /// One sentence for help and documentation.
            pub fn doc(self) -> &'static str {
                match self { $(Kind::$variant => $doc),+ }
            }
        }
    };
}

kinds! {
    Panic "panic" "The kernel gave up: `Kernel panic - not syncing`.",
    Oops "oops" "A CPU exception in kernel code: bad address, general protection, invalid opcode, …",
    Bug "bug" "The kernel's own `BUG` check failed, or a slab was found corrupted.",
    Warning "warning" "The kernel's own `WARN` check failed.",
    HungTask "hung_task" "A task has not run for longer than the hung-task timeout.",
    SoftLockup "soft_lockup" "A CPU ran kernel code without scheduling for too long, or a workqueue is stuck.",
    HardLockup "hard_lockup" "A CPU takes no interrupts any more.",
    RcuStall "rcu_stall" "An RCU grace period does not end.",
    Oom "oom" "The kernel killed a process for lack of memory, globally or in a cgroup.",
    Kasan "kasan" "Kernel address sanitizer report.",
    Kmsan "kmsan" "Kernel memory sanitizer report.",
    Kcsan "kcsan" "Kernel concurrency sanitizer report.",
    Kfence "kfence" "Kernel electric fence report.",
    Ubsan "ubsan" "Undefined behaviour sanitizer report.",
    Lockdep "lockdep" "The lock validator found a wrong use of a lock.",
    AtomicSleep "atomic_sleep" "Code that may sleep ran where sleeping is forbidden.",
    MemoryLeak "memory_leak" "The kernel's leak detector found unreferenced objects.",
    Refcount "refcount" "A reference counter overflowed or underflowed.",
    ListCorruption "list_corruption" "A linked list of the kernel is corrupted.",
    PageState "page_state" "A page of memory is in an impossible state.",
    MachineCheck "machine_check" "The hardware reported an error: machine check, EDAC, PCIe AER.",
    IoError "io_error" "A block device failed a request or timed out.",
    FsError "fs_error" "A file system found itself damaged or went read-only.",
    NetError "net_error" "A network interface hangs or lost its link.",
    Resource "resource" "A kernel table or memory zone is exhausted.",
    UserFault "user_fault" "A user program crashed; the kernel is well.",
    Reboot "reboot" "A machine booted although nobody was seen asking for it.",
    ServiceDown "service_down" "A probed service does not answer.",
    Other "other" "A failure without a kind of its own, or a snapshot taken by hand.",
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(s: &str) -> Result<Kind, String> {
        Kind::ALL.iter().copied().find(|k| k.name() == s).ok_or_else(|| format!("unknown kind {s:?}"))
    }
}

impl Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Kind, D::Error> {
        let name = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

/// How bad an event is. Whether it raises an incident is a third question: `Event::alarm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a line, no more: link changes, corrected errors.
    Info,
    /// Something is wrong and the machine goes on.
    Warning,
    /// A part of the machine does not work.
    Error,
    /// The machine, or what it is there for, is down or about to be.
    Fatal,
}

impl Severity {
    /// The spelling used in output and the config.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Fatal => "fatal",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_what_it_prints() {
        for k in Kind::ALL {
            assert_eq!(k.name().parse::<Kind>(), Ok(*k));
            let json = serde_json::to_string(k).expect("a string serialises");
            assert_eq!(serde_json::from_str::<Kind>(&json).expect("and back"), *k);
        }
        assert!("oopsie".parse::<Kind>().is_err());
    }
}
