//! A website in front of a server: its own pages, and everything else passed on, or not, as a test says. One thread
//! for each connection, one request on each: no more than a browser under test needs.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a connection may stay silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What becomes of requests to track, and of those of hand-overs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// They are passed on, and so are the answers.
    #[default]
    Open,
    /// As above, with each answer held back for a second.
    Slow,
    /// The connection is closed; the server never hears of them.
    Closed,
    /// They are passed on, and the connection is closed without the answer.
    AnswersLost,
    /// They are answered with 503 and `Retry-After: 1`, by something that is not Spoor.
    Busy,
    /// They are answered with 200 and a page, by something that is not Spoor.
    Captive,
}

/// The site.
#[derive(Debug)]
pub struct Site {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    upstream: String,
    pages: HashMap<String, String>,
    way: Way,
    /// The same of hand-overs.
    handovers: Way,
    /// Bodies of the requests to track that arrived here, passed on or not.
    tracked: Vec<String>,
    /// Method and target of all requests that arrived here.
    asked: Vec<String>,
    closed: bool,
}

impl Site {
    /// A site on a free port, in front of the server at `upstream`.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Mutex::new(Shared { upstream: upstream.to_string(), ..Shared::default() }));
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if locked(&theirs).closed {
                    return;
                }
                let shared = Arc::clone(&theirs);
                // A browser breaks off as it likes.
                std::thread::spawn(move || stream.and_then(|stream| answer(stream, &shared)));
            }
        });
        Ok(Self { address, shared })
    }

    /// The address of a page of it.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The same under the name of this machine: to a browser, another site.
    #[must_use]
    pub fn elsewhere(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.address.port())
    }

    /// From here on the calls of hand-overs go this way.
    pub fn set_handovers(&self, way: Way) {
        locked(&self.shared).handovers = way;
    }

    /// Method and target of each request so far that begins so, in the order of their arrival.
    #[must_use]
    pub fn asked(&self, beginning: &str) -> Vec<String> {
        let asked = locked(&self.shared).asked.clone();
        asked.into_iter().filter(|asked| asked.starts_with(beginning)).collect()
    }

    /// Puts a page there. Its path ends before the query.
    pub fn put(&self, path: &str, html: &str) {
        locked(&self.shared).pages.insert(path.to_owned(), html.to_owned());
    }

    /// From here on requests to track go this way.
    pub fn set(&self, way: Way) {
        locked(&self.shared).way = way;
    }

    /// The bodies of the requests to track so far, in the order of their arrival.
    #[must_use]
    pub fn tracked(&self) -> Vec<String> {
        locked(&self.shared).tracked.clone()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        locked(&self.shared).closed = true;
        // Wakes whoever accepts.
        drop(TcpStream::connect(self.address));
    }
}

fn locked(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request as it came.
struct Request {
    method: String,
    target: String,
    /// Those that are passed on.
    headers: Vec<String>,
    body: Vec<u8>,
}

/// What a proxy leaves as it is.
const PASSED_ON: [&str; 5] =
    ["content-type", "content-encoding", "accept-encoding", "if-none-match", "user-agent"];

fn answer(mut stream: TcpStream, shared: &Mutex<Shared>) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    let request = read(&stream)?;
    let path = request.target.split('?').next().unwrap_or_default().to_owned();
    let (page, way, upstream) = {
        let mut shared = locked(shared);
        if path == "/api/v1/track" {
            shared.tracked.push(String::from_utf8_lossy(&request.body).into_owned());
        }
        shared.asked.push(format!("{} {}", request.method, request.target));
        let way = match path.as_str() {
            "/api/v1/track" => shared.way,
            "/api/v1/handover" | "/api/v1/handover/accept" => shared.handovers,
            _ => Way::Open,
        };
        (shared.pages.get(&path).cloned(), way, shared.upstream.clone())
    };
    if let Some(page) = page {
        return say(&mut stream, "200 OK\r\ncontent-type: text/html; charset=utf-8", &page);
    }
    match way {
        Way::Closed => Ok(()),
        Way::Busy => say(&mut stream, "503 Busy\r\nretry-after: 1", "busy"),
        Way::Captive => say(&mut stream, "200 OK\r\ncontent-type: text/html", "<p>Pay for the network"),
        Way::Open => stream.write_all(&pass_on(&request, &upstream)?),
        Way::AnswersLost => pass_on(&request, &upstream).map(drop),
        Way::Slow => {
            let answer = pass_on(&request, &upstream)?;
            std::thread::sleep(Duration::from_secs(1));
            stream.write_all(&answer)
        }
    }
}

fn read(stream: &TcpStream) -> io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let name = name.to_ascii_lowercase();
        if name == "content-length" {
            length = value.trim().parse().unwrap_or_default();
        }
        if PASSED_ON.contains(&name.as_str()) {
            headers.push(format!("{name}:{value}\r\n"));
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Request { method, target, headers, body })
}

/// The server's whole answer.
fn pass_on(request: &Request, upstream: &str) -> io::Result<Vec<u8>> {
    let Request { method, target, headers, body } = request;
    let mut stream = TcpStream::connect(upstream)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    let headers = headers.concat();
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: {upstream}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

fn say(stream: &mut TcpStream, head: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    stream.write_all(
        format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes(),
    )
}
