//! How rare four bytes are in the quiet text of a kernel, by a sample of it: only the speed of a search depends on it.

/// A machine boots, and all is well.
const SAMPLE: &[u8] = include_bytes!("../../fixtures/boot/debian-12-6.1.log");

/// Counts of a sample. 320 KiB, for as long as words are being chosen.
pub(crate) struct Rarity {
    bytes: Vec<u16>,
    pairs: Vec<u16>,
    /// By hash: two words may share a count.
    words: Vec<u16>,
}

impl Rarity {
    /// Takes about 0.2 ms.
    pub fn of_a_boot() -> Rarity {
        let mut rarity = Rarity { bytes: vec![0; 1 << 8], pairs: vec![0; 1 << 16], words: vec![0; 1 << 16] };
        for word in SAMPLE.windows(4).filter_map(<[u8]>::first_chunk) {
            let counts = [
                &mut rarity.bytes[usize::from(word[0])],
                &mut rarity.pairs[pair(word[0], word[1])],
                &mut rarity.words[hash(*word)],
            ];
            for count in counts {
                *count = count.saturating_add(1);
            }
        }
        rarity
    }

    /// How often the word stands in the sample, plus how often it were to by its pairs of letters, so that other words of the same
    /// language, which the sample does not happen to have, count as well.
    pub fn commonness(&self, word: [u8; 4]) -> f32 {
        let byte = |n: usize| f32::from(self.bytes[usize::from(word[n])]) + 1.0;
        let pair = |n: usize| f32::from(self.pairs[pair(word[n], word[n + 1])]) + 0.1;
        f32::from(self.words[hash(word)]) + pair(0) * pair(1) * pair(2) / (byte(1) * byte(2))
    }
}

fn pair(a: u8, b: u8) -> usize {
    usize::from(a) << 8 | usize::from(b)
}

fn hash(word: [u8; 4]) -> usize {
    (u32::from_le_bytes(word).wrapping_mul(0x9e37_79b1) >> 16) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kernels_say_all_day_is_common() {
        let rarity = Rarity::of_a_boot();
        for (common, rare) in
            [(b"devi", b"BUG:"), (b"regi", b"oops"), (b"ting", b"kjqx"), (b"0000", b"\x01\x02\x03\x04")]
        {
            assert!(rarity.commonness(*common) > 10.0 * rarity.commonness(*rare), "{common:?} {rare:?}");
        }
    }
}
