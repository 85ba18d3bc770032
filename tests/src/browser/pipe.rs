//! Messages to a browser and back: the Chrome DevTools Protocol over `--remote-debugging-pipe`, each message JSON with
//! a zero byte after it. Knows none of the protocol's methods.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// How long a browser may take for one command, on a machine that has other work.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Both ends of the pipe.
#[derive(Debug)]
pub(super) struct Pipe {
    writer: ChildStdin,
    messages: Receiver<Value>,
    last_id: u64,
    /// What pages wrote to their consoles, and exceptions that they did not catch.
    console: Vec<String>,
}

impl Pipe {
    /// Over the descriptors that the browser was given as its third and fourth.
    pub(super) fn new(writer: ChildStdin, reader: ChildStdout) -> Self {
        let (sender, messages) = mpsc::channel();
        // Ends with the browser.
        std::thread::spawn(move || {
            for message in BufReader::new(reader).split(0) {
                let Ok(Ok(message)) = message.map(|bytes| serde_json::from_slice(&bytes)) else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self { writer, messages, last_id: 0, console: Vec::new() }
    }

    /// Runs a command, in a tab's session or of the browser as a whole.
    ///
    /// # Errors
    /// What the browser says.
    pub(super) fn call(
        &mut self,
        session: Option<&str>,
        method: &str,
        parameters: &Value,
    ) -> Result<Value, String> {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let sent = self.writer.write_all(format!("{message}\0").as_bytes());
        sent.map_err(|error| format!("{method}: the browser is gone: {error}"))?;
        let until = Instant::now() + ANSWER_MAX;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut answer =
                self.messages.recv_timeout(left).map_err(|error| format!("{method}: {error}"))?;
            if answer["id"] != self.last_id {
                self.note(&answer);
            } else if answer["error"].is_null() {
                return Ok(answer["result"].take());
            } else {
                return Err(format!("{method}: {}", answer["error"]));
            }
        }
    }

    /// What pages said so far.
    pub(super) fn console(&self) -> &[String] {
        &self.console
    }

    fn note(&mut self, event: &Value) {
        let details = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.consoleAPICalled") => {
                let words = details["args"].as_array().into_iter().flatten();
                let words: Vec<String> =
                    words.map(|word| word["value"].as_str().unwrap_or_default().to_owned()).collect();
                self.console.push(words.join(" "));
            }
            Some("Runtime.exceptionThrown") => self.console.push(details["exceptionDetails"].to_string()),
            _ => {}
        }
    }
}
