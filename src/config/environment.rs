//! `WARPLINE_SECTION_KEY` variables over a table of settings.

use super::{Config, ConfigError};
use serde_json::Value as Json;

const PREFIX: &str = "WARPLINE_";

/// A setting: where it stands and the variable that overrides it.
struct Setting {
    section: String,
    key: String,
    variable: String,
    /// Whether the variable's text is the value, not TOML for it.
    text: bool,
}

/// The configuration of `settings` with the variables laid over it. Variables that belong to no
/// section are none of ours; one that names a section and no key of it is an error.
pub(super) fn apply(
    mut settings: toml::Table,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let known = known_settings();
    let mut config: Config =
        settings.clone().try_into().expect("the file was read as a configuration");
    for (name, value) in variables {
        let Some(setting) = known.iter().find(|setting| setting.variable == name) else {
            check_unknown(&known, name)?;
            continue;
        };
        let entry = settings
            .entry(setting.section.clone())
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let section = entry.as_table_mut().expect("the file was read as a configuration");
        let parsed = parse(setting, &value).map_err(|error| unusable(&name, &error))?;
        section.insert(setting.key.clone(), parsed);
        config = settings.clone().try_into().map_err(|error| unusable(&name, &error))?;
    }
    Ok(config)
}

fn unusable(name: &str, error: &toml::de::Error) -> ConfigError {
    ConfigError::Variable { name: name.to_owned(), reason: error.message().to_owned() }
}

fn parse(setting: &Setting, value: &str) -> Result<toml::Value, toml::de::Error> {
    if setting.text {
        return Ok(toml::Value::String(value.to_owned()));
    }
    let mut parsed: toml::Table = toml::from_str(&format!("value = {value}"))?;
    Ok(parsed.remove("value").expect("it was just written"))
}

fn check_unknown(known: &[Setting], name: String) -> Result<(), ConfigError> {
    let of_section = |setting: &&Setting| {
        name.starts_with(&format!("{PREFIX}{}_", setting.section.to_uppercase()))
    };
    let siblings: Vec<&str> =
        known.iter().filter(of_section).map(|setting| setting.variable.as_str()).collect();
    if siblings.is_empty() {
        return Ok(());
    }
    Err(ConfigError::UnknownVariable { name, known: siblings.join(", ") })
}

/// Every setting there is, read off the default configuration.
fn known_settings() -> Vec<Setting> {
    let defaults = serde_json::to_value(Config::default()).expect("settings are plain data");
    let sections = defaults.as_object().into_iter().flatten();
    sections
        .flat_map(|(section, keys)| {
            keys.as_object().into_iter().flatten().map(move |(key, default)| Setting {
                section: section.clone(),
                key: key.clone(),
                variable: format!("{PREFIX}{section}_{key}").to_uppercase(),
                text: matches!(default, Json::String(_) | Json::Null),
            })
        })
        .collect()
}
