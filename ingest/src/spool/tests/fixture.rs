//! Format version 1 as it was first written: it stays readable, and is still written alike.

use super::*;

fn stored() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/spool/testdata/version-1")
}

/// Two segments: a process that met a server, and one that did not.
fn write(folder: &Path) {
    let mut spool = open(folder);
    spool.append(vec![block(&layout("p"), 1), block(&layout("q"), 2)], NOW);
    spool.meet(at(40, 40));
    spool.append(vec![block(&layout("p"), 3)], NOW + 1_000_000);
    drop(spool);
    append(&mut open(folder), 4);
}

#[test]
fn version_1_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(stored()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let mut spool = open(folder.path());
    assert_eq!((spool.counts().frames, spool.counts().cut_bytes), (3, 0));
    assert_eq!(spool.claimed(), 42);
    assert_eq!(sent(&mut spool, at(0, 0)), [(41, 1), (41, 2), (42, 3), (43, 4)]);
}

#[test]
fn version_1_is_written() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    if std::env::var_os("WARPLINE_WRITE_FIXTURES").is_some() {
        for name in names(folder.path()) {
            std::fs::copy(folder.path().join(&name), stored().join(&name)).unwrap();
        }
    }
    assert_eq!(names(folder.path()), names(&stored()));
    for name in names(&stored()) {
        let written = std::fs::read(folder.path().join(&name)).unwrap();
        assert_eq!(written, std::fs::read(stored().join(&name)).unwrap(), "{name}");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let segments = paths.filter(|path| path.extension().is_some_and(|e| e == "spool"));
    let mut names: Vec<_> =
        segments.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}
