//! The tar entries in a stream, one after the other, for a stream that may be cut, damaged or hostile.
//!
//! Own reading instead of the tar crate's: that one holds a long name of any size in memory, and hides
//! where an entry lies. Its `Header` does the fields.

use std::io::{self, Read};

/// Longest name or pax record that is believed.
const NAME_MAX: u64 = 64 * 1024;
/// Extension headers in a row before one file; more is an attack.
const EXTENSIONS_MAX: u32 = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    File,
    Dir,
    Symlink(String),
    Hardlink(String),
    /// Devices, FIFOs, sparse files, unknown types.
    Other(&'static str),
}

impl What {
    pub fn name(&self) -> &'static str {
        match self {
            What::File => "file",
            What::Dir => "directory",
            What::Symlink(_) => "symbolic link",
            What::Hardlink(_) => "hard link",
            What::Other(name) => name,
        }
    }
}

/// One entry's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// As in the archive, bad UTF-8 replaced; hostile.
    pub path: String,
    pub what: What,
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: u64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum WalkError {
    #[error("it ends within an entry")]
    Cut,
    #[error("{0}")]
    Decode(io::Error),
    #[error("{0}")]
    Header(String),
}

/// Reads one header after the other; between them, [`Read`] gives the body of the last one.
pub(crate) struct TarWalk<R> {
    pub from: R,
    body: u64,
    padding: u64,
    /// The two zero blocks were seen.
    pub ended: bool,
}

impl<R: Read> TarWalk<R> {
    pub fn new(from: R) -> TarWalk<R> {
        TarWalk { from, body: 0, padding: 0, ended: false }
    }

    /// Forgets the entry at hand, after an error: the next bytes are taken for a header.
    pub fn reset(&mut self) {
        (self.body, self.padding, self.ended) = (0, 0, false);
    }

    /// The next entry; `None` at the end of the archive or of the stream between two entries.
    pub fn next(&mut self) -> Result<Option<Head>, WalkError> {
        self.skip_rest()?;
        let (mut name, mut link, mut size) = (None::<Vec<u8>>, None::<Vec<u8>>, None::<u64>);
        for _ in 0..EXTENSIONS_MAX {
            let Some(block) = self.block()? else { return Ok(None) };
            if block.iter().all(|b| *b == 0) {
                // One zero block is enough here: tar itself warns and stops.
                self.ended = true;
                return Ok(None);
            }
            let header = checked(&block)?;
            let mut length =
                header.entry_size().map_err(|e| WalkError::Header(format!("an entry without a size: {e}")))?;
            let kind = header.entry_type();
            match kind.as_byte() {
                b'L' => name = Some(self.extension(length)?),
                b'K' => link = Some(self.extension(length)?),
                b'x' => {
                    let record = self.extension(length)?;
                    for (key, value) in pax(&record) {
                        match key {
                            b"path" => name = Some(value.to_vec()),
                            b"linkpath" => link = Some(value.to_vec()),
                            b"size" => size = std::str::from_utf8(value).ok().and_then(|s| s.parse().ok()),
                            _ => {}
                        }
                    }
                }
                b'g' => {
                    self.extension(length)?;
                }
                byte => {
                    length = size.unwrap_or(length);
                    let text = |b: Vec<u8>| {
                        let end = b.iter().position(|c| *c == 0).unwrap_or(b.len());
                        String::from_utf8_lossy(&b[..end]).into_owned()
                    };
                    let path = text(name.unwrap_or_else(|| header.path_bytes().into_owned()));
                    let mut target = || {
                        text(link.take().unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned()))
                    };
                    let what = match byte {
                        b'5' => What::Dir,
                        // Before POSIX a directory was a file with a slash behind its name.
                        b'0' | 0 | b'7' if path.ends_with('/') => What::Dir,
                        b'0' | 0 | b'7' => What::File,
                        b'1' => What::Hardlink(target()),
                        b'2' => What::Symlink(target()),
                        b'3' => What::Other("character device"),
                        b'4' => What::Other("block device"),
                        b'6' => What::Other("FIFO"),
                        b'S' => What::Other("sparse file"),
                        _ => What::Other("entry of unknown type"),
                    };
                    let padding = (512 - length % 512) % 512;
                    (self.body, self.padding) = (length, padding);
                    return Ok(Some(Head { path, what, size: length, mtime: header.mtime().unwrap_or(0) }));
                }
            }
        }
        Err(WalkError::Header("more extension headers in a row than any tar writes".into()))
    }

    /// Reads the rest of the entry at hand.
    fn skip_rest(&mut self) -> Result<(), WalkError> {
        let mut chunk = [0u8; 8192];
        while self.body > 0 || self.padding > 0 {
            let left = self.body.saturating_add(self.padding);
            let want = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let n = read_some(&mut self.from, &mut chunk[..want])?;
            if n == 0 {
                return Err(WalkError::Cut);
            }
            let of_body = self.body.min(n as u64);
            self.body -= of_body;
            self.padding -= n as u64 - of_body;
        }
        Ok(())
    }

    fn block(&mut self) -> Result<Option<[u8; 512]>, WalkError> {
        let mut block = [0u8; 512];
        let mut have = 0;
        while have < 512 {
            match read_some(&mut self.from, &mut block[have..])? {
                0 if have == 0 => return Ok(None),
                0 => return Err(WalkError::Cut),
                n => have += n,
            }
        }
        Ok(Some(block))
    }

    fn extension(&mut self, length: u64) -> Result<Vec<u8>, WalkError> {
        if length > NAME_MAX {
            return Err(WalkError::Header(format!("an extension header of {length} bytes")));
        }
        (self.body, self.padding) = (length, (512 - length % 512) % 512);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map_err(sort_out)?;
        self.skip_rest()?;
        Ok(bytes)
    }
}

/// The body of the entry at hand. `UnexpectedEof` when the stream ends before it does.
impl<R: Read> Read for TarWalk<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = buf.len().min(usize::try_from(self.body).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let n = self.from.read(&mut buf[..want])?;
        if n == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends within an entry"));
        }
        self.body -= n as u64;
        Ok(n)
    }
}

fn read_some(from: &mut impl Read, buf: &mut [u8]) -> Result<usize, WalkError> {
    loop {
        match from.read(buf) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(sort_out(e)),
            Ok(n) => return Ok(n),
        }
    }
}

fn sort_out(e: io::Error) -> WalkError {
    if e.kind() == io::ErrorKind::UnexpectedEof { WalkError::Cut } else { WalkError::Decode(e) }
}

/// The header, if its checksum is right.
fn checked(block: &[u8; 512]) -> Result<&tar::Header, WalkError> {
    let header = tar::Header::from_byte_slice(block);
    let sum: u32 =
        block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u32::from(*b) }).sum();
    match header.cksum() {
        Ok(told) if told == sum => Ok(header),
        _ => Err(WalkError::Header("no tar header where one must be".into())),
    }
}

/// `length key=value\n` records.
fn pax(mut record: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut out = Vec::new();
    while let Some(space) = record.iter().position(|b| *b == b' ') {
        let length = std::str::from_utf8(&record[..space]).ok().and_then(|s| s.parse::<usize>().ok());
        let Some(length) = length.filter(|l| *l > space + 1 && *l <= record.len()) else { break };
        let line = &record[space + 1..length - 1];
        if let Some(eq) = line.iter().position(|b| *b == b'=') {
            out.push((&line[..eq], &line[eq + 1..]));
        }
        record = &record[length..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_names_of_both_kinds_are_read() {
        let long = format!("{}/file", "d".repeat(150));
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        builder.append_data(&mut header, &long, &b"abc"[..]).expect("append");
        builder.append_pax_extensions([("path", &b"pax/name"[..])]).expect("append");
        builder.append_data(&mut header, "short", &b"def"[..]).expect("append");
        let bytes = builder.into_inner().expect("finish");
        let mut walk = TarWalk::new(&bytes[..]);
        let first = walk.next().expect("walk").expect("an entry");
        assert_eq!((first.path.as_str(), first.size), (long.as_str(), 3));
        assert_eq!(walk.next().expect("walk").expect("an entry").path, "pax/name");
        let mut body = String::new();
        walk.read_to_string(&mut body).expect("read");
        assert_eq!(body, "def");
        assert!(walk.next().expect("walk").is_none() && walk.ended);
    }

    proptest! {
        #[test]
        fn no_stream_of_bytes_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let mut walk = TarWalk::new(&bytes[..]);
            while let Ok(Some(_)) = walk.next() {}
        }
    }
}
