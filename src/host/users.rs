//! User names by number, from /etc/passwd only: no name service is asked while a machine fails.

use crate::host::Root;
use crate::host::bytes::{lines, number};
use std::collections::HashMap;

/// Most bytes read of /etc/passwd.
const PASSWD_CAP: usize = 1 << 20;

/// Names of local users.
#[derive(Clone, Debug, Default)]
pub struct Users(HashMap<u32, Box<[u8]>>);

impl Users {
    /// Errors leave it empty: numbers are printed then, as ps does.
    pub fn read(root: &Root) -> Users {
        Users::parse(&root.read("/etc/passwd", PASSWD_CAP).map(|c| c.bytes).unwrap_or_default())
    }

    /// `name:password:uid:…`; the first line for a number counts.
    pub fn parse(text: &[u8]) -> Users {
        let mut map = HashMap::new();
        for line in lines(text) {
            let mut fields = line.split(|b| *b == b':');
            let (Some(name), Some(_), Some(uid)) = (fields.next(), fields.next(), fields.next()) else { continue };
            let Some(uid) = number(uid).and_then(|n| u32::try_from(n).ok()) else { continue };
            if !name.is_empty() {
                map.entry(uid).or_insert_with(|| name.into());
            }
        }
        Users(map)
    }

    pub fn name(&self, uid: u32) -> Option<&[u8]> {
        self.0.get(&uid).map(|n| &**n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_name_counts_and_broken_lines_do_not() {
        let u = Users::parse(b"root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:\n+::::\nbad\n:x:7:\nweb:x:33:\n");
        assert_eq!((u.name(0), u.name(33), u.name(7)), (Some(&b"root"[..]), Some(&b"web"[..]), None));
    }
}
