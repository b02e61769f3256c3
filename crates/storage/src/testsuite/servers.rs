//! S3 servers started for a test on a free loopback port and killed at its end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;

use crate::{Backend, BackendConfig, S3Config, S3Credentials};

const ACCESS_KEY: &str = "orlop-test-access";
const SECRET_KEY: &str = "orlop-test-secret";

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    scheme: &'static str,
}

impl Server {
    /// `http://…` of the server, or `https://…` if it was given a certificate.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// A configuration for `bucket` on this server.
    #[must_use]
    pub fn config(&self, bucket: &str) -> BackendConfig {
        BackendConfig::new(Backend::S3(S3Config {
            endpoint: Some(self.endpoint()),
            region: None,
            bucket: bucket.to_owned(),
            insecure_tls: false,
            disable_bulk_delete: false,
            credentials: S3Credentials::Keys {
                access_key_id: ACCESS_KEY.to_owned(),
                secret_access_key: SECRET_KEY.into(),
                session_token: None,
            },
        }))
        .with_patience(Duration::from_secs(60))
    }

    /// Starts `command`, which must end up listening at `address`.
    fn start(mut command: Command, address: SocketAddr, scheme: &'static str) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let mut server = Self { child, address, scheme };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
            let ended = server.child.try_wait().expect("the child can be waited for");
            assert!(ended.is_none(), "{command:?} ended at once: {ended:?}");
            assert!(Instant::now() < deadline, "{command:?} does not listen at {address}");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The child may have ended by itself; then there is nothing to kill.
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Versity's gateway over a directory.
#[derive(Debug)]
pub struct Versitygw {
    /// The process.
    pub server: Server,
    root: PathBuf,
}

impl Versitygw {
    /// Starts one over `root` (a directory of its own). `None` where the binary is missing, except where `ORLOP_REQUIRE_TOOLS` is set, where that fails.
    #[must_use]
    pub fn start(root: &Path) -> Option<Self> {
        Self::start_with(root, None)
    }

    /// The same behind TLS, with the PEM files of a certificate and its key.
    #[must_use]
    pub fn start_with_tls(root: &Path, certificate: &Path, key: &Path) -> Option<Self> {
        Self::start_with(root, Some((certificate, key)))
    }

    fn start_with(root: &Path, tls: Option<(&Path, &Path)>) -> Option<Self> {
        let binary = tool("versitygw")?;
        let (data, sidecar) = (root.join("data"), root.join("sidecar"));
        std::fs::create_dir_all(&data).expect("the data directory can be made");
        std::fs::create_dir_all(&sidecar).expect("the sidecar directory can be made");
        let address = free_address();
        let mut command = Command::new(binary);
        if let Some((certificate, key)) = tls {
            command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        command
            .args(["--quiet", "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--port"])
            .arg(address.to_string())
            .arg("posix")
            .arg("--sidecar")
            .arg(&sidecar)
            .arg(&data);
        let scheme = if tls.is_some() { "https" } else { "http" };
        Some(Self { server: Server::start(command, address, scheme), root: data })
    }

    /// Makes a bucket: a directory of the gateway's root.
    pub fn make_bucket(&self, name: &str) {
        std::fs::create_dir_all(self.root.join(name)).expect("a bucket directory can be made");
    }
}

/// Moto's S3, whose answers are modelled on Amazon's.
#[derive(Debug)]
pub struct Moto {
    /// The process.
    pub server: Server,
}

impl Moto {
    /// Starts one. `None` where the program is missing, except where `ORLOP_REQUIRE_TOOLS` is set, where that fails.
    #[must_use]
    pub fn start() -> Option<Self> {
        let binary = tool("moto_server")?;
        let address = free_address();
        let mut command = Command::new(binary);
        command.args(["--host", "127.0.0.1", "--port"]).arg(address.port().to_string());
        Some(Self { server: Server::start(command, address, "http") })
    }

    /// Makes a bucket; moto does not look at signatures.
    pub fn make_bucket(&self, name: &str) {
        let mut stream = TcpStream::connect(self.server.address).expect("moto accepts connections");
        let request = format!(
            "PUT /{name} HTTP/1.1\r\nHost: {}\r\nAuthorization: AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20200101/us-east-1/s3/aws4_request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.server.address
        );
        stream.write_all(request.as_bytes()).expect("moto reads the request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("moto answers");
        assert!(answer.contains(" 200 "), "moto did not make the bucket: {answer}");
    }
}

/// The key pair the servers know, for other clients of the same server.
#[must_use]
pub fn keys(config: &BackendConfig) -> Option<(String, String)> {
    match &config.backend {
        Backend::S3(S3Config { credentials: S3Credentials::Keys { access_key_id, secret_access_key, .. }, .. }) => {
            Some((access_key_id.clone(), secret_access_key.expose_secret().to_owned()))
        }
        _ => None,
    }
}

/// Looks into the directories of `ORLOP_TOOLS`, then of `PATH`.
fn tool(name: &str) -> Option<PathBuf> {
    let places = ["ORLOP_TOOLS", "PATH"].into_iter().filter_map(std::env::var_os);
    let found = places.flat_map(|value| std::env::split_paths(&value).collect::<Vec<_>>()).find_map(|directory| {
        let candidate = directory.join(name);
        candidate.is_file().then_some(candidate)
    });
    if found.is_none() {
        assert!(
            std::env::var_os("ORLOP_REQUIRE_TOOLS").is_none(),
            "{name} is neither in ORLOP_TOOLS nor in PATH, and ORLOP_REQUIRE_TOOLS says that nothing is skipped"
        );
        eprintln!("skipped: {name} is neither in ORLOP_TOOLS nor in PATH");
    }
    found
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    listener.local_addr().expect("a listener has an address")
}
