//! The control socket: one JSON request a line, JSON replies a line. Open to root and to the user
//! that runs `watch`, to nobody else; bounded in clients, bytes and time.

use crate::capture::protocol::Published;
use crate::daemon::status::Status;
use crate::model::Mono;
use crate::sys::fdpass;
use nix::sys::socket::{getsockopt, sockopt};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

const CLIENTS_MAX: usize = 16;
const REQUEST_MAX: usize = 4096;
/// Room for a reply that is read whole: an error's text is the longest.
const REPLY_BYTES: usize = 4096;
/// A client that has sent nothing for so long is dropped; subscribed ones stay.
const IDLE_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Status,
    /// The cache of command lines, for somebody who takes a snapshot without the watch.
    CommandLines,
    /// Watch this console log and probe this target as if configured, until the client hangs up,
    /// and tell it of what was captured.
    Drill {
        name: String,
        console: PathBuf,
        probe: String,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Status(Box<Status>),
    /// The file that comes with it is the cache.
    CommandLines,
    /// The drill's console and probe are being watched.
    DrillReady,
    /// A snapshot of the drill.
    Captured(Published),
    Error(String),
}

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("another watch answers on {0}; stop it, or give this one its own general.control")]
    Taken(PathBuf),
    #[error("{operation} {path}: {cause}")]
    Io { operation: &'static str, path: PathBuf, cause: io::Error },
}

/// Where the socket is, unless the config says otherwise.
pub fn default_path() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return "/run/lastgasp/control.sock".into();
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let dir = runtime.unwrap_or_else(|| format!("/tmp/lastgasp-{}", nix::unistd::geteuid()).into());
    dir.join("lastgasp-control.sock")
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    since: Mono,
    subscribed: bool,
}

/// The server's end.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    clients: BTreeMap<u32, Client>,
    next: u32,
    /// Given up for a moment to turn a client away when no other descriptor can be had: as long as it waits, the
    /// listener is readable and the loop would run for nothing.
    spare_fd: Option<File>,
}

impl Control {
    /// Binds the socket; takes over one that nobody answers on.
    pub fn bind(path: &Path) -> Result<Control, Error> {
        let fail = |operation| move |cause| Error::Io { operation, path: path.to_path_buf(), cause };
        if let Some(dir) = path.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(fail("make the directory of the control socket"))?;
        }
        if UnixStream::connect(path).is_ok() {
            return Err(Error::Taken(path.to_path_buf()));
        }
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fail("remove the old control socket")(e)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(fail("bind the control socket"))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .map_err(fail("restrict the control socket"))?;
        listener.set_nonblocking(true).map_err(fail("set up the control socket"))?;
        Ok(Control { listener, path: path.to_path_buf(), clients: BTreeMap::new(), next: 0, spare_fd: spare_fd() })
    }

    /// Takes one waiting client, if it may talk to us.
    pub fn accept(&mut self, now: Mono) -> Option<u32> {
        let (stream, _) = match self.listener.accept() {
            Ok(accepted) => accepted,
            Err(e) if matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                self.spare_fd = None;
                drop(self.listener.accept());
                self.spare_fd = spare_fd();
                return None;
            }
            Err(_) => return None,
        };
        let peer = getsockopt(&stream, sockopt::PeerCredentials).ok()?;
        let ours = nix::unistd::geteuid().as_raw();
        if (peer.uid() != 0 && peer.uid() != ours) || self.clients.len() >= CLIENTS_MAX {
            return None;
        }
        stream.set_nonblocking(true).ok()?;
        self.next = self.next.wrapping_add(1);
        self.clients.insert(self.next, Client { stream, input: Vec::new(), since: now, subscribed: false });
        Some(self.next)
    }

    pub fn client_fd(&self, client: u32) -> Option<BorrowedFd<'_>> {
        self.clients.get(&client).map(|c| c.stream.as_fd())
    }

    /// Reads from a client: a request, nothing yet, or the end (`Err`).
    pub fn read(&mut self, client: u32) -> Result<Option<Request>, String> {
        let Some(c) = self.clients.get_mut(&client) else { return Err("gone".into()) };
        let mut chunk = [0u8; 1024];
        loop {
            match c.stream.read(&mut chunk) {
                Ok(0) => return Err("hung up".into()),
                Ok(n) if c.input.len() + n > REQUEST_MAX => return Err("request too long".into()),
                Ok(n) => c.input.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e.to_string()),
            }
        }
        let Some(end) = c.input.iter().position(|b| *b == b'\n') else { return Ok(None) };
        let line: Vec<u8> = c.input.drain(..=end).collect();
        serde_json::from_slice(&line).map(Some).map_err(|e| format!("no request: {e}"))
    }

    /// Sends without waiting; a client that does not read is dropped.
    pub fn reply(&mut self, client: u32, reply: &Reply) -> bool {
        let Some(c) = self.clients.get_mut(&client) else { return false };
        let Ok(mut line) = serde_json::to_vec(reply) else { return false };
        line.push(b'\n');
        // The socket's buffer (212,992 bytes by default) holds any reply whole.
        c.stream.write_all(&line).is_ok()
    }

    /// The same, with a descriptor of `file` that can only be read.
    pub fn reply_with(&mut self, client: u32, reply: &Reply, file: BorrowedFd<'_>) -> bool {
        let Some(c) = self.clients.get(&client) else { return false };
        let Ok(mut line) = serde_json::to_vec(reply) else { return false };
        line.push(b'\n');
        let reader = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()));
        reader.and_then(|reader| fdpass::send(&c.stream, &line, reader.as_fd())).is_ok()
    }

    /// Keeps the client although it sends nothing more.
    pub fn subscribe(&mut self, client: u32) {
        if let Some(c) = self.clients.get_mut(&client) {
            c.subscribed = true;
        }
    }

    pub fn drop_client(&mut self, client: u32) {
        self.clients.remove(&client);
    }

    /// Clients that connected and then said nothing.
    pub fn idle(&self, now: Mono) -> Vec<u32> {
        self.clients.iter().filter(|(_, c)| !c.subscribed && now.since(c.since) > IDLE_MAX).map(|(n, _)| *n).collect()
    }
}

/// Of a file that is always there and costs nothing.
fn spare_fd() -> Option<File> {
    File::open("/dev/null").ok()
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The other end, for `status` and `drill`.
#[derive(Debug)]
pub struct Connection(BufReader<UnixStream>);

impl Connection {
    /// `None` when no watch runs there.
    pub fn open(path: &Path) -> io::Result<Option<Connection>> {
        match UnixStream::connect(path) {
            Ok(s) => Ok(Some(Connection(BufReader::new(s)))),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub fn send(&mut self, request: &Request) -> io::Result<()> {
        let mut line = serde_json::to_vec(request).map_err(io::Error::other)?;
        line.push(b'\n');
        self.0.get_mut().write_all(&line)
    }

    /// Asks for the cache of command lines. `None`: the watch has none. Errors: as [`Connection::receive`].
    pub fn command_lines(&mut self, wait: Duration) -> io::Result<Option<OwnedFd>> {
        self.send(&Request::CommandLines)?;
        let stream = self.0.get_ref();
        stream.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        match fdpass::receive(stream, &mut [0; REPLY_BYTES])? {
            (0, _) => Err(io::ErrorKind::UnexpectedEof.into()),
            (_, file) => Ok(file),
        }
    }

    /// The next reply. Errors: `WouldBlock` or `TimedOut` after `wait`, `UnexpectedEof` when the watch ended.
    pub fn receive(&mut self, wait: Duration) -> io::Result<Reply> {
        self.0.get_ref().set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_str(&line).map_err(io::Error::other)
    }
}
