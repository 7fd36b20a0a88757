//! sd_notify(3), without waiting: when PID 1 is frozen its socket fills up, and a blocking send
//! would stop the watchdog with it.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager.
#[derive(Debug)]
pub struct Notify {
    socket: UnixDatagram,
    to: SocketAddr,
    /// Half of WATCHDOG_USEC: how often `WATCHDOG=1` is due.
    pub watchdog: Option<Duration>,
}

impl Notify {
    /// `None` when no service manager asked to be notified (no NOTIFY_SOCKET).
    pub fn from_env() -> io::Result<Option<Notify>> {
        let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(None) };
        let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
        let to = match bytes.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&path)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let ours = std::env::var("WATCHDOG_PID").map_or(true, |p| p == std::process::id().to_string());
        let usec = std::env::var("WATCHDOG_USEC").ok().and_then(|v| v.parse::<u64>().ok());
        let watchdog = usec.filter(|u| ours && *u > 0).map(|u| Duration::from_micros(u / 2));
        Ok(Some(Notify { socket, to, watchdog }))
    }

    /// Sends `state` (`READY=1`, `STATUS=…`); lost when the manager does not read.
    pub fn send(&self, state: &str) {
        // Nothing can be done about a manager that does not listen; the next message may get through.
        let _ = self.socket.send_to_addr(state.as_bytes(), &self.to);
    }
}
