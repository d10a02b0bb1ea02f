//! TLS certificates are verified for portal and bucket, as they are for PostgreSQL
//! (`stores::connection`). An unknown authority and a certificate for another name are refused.
//! `SSL_CERT_FILE` adds an authority.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::city::{TestCity, wednesday};
use crate::support::program::with;

/// A TLS server with a self-made certificate for `localhost`, which answers every request with a
/// web page.
struct Server {
    child: Child,
    certificate: PathBuf,
    port: u16,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let (certificate, key) = (folder.join("server.crt"), folder.join("server.key"));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-www", "-cert"])
            .arg(&certificate)
            .arg("-key")
            .arg(&key)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = said
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ACCEPT 127.0.0.1:")?.parse().ok());
        Self {
            child,
            certificate,
            port: port.expect("openssl says where it listens"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the program reports about a host, with and without our authority.
async fn said_of(city: &TestCity, key: &str, host: &str, server: &Server, trusted: bool) -> String {
    let url = format!("https://{host}:{}", server.port);
    let file = server.certificate.display().to_string();
    let mut settings = vec![(key, url.as_str())];
    if key == "SODALAKE__LAKE__ENDPOINT" {
        settings.extend([
            ("SODALAKE__LAKE__URL", "s3://lake"),
            ("SODALAKE__LAKE__REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ]);
    }
    if trusted {
        settings.push(("SSL_CERT_FILE", &file));
    }
    let ran = with(city, "doctor", &settings).await;
    assert_ne!(ran.code, 0, "{}", ran.out);
    format!("{}{}", ran.out, ran.err)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn portal_and_bucket_get_requests_only_with_a_valid_certificate() {
    let city = TestCity::around(wednesday(), "").await;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    for key in ["SODALAKE__SOCRATA__URL", "SODALAKE__LAKE__ENDPOINT"] {
        let trusted = said_of(&city, key, "localhost", &server, true).await;
        assert!(!trusted.contains("certificate"), "{key}: {trusted}");
        let unknown = said_of(&city, key, "localhost", &server, false).await;
        assert!(unknown.contains("certificate"), "{key}: {unknown}");
        let other = said_of(&city, key, "127.0.0.1", &server, true).await;
        assert!(other.contains("certificate"), "{key}: {other}");
    }
}
