//! An endless request over HTTP/1.1, shared by several clients: what each sends goes out as a chunk, and a task of its
//! own hands the answers, which come in the order of the frames, to those who wait for them.

use super::protocol::{Answered, Protocol};
use crate::Fault;
use spoor::TrackRequest;
use spoor_client::decode::first_answer;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, mpsc, oneshot};

/// Longest line of a head, or before a chunk, in bytes.
const LINE_MAX_BYTES: u64 = 16 << 10;
/// Longest chunk of answers, in bytes.
const CHUNK_MAX_BYTES: u64 = 64 << 20;

/// A client's share of a stream; one request at a time.
#[derive(Debug, Clone)]
pub struct Streamed {
    writing: Arc<Mutex<Writing>>,
}

#[derive(Debug)]
struct Writing {
    half: OwnedWriteHalf,
    body: Vec<u8>,
    chunk: Vec<u8>,
    /// In the order of what was written.
    waiting: mpsc::UnboundedSender<Waiter>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        // That was all. If there is no room for it, the server sees the connection close instead.
        let _ = self.half.try_write(b"0\r\n\r\n");
    }
}

/// Somebody who waits for the answers to some frames.
#[derive(Debug)]
struct Waiter {
    frames: usize,
    done: oneshot::Sender<Result<Answered, Fault>>,
}

impl Streamed {
    /// Connects. Clones share the stream.
    ///
    /// # Errors
    /// If nobody listens.
    pub async fn connect(address: SocketAddr) -> Result<Self, Fault> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (read, mut half) = stream.into_split();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {}\r\ntransfer-encoding: chunked\r\n\r\n",
            Protocol::Stream.path(),
            Protocol::Stream.media_type()
        );
        half.write_all(head.as_bytes()).await?;
        let (waiting, waiters) = mpsc::unbounded_channel();
        let reading = Reading { reader: BufReader::new(read), begun: false, bytes: Vec::new(), read_to: 0 };
        // It ends with the stream.
        tokio::spawn(reading.run(waiters));
        let writing = Writing { half, body: Vec::new(), chunk: Vec::new(), waiting };
        Ok(Self { writing: Arc::new(Mutex::new(writing)) })
    }

    /// Sends items, each as a frame, and waits for what they came to.
    ///
    /// # Errors
    /// If the connection breaks, the server ends the stream, or an answer makes no sense.
    pub async fn send(&mut self, items: &[TrackRequest]) -> Result<Answered, Fault> {
        let (done, answered) = oneshot::channel();
        self.writing.lock().await.send(items, done).await?;
        answered.await.map_err(|_| "the stream ended")?
    }
}

impl Writing {
    async fn send(
        &mut self,
        items: &[TrackRequest],
        done: oneshot::Sender<Result<Answered, Fault>>,
    ) -> Result<(), Fault> {
        Protocol::Stream.write(items, &mut self.body)?;
        self.chunk.clear();
        write!(self.chunk, "{:x}\r\n", self.body.len())?;
        self.chunk.extend_from_slice(&self.body);
        self.chunk.extend_from_slice(b"\r\n");
        // Before it is written, so that no answer comes that nobody waits for.
        self.waiting.send(Waiter { frames: items.len(), done }).map_err(|_| "the stream ended")?;
        self.half.write_all(&self.chunk).await?;
        Ok(())
    }
}

struct Reading {
    reader: BufReader<OwnedReadHalf>,
    begun: bool,
    /// Of answers that have come; the first of them from `read_to` on.
    bytes: Vec<u8>,
    read_to: usize,
}

impl Reading {
    /// Serves those who wait, in their order; all after the first failure learn that the stream ended.
    async fn run(mut self, mut waiters: mpsc::UnboundedReceiver<Waiter>) {
        while let Some(waiter) = waiters.recv().await {
            let answered = self.answered(waiter.frames).await;
            let failed = answered.is_err();
            // Who waited may be gone.
            let _ = waiter.done.send(answered);
            if failed {
                return;
            }
        }
    }

    async fn answered(&mut self, frames: usize) -> Result<Answered, Fault> {
        let mut all = Answered::default();
        while all.profiles.len() < frames {
            let unread = self.bytes.get(self.read_to..).unwrap_or_default();
            match first_answer(unread)? {
                Some((answer, taken)) => {
                    self.read_to += taken;
                    answer.map_or(Ok(()), |answer| all.take_compact(answer))?;
                }
                None => self.read_chunk().await?,
            }
        }
        Ok(all)
    }

    async fn read_chunk(&mut self) -> Result<(), Fault> {
        if !self.begun {
            self.read_head().await?;
            self.begun = true;
        }
        let size = self.line().await?;
        let size = u64::from_str_radix(&size, 16).map_err(|_| "a chunk without a size")?;
        if size == 0 || size > CHUNK_MAX_BYTES {
            return Err(format!("the answers end, or a chunk of them has {size} bytes").into());
        }
        self.bytes.drain(..self.read_to);
        self.read_to = 0;
        let before = self.bytes.len();
        self.bytes.resize(before + usize::try_from(size)?, 0);
        let room = self.bytes.get_mut(before..).unwrap_or_default();
        self.reader.read_exact(room).await?;
        self.line().await.map(drop)
    }

    async fn read_head(&mut self) -> Result<(), Fault> {
        let first = self.line().await?;
        while !self.line().await?.is_empty() {}
        match first.split(' ').nth(1) {
            Some("200") => Ok(()),
            _ => Err(format!("the server takes no stream: {first}").into()),
        }
    }

    async fn line(&mut self) -> Result<String, Fault> {
        let mut line = String::new();
        (&mut self.reader).take(LINE_MAX_BYTES).read_line(&mut line).await?;
        line.strip_suffix("\r\n").map(str::to_owned).ok_or_else(|| "the server closed the stream".into())
    }
}
