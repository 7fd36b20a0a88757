//! One copy of each text that comes again and again: two thousand processes have three descriptors on /dev/null each,
//! sleep in the same kernel function and run the same program.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Most texts remembered; beyond, it begins anew. A machine on which every process is in a directory of its own gains nothing,
/// and loses as little.
const MAX: usize = 1_024;

/// A text that may have many owners. One word wide, where an `Arc<[u8]>` is two: there is one in each descriptor.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Text(Arc<Box<[u8]>>);

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl From<&[u8]> for Text {
    fn from(text: &[u8]) -> Text {
        Text(Arc::new(text.into()))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self))
    }
}

/// What one reader has seen.
#[derive(Debug, Default)]
pub struct Names(HashSet<Text>);

impl Names {
    /// The copy of `text` that there is, or a new one.
    pub fn keep(&mut self, text: &[u8]) -> Text {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        if self.0.len() >= MAX {
            self.0.clear();
        }
        let new = Text::from(text);
        self.0.insert(new.clone());
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_kept_once_and_many_texts_are_forgotten() {
        let mut names = Names::default();
        let first = names.keep(b"/dev/null");
        assert!(Arc::ptr_eq(&first.0, &names.keep(b"/dev/null").0));
        assert_eq!(size_of::<Text>(), size_of::<usize>());
        assert_eq!(*names.keep(b"/"), b"/"[..]);
        for n in 0..3 * MAX {
            names.keep(n.to_string().as_bytes());
        }
        assert!(names.0.len() <= MAX);
        assert_eq!(names.keep(b"/dev/null"), first, "a copy more, and the same text");
    }
}
