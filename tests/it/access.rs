//! Locked doors, tried from outside: tokens, roles and TLS on every listener of the real binary.

use crate::server::{BINARY, Server, free_port};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use reqwest::{Client, Method, StatusCode};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant, SystemTime};
use url::Url;

/// How long a server may take to see that a file has changed.
const TAKEN_UP_WITHIN: Duration = Duration::from_secs(30);

fn warpline(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).envs(variables.iter().copied());
    command.output().expect("the binary starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn token(data: &Path, name: &str, role: &str) -> String {
    let data = data.to_str().expect("a path");
    let made = warpline(&["token", "add", name, "--role", role, "--data", data], &[]);
    assert!(made.status.success(), "{}", said(&made));
    String::from_utf8(made.stdout).expect("text").trim().to_owned()
}

/// psql's answer to a statement.
fn psql(port: u16, user: &str, password: &str, more: &str, sql: &str) -> Output {
    let to = format!("host=localhost port={port} user={user} dbname=postgres {more}");
    let mut command = Command::new("psql");
    command.args(["-XAtw", &to, "-c", sql]).env("PGPASSWORD", password);
    command.output().expect("psql, which tests/run installs")
}

#[test]
fn beyond_loopback_a_server_wants_tokens_and_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("a path");
    let open = format!("0.0.0.0:{}", free_port());
    let own = format!("127.0.0.1:{}", free_port());
    let refused = |listen: &str, postgres: &str| {
        let arguments = ["serve", "--data", data, "--listen", listen, "--postgres", postgres];
        let refused = warpline(&arguments, &[]);
        assert!(!refused.status.success());
        said(&refused)
    };
    assert!(refused(&open, &own).contains("without tokens"));
    assert!(refused(&own, &open).contains("warpline token add"));
    token(folder.path(), "a", "admin");
    assert!(refused(&open, &own).contains("without TLS"));
    assert!(refused(&own, &open).contains("--tls-certificate"));
}

/// What a request is answered with.
async fn status(url: &Url, method: &Method, path: &str, token: Option<&str>) -> StatusCode {
    let mut request = Client::new().request(method.clone(), url.join(path).expect("a URL"));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    request
        .body(if path == "sql" { "SELECT 1" } else { "" })
        .send()
        .await
        .expect("an answer")
        .status()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_does_what_it_is_for_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let (write, read) = (token(folder.path(), "w", "write"), token(folder.path(), "r", "read"));
    let admin = token(folder.path(), "a", "admin");
    let mut server = Server::start(folder.path(), &[]).await;
    let url = server.url();
    let wrong = format!("{}x", &admin[..admin.len() - 1]);
    let none = StatusCode::UNAUTHORIZED;
    for (method, path, reads) in [
        (Method::POST, "sql", true),
        (Method::GET, "metrics", true),
        (Method::POST, "api/v1/write", false),
        (Method::POST, "api/v2/write", false),
        (Method::POST, "write", false),
        (Method::POST, "v1/metrics", false),
    ] {
        for token in [None, Some(""), Some("wlt_"), Some(&wrong[..])] {
            assert_eq!(status(&url, &method, path, token).await, none, "{path} {token:?}");
        }
        let (allowed, other) = if reads { (&read, &write) } else { (&write, &read) };
        assert_eq!(status(&url, &method, path, Some(other)).await, StatusCode::FORBIDDEN, "{path}");
        for allowed in [allowed, &admin] {
            let status = status(&url, &method, path, Some(allowed)).await;
            assert!(![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status), "{path}");
        }
    }
    assert_eq!(status(&url, &Method::GET, "health", None).await, StatusCode::OK);
    assert_eq!(status(&url, &Method::GET, "ping", None).await, StatusCode::NO_CONTENT);
    assert_eq!(status(&url, &Method::GET, "nowhere", None).await, StatusCode::NOT_FOUND);

    let simulate = |token: &str| {
        let server = ["simulate", "--server", url.as_str(), "--gpus", "8"];
        let short = ["--duration", "2s", "--speed", "max"];
        warpline(&[&server[..], &short].concat(), &[("WARPLINE_TOKEN", token)])
    };
    for refused in ["", &read, &wrong] {
        let refused = simulate(refused);
        assert!(!refused.status.success());
        assert!(said(&refused).contains("token"), "{}", said(&refused));
    }
    let taken = simulate(&write);
    assert!(taken.status.success(), "{}", said(&taken));

    let count = "SELECT count(*) FROM gpu";
    let sql = ["sql", "--server", url.as_str(), "--format", "csv", count];
    let answer = warpline(&sql, &[("WARPLINE_TOKEN", &read)]);
    assert_eq!(String::from_utf8_lossy(&answer.stdout).lines().last(), Some("16"));
    assert!(said(&warpline(&sql, &[("WARPLINE_TOKEN", &write)])).contains("may not read"));
    let answer = psql(server.postgres(), "r", &read, "", count);
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "16", "{}", said(&answer));
    for (user, password) in
        [("r", &admin), ("a", &read), ("w", &write), ("x", &admin), ("r", &wrong)]
    {
        let refused = psql(server.postgres(), user, password, "", count);
        assert!(said(&refused).contains("password authentication failed"), "{}", said(&refused));
    }

    let data = folder.path().to_str().expect("a path");
    assert!(warpline(&["token", "remove", "r", "--data", data], &[]).status.success());
    let asked = Instant::now();
    while status(&url, &Method::GET, "metrics", Some(&read)).await != none {
        assert!(asked.elapsed() < TAKEN_UP_WITHIN, "a token that was taken back is known still");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!psql(server.postgres(), "r", &read, "", count).status.success());
    assert_eq!(status(&url, &Method::GET, "metrics", Some(&admin)).await, StatusCode::OK);
    let log = server.said();
    server.stop().await;
    for secret in [&write, &read, &admin] {
        assert!(!log.contains(secret.as_str()), "a token is in the log");
    }
}

/// An authority in a folder, and certificates that it signs.
struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of a test");
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        fs::write(folder.join("ca.pem"), issuer.pem()).expect("a written file");
        Self { folder: folder.to_owned(), issuer }
    }

    fn path(&self, file: &str) -> String {
        self.folder.join(file).to_str().expect("a path").to_owned()
    }

    /// Writes certificate and key of a server on this machine, whose certificate has that number.
    fn sign(&self, number: u64) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("good names");
        params.serial_number = Some(number.into());
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(self.path("key.pem"), key.serialize_pem()).expect("a written file");
        fs::write(self.path("server.pem"), certificate.pem()).expect("a written file");
        let later = SystemTime::now() + Duration::from_secs(number);
        let file = File::options().write(true).open(self.path("server.pem")).expect("the file");
        file.set_modified(later).expect("a time of change");
    }

    fn client(&self) -> Client {
        let pem = fs::read(self.path("ca.pem")).expect("the authority");
        let authority = reqwest::Certificate::from_pem(&pem).expect("a certificate");
        let builder =
            Client::builder().add_root_certificate(authority).tls_built_in_root_certs(false);
        builder.no_proxy().tls_info(true).build().expect("a client")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listener_speaks_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let authority = Authority::new(folder.path());
    authority.sign(1);
    let admin = token(&data, "a", "admin");
    let (certificate, key) = (authority.path("server.pem"), authority.path("key.pem"));
    let settings =
        [("WARPLINE_SERVER_TLS_CERTIFICATE", &*certificate), ("WARPLINE_SERVER_TLS_KEY", &*key)];
    let mut server = Server::start(&data, &settings).await;
    let (url, ca) = (server.url(), authority.path("ca.pem"));
    assert_eq!(url.scheme(), "https");

    let variables = [("WARPLINE_TOKEN", &*admin), ("WARPLINE_CA", &*ca)];
    let simulate = ["simulate", "--server", url.as_str(), "--gpus", "8", "--duration", "2s"];
    let taken = warpline(&[&simulate[..], &["--speed", "max"]].concat(), &variables);
    assert!(taken.status.success(), "{}", said(&taken));
    let count = "SELECT count(*) FROM gpu";
    let sql = ["sql", "--server", url.as_str(), "--format", "csv", count];
    let answer = warpline(&sql, &variables);
    assert_eq!(
        String::from_utf8_lossy(&answer.stdout).lines().last(),
        Some("16"),
        "{}",
        said(&answer)
    );
    assert!(!warpline(&sql, &variables[..1]).status.success(), "an authority nobody trusts");

    let verified = format!("sslmode=verify-full sslrootcert={ca}");
    let answer = psql(server.postgres(), "a", &admin, &verified, count);
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "16", "{}", said(&answer));
    let refused = psql(server.postgres(), "a", &admin, "sslmode=disable", count);
    assert!(said(&refused).contains("TLS connections only"), "{}", said(&refused));

    let plain = url.as_str().replace("https", "http");
    assert!(reqwest::get(format!("{plain}health")).await.is_err());
    let http1 = Client::builder().http1_only().danger_accept_invalid_certs(true);
    let health = http1.build().expect("a client").get(url.join("health").expect("a URL"));
    assert_eq!(health.send().await.expect("HTTP/1.1").status(), StatusCode::OK);

    let before = shown_certificate(&authority, &url).await;
    authority.sign(2);
    let asked = Instant::now();
    while shown_certificate(&authority, &url).await == before {
        assert!(asked.elapsed() < TAKEN_UP_WITHIN, "the new certificate is not used");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.stop().await;
}

/// The certificate that a new connection is shown.
async fn shown_certificate(authority: &Authority, url: &Url) -> Vec<u8> {
    let health = url.join("health").expect("a URL");
    let answer = authority.client().get(health).send().await.expect("an answer");
    let info = answer.extensions().get::<reqwest::tls::TlsInfo>().expect("TLS").clone();
    info.peer_certificate().expect("a certificate").to_vec()
}
