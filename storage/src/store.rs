//! Opens the object store that the tables live in.
//!
//! Promises: whatever the URL, paths are relative to it; a put that has returned survives the
//! loss of power; a put of a name that is taken fails where the caller asked for that.

mod durable;
#[cfg(test)]
mod tests;

pub(crate) use durable::DurableLocal;
#[cfg(test)]
pub(crate) use durable::Step;

use crate::error::{ErrorKind, StorageError};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreScheme};
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;
use url::Url;

/// The store at `url`: `file:///dir`, `memory:///`, `s3://bucket/prefix`, `gs://bucket/prefix` or
/// `az://container/prefix`. A local folder is made where there is none; a memory store is new.
///
/// `options` are the names of the object store's own configuration, such as `endpoint`, `region`,
/// `access_key_id` and `allow_http`; what they leave out comes from the environment
/// (`AWS_ACCESS_KEY_ID` and the like). A name that is unknown is refused.
pub(crate) fn open_store(
    url: &Url,
    options: &HashMap<String, String>,
) -> Result<Arc<dyn ObjectStore>, StorageError> {
    let refuse = |why: &dyn std::fmt::Display| {
        StorageError::rejected(format!("the store {} cannot be used: {why}", shown(url)))
    };
    let (scheme, path) = ObjectStoreScheme::parse(url).map_err(|error| refuse(&error))?;
    match scheme {
        ObjectStoreScheme::Local => open_local(url, options),
        ObjectStoreScheme::Memory => Ok(rooted(InMemory::new(), path)),
        ObjectStoreScheme::AmazonS3 => {
            let builder = AmazonS3Builder::from_env().with_url(url.as_str());
            let builder =
                configured(options, builder, |builder, key: AmazonS3ConfigKey, value| {
                    builder.with_config(key, value)
                })?;
            let builder = builder.with_conditional_put(S3ConditionalPut::ETagMatch);
            Ok(rooted(builder.build().map_err(|error| refuse(&error))?, path))
        }
        ObjectStoreScheme::GoogleCloudStorage => {
            let builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str());
            let builder = configured(options, builder, |builder, key: GoogleConfigKey, value| {
                builder.with_config(key, value)
            })?;
            Ok(rooted(builder.build().map_err(|error| refuse(&error))?, path))
        }
        ObjectStoreScheme::MicrosoftAzure => {
            let builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str());
            let builder = configured(options, builder, |builder, key: AzureConfigKey, value| {
                builder.with_config(key, value)
            })?;
            Ok(rooted(builder.build().map_err(|error| refuse(&error))?, path))
        }
        _ => Err(refuse(&"use a URL of file, memory, s3, gs or az")),
    }
}

/// Whether there may be a store at `url`: a local folder that is not there would be made.
pub(crate) fn is_there(url: &Url) -> bool {
    url.scheme() != "file" || url.to_file_path().is_ok_and(|folder| folder.is_dir())
}

/// A URL without user and password, for messages.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_password(None);
    url.to_string()
}

fn open_local(
    url: &Url,
    options: &HashMap<String, String>,
) -> Result<Arc<dyn ObjectStore>, StorageError> {
    if let Some(key) = options.keys().next() {
        return Err(StorageError::rejected(format!(
            "a store in a local folder has no options, yet {key:?} is set"
        )));
    }
    let root = url
        .to_file_path()
        .map_err(|()| StorageError::rejected(format!("{url} does not name a local folder")))?;
    let store = DurableLocal::open(&root).map_err(|error| {
        StorageError::because(
            ErrorKind::Retry,
            format!("the folder {} cannot be opened", root.display()),
            error,
        )
    })?;
    Ok(Arc::new(store))
}

fn rooted(store: impl ObjectStore, path: Path) -> Arc<dyn ObjectStore> {
    if path.is_root() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, path)) }
}

/// Applies every option to the builder, or names the first that it does not know.
fn configured<B, K: FromStr>(
    options: &HashMap<String, String>,
    builder: B,
    with_config: impl Fn(B, K, &str) -> B,
) -> Result<B, StorageError> {
    options.iter().try_fold(builder, |builder, (name, value)| {
        let key = name.to_ascii_lowercase().parse().map_err(|_| {
            StorageError::rejected(format!("the store option {name:?} is not known"))
        })?;
        Ok(with_config(builder, key, value))
    })
}

/// Says what an object store's failure means for the caller.
pub(crate) fn store_error(
    what: impl std::fmt::Display,
    error: object_store::Error,
) -> StorageError {
    use object_store::Error as E;
    let kind = match &error {
        E::NotFound { .. } => ErrorKind::Corrupt,
        E::InvalidPath { .. }
        | E::NotSupported { .. }
        | E::NotImplemented { .. }
        | E::UnknownConfigurationKey { .. } => ErrorKind::Internal,
        _ => ErrorKind::Retry,
    };
    StorageError::because(kind, what, error)
}
