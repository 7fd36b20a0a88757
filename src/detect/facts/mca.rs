//! Registers of x86's machine check architecture, in words.
//!
//! Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3, "Machine-Check Architecture": the bits of
//! IA32_MCi_STATUS and IA32_MCG_STATUS, and "Interpreting the MCA error codes". AMD encodes the codes the same way.

/// Bits of IA32_MCi_STATUS that mean the same with every vendor.
const STATUS: &[(u32, &str)] = &[
    (63, "valid"),
    (62, "others were lost"),
    (61, "uncorrected"),
    (60, "reporting enabled"),
    (59, "MISC valid"),
    (58, "ADDR valid"),
    (57, "processor context corrupt"),
];

/// Bits of IA32_MCG_STATUS.
const MCG: &[(u32, &str)] =
    &[(0, "can be restarted"), (1, "instruction is the cause"), (2, "in progress"), (3, "on this CPU alone")];

/// The bits of a bank's status.
pub(super) fn status_words(status: u64) -> String {
    let mut words: Vec<&str> = bits(STATUS, status);
    if status >> 61 & 1 == 0 {
        words.push("corrected");
    }
    words.join(", ")
}

/// The bits of the global status.
pub(super) fn mcg_words(status: u64) -> String {
    bits(MCG, status).join(", ")
}

fn bits(table: &[(u32, &'static str)], value: u64) -> Vec<&'static str> {
    table.iter().filter(|(bit, _)| value >> bit & 1 == 1).map(|(_, word)| *word).collect()
}

/// Codes that stand for themselves.
const SIMPLE: &[(u16, &str)] = &[
    (0x0000, "no error"),
    (0x0001, "unclassified error"),
    (0x0002, "parity error of the microcode ROM"),
    (0x0003, "external error (BINIT#)"),
    (0x0004, "functional redundancy check error"),
    (0x0005, "internal parity error"),
    (0x0006, "SMM handler ran code outside its range"),
    (0x0400, "internal timer error"),
    (0x0e0b, "I/O error"),
];

/// The error code in the low 16 bits of a status.
pub(super) fn error_words(status: u64) -> String {
    // Bit 12 only says that corrected errors are filtered.
    let code = status as u16 & 0xefff;
    if let Some((_, word)) = SIMPLE.iter().find(|(c, _)| *c == code) {
        return (*word).to_owned();
    }
    let (kind, level) = (pick(&["instruction ", "data ", "", ""], code >> 2), level(code));
    match code {
        0x000c..=0x000f => format!("{level}cache error"),
        0x0010..=0x001f => format!("{kind}TLB error, {level}").trim_end_matches([' ', ',']).to_owned(),
        0x0080..=0x00ff => format!("memory controller error: {}{}", memory(code), channel(code)),
        0x0100..=0x01ff => format!("{level}{kind}cache error: {}", request(code)),
        0x0280..=0x02ff => format!("extended memory error: {}{}", memory(code), channel(code)),
        0x0401..=0x07ff => "internal unclassified error".into(),
        0x0800..=0x0fff => format!(
            "bus or interconnect error: {}, {}, {}{}",
            pick(&["this CPU asked", "this CPU answered", "seen as third party", "generic"], code >> 9),
            request(code),
            pick(&["memory", "reserved", "I/O", "other"], code >> 2),
            if code >> 8 & 1 == 1 { ", timed out" } else { "" },
        ),
        _ => format!("code {code:#06x}"),
    }
}

fn pick(of: &[&'static str; 4], bits: u16) -> &'static str {
    of[usize::from(bits & 3)]
}

fn level(code: u16) -> &'static str {
    pick(&["level 0 ", "level 1 ", "level 2 ", ""], code)
}

fn request(code: u16) -> &'static str {
    const REQUESTS: [&str; 9] =
        ["generic", "read", "write", "data read", "data write", "instruction fetch", "prefetch", "eviction", "snoop"];
    REQUESTS.get(usize::from(code >> 4 & 15)).copied().unwrap_or("unknown request")
}

fn memory(code: u16) -> &'static str {
    const REQUESTS: [&str; 5] = ["undefined request", "read", "write", "address or command", "scrubbing"];
    REQUESTS.get(usize::from(code >> 4 & 7)).copied().unwrap_or("reserved request")
}

fn channel(code: u16) -> String {
    match code & 15 {
        15 => String::new(),
        n => format!(", channel {n}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_are_read_as_the_manual_says() {
        for (code, want) in [
            (0x0400, "internal timer error"),
            (0x1400, "internal timer error"),
            (0x000d, "level 1 cache error"),
            (0x0014, "data TLB error, level 0"),
            (0x009f, "memory controller error: read"),
            (0x00c1, "memory controller error: scrubbing, channel 1"),
            (0x0135, "level 1 data cache error: data read"),
            (0x017a, "level 2 cache error: eviction"),
            (0x0290, "extended memory error: read, channel 0"),
            (0x0410, "internal unclassified error"),
            (0x0e0b, "I/O error"),
            (0x0f0f, "bus or interconnect error: generic, generic, other, timed out"),
            (0x0813, "bus or interconnect error: this CPU asked, read, memory"),
            (0x2000, "code 0x2000"),
        ] {
            assert_eq!(error_words(code), want, "{code:#x}");
        }
    }

    #[test]
    fn status_bits_are_named() {
        assert_eq!(
            status_words(0xbe00_0000_0080_0400),
            "valid, uncorrected, reporting enabled, MISC valid, ADDR valid, processor context corrupt"
        );
        assert_eq!(status_words(0x8c00_0000_0000_009f), "valid, MISC valid, ADDR valid, corrected");
        assert_eq!(mcg_words(5), "can be restarted, in progress");
    }
}
