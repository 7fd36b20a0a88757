//! A descriptor handed over a unix socket, beside the bytes that say what it is (unix(7), SCM_RIGHTS).

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// Sends `bytes`, and a copy of `fd` with the first of them. Errors: as of sendmsg(2), and `WriteZero` when only a part was
/// taken.
pub fn send(stream: &UnixStream, bytes: &[u8], fd: BorrowedFd<'_>) -> io::Result<()> {
    let fds = [fd.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    let sent = sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(bytes)], &rights, flags, None)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives what there is, waiting as long as the socket's timeout allows: the number of bytes (0 at the end of the stream),
/// and the descriptor that came with them, close-on-exec.
pub fn receive(stream: &UnixStream, buf: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let mut parts = [IoSliceMut::new(buf)];
    let got = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut received = None;
    for message in got.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = message {
            for fd in fds {
                // SAFETY: the kernel has just made this descriptor for us, and nobody else knows its number.
                let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                // There is room for one; more would be closed here.
                received.get_or_insert(fd);
            }
        }
    }
    Ok((got.bytes, received))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn a_descriptor_arrives_with_its_bytes() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"inside").expect("write");
        let again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("open it once more");
        send(&ours, b"here\n", again.as_fd()).expect("send");
        drop(again);
        let mut buf = [0; 64];
        let (n, fd) = receive(&theirs, &mut buf).expect("receive");
        let mut text = String::new();
        File::from(fd.expect("a descriptor")).read_to_string(&mut text).expect("read");
        assert_eq!((&buf[..n], text.as_str()), (&b"here\n"[..], "inside"));
        // Bytes alone, and the end.
        (&ours).write_all(b"more").expect("write");
        assert!(matches!(receive(&theirs, &mut buf), Ok((4, None))));
        drop(ours);
        assert!(matches!(receive(&theirs, &mut buf), Ok((0, None))));
        assert!(theirs.write(b"x").is_err());
    }
}
