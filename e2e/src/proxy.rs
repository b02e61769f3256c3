//! A fault-making proxy before the S3 server: it slows down, cuts off, refuses and answers 503, as it is told while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::HOST_ADDRESS;
use crate::object_store::PORT;

/// What the proxy does to connections, old and new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Passes everything on.
    Faithful,
    /// Passes at most so many bytes a second in each direction, all connections together.
    Throttled(u64),
    /// Refuses new connections and cuts those that stand.
    Unreachable,
    /// Answers every request with 503.
    Unavailable,
    /// Answers requests whose path holds this with 503 and passes the others on.
    Without(&'static str),
}

/// A running proxy; dropping it ends it.
pub struct Proxy {
    address: String,
    behaviour: watch::Sender<Behaviour>,
    up: Arc<Direction>,
    down: Arc<Direction>,
    task: JoinHandle<()>,
}

/// What all connections together move one way.
struct Direction {
    bytes: AtomicU64,
    /// When the throttled line is free again.
    free: Mutex<Instant>,
}

impl Direction {
    fn new() -> Arc<Self> {
        Arc::new(Self { bytes: AtomicU64::new(0), free: Mutex::new(Instant::now()) })
    }

    /// Books the line for `count` bytes and waits until they are through.
    async fn pass(&self, count: usize, behaviour: Behaviour) {
        if let Behaviour::Throttled(rate) = behaviour {
            let through = {
                let mut free = self.free.lock().await;
                *free = (*free).max(Instant::now()) + Duration::from_secs_f64(count as f64 / rate as f64);
                *free
            };
            tokio::time::sleep_until(through).await;
        }
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
    }
}

impl Proxy {
    /// Starts a proxy on a free port of the bridge.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((HOST_ADDRESS, 0)).await?;
        let address = format!("http://{}", listener.local_addr()?);
        let (behaviour, watched) = watch::channel(Behaviour::Faithful);
        let (up, down) = (Direction::new(), Direction::new());
        let task = tokio::spawn(accept(listener, watched, Arc::clone(&up), Arc::clone(&down)));
        Ok(Self { address, behaviour, up, down, task })
    }

    /// Address to write into a BackupStorage.
    pub fn endpoint(&self) -> &str {
        &self.address
    }

    /// Host and port of it, as messages name them.
    pub fn host(&self) -> &str {
        self.address.trim_start_matches("http://")
    }

    /// Changes what happens from now on.
    pub fn set(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }

    /// Bytes that went towards the server so far.
    pub fn bytes_up(&self) -> u64 {
        self.up.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that came from the server so far.
    pub fn bytes_down(&self) -> u64 {
        self.down.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, behaviour: watch::Receiver<Behaviour>, up: Arc<Direction>, down: Arc<Direction>) {
    loop {
        // A connection that was given up before it was accepted is no reason to serve nobody any more.
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (behaviour, up, down) = (behaviour.clone(), Arc::clone(&up), Arc::clone(&down));
        tokio::spawn(async move {
            let now = *behaviour.borrow();
            let result = match now {
                Behaviour::Unreachable => Ok(()),
                Behaviour::Unavailable => answer_503(client).await,
                Behaviour::Faithful | Behaviour::Throttled(_) => relay(client, &[], behaviour, up, down).await,
                Behaviour::Without(refused) => relay_unless(refused, client, behaviour, up, down).await,
            };
            // A cut connection is what the proxy is for.
            drop(result);
        });
    }
}

/// Whether a connection that was made under one behaviour must not live under another.
fn is_cut(born: Behaviour, now: Behaviour) -> bool {
    match now {
        Behaviour::Unreachable | Behaviour::Unavailable => true,
        Behaviour::Without(_) => born != now,
        Behaviour::Faithful | Behaviour::Throttled(_) => false,
    }
}

const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

async fn answer_503(mut client: TcpStream) -> std::io::Result<()> {
    let mut request = vec![0; 64 << 10];
    let _ = client.read(&mut request).await?;
    client.write_all(UNAVAILABLE).await
}

/// One request a connection, so that each is looked at: the server is asked to close after its answer.
async fn relay_unless(
    refused: &str,
    mut client: TcpStream,
    behaviour: watch::Receiver<Behaviour>,
    up: Arc<Direction>,
    down: Arc<Direction>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    let line_end = loop {
        if client.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
        if let Some(end) = head.windows(2).position(|pair| pair == b"\r\n") {
            break end;
        }
    };
    if String::from_utf8_lossy(&head[..line_end]).contains(refused) {
        return client.write_all(UNAVAILABLE).await;
    }
    head.splice(line_end..line_end, *b"\r\nConnection: close");
    relay(client, &head, behaviour, up, down).await
}

/// Passes everything on, after `head` that was read already.
async fn relay(
    client: TcpStream,
    head: &[u8],
    behaviour: watch::Receiver<Behaviour>,
    up: Arc<Direction>,
    down: Arc<Direction>,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect((HOST_ADDRESS, PORT)).await?;
    server.write_all(head).await?;
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let mut cut = behaviour.clone();
    let born = *behaviour.borrow();
    tokio::select! {
        result = copy(client_read, server_write, behaviour.clone(), up) => result,
        result = copy(server_read, client_write, behaviour, down) => result,
        _ = cut.wait_for(|now| is_cut(born, *now)) => Ok(()),
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    behaviour: watch::Receiver<Behaviour>,
    direction: Arc<Direction>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let now = *behaviour.borrow();
        // A throttled line moves a tenth of a second's worth at a time.
        let limit = match now {
            Behaviour::Throttled(rate) => usize::try_from(rate / 10).unwrap_or(usize::MAX).clamp(1, buffer.len()),
            _ => buffer.len(),
        };
        let count = from.read(&mut buffer[..limit]).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        direction.pass(count, now).await;
        to.write_all(&buffer[..count]).await?;
    }
}
