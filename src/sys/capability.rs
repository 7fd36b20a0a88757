//! Linux capabilities of this process: which it has, and giving up the rest.

use serde::Serialize;
use std::fmt;
use std::io;

macro_rules! capabilities {
    ($($variant:ident $name:literal $bit:literal),+ $(,)?) => {
        /// The capabilities that some part of lastgasp declares a need for (linux/capability.h).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Capability { $($variant),+ }
        impl Capability {
            pub const ALL: &'static [Capability] = &[$(Capability::$variant),+];
            /// The name as systemd and capsh spell it.
            pub fn name(self) -> &'static str { match self { $(Capability::$variant => $name),+ } }
            fn bit(self) -> u32 { match self { $(Capability::$variant => $bit),+ } }
        }
    };
}

capabilities! {
    DacReadSearch "CAP_DAC_READ_SEARCH" 2,
    DacOverride "CAP_DAC_OVERRIDE" 1,
    Kill "CAP_KILL" 5,
    NetAdmin "CAP_NET_ADMIN" 12,
    IpcLock "CAP_IPC_LOCK" 14,
    SysRawio "CAP_SYS_RAWIO" 17,
    SysPtrace "CAP_SYS_PTRACE" 19,
    SysAdmin "CAP_SYS_ADMIN" 21,
    SysNice "CAP_SYS_NICE" 23,
    SysResource "CAP_SYS_RESOURCE" 24,
    Syslog "CAP_SYSLOG" 34,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The effective set of this process, from `/proc/self/status` (`CapEff`).
pub fn effective() -> io::Result<Vec<Capability>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let hex = status
        .lines()
        .find_map(|l| l.strip_prefix("CapEff:"))
        .ok_or_else(|| io::Error::other("/proc/self/status has no CapEff line"))?;
    let bits = u64::from_str_radix(hex.trim(), 16).map_err(io::Error::other)?;
    Ok(Capability::ALL.iter().copied().filter(|c| bits >> c.bit() & 1 == 1).collect())
}
