//! An S3 server for tests: one `moto_server` per test process, and one bucket per test.
//!
//! The server is a child process that ends with this process. The first test that needs it starts
//! it. `MOTO_SERVER` may name its program. It accepts any credentials.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use sodalake::bucket::Environment;
use url::Url;
use uuid::Uuid;

/// Starting its Python takes a second on an idle machine.
const READY_WITHIN: Duration = Duration::from_secs(90);

static MOTO: LazyLock<SocketAddr> = LazyLock::new(start);

/// A new bucket on the server of the test process.
pub struct S3Bucket {
    /// `s3://name`.
    pub url: Url,
    /// Address of the server.
    pub endpoint: Url,
    /// Credentials, as environment variables.
    pub environment: Environment,
}

impl S3Bucket {
    /// Creates a bucket. The first call starts the server.
    pub async fn create() -> Self {
        let address = tokio::task::spawn_blocking(|| *MOTO).await.unwrap();
        let bucket = Self::at(address, &format!("b-{}", Uuid::now_v7()));
        let made = bucket.request(Method::PUT, "").send().await;
        assert!(made.unwrap().status().is_success());
        bucket
    }

    /// A bucket of this name on another server. Creates nothing.
    pub fn at(server: SocketAddr, name: &str) -> Self {
        let text = |text: &str| text.to_string();
        Self {
            url: format!("s3://{name}").parse().unwrap(),
            endpoint: format!("http://{server}").parse().unwrap(),
            environment: BTreeMap::from([
                (text("AWS_ACCESS_KEY_ID"), text("test")),
                (text("AWS_SECRET_ACCESS_KEY"), text("test")),
                (text("AWS_REGION"), text("us-east-1")),
            ]),
        }
    }

    /// A request for an object, or for the bucket if the key is empty. The server checks only the
    /// form of the signature.
    pub fn request(&self, method: Method, key: &str) -> RequestBuilder {
        let scope = "Credential=test/20200101/us-east-1/s3/aws4_request";
        let signed = format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=none");
        let request = crate::support::http::client().request(method, self.address(key));
        request.header("authorization", signed)
    }

    /// The URL of an object. All bytes of its key except `/` and alphanumerics are percent-encoded
    /// here, so that tests do not depend on how the program encodes them.
    fn address(&self, key: &str) -> String {
        let name = self.url.host_str().unwrap();
        let encode = |byte: u8| match byte {
            b'/' => "/".into(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        let key: String = key.bytes().map(encode).collect();
        format!("{}{name}/{key}", self.endpoint)
    }
}

/// Moves the files of a lake's folder into a bucket.
pub async fn move_lake(lake: &Path, bucket: &S3Bucket) {
    let mut folders = vec![lake.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let key = path.strip_prefix(lake).unwrap().to_str().unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let put = bucket.request(Method::PUT, key).body(bytes).send().await;
            assert!(put.unwrap().status().is_success(), "{key}");
        }
    }
    std::fs::remove_dir_all(lake).unwrap();
}

fn start() -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    // The child is set to die with the thread that starts it, so that thread never ends.
    thread::spawn(move || {
        let (child, address) = spawn();
        sender.send((child, address)).unwrap();
        loop {
            thread::park();
        }
    });
    let (mut child, address) = receiver.recv().unwrap();
    await_answer(&mut child, address);
    address
}

fn spawn() -> (Child, SocketAddr) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let program = std::env::var("MOTO_SERVER").unwrap_or_else(|_| "moto_server".into());
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", &program])
        .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("failed to start {program}: {error}"));
    (child, address)
}

fn await_answer(child: &mut Child, address: SocketAddr) {
    let deadline = Instant::now() + READY_WITHIN;
    while !answers(address) {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "moto_server ended with {ended:?}");
        assert!(Instant::now() < deadline, "moto_server does not answer");
        thread::sleep(Duration::from_millis(50));
    }
}

fn answers(address: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /moto-api/ HTTP/1.0\r\n\r\n")?;
        let mut status = [0; 5];
        stream.read_exact(&mut status)?;
        Ok::<_, std::io::Error>(status)
    };
    ask().is_ok_and(|status| &status == b"HTTP/")
}
