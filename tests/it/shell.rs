//! `warpline sql` without a statement, fed from a pipe.

use crate::server::{BINARY, Server};
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// What the shell says to these lines.
fn shell(server: &Server, lines: &str) -> Output {
    let mut command = Command::new(BINARY);
    command.args(["sql", "--server", server.url().as_str()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(lines.as_bytes()).expect("the shell reads");
    drop(stdin);
    child.wait_with_output().expect("its output")
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_a_pipe_are_asked_one_after_the_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(&folder.path().join("data"), &[]).await;
    let lines = "\\format csv\n\\timing\nSELECT 1 AS one,\n ';' AS two;\nSELECT 2 AS three";
    let output = shell(&server, lines);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "one,two\n1,;\nthree\n2\n");
    let told: Vec<_> = said.lines().map(|line| line.split(' ').next()).collect();
    assert_eq!(told, [Some("Timing"), Some("Time:"), Some("Time:")], "{said}");

    let output = shell(&server, "SELECT 1 AS one;\nSELECT nothing;\nSELECT 2 AS three;\n");
    let (answers, said) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success());
    assert!(answers.contains("one") && !answers.contains("three"), "{answers}");
    assert!(said.contains("nothing"), "{said}");

    let output = shell(&server, "\\format xml\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("xml"), "{said}");
    server.stop().await;
}
