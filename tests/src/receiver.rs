//! One receiver of webhooks over HTTP/1.1, encrypted or not, that behaves as it is told to: all that it is sent is kept.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long something may take to arrive: longer than the first rests after a refusal together.
const ARRIVES_MAX: Duration = Duration::from_secs(60);

/// What becomes of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Taken, and the sender is told.
    Take,
    /// Taken, and the connection breaks before the sender is told.
    TakeUntold,
    /// Answered with a status that is no 2xx.
    Refuse,
    /// Not answered at all.
    BreakOff,
}

impl Fate {
    fn is_taken(self) -> bool {
        matches!(self, Self::Take | Self::TakeUntold)
    }
}

/// A post that came whole.
#[derive(Debug, Clone)]
pub struct Post {
    /// By their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// As it was sent.
    pub body: String,
    /// What became of it.
    pub fate: Fate,
}

impl Post {
    /// The changes in it.
    ///
    /// # Panics
    /// If it holds something else.
    #[must_use]
    pub fn changes(&self) -> Vec<Value> {
        let body: Value = serde_json::from_str(&self.body).expect("a body of JSON");
        body["changes"].as_array().expect("a list of changes").clone()
    }

    /// Their positions.
    #[must_use]
    pub fn seqs(&self) -> Vec<u64> {
        self.changes().iter().map(|change| change["seq"].as_u64().expect("a position")).collect()
    }
}

/// Decides what becomes of the post of a number, counted from 1.
type Decide = Box<dyn FnMut(usize) -> Fate + Send>;

struct State {
    posts: Vec<Post>,
    decide: Decide,
}

/// One that listens until the test ends.
pub struct Receiver {
    /// Where it is.
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Receiver {
    /// One that speaks plainly.
    ///
    /// # Panics
    /// If there is no port for it.
    #[must_use]
    pub fn start(decide: impl FnMut(usize) -> Fate + Send + 'static) -> Self {
        Self::listen("http", Box::new(decide), answer_all)
    }

    /// One that shows a certificate for `localhost`.
    ///
    /// # Panics
    /// If there is no port for it.
    #[must_use]
    pub fn start_encrypted(
        config: Arc<ServerConfig>,
        decide: impl FnMut(usize) -> Fate + Send + 'static,
    ) -> Self {
        Self::listen("https", Box::new(decide), move |stream, state| {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a sound configuration");
            answer_all(StreamOwned::new(connection, stream), state);
        })
    }

    fn listen(
        scheme: &str,
        decide: Decide,
        serve: impl Fn(TcpStream, &Mutex<State>) + Clone + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::new(Mutex::new(State { posts: Vec::new(), decide }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, serve) = (Arc::clone(&shared), serve.clone());
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { url: format!("{scheme}://localhost:{port}/hook"), state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that came whole, in order.
    #[must_use]
    pub fn posts(&self) -> Vec<Post> {
        self.state().posts.clone()
    }

    /// What was taken of it.
    #[must_use]
    pub fn taken(&self) -> Vec<Post> {
        self.posts().into_iter().filter(|post| post.fate.is_taken()).collect()
    }

    /// The positions of what was taken, in order.
    #[must_use]
    pub fn seqs(&self) -> Vec<u64> {
        self.taken().iter().flat_map(Post::seqs).collect()
    }

    /// From now on everything is taken.
    pub fn take_all(&self) {
        self.state().decide = Box::new(|_| Fate::Take);
    }

    /// Returns once the last position that was taken is `last`.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn wait_for(&self, last: u64) {
        let begun = Instant::now();
        while self.taken().last().and_then(|post| post.seqs().last().copied()) != Some(last) {
            assert!(begun.elapsed() < ARRIVES_MAX, "{:?} instead of {last}", self.seqs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn answer_all(stream: impl Read + Write, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    while answer(&mut reader, state).is_some() {}
}

/// One post of a connection; `None` once there is none any more, or the connection is to be closed.
fn answer(reader: &mut BufReader<impl Read + Write>, state: &Mutex<State>) -> Option<()> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    assert_eq!(lines[0], "POST /hook HTTP/1.1");
    let headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<_, _> =
        headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let mut body = vec![0; headers["content-length"].parse().expect("a length")];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).expect("text");
    let fate = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let number = state.posts.len() + 1;
        let fate = (state.decide)(number);
        state.posts.push(Post { headers, body, fate });
        fate
    };
    let said: &[u8] = match fate {
        Fate::Take => b"HTTP/1.1 204 Taken\r\n\r\n",
        Fate::Refuse => b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
        Fate::TakeUntold | Fate::BreakOff => return None,
    };
    reader.get_mut().write_all(said).ok()?;
    reader.get_mut().flush().ok()
}
