//! An HTTP/1 answer from a stream that may be hostile, slow or something else entirely: status, and as
//! much of the body as is asked for. Linear in what arrives, with caps on all of it.

use crate::model::ProbeCause;
use crate::probe::{Fail, net};
use std::io::Read;

/// Most bytes of a status line and its headers.
const HEAD_MAX: usize = 32 * 1024;
/// Most bytes of the body that are looked at.
pub(crate) const BODY_MAX: usize = 64 * 1024;
/// Most `1xx` answers before the real one.
const INTERIM_MAX: usize = 8;
/// Longest chunk-size line, or line of the trailer, in bytes.
const CHUNK_LINE_MAX: usize = 1024;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: u16,
    /// At most [`BODY_MAX`] bytes, dechunked; empty unless asked for.
    pub body: Vec<u8>,
}

/// Where the body ends.
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Empty,
    Length(u64),
    Chunked,
    UntilClose,
}

/// Reads an answer; of the body only where the status is in `wants_body`.
pub(crate) fn read(from: &mut impl Read, wants_body: impl Fn(u16) -> bool) -> Result<Answer, Fail> {
    let mut input = Input { from, buf: Vec::new(), at: 0 };
    for _ in 0..=INTERIM_MAX {
        let (status, framing) = head(&mut input)?;
        match status {
            // 101 would be a switch of protocols that nobody asked for.
            100..=199 if status != 101 => {}
            _ => {
                let mut body = Vec::new();
                if wants_body(status) {
                    read_body(&mut input, framing, &mut body)?;
                }
                return Ok(Answer { status, body });
            }
        }
    }
    Err(bad("more than 8 interim answers"))
}

fn bad(why: impl std::fmt::Display) -> Fail {
    Fail::new(ProbeCause::BadAnswer, format!("not an HTTP answer: {why}"))
}

/// Bytes that were read and not yet used begin at `at`.
struct Input<'a, R> {
    from: &'a mut R,
    buf: Vec<u8>,
    at: usize,
}

impl<R: Read> Input<'_, R> {
    /// Reads some more; false at the end of the stream.
    fn more(&mut self, doing: &str) -> Result<bool, Fail> {
        let mut chunk = [0u8; 4096];
        loop {
            match self.from.read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(n) => {
                    self.buf.extend_from_slice(&chunk[..n]);
                    return Ok(true);
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                // TLS peers that close without saying so: the end, for what is read until the end.
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(e) => return Err(net::classify(&e, doing)),
            }
        }
    }

    fn rest(&self) -> &[u8] {
        &self.buf[self.at..]
    }

    fn clear(&mut self) {
        self.buf.clear();
        self.at = 0;
    }
}

/// Status line and headers.
fn head<R: Read>(input: &mut Input<'_, R>) -> Result<(u16, Framing), Fail> {
    let mut searched = 0;
    let end = loop {
        let rest = input.rest();
        // Whoever speaks something else is not listened to until it pauses.
        let start = &rest[..rest.len().min(5)];
        if !b"HTTP/".starts_with(start) {
            let line = rest.split(|b| *b == b'\n').next().unwrap_or_default();
            let line = &line[..line.len().min(80)];
            return Err(bad(format!("begins with {:?}", String::from_utf8_lossy(line).trim_end())));
        }
        if let Some(end) = end_of_head(rest, searched) {
            break end;
        }
        if rest.len() > HEAD_MAX {
            return Err(bad("endless headers"));
        }
        searched = rest.len().saturating_sub(3);
        let got = rest.len();
        if !input.more("read the answer")? {
            return Err(match got {
                0 => Fail::new(ProbeCause::Reset, "the connection was closed without an answer"),
                n => Fail::new(ProbeCause::Reset, format!("the connection was closed after {n} bytes of the headers")),
            });
        }
    };
    let parsed = parse_head(&input.rest()[..end])?;
    input.at += end;
    Ok(parsed)
}

/// The length of the head, its empty line included. Bare line feeds are tolerated.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(lf) = bytes[at..].iter().position(|b| *b == b'\n') {
        let next = at + lf + 1;
        match &bytes[next..] {
            [b'\n', ..] => return Some(next + 1),
            [b'\r', b'\n', ..] => return Some(next + 2),
            _ => at = next,
        }
    }
    None
}

fn parse_head(head: &[u8]) -> Result<(u16, Framing), Fail> {
    let mut lines = head.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
    let status_line = lines.next().unwrap_or_default();
    let status = match status_line {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', code @ ..] if code.len() >= 3 => {
            std::str::from_utf8(&code[..3]).ok().and_then(|c| c.parse::<u16>().ok()).filter(|c| (100..600).contains(c))
        }
        _ => None,
    };
    let shown = &status_line[..status_line.len().min(80)];
    let status = status.ok_or_else(|| bad(format!("status line {:?}", String::from_utf8_lossy(shown))))?;
    let (mut length, mut chunked) = (None, false);
    for line in lines {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let n = std::str::from_utf8(value).ok().and_then(|v| v.parse::<u64>().ok());
            length = Some(n.ok_or_else(|| bad("content-length is no number"))?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            chunked |= value.to_ascii_lowercase().ends_with(b"chunked");
        }
    }
    let framing = match (status, chunked, length) {
        (100..=199 | 204 | 304, _, _) => Framing::Empty,
        (_, true, _) => Framing::Chunked,
        (_, false, Some(n)) => Framing::Length(n),
        (_, false, None) => Framing::UntilClose,
    };
    Ok((status, framing))
}

fn read_body<R: Read>(input: &mut Input<'_, R>, framing: Framing, body: &mut Vec<u8>) -> Result<(), Fail> {
    let mut dechunk = Dechunk::Size { digits: 0, size: 0, line: 0, extension: false };
    loop {
        let done = match &framing {
            Framing::Empty => true,
            Framing::Chunked => dechunk.push(input.rest(), body)?,
            Framing::UntilClose => {
                body.extend_from_slice(input.rest());
                false
            }
            Framing::Length(n) => {
                body.extend_from_slice(input.rest());
                body.len() as u64 >= *n
            }
        };
        input.clear();
        if done || body.len() >= BODY_MAX {
            let end = match framing {
                Framing::Length(n) => usize::try_from(n).unwrap_or(BODY_MAX).min(BODY_MAX),
                _ => BODY_MAX,
            };
            body.truncate(end);
            return Ok(());
        }
        if !input.more(&format!("read the body, {} bytes so far", body.len()))? {
            return match framing {
                Framing::UntilClose => Ok(()),
                Framing::Length(n) => {
                    let detail = format!("the connection was closed after {} of {n} bytes of the body", body.len());
                    Err(Fail::new(ProbeCause::Reset, detail))
                }
                _ => Err(Fail::new(ProbeCause::Reset, "the connection was closed within a chunk of the body")),
            };
        }
    }
}

/// RFC 9112 section 7.1, byte by byte, so that a body cut anywhere goes on where it stopped.
#[derive(Debug)]
enum Dechunk {
    Size {
        digits: u32,
        size: u64,
        line: usize,
        extension: bool,
    },
    Data {
        left: u64,
    },
    /// The line end behind the data.
    DataEnd,
    Trailer {
        line: usize,
        total: usize,
    },
}

impl Dechunk {
    /// True when the last chunk has been seen.
    fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<bool, Fail> {
        while let Some((&b, rest)) = bytes.split_first() {
            match self {
                Dechunk::Data { left } => {
                    let n = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let room = BODY_MAX.saturating_sub(out.len());
                    out.extend_from_slice(&bytes[..n.min(room)]);
                    *left -= n as u64;
                    if *left == 0 {
                        *self = Dechunk::DataEnd;
                    }
                    bytes = &bytes[n..];
                    continue;
                }
                Dechunk::DataEnd => match b {
                    b'\r' => {}
                    b'\n' => *self = Dechunk::Size { digits: 0, size: 0, line: 0, extension: false },
                    _ => return Err(bad("a chunk is longer than announced")),
                },
                Dechunk::Size { digits, size, line, extension } => {
                    *line += 1;
                    match b {
                        b'\n' if *digits == 0 => return Err(bad("a chunk without a size")),
                        b'\n' if *size == 0 => *self = Dechunk::Trailer { line: 0, total: 0 },
                        b'\n' => *self = Dechunk::Data { left: *size },
                        b'\r' | b' ' | b'\t' => {}
                        b';' => *extension = true,
                        _ if *extension => {}
                        _ => {
                            let digit = (b as char).to_digit(16).ok_or_else(|| bad("a chunk size is no number"))?;
                            *digits += 1;
                            *size = size.checked_mul(16).ok_or_else(|| bad("a chunk is too large"))? + u64::from(digit);
                        }
                    }
                    if let Dechunk::Size { line, .. } = self
                        && *line > CHUNK_LINE_MAX
                    {
                        return Err(bad("an endless chunk size"));
                    }
                }
                Dechunk::Trailer { line, total } => {
                    *total += 1;
                    match b {
                        b'\n' if *line == 0 => return Ok(true),
                        b'\n' => *line = 0,
                        b'\r' => {}
                        _ => *line += 1,
                    }
                    if *total > HEAD_MAX {
                        return Err(bad("an endless trailer"));
                    }
                }
            }
            bytes = rest;
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A stream that hands out at most `step` bytes at a time.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let n = self.1.min(self.0.len()).min(buf.len());
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn answer(text: &[u8]) -> Result<(u16, String), ProbeCause> {
        let whole = read(&mut Drip(text, usize::MAX), |_| true);
        let dripped = read(&mut Drip(text, 1), |_| true);
        assert_eq!(whole.as_ref().map_err(|f| f.cause), dripped.as_ref().map_err(|f| f.cause));
        whole.map(|a| (a.status, String::from_utf8_lossy(&a.body).into_owned())).map_err(|f| f.cause)
    }

    #[test]
    fn bodies_end_where_they_say() {
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokXX"), Ok((200, "ok".into())));
        assert_eq!(answer(b"HTTP/1.0 404 No\n\nuntil close"), Ok((404, "until close".into())));
        assert_eq!(answer(b"HTTP/1.1 204\r\n\r\nnothing"), Ok((204, String::new())));
        assert_eq!(
            answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nT: x\r\n\r\n"),
            Ok((200, "abc0123456789".into()))
        );
        assert_eq!(answer(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx"), Ok((200, "x".into())));
    }

    #[test]
    fn other_protocols_and_broken_answers_are_told_apart() {
        assert_eq!(answer(b"SSH-2.0-OpenSSH_9.2\r\n"), Err(ProbeCause::BadAnswer));
        assert_eq!(answer(b"HTTP/2 200\r\n\r\n"), Err(ProbeCause::BadAnswer));
        assert_eq!(answer(b"HTTP/1.1 999\r\n\r\n"), Err(ProbeCause::BadAnswer));
        assert_eq!(answer(b""), Err(ProbeCause::Reset));
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\nX:"), Err(ProbeCause::Reset));
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), Err(ProbeCause::Reset));
        let chunked =
            |body: &str| answer(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}").as_bytes());
        assert_eq!(chunked("3\r\nab"), Err(ProbeCause::Reset));
        assert_eq!(chunked("zz\r\n"), Err(ProbeCause::BadAnswer));
        assert_eq!(chunked("2\r\nabc\r\n"), Err(ProbeCause::BadAnswer));
        assert_eq!(chunked(&format!("{}\r\n", "f".repeat(17))), Err(ProbeCause::BadAnswer));
        assert_eq!(chunked(&"0".repeat(5000)), Err(ProbeCause::BadAnswer));
        let endless = [b"HTTP/1.1 200 OK\r\n".as_slice(), &b"X: y\r\n".repeat(100_000)].concat();
        assert_eq!(answer(&endless), Err(ProbeCause::BadAnswer));
    }

    #[test]
    fn the_body_is_capped() {
        let long = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &vec![b'x'; 10 << 20]].concat();
        let got = read(&mut Drip(&long, usize::MAX), |_| true).expect("an answer");
        assert_eq!(got.body.len(), BODY_MAX);
        let long =
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFF\r\n".as_slice(), &vec![b'x'; 1 << 20]]
                .concat();
        assert_eq!(read(&mut Drip(&long, 1000), |_| true).expect("an answer").body.len(), BODY_MAX);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), chunked: bool) {
            let head: &[u8] = if chunked { b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" } else { b"HTTP/1.1 " };
            let _ = answer(&[head, &bytes].concat());
        }
    }
}
