//! A real browser, driven by a test: Chromium without a window, and its tabs. No more than the tracker's tests need,
//! and nothing to install but the browser.

mod pipe;

use pipe::{ANSWER_MAX, Pipe};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often a page is asked whether something has come true.
const LOOK: Duration = Duration::from_millis(50);

/// A browser that runs. Ends when it is dropped.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    pipe: Rc<RefCell<Pipe>>,
}

impl Browser {
    /// One that keeps what it keeps in `directory`, new or of an earlier browser.
    ///
    /// # Panics
    /// If there is no Chromium: the message says how to get one.
    #[must_use]
    pub fn start(directory: &Path) -> Self {
        let log = std::fs::File::create(directory.join("browser.log")).expect("a file for the browser's log");
        // Reads commands from descriptor 3 and answers on 4; the shell puts the pipes there, and becomes the browser.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 0</dev/null 1>&2"])
            .arg(program())
            .args([
                "--headless",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--window-size=1000,800"])
            .arg(format!("--user-data-dir={}", directory.display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("a shell");
        let writer = child.stdin.take().expect("the browser's input");
        let reader = child.stdout.take().expect("the browser's output");
        Self { child, pipe: Rc::new(RefCell::new(Pipe::new(writer, reader))) }
    }

    /// A tab that shares cookies and storage with all others that were opened so.
    #[must_use]
    pub fn tab(&self) -> Tab {
        self.open(&json!({"url": "about:blank"}))
    }

    /// A tab as of another browser: with cookies and storage of its own.
    #[must_use]
    pub fn stranger(&self) -> Tab {
        let context = self.call("Target.createBrowserContext", &json!({}));
        self.open(&json!({"url": "about:blank", "browserContextId": context["browserContextId"]}))
    }

    fn open(&self, parameters: &Value) -> Tab {
        let target = self.call("Target.createTarget", parameters);
        let target = target["targetId"].as_str().expect("the id of a tab").to_owned();
        let attached = self.call("Target.attachToTarget", &json!({"targetId": target, "flatten": true}));
        let session = attached["sessionId"].as_str().expect("the id of a session").to_owned();
        let tab = Tab { pipe: Rc::clone(&self.pipe), target, session };
        for domain in ["Page.enable", "Runtime.enable", "Network.enable"] {
            tab.call(domain, &json!({}));
        }
        tab
    }

    fn call(&self, method: &str, parameters: &Value) -> Value {
        let answer = self.pipe.borrow_mut().call(None, method, parameters);
        answer.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Closes the browser as its user does, so that it writes down what it keeps.
    pub fn close(mut self) {
        // It may be gone before it answers.
        drop(self.pipe.borrow_mut().call(None, "Browser.close", &json!({})));
        let until = Instant::now() + ANSWER_MAX;
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // What is left to do with a process that is already gone does not matter here.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A page of a browser.
#[derive(Debug)]
pub struct Tab {
    pipe: Rc<RefCell<Pipe>>,
    target: String,
    session: String,
}

impl Tab {
    /// Runs a command of the DevTools protocol.
    #[expect(clippy::must_use_candidate, reason = "most commands are for what they do")]
    pub fn call(&self, method: &str, parameters: &Value) -> Value {
        self.try_call(method, parameters).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_call(&self, method: &str, parameters: &Value) -> Result<Value, String> {
        self.pipe.borrow_mut().call(Some(&self.session), method, parameters)
    }

    /// Goes to an address and waits until the page and its scripts are there.
    pub fn go(&self, address: &str) {
        let answer = self.call("Page.navigate", &json!({"url": address}));
        assert!(answer["errorText"].is_null(), "{address}: {}", answer["errorText"]);
        self.wait_for("document.readyState === 'complete'");
    }

    /// Loads the page again.
    pub fn reload(&self) {
        self.run("window.before = true");
        self.call("Page.reload", &json!({}));
        self.wait_for("!window.before && document.readyState === 'complete'");
    }

    /// What an expression gives in the page; a promise is awaited.
    ///
    /// # Panics
    /// If it throws.
    #[expect(clippy::must_use_candidate, reason = "some are run for what they do")]
    pub fn run(&self, expression: &str) -> Value {
        self.try_run(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    fn try_run(&self, expression: &str) -> Result<Value, String> {
        let parameters = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.try_call("Runtime.evaluate", &parameters)?;
        if !answer["exceptionDetails"].is_null() {
            return Err(answer["exceptionDetails"].to_string());
        }
        Ok(answer["result"]["value"].take())
    }

    /// Waits until an expression is true in the page, also across a navigation.
    ///
    /// # Panics
    /// If it does not come true.
    pub fn wait_for(&self, expression: &str) {
        let until = Instant::now() + ANSWER_MAX;
        loop {
            // Between two pages there is none to ask.
            let outcome = self.try_run(&format!("Boolean({expression})"));
            if outcome == Ok(Value::Bool(true)) {
                return;
            }
            let console = self.pipe.borrow().console().join("\n");
            assert!(Instant::now() < until, "{expression} is {outcome:?}; the console:\n{console}");
            std::thread::sleep(LOOK);
        }
    }

    /// Runs a script in each page of this tab before its own.
    pub fn before_each_page(&self, script: &str) {
        self.call("Page.addScriptToEvaluateOnNewDocument", &json!({"source": script}));
    }

    /// Takes the tab from the network, or gives it back.
    pub fn set_offline(&self, offline: bool) {
        let conditions =
            json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
        self.call("Network.emulateNetworkConditions", &conditions);
    }

    /// The cookies of the page, as the browser keeps them.
    #[must_use]
    pub fn cookies(&self) -> Vec<Value> {
        self.call("Network.getCookies", &json!({}))["cookies"].as_array().cloned().unwrap_or_default()
    }

    /// What the browser's pages wrote to their consoles.
    #[must_use]
    pub fn console(&self) -> Vec<String> {
        self.pipe.borrow().console().to_vec()
    }

    /// A picture of the page, as PNG in base64.
    #[must_use]
    pub fn picture(&self) -> String {
        let picture = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        picture["data"].as_str().unwrap_or_default().to_owned()
    }

    /// Closes the tab, as its user does.
    pub fn close(self) {
        let answer =
            self.pipe.borrow_mut().call(None, "Target.closeTarget", &json!({"targetId": self.target}));
        answer.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Chromium: what `SPOOR_CHROMIUM` names, else the first that is installed.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("SPOOR_CHROMIUM") {
        return PathBuf::from(path);
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&folders).collect();
    ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!("there is no Chromium: `apt-get install chromium`, or name one in SPOOR_CHROMIUM")
        })
}
