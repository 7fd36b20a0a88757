//! The store room.

use crate::keeping::{self, T, write_entries};
use lastgasp::archive::{Reader, Writer};
use lastgasp::store::Store;

#[test]
fn a_snapshot_is_published_whole() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(dir.path().join("store")).expect("open");
    let incident = keeping::incident("ab12cd34", T);
    let pending = store.begin(&incident).expect("begin");
    let mut w = Writer::create(pending.file().expect("file"), pending.top_dir()).expect("writer");
    write_entries(&mut w, &incident).expect("write");
    w.finish(keeping::head(incident)).expect("finish");
    assert!(store.salvage_partials().expect("salvage").is_empty(), "it is locked");
    assert!(store.find(None).is_err());
    let path = pending.publish().expect("publish");
    assert!(Reader::open(&path).expect("open").verify(1 << 30).ok);
    assert_eq!(store.find(Some("ab1")).expect("find").path, path);
}
