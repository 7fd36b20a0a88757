//! Unix sockets: whether somebody accepts. A full backlog makes connect(2) wait, for at most the
//! socket's send timeout (net/unix/af_unix.c, `unix_wait_for_peer`).

use crate::model::{Deadline, ProbeCause};
use crate::probe::{Fail, net};
use crate::sys::clock;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Connects and closes again. `@name` is a name in the abstract namespace (unix(7)).
pub(crate) fn look(path: &Path, deadline: Deadline) -> Result<(), Fail> {
    let doing = format!("connect to {}", path.display());
    let fail = |e: Errno| net::classify(&e.into(), &doing);
    let bytes = path.as_os_str().as_bytes();
    let is_abstract = bytes.first() == Some(&b'@');
    let address = if is_abstract { UnixAddr::new_abstract(&bytes[1..]) } else { UnixAddr::new(path) };
    let address = address.map_err(|e| Fail::new(ProbeCause::CannotProbe, format!("{doing}: {e}")))?;
    let mut last = Errno::EPROTOTYPE;
    for kind in [SockType::Stream, SockType::SeqPacket, SockType::Datagram] {
        let fd = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).map_err(fail)?;
        let left = i64::try_from(deadline.left(clock::mono()).as_micros()).unwrap_or(i64::MAX).max(1000);
        setsockopt(&fd, sockopt::SendTimeout, &TimeVal::microseconds(left)).map_err(fail)?;
        match connect(fd.as_raw_fd(), &address) {
            Ok(()) => return Ok(()),
            // Somebody may listen in another style: said for a path, where the abstract namespace has
            // a table per style and just knows no such name.
            Err(e @ Errno::EPROTOTYPE) => last = e,
            Err(e @ Errno::ECONNREFUSED) if is_abstract => last = e,
            Err(e) => return Err(fail(e)),
        }
    }
    Err(fail(last))
}
