//! Which clients work, and what each was tried with: `docs/clients.md` is what
//! `tests/clients/table.py` finds out with the real binary.

use crate::clients::{check, python};
use crate::server::{BINARY, Server};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Some rows are answered from files, the last ones from the buffer.
const SETTINGS: [(&str, &str); 1] = [("WARPLINE_STORAGE_FLUSH_INTERVAL", "1s")];

/// A token of that name and role.
fn token(data: &Path, name: &str, role: &str) -> String {
    let mut command = Command::new(BINARY);
    command.args(["token", "add", name, "--role", role, "--data"]).arg(data);
    let made = command.output().expect("the binary starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).expect("text").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_clients_is_true() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let (admin, writer) = (token(&data, "admin", "admin"), token(&data, "writer", "write"));
    let mut server = Server::start(&data, &SETTINGS).await;

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = root.join("target/clients/clients.md");
    fs::create_dir_all(root.join("target/clients")).expect("a folder");
    let _ = fs::remove_file(&found);
    let mut arguments = vec![server.url().to_string(), server.postgres().to_string()];
    arguments.extend(["admin".to_owned(), admin, "--writer".to_owned(), writer]);
    arguments.extend(["--write".to_owned(), found.display().to_string()]);
    check(&python, "table.py", arguments).await;
    server.stop().await;

    let Ok(found) = fs::read_to_string(found) else {
        eprintln!("NOT TESTED: docs/clients.md; a client is not installed");
        return;
    };
    let page = fs::read_to_string(root.join("docs/clients.md")).expect("the page");
    let renew = "docs/clients.md is out of date: cp target/clients/clients.md docs/clients.md";
    assert!(page == found, "{renew}\n{found}");
}
