//! Any bytes as the manifest of a backup.

use super::manifest::Manifest;
use super::path;
use crate::error::ErrorKind;
use crate::fuzzing::Verdict;
use object_store::path::Path;

/// The manifest as it stands and, where only its checksum is false, with a true one. What is taken is
/// written again and is the same; a path in it that leads out of the backup is refused.
pub fn manifest(input: &[u8]) -> Verdict {
    let verdict = decoded(input).and_then(|manifest| paths(&manifest));
    if verdict.is_err()
        && let Ok(manifest) = serde_json::from_slice::<Manifest>(input)
    {
        let sealed = manifest.encode().expect("a manifest is JSON");
        let sealed = decoded(&sealed);
        drop(sealed.and_then(|manifest| paths(&manifest)));
    }
    verdict
}

fn decoded(input: &[u8]) -> Result<Manifest, String> {
    let manifest = Manifest::decode(input).map_err(|error| {
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Rejected), "{error}");
        error.to_string()
    })?;
    let again = manifest.clone().encode().and_then(|bytes| Manifest::decode(&bytes));
    let again = again.expect("what was written is read");
    assert_eq!((&again.files, &again.tables), (&manifest.files, &manifest.tables));
    assert_eq!(again.log, manifest.log);
    Ok(manifest)
}

fn paths(manifest: &Manifest) -> Verdict {
    for entry in &manifest.files {
        let path: Path = path(&entry.path).map_err(|error| error.to_string())?;
        assert!(path.parts().all(|part| !matches!(part.as_ref(), "" | "." | "..")), "{path}");
    }
    Ok(())
}
