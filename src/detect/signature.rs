//! What two occurrences of one failure share, on any host, build and boot.

use crate::model::{Kind, Signature};
use sha2::{Digest, Sha256};

/// Frames behind the function that go into a signature ([`crate::detect::recipe::stable_frames`]). Fewer would merge
/// different bugs of one function, more would split one bug that is reached by several ways.
const FRAMES: usize = 3;

/// 16 hex digits over the kind, the function (the title where there is none) and the frames behind it.
pub(crate) fn signature(kind: Kind, function: Option<&str>, title: &str, frames: &[String]) -> Signature {
    let mut hash = Sha256::new();
    hash.update(kind.name());
    hash.update(b"\n");
    hash.update(function.unwrap_or(title));
    let behind = match function {
        Some(f) => frames.iter().position(|n| n == f).map_or(0, |at| at + 1),
        None => 0,
    };
    for frame in frames.iter().skip(behind).take(FRAMES) {
        hash.update(b"\n");
        hash.update(frame);
    }
    let digest = hash.finalize();
    Signature(digest.iter().take(8).map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[&str]) -> Vec<String> {
        of.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn depends_on_kind_function_and_the_next_frames_only() {
        let sig = |kind, frames: &[&str]| signature(kind, Some("f"), "t", &names(frames)).0;
        let base = sig(Kind::Oops, &["f", "a", "b", "c", "d", "e"]);
        assert_eq!(base.len(), 16);
        assert_eq!(base, sig(Kind::Oops, &["x", "f", "a", "b", "c", "other"]));
        assert_ne!(base, sig(Kind::Bug, &["f", "a", "b", "c", "d"]));
        assert_ne!(base, sig(Kind::Oops, &["f", "a", "b", "other", "d"]));
    }
}
