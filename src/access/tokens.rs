//! The file of tokens. docs/formats/tokens.md draws it.
//!
//! Promises: a token is kept as hashes alone; a change is whole or not at all, and readable by its
//! owner alone; a file of a newer version, or with anything in it that is not known, is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::ValueEnum;
use parking_lot::RwLock;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use warpline_query::PasswordVerifier;

const VERSION: u32 = 1;
/// What every token begins with, so that one that went astray is known for what it is.
const PREFIX: &str = "wlt_";
const TOKEN_BYTES: usize = 32;
const MAX_NAME_BYTES: usize = 63;

/// What a token is for.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sends rows, and reads nothing
    Write,
    /// Asks, and changes nothing
    Read,
    /// Both
    Admin,
}

impl Role {
    pub fn may_read(self) -> bool {
        matches!(self, Self::Read | Self::Admin)
    }

    pub fn may_write(self) -> bool {
        matches!(self, Self::Write | Self::Admin)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("cannot {verb} the tokens in {}: {source}", path.display())]
    File { verb: &'static str, path: PathBuf, source: io::Error },
    #[error("{}: {reason}", path.display())]
    Content { path: PathBuf, reason: String },
    #[error(
        "{0:?} is no name for a token: 1 to {MAX_NAME_BYTES} letters, digits, '-', '_' and '.'"
    )]
    Name(String),
    #[error("there is a token named {0:?}: choose another name, or remove it first")]
    Taken(String),
    #[error("there is no token named {0:?}")]
    Unknown(String),
}

/// A token as it is kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) role: Role,
    /// Whose rows it is for; kept, and not yet enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<String>,
    pub(super) created: String,
    /// Of the token, in hexadecimal digits.
    sha256: String,
    /// What it is verified by as a password.
    pub(super) scram: Scram,
}

/// A verifier as text.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Scram(pub(super) PasswordVerifier);

impl TryFrom<String> for Scram {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl From<Scram> for String {
    fn from(scram: Scram) -> Self {
        scram.0.to_string()
    }
}

/// A file of tokens in memory.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenFile {
    version: u32,
    #[serde(default, rename = "token")]
    entries: Vec<Entry>,
}

impl TokenFile {
    /// What is in the file; nothing where there is none.
    pub(super) fn read(path: &Path) -> Result<Self, TokenError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text)
                .map_err(|reason| TokenError::Content { path: path.into(), reason }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Self { version: VERSION, entries: Vec::new() })
            }
            Err(source) => Err(TokenError::File { verb: "read", path: path.into(), source }),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        // Errors name what is wrong and never quote the file.
        let unreadable =
            |error: toml::de::Error| format!("not a file of tokens: {}", error.message());
        let Versioned { version } = toml::from_str(text).map_err(unreadable)?;
        if version > VERSION {
            return Err(format!(
                "version {version} is of a newer Warpline; this one reads {VERSION}"
            ));
        }
        let file: Self = toml::from_str(text).map_err(unreadable)?;
        let mut names: Vec<&str> = file.entries.iter().map(|entry| entry.name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("two tokens are named {:?}", pair[0])),
            None => Ok(file),
        }
    }

    /// Keeps others from changing the file until it is dropped.
    pub(super) fn lock(path: &Path) -> Result<File, TokenError> {
        let lock = || {
            fs::create_dir_all(folder_of(path))?;
            let lock = File::create(path.with_extension("lock"))?;
            lock.lock().map(|()| lock)
        };
        lock().map_err(|source| TokenError::File { verb: "lock", path: path.into(), source })
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Makes a token and answers with it: it is nowhere else.
    pub(super) fn add(
        &mut self,
        name: &str,
        role: Role,
        tenant: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<String, TokenError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(fits) {
            return Err(TokenError::Name(name.to_owned()));
        }
        if self.entries.iter().any(|entry| entry.name == name) {
            return Err(TokenError::Taken(name.to_owned()));
        }
        let mut random = [0; TOKEN_BYTES];
        SystemRandom::new().fill(&mut random).expect("the system has random bytes");
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        self.entries.push(Entry {
            name: name.to_owned(),
            role,
            tenant,
            created: now.to_rfc3339_opts(SecondsFormat::Secs, true),
            sha256: hash(&token),
            scram: Scram(PasswordVerifier::of(&token)),
        });
        Ok(token)
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<(), TokenError> {
        let place = self.entries.iter().position(|entry| entry.name == name);
        self.entries.remove(place.ok_or_else(|| TokenError::Unknown(name.to_owned()))?);
        Ok(())
    }

    /// Puts it in the place of the file that is there.
    pub(super) fn write(&self, path: &Path) -> Result<(), TokenError> {
        let text = toml::to_string(self).expect("tokens are a table");
        Self::replace(path, &text).map_err(|source| TokenError::File {
            verb: "write",
            path: path.into(),
            source,
        })
    }

    fn replace(path: &Path, text: &str) -> io::Result<()> {
        let folder = folder_of(path);
        fs::create_dir_all(folder)?;
        let new = path.with_extension("new");
        // What a run that was broken off has left may be readable by others.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        // A server of another user reads it still when root has changed it.
        let owner = fs::metadata(path).or_else(|_| fs::metadata(folder))?;
        let _ = fchown(&file, Some(owner.uid()), Some(owner.gid()));
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(folder)?.sync_all()
    }
}

/// The tokens that a server knows now.
#[derive(Debug)]
pub(super) struct Tokens {
    path: PathBuf,
    known: RwLock<Known>,
}

#[derive(Debug)]
struct Known {
    changed: Option<SystemTime>,
    /// Whether it was told that the file cannot be read any more.
    unreadable: bool,
    by_hash: HashMap<String, Arc<Entry>>,
    by_name: HashMap<String, Arc<Entry>>,
}

impl Tokens {
    /// The tokens of a file, where there is one: without any left it lets nobody in.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, TokenError> {
        let changed = changed(path);
        let known = Known::of(TokenFile::read(path)?, changed);
        Ok(changed.map(|_| Self { path: path.into(), known: RwLock::new(known) }))
    }

    /// Takes up what has changed in the file.
    pub(super) fn look(&self) {
        let changed = changed(&self.path);
        if changed.is_none() || changed == self.known.read().changed {
            return;
        }
        match TokenFile::read(&self.path) {
            Ok(file) => *self.known.write() = Known::of(file, changed),
            Err(error) => {
                let mut known = self.known.write();
                if !std::mem::replace(&mut known.unreadable, true) {
                    tracing::error!(%error, "tokens stay as they were");
                }
                // Who may read a file changes without its time.
                if matches!(error, TokenError::Content { .. }) {
                    known.changed = changed;
                }
            }
        }
    }

    /// Whose token it is.
    pub(super) fn holder(&self, token: &str) -> Option<Arc<Entry>> {
        self.known.read().by_hash.get(&hash(token)).cloned()
    }

    pub(super) fn named(&self, name: &str) -> Option<Entry> {
        self.known.read().by_name.get(name).map(|entry| Entry::clone(entry))
    }
}

impl Known {
    fn of(file: TokenFile, changed: Option<SystemTime>) -> Self {
        let entries: Vec<Arc<Entry>> = file.entries.into_iter().map(Arc::new).collect();
        let by = |key: fn(&Entry) -> &String| {
            entries.iter().map(|entry| (key(entry).clone(), entry.clone())).collect()
        };
        Self {
            changed,
            unreadable: false,
            by_hash: by(|entry| &entry.sha256),
            by_name: by(|entry| &entry.name),
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|file| file.modified()).ok()
}

/// A token is 256 random bits: one round of a hash keeps it as well as many.
fn hash(token: &str) -> String {
    hex::encode(digest(&SHA256, token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn now() -> DateTime<Utc> {
        "2026-11-26T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_token_is_known_by_its_hashes_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/tokens.toml");
        assert!(Tokens::open(&path).unwrap().is_none());
        let mut file = TokenFile::read(&path).unwrap();
        let token = file.add("grafana", Role::Read, Some("acme".into()), now()).unwrap();
        let other = file.add("agents", Role::Write, None, now()).unwrap();
        file.write(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&token) && !text.contains(&token[PREFIX.len()..]), "{text}");

        let tokens = Tokens::open(&path).unwrap().unwrap();
        let holder = tokens.holder(&token).unwrap();
        assert_eq!((holder.name.as_str(), holder.role), ("grafana", Role::Read));
        assert_eq!(holder.tenant.as_deref(), Some("acme"));
        assert_eq!(tokens.holder(&other).unwrap().role, Role::Write);
        for wrong in ["", "wlt_", &token[1..], &format!("{token} ")] {
            assert!(tokens.holder(wrong).is_none(), "{wrong:?}");
        }

        let file = TokenFile { version: VERSION, entries: Vec::new() };
        let none = folder.path().join("none.toml");
        file.write(&none).unwrap();
        assert!(Tokens::open(&none).unwrap().unwrap().named("grafana").is_none());

        let mut file = TokenFile::read(&path).unwrap();
        file.remove("grafana").unwrap();
        assert!(matches!(file.remove("grafana"), Err(TokenError::Unknown(_))));
        file.write(&path).unwrap();
        // The clock of a file system may not tell two writes of a moment apart.
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        tokens.look();
        assert!(tokens.holder(&token).is_none());
        assert!(tokens.holder(&other).is_some());
        fs::write(&path, "version = 1\n[[token]]\nname = 3").unwrap();
        tokens.look();
        assert!(tokens.holder(&other).is_some(), "a broken file changes nothing");
    }

    #[test]
    fn names_and_files_that_are_none_are_refused() {
        let mut file = TokenFile { version: VERSION, entries: Vec::new() };
        for name in ["", "a b", "a\"", "ä", &"x".repeat(64)] {
            let refused = file.add(name, Role::Read, None, now());
            assert!(matches!(refused, Err(TokenError::Name(_))), "{name}");
        }
        file.add("a", Role::Read, None, now()).unwrap();
        assert!(matches!(file.add("a", Role::Read, None, now()), Err(TokenError::Taken(_))));
        let refused = |text: &str| TokenFile::parse(text).expect_err(text);
        assert!(refused("version = 2\nnew = true").contains("newer"));
        assert!(refused("version = 1\nnew = true").contains("unknown field"));
        assert!(refused("").contains("version"));
        let entry = toml::to_string(&file).unwrap();
        let entry = entry.split_once("[[token]]").unwrap().1;
        let twice = format!("version = 1\n[[token]]{entry}[[token]]{entry}");
        assert!(refused(&twice).contains("two tokens"));
    }

    /// A file of the first version, as it was written then.
    #[test]
    fn the_file_of_version_1_is_read() {
        let tokens = TokenFile::parse(include_str!("testdata/tokens-1.toml")).unwrap();
        let tokens = Known::of(tokens, None);
        let holder = tokens.by_hash.get(&hash("wlt_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"));
        assert_eq!(holder.map(|entry| entry.name.as_str()), Some("grafana"));
        assert_eq!(tokens.by_name["agents"].role, Role::Write);
    }
}
