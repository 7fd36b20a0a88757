//! Where text comes from: the kernel's log, console-log files, netconsole datagrams, a file to replay. Each becomes
//! [`Record`](crate::model::Record)s, with hostile bytes tamed (caps, control sequences removed) and
//! every loss counted.

mod aside;
pub mod console;
pub mod counters;
pub mod history;
mod kernel;
pub mod klog;
pub mod kmsg;
pub mod lines;
pub mod netconsole;
pub mod replay;
pub mod role;
mod scribe;
mod state_file;

pub use console::{ConsoleState, Consoles};
pub use kernel::{Batch, Cursor, KernelLog};
pub use klog::KlogSource;
pub use kmsg::KmsgSource;
pub use netconsole::Netconsole;
pub use replay::for_each_record;
pub use role::{Aside, Sort, TailMessage, TailOrder};

use std::io;
use std::path::PathBuf;

/// One sentence for the operator about something that is not read, or not as it should be.
pub type Notice = String;

/// What can go wrong with a source as a whole. Trouble with one console file is a [`Notice`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fatal for the kernel log; consoles and probes go on without it.
    #[error(
        "read the kernel log: open /dev/kmsg: {kmsg}; syslog(2): {klog}; run as root or grant CAP_SYSLOG \
         (kernel.dmesg_restrict=1 requires it), and do not set ProtectKernelLogs= or PrivateDevices= in the unit"
    )]
    KernelLogDenied { kmsg: io::Error, klog: io::Error },
    /// Fatal: without it nothing tells that a console has grown.
    #[error("start watching console files (inotify): {0}; see fs.inotify.max_user_instances")]
    Inotify(io::Error),
    /// Fatal for the role: it cannot hear or be heard.
    #[error("talk to the parent process: {0}")]
    Channel(io::Error),
    /// Fatal for the role: a parent of another version.
    #[error("wait for the first order: {0}")]
    NoStart(&'static str),
    /// Fatal for a replay.
    #[error("read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
}
