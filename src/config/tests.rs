//! What a file, a variable and a wrong key do to a configuration.

use super::{Address, ByteSize, Config};
use std::path::Path;

fn of(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("a written file");
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Config::load(Some(file.path()), variables).map_err(|error| error.to_string())
}

#[test]
fn nothing_is_needed() {
    let config = Config::load(None, []).expect("the defaults");
    assert_eq!(config.server.listen.address().to_string(), "127.0.0.1:7480");
    assert_eq!(config.server.postgres.address().to_string(), "127.0.0.1:7432");
}

#[test]
fn variables_override_the_file() {
    let text = "[storage]\nmemory = \"1GiB\"\nflush_size = 1048576\n[limits]\ntables = 7";
    let config = of(text, &[("WARPLINE_STORAGE_MEMORY", "64MiB"), ("WARPLINE_LIMITS_SERIES", "9")])
        .expect("a configuration");
    assert_eq!(config.storage.memory, ByteSize(64 << 20));
    assert_eq!(config.storage.flush_size, ByteSize(1 << 20));
    assert_eq!((config.limits.tables, config.limits.series), (7, 9));
}

#[test]
fn a_numeric_folder_is_a_folder() {
    let config = of("", &[("WARPLINE_SERVER_DATA", "2026")]).expect("a configuration");
    assert_eq!(config.server.data, Path::new("2026"));
}

#[test]
fn unknown_keys_are_named() {
    let error = of("[storage]\nmemroy = \"1GiB\"", &[]).expect_err("a misspelt key");
    assert!(error.contains("memroy") && error.contains(":2:"), "{error}");
    let error = of("", &[("WARPLINE_STORAGE_MEMROY", "1GiB")]).expect_err("a misspelt variable");
    assert!(error.contains("WARPLINE_STORAGE_MEMROY"), "{error}");
    assert!(error.contains("WARPLINE_STORAGE_MEMORY"), "{error}");
}

#[test]
fn variables_of_others_are_left_alone() {
    assert!(of("", &[("WARPLINE_LOG", "debug"), ("PATH", "/bin")]).is_ok());
}

#[test]
fn a_wrong_value_names_its_variable() {
    let error = of("", &[("WARPLINE_STORAGE_FLUSH_INTERVAL", "soon")]).expect_err("no duration");
    assert!(error.contains("WARPLINE_STORAGE_FLUSH_INTERVAL") && error.contains("10s"), "{error}");
}

#[test]
fn addresses_have_a_port() {
    for good in ["127.0.0.1:1", "localhost:7480", "[::1]:7480", "0.0.0.0:0"] {
        assert!(good.parse::<Address>().is_ok(), "{good}");
    }
    for bad in ["7480", "127.0.0.1", "example.org:7480", ""] {
        assert!(bad.parse::<Address>().is_err(), "{bad}");
    }
}

#[test]
fn rows_are_kept_as_long_as_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().display();
    let text = format!(
        "[server]\ndata = {:?}\n[maintenance]\nfile_size = \"1MiB\"\n[retention]\nminute = \"30d\"\n[retention.tables]\njobs = \"forever\"",
        data.to_string()
    );
    let options = |variables: &[(&str, &str)]| {
        let config = of(&text, variables).expect("a configuration");
        config.storage_options().expect("a folder").maintenance
    };
    let (day, kept) = (std::time::Duration::from_hours(24), options(&[]));
    assert_eq!(kept.file_size, 1 << 20);
    assert_eq!(kept.retention.raw, Some(14 * day));
    assert_eq!((kept.retention.minute, kept.retention.hour), (Some(30 * day), None));
    assert_eq!(kept.retention.tables.get("jobs"), Some(&None));
    let variables = [
        ("WARPLINE_RETENTION_RAW", "forever"),
        ("WARPLINE_RETENTION_TABLES", "{ gpu = \"2d\" }"),
        ("WARPLINE_MAINTENANCE_BACKGROUND", "false"),
    ];
    let kept = options(&variables);
    assert_eq!((kept.retention.raw, kept.background), (None, false));
    assert_eq!(kept.retention.tables.get("gpu"), Some(&Some(2 * day)));
    let error = of("", &[("WARPLINE_RETENTION_RAW", "long")]).expect_err("no length");
    assert!(error.contains("WARPLINE_RETENTION_RAW") && error.contains("forever"), "{error}");
}

#[test]
fn fields_of_a_file_have_their_kinds() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("own.csv");
    std::fs::write(&file, "id,names,column,unit,kind,type\n,acme_spins,spins,,counter,int64\n")
        .expect("a written file");
    let of_file = |file: &Path| {
        let variables = [("WARPLINE_SERVER_DICTIONARY", file.to_str().expect("text"))];
        let mut config = of("", &variables).expect("a configuration");
        config.server.data = folder.path().join("data");
        config.storage_options()
    };
    let kinds = of_file(&file).expect("a folder").maintenance.kinds;
    let told = format!("{kinds:?}");
    let (counters, gauges) = told.split_once("gauges").expect("both");
    assert!(counters.contains("spins") && !gauges.contains("spins"), "{told}");
    let missing = of_file(Path::new("nowhere.csv")).expect_err("no file").to_string();
    assert!(missing.contains("nowhere.csv"), "{missing}");
}

#[test]
fn store_options_are_not_printed() {
    let text = "[store.options]\naws_secret_access_key = \"hush\"";
    let config = of(text, &[]).expect("a configuration");
    assert!(!format!("{config:?}").contains("hush"));
}
