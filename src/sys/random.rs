//! Random bytes from the kernel, without touching a file.

use std::io;

/// Fills `buf` from getrandom(2). Errors: `ENOSYS` before Linux 3.17.
pub fn fill(buf: &mut [u8]) -> io::Result<()> {
    // SAFETY: the pointer and length describe `buf`, which getrandom only writes to.
    let n = unsafe { libc::getrandom(buf.as_mut_ptr().cast(), buf.len(), 0) };
    // Up to 256 bytes arrive whole or not at all (getrandom(2), "NOTES").
    if n == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Eight letters and digits, easily told apart and read over the telephone.
pub fn short_id() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
    let mut bytes = [0u8; 8];
    if fill(&mut bytes).is_err() {
        bytes = crate::sys::clock::mono().0.to_le_bytes();
    }
    bytes.iter().map(|b| char::from(ALPHABET[usize::from(*b) % ALPHABET.len()])).collect()
}
