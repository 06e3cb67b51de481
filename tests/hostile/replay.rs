//! Runs what is kept of hostile inputs through its decoder. Each room's tests include this file;
//! `tests/hostile/README.md` says where inputs lie.

use super::bounded::bounded;
use std::path::{Path, PathBuf};

/// How often an input that is taken is also cut short.
const CUTS: usize = 128;

/// Why an input, or a part of it, was refused.
pub(crate) type Verdict = Result<(), String>;

/// Each kept input of the decoder: those in `taken` must be taken, those in `refused` refused. The
/// seeds of its fuzz target are taken, and, cut short anywhere, survived.
pub(crate) fn replay(decoder: &str, mut decode: impl FnMut(&[u8]) -> Verdict) {
    // What is made once and kept does not count as an input's.
    drop(decode(b""));
    let home = hostile().join(decoder);
    let refused = inputs(&home.join("refused"));
    assert!(!refused.is_empty(), "{} has no refused inputs", home.display());
    let taken: Vec<_> = refused
        .iter()
        .filter(|(path, input)| run(path, input, &mut decode).is_ok())
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(taken.is_empty(), "{taken:?} were taken");
    let seeds = inputs(&hostile().join("../../fuzz/corpus").join(decoder));
    assert!(!seeds.is_empty(), "{decoder} has no seeds");
    for (path, input) in inputs(&home.join("taken")).iter().chain(&seeds) {
        let verdict = run(path, input, &mut decode);
        assert_eq!(verdict, Ok(()), "{}", path.display());
        for length in (0..input.len()).step_by(input.len().div_ceil(CUTS).max(1)) {
            drop(run(path, &input[..length], &mut decode));
        }
    }
}

/// Holds kept inputs against the code that makes them, or makes them anew where
/// `WARPLINE_WRITE_FIXTURES` is set. `folder` begins at the repository's root.
pub(crate) fn assert_kept<N: AsRef<str>>(folder: &str, made: &[(N, Vec<u8>)]) {
    let folder = hostile().join("../..").join(folder);
    for (name, bytes) in made {
        let path = folder.join(name.as_ref());
        if std::env::var_os("WARPLINE_WRITE_FIXTURES").is_some() {
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(&path, bytes).expect("written");
        }
        let kept = std::fs::read(&path);
        assert!(kept.is_ok_and(|kept| kept == *bytes), "{} differs", path.display());
    }
}

fn run(path: &Path, input: &[u8], decode: impl FnOnce(&[u8]) -> Verdict) -> Verdict {
    // Shown where the decoder panics.
    println!("{}, {} bytes", path.display(), input.len());
    bounded(input, decode)
}

fn hostile() -> PathBuf {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut found = above.map(|folder| folder.join("tests/hostile"));
    found.find(|folder| folder.is_dir()).expect("the repository has tests/hostile")
}

/// What a folder holds of segments in files, alone and one after the other.
pub(crate) fn segments(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files = inputs(folder);
    let all = files.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let name = |path: &Path| path.file_name().expect("a file").to_string_lossy().into_owned();
    let each = files.iter().map(|(path, bytes)| (name(path), bytes.clone()));
    each.chain([("all".to_owned(), all)]).collect()
}

/// The files of a folder by name; none where there is no folder.
fn inputs(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let read = |path: PathBuf| (path.clone(), std::fs::read(path).expect("a file"));
    paths.into_iter().map(read).collect()
}
