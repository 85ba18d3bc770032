//! `spoor export`: all events, or all requests, as JSON lines, in the order of the log, up to where the log was when
//! it began.

use super::client::Client;
use super::progress::{Progress, Unit};
use super::{CommandError, Place, reach};
use crate::protocol::request;
use crate::protocol::write::{self, StatusBody};
use crate::settings::Configuration;
use crate::store::Store;
use serde::Deserialize;
use serde_json::value::RawValue;
use spoor::limits::PAGE_MAX_ITEMS;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `spoor export`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where to write; - is standard output [default: -]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Only events after this sequence number
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
    /// The requests as they were sent, which `spoor import` takes, and not the events as they are read
    #[arg(long)]
    requests: bool,
}

pub(super) fn run(configuration: &Configuration, arguments: &Arguments) -> Result<ExitCode, CommandError> {
    let place = reach(configuration, false)?;
    let standard_output = Path::new("-");
    let exported = match arguments.file.as_deref().filter(|path| *path != standard_output) {
        Some(path) => {
            let file = File::create(path).map_err(CommandError::file(path))?;
            let mut out = BufWriter::new(file);
            let exported = export(&place, arguments, &mut out, path)?;
            out.into_inner()
                .map_err(io::IntoInnerError::into_error)
                .and_then(|file| file.sync_all())
                .map_err(CommandError::file(path))?;
            exported
        }
        None => export(&place, arguments, &mut BufWriter::new(io::stdout().lock()), standard_output)?,
    };
    if let Place::Here(opened) = place {
        opened.close()?;
    }
    eprintln!("{exported} {} exported", if arguments.requests { "requests" } else { "events" });
    Ok(ExitCode::SUCCESS)
}

fn export(
    place: &Place,
    arguments: &Arguments,
    out: &mut impl Write,
    path: &Path,
) -> Result<u64, CommandError> {
    let reader = Reader::new(place, arguments.requests)?;
    let mut progress = Progress::new("export", Unit::Events, None);
    let (mut exported, mut after) = (0, arguments.after);
    while let Some(page) = reader.page(after)? {
        after = page.last;
        exported += page.count;
        match out.write_all(&page.lines) {
            // Whoever reads, such as `head`, has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(exported),
            other => other.map_err(CommandError::file(path))?,
        }
        progress.set(exported, || format!("up to {after}"));
    }
    progress.finish();
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CommandError::file(path)(error)),
        _ => Ok(exported),
    }
}

/// Events or requests as lines, with the sequence number of the last.
struct Lines {
    lines: Vec<u8>,
    count: u64,
    last: u64,
}

impl Lines {
    fn new() -> Self {
        Self { lines: Vec::new(), count: 0, last: 0 }
    }

    fn add(&mut self, seq: u64, line: &[u8]) {
        self.lines.extend_from_slice(line);
        self.count += 1;
        self.last = seq;
    }

    fn or_end(self) -> Option<Self> {
        (self.count > 0).then_some(self)
    }
}

/// Pages of the log from wherever the store is, up to the position at which reading began.
struct Reader<'a> {
    place: &'a Place,
    position: u64,
    requests: bool,
}

impl<'a> Reader<'a> {
    fn new(place: &'a Place, requests: bool) -> Result<Self, CommandError> {
        let position = match place {
            Place::Here(opened) => opened.store()?.status().position,
            Place::Server(client) => client.json::<StatusBody>("/api/v1/status")?.position,
        };
        Ok(Self { place, position, requests })
    }

    fn page(&self, after: u64) -> Result<Option<Lines>, CommandError> {
        match self.place {
            Place::Here(opened) => self.store_page(&**opened.store()?, after),
            Place::Server(client) => self.server_page(client, after),
        }
    }

    fn store_page(&self, store: &dyn Store, after: u64) -> Result<Option<Lines>, CommandError> {
        let mut page = Lines::new();
        if self.requests {
            for (seq, request) in store.requests_after(after, PAGE_MAX_ITEMS)? {
                if seq.0 <= self.position {
                    page.add(seq.0, &write::line(&request::request(&request)));
                }
            }
            return Ok(page.or_end());
        }
        for event in store.events_after(after, PAGE_MAX_ITEMS)? {
            if event.seq.0 <= self.position {
                page.add(event.seq.0, &write::line(&write::event(&event)));
            }
        }
        Ok(page.or_end())
    }

    fn server_page(&self, client: &Client, after: u64) -> Result<Option<Lines>, CommandError> {
        #[derive(Deserialize)]
        struct Items {
            items: Vec<Box<RawValue>>,
        }
        #[derive(Deserialize)]
        struct Item {
            seq: u64,
            request: Option<Box<RawValue>>,
        }
        let what = if self.requests { "requests" } else { "events" };
        let path = format!("/api/v1/{what}?after={after}&limit={PAGE_MAX_ITEMS}");
        let mut page = Lines::new();
        for item in client.json::<Items>(&path)?.items {
            let Item { seq, request } = serde_json::from_str(item.get())
                .map_err(|error| CommandError::Failed(format!("an item without seq: {error}")))?;
            if seq <= self.position {
                page.add(seq, &write::line(&request.unwrap_or(item)));
            }
        }
        Ok(page.or_end())
    }
}
