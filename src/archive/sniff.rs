//! What a file is that is no `.tar.zst`, in words that tell an operator what to do with it.

use crate::archive::frames::MAGIC;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// `None`: it begins like a zstd file.
pub(crate) fn foreign(file: &File, len: u64) -> io::Result<Option<String>> {
    let mut head = [0u8; 512];
    let mut have = 0;
    while have < head.len() {
        match file.read_at(&mut head[have..], have as u64) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(name(&head[..have], len))
}

fn name(head: &[u8], len: u64) -> Option<String> {
    let starts = |magic: &[u8]| head.starts_with(magic);
    if len == 0 {
        return Some("an empty file".into());
    }
    if starts(&MAGIC.to_le_bytes()) || (head.len() >= 4 && head[0] & 0xF0 == 0x50 && head[1..4] == [0x2A, 0x4D, 0x18]) {
        return None;
    }
    let known = if starts(&[0x1F, 0x8B]) {
        "a gzip file (for a .tar.gz: tar -xzf)"
    } else if starts(b"\xFD7zXZ\0") {
        "an xz file (for a .tar.xz: tar -xJf)"
    } else if starts(b"BZh") {
        "a bzip2 file"
    } else if starts(b"PK\x03\x04") {
        "a zip file"
    } else if starts(&[0x37, 0xA4, 0x30, 0xEC]) {
        "a zstd dictionary"
    } else if head.get(257..262) == Some(b"ustar") {
        "an uncompressed tar archive (tar -xf)"
    } else if starts(b"age-encryption.org/") {
        "an encrypted file (age)"
    } else if starts(b"{") {
        "a JSON file"
    } else if head.iter().all(|b| *b == 0) {
        "a file of zero bytes, as a power cut leaves behind when only the size was written"
    } else if len < 4 {
        "too short for any archive"
    } else {
        let hex: Vec<String> = head.iter().take(4).map(|b| format!("{b:02x}")).collect();
        return Some(format!("a file of unknown type (begins with {})", hex.join(" ")));
    };
    Some(known.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_files_are_called_by_their_name() {
        assert!(name(&0xFD2F_B528u32.to_le_bytes(), 4).is_none());
        assert!(name(b"", 0).expect("foreign").contains("empty"));
        assert!(name(&[0; 512], 512).expect("foreign").contains("zero bytes"));
        assert!(name(b"hello", 5).expect("foreign").contains("68 65 6c 6c"));
        let mut tar = [b'a'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert!(name(&tar, 1024).expect("foreign").contains("tar -xf"));
    }
}
