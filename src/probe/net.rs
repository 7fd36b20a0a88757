//! Names to addresses to a connection, with one deadline over all of it, and errno to cause.

use crate::model::{Deadline, ProbeCause};
use crate::probe::Fail;
use crate::sys::clock;
use nix::errno::Errno;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// The shortest wait that a socket takes: zero would mean for ever.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// Connects to the first address that answers. Each address gets an equal share of the time left.
pub(crate) fn connect(host: &str, port: u16, deadline: Deadline) -> Result<TcpStream, Fail> {
    let addresses = resolve(host, port, deadline)?;
    let mut worst: Option<Fail> = None;
    for (i, address) in addresses.iter().enumerate() {
        let share = deadline.left(clock::mono()) / (addresses.len() - i) as u32;
        match connect_one(address, share.max(WAIT_MIN)) {
            Ok(stream) => return Ok(stream),
            Err(fail) => {
                // An unreachable second address family says less than what the first one did.
                let telling = |f: &Fail| f.cause != ProbeCause::Unreachable;
                if worst.as_ref().is_none_or(|w| !telling(w) || telling(&fail)) {
                    worst = Some(fail);
                }
            }
        }
    }
    Err(worst.expect("resolve returns at least one address"))
}

fn connect_one(address: &SocketAddr, wait: Duration) -> Result<TcpStream, Fail> {
    let stream =
        TcpStream::connect_timeout(address, wait).map_err(|e| classify(&e, &format!("connect to {address}")))?;
    // A connect to a free port in the ephemeral range of this host can meet itself (simultaneous
    // open, RFC 9293 3.5): nobody listens, and yet it is connected.
    if let (Ok(ours), Ok(theirs)) = (stream.local_addr(), stream.peer_addr())
        && ours == theirs
    {
        return Err(Fail::new(ProbeCause::Refused, format!("connect to {address}: met only itself, nothing listens")));
    }
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// getaddrinfo keeps its own time (resolv.conf): it may come back after the deadline, and the role's
/// monitor reports that meanwhile.
fn resolve(host: &str, port: u16, deadline: Deadline) -> Result<Vec<SocketAddr>, Fail> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let failed = |why: String| Fail::new(ProbeCause::NameNotResolved, format!("resolve {host}: {why}"));
    let found = (host, port).to_socket_addrs().map_err(|e| failed(e.to_string()))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for a in found {
        if addresses.len() < ADDRESSES_MAX && !addresses.contains(&a) {
            addresses.push(a);
        }
    }
    if addresses.is_empty() {
        return Err(failed("no address".into()));
    }
    if deadline.passed(clock::mono()) {
        return Err(Fail::new(ProbeCause::TimedOut, format!("resolve {host}: the answer came after the timeout")));
    }
    Ok(addresses)
}

/// What an I/O error means for a probe. `doing`: `connect to 127.0.0.1:80`.
pub(crate) fn classify(error: &io::Error, doing: &str) -> Fail {
    let cause = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNREFUSED) => ProbeCause::Refused,
        Some(Errno::ETIMEDOUT | Errno::EAGAIN | Errno::EINPROGRESS) => ProbeCause::TimedOut,
        Some(Errno::ECONNRESET | Errno::EPIPE | Errno::ECONNABORTED) => ProbeCause::Reset,
        Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::ENETDOWN | Errno::EHOSTDOWN | Errno::EADDRNOTAVAIL) => {
            ProbeCause::Unreachable
        }
        Some(Errno::ENOENT | Errno::ENOTDIR) => ProbeCause::NotFound,
        Some(_) => ProbeCause::CannotProbe,
        None => match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ProbeCause::TimedOut,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero => ProbeCause::Reset,
            io::ErrorKind::InvalidData => ProbeCause::BadAnswer,
            _ => ProbeCause::CannotProbe,
        },
    };
    let why = match cause {
        ProbeCause::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    };
    Fail::new(cause, format!("{doing}: {why}"))
}

/// A stream whose every read and write ends at one deadline, however slowly the other side drips.
#[derive(Debug)]
pub(crate) struct Timed {
    stream: TcpStream,
    deadline: Deadline,
}

impl Timed {
    pub fn new(stream: TcpStream, deadline: Deadline) -> Timed {
        Timed { stream, deadline }
    }

    fn left(&self) -> io::Result<Duration> {
        let now = clock::mono();
        if self.deadline.passed(now) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(self.deadline.left(now).max(WAIT_MIN))
    }
}

impl Read for Timed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buf)
    }
}

impl Write for Timed {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
