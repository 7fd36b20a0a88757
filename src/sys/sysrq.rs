//! `/proc/sysrq-trigger`: asking the kernel to write what it knows into its own log.
//!
//! The one write to the host outside lastgasp's own directories, off by default (`capture.sysrq`). Only dumps
//! can be asked for here: the caller's letters are an enumeration of the config, and any other is refused.
//!
//! Source of fact: drivers/tty/sysrq.c (`write_sysrq_trigger` ignores the mask of kernel.sysrq; the file is 0200
//! and root's), Documentation/admin-guide/sysrq.rst.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

pub const PATH: &str = "/proc/sysrq-trigger";

/// Letters whose handlers print and change nothing.
const DUMPS: &[&str] = &["l", "m", "t", "w"];

/// Asks for one dump. Returns when the kernel has written it into its ring; with `l`, parts of it may follow.
/// A slow console keeps the call for as long as it prints.
///
/// Errors: `InvalidInput` for any other letter, `ENOENT` without CONFIG_MAGIC_SYSRQ, `EACCES` or `EROFS` in a container.
pub fn dump(letter: &str) -> io::Result<()> {
    if !DUMPS.contains(&letter) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a dump"));
    }
    let mut file = OpenOptions::new().write(true).custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW).open(PATH)?;
    // The kernel takes the first byte of a write.
    file.write_all(letter.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_dump_is_ever_written() {
        for letter in ["b", "c", "o", "e", "i", "f", "s", "u", "", "lb", "L"] {
            assert_eq!(dump(letter).expect_err("refused").kind(), io::ErrorKind::InvalidInput, "{letter:?}");
        }
    }
}
