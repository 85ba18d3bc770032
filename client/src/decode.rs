//! Bytes into answers. What a later server adds is passed over; a word that it does not know is `None`.

use std::io;

/// What a request in a list or a stream is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was stored.
    Reply(Reply),
    /// It was not; the others are not affected.
    Error(AnswerError),
    /// The stream is over: the request of this number, from 0 on, and all after it were not taken.
    End {
        /// Number of the first request that was not taken.
        index: u64,
        /// Why.
        error: AnswerError,
    },
}

/// An error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnswerError {
    /// Stable code; docs/protocol.md lists them.
    pub code: String,
    /// One sentence for a person.
    pub message: String,
    /// Path of the member at fault.
    pub field: Option<String>,
    /// When trying again makes sense, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

/// The reply to one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// The profile of the last event.
    pub profile: Option<ProfileResult>,
    /// The session of the last event.
    pub session: Option<SessionResult>,
    /// One result per event, in their order.
    pub events: Vec<EventResult>,
    /// Codes.
    pub warnings: Vec<String>,
}

/// The profile that a request was stored under.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileResult {
    /// The device's id.
    pub id: String,
    /// The person's; a public source is not told.
    pub primary_id: Option<String>,
    /// `created`, `sent`, `recovered` or `session_owner`.
    pub reason: Option<&'static str>,
    /// Whether this request made the device.
    pub created: bool,
}

/// The session that a request was stored under.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionResult {
    /// Its id.
    pub id: String,
    /// Whether this request made it.
    pub created: bool,
}

/// The result for one event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventResult {
    /// Its id.
    pub id: String,
    /// Its place in the log.
    pub seq: u64,
    /// `stored` or `duplicate`.
    pub status: Option<&'static str>,
    /// Its own session, where events have different ones.
    pub session: Option<SessionResult>,
    /// Its own profile id, where events have different ones.
    pub profile: Option<String>,
    /// What became of its identifiers.
    pub links: Vec<Link>,
    /// Operations that were not accepted.
    pub refused: Vec<Refusal>,
    /// Codes.
    pub warnings: Vec<String>,
}

/// What became of an identifier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Namespace and value.
    pub identifier: String,
    /// `attached`, `known`, `merged`, `switched`, `refused`, `quarantined`, or to a public source `accepted`.
    pub outcome: Option<&'static str>,
    /// The reason.
    pub code: Option<String>,
    /// The id by which a merge is undone.
    pub merge: Option<String>,
    /// The primary ids of the two profiles as they were before.
    pub profiles: Vec<String>,
    /// The id by which a link in quarantine is decided.
    pub quarantine: Option<String>,
}

/// An operation that was not accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Its path.
    pub field: String,
    /// Why.
    pub code: String,
}

const REASONS: [&str; 4] = ["created", "sent", "recovered", "session_owner"];
const STATUSES: [&str; 2] = ["stored", "duplicate"];
const OUTCOMES: [&str; 7] = ["attached", "known", "merged", "switched", "refused", "quarantined", "accepted"];

/// The answers of a whole body.
///
/// # Errors
/// `InvalidData` if it is not a list of answers.
pub fn answers(bytes: &[u8]) -> io::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (answer, taken) = first_answer(rest)?.ok_or_else(|| odd("the answers end within one"))?;
        answers.extend(answer);
        rest = rest.get(taken..).unwrap_or_default();
    }
    Ok(answers)
}

/// The answer at the beginning of `bytes`, and how many bytes it takes: `None` if they end before it does. An answer of
/// a kind that came later is none.
///
/// # Errors
/// `InvalidData`.
pub fn first_answer(bytes: &[u8]) -> io::Result<Option<(Option<Answer>, usize)>> {
    let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
    if *kind != 0x0a {
        return Err(odd("no answer begins like this"));
    }
    let Some((length, taken)) = varint(rest)? else { return Ok(None) };
    let begin = 1 + taken;
    let end = usize::try_from(length).ok().and_then(|length| begin.checked_add(length));
    match end.and_then(|end| Some((bytes.get(begin..end)?, end))) {
        Some((payload, end)) => Ok(Some((answer(payload)?, end))),
        None => Ok(None),
    }
}

fn answer(bytes: &[u8]) -> io::Result<Option<Answer>> {
    let mut found = None;
    for (number, value) in fields(bytes)? {
        match number {
            1 => found = Some(Answer::Reply(reply(value.bytes()?)?)),
            2 => found = Some(Answer::Error(error(value.bytes()?)?)),
            3 => found = Some(end(value.bytes()?)?),
            _ => {}
        }
    }
    Ok(found)
}

fn end(bytes: &[u8]) -> io::Result<Answer> {
    let mut index = 0;
    let mut why = AnswerError::default();
    for (number, value) in fields(bytes)? {
        match number {
            1 => index = value.number()?,
            2 => why = error(value.bytes()?)?,
            _ => {}
        }
    }
    Ok(Answer::End { index, error: why })
}

fn error(bytes: &[u8]) -> io::Result<AnswerError> {
    let mut error = AnswerError::default();
    for (number, value) in fields(bytes)? {
        match number {
            1 => error.code = value.text()?,
            2 => error.message = value.text()?,
            3 => error.field = Some(value.text()?),
            4 => error.retry_after_ms = Some(value.number()?),
            _ => {}
        }
    }
    Ok(error)
}

fn reply(bytes: &[u8]) -> io::Result<Reply> {
    let mut reply = Reply::default();
    for (number, value) in fields(bytes)? {
        match number {
            1 => reply.profile = Some(profile(value.bytes()?)?),
            2 => reply.session = Some(session(value.bytes()?)?),
            3 => reply.events.push(event(value.bytes()?)?),
            4 => reply.warnings.push(value.text()?),
            _ => {}
        }
    }
    Ok(reply)
}

fn profile(bytes: &[u8]) -> io::Result<ProfileResult> {
    let mut profile = ProfileResult::default();
    for (number, value) in fields(bytes)? {
        match number {
            1 => profile.id = value.text()?,
            2 => profile.id = value.uuid()?,
            3 => profile.primary_id = Some(value.text()?),
            4 => profile.primary_id = Some(value.uuid()?),
            5 => profile.reason = word(&REASONS, &value)?,
            6 => profile.created = value.number()? != 0,
            _ => {}
        }
    }
    Ok(profile)
}

fn session(bytes: &[u8]) -> io::Result<SessionResult> {
    let mut session = SessionResult::default();
    for (number, value) in fields(bytes)? {
        match number {
            1 => session.id = value.text()?,
            2 => session.id = value.uuid()?,
            3 => session.created = value.number()? != 0,
            _ => {}
        }
    }
    Ok(session)
}

fn event(bytes: &[u8]) -> io::Result<EventResult> {
    let mut event = EventResult::default();
    for (number, value) in fields(bytes)? {
        match number {
            1 => event.id = value.text()?,
            2 => event.id = value.uuid()?,
            3 => event.seq = value.number()?,
            4 => event.status = word(&STATUSES, &value)?,
            5 => event.session = Some(session(value.bytes()?)?),
            6 => event.profile = Some(value.text()?),
            7 => event.profile = Some(value.uuid()?),
            8 => event.links.push(link(value.bytes()?)?),
            9 => event.refused.push(refusal(value.bytes()?)?),
            10 => event.warnings.push(value.text()?),
            _ => {}
        }
    }
    Ok(event)
}

fn link(bytes: &[u8]) -> io::Result<Link> {
    let mut link = Link::default();
    for (number, value) in fields(bytes)? {
        match number {
            1 => link.identifier = value.text()?,
            2 => link.outcome = word(&OUTCOMES, &value)?,
            3 => link.code = Some(value.text()?),
            4 => link.merge = Some(value.text()?),
            5 => link.profiles.push(session(value.bytes()?)?.id),
            6 => link.quarantine = Some(value.text()?),
            _ => {}
        }
    }
    Ok(link)
}

fn refusal(bytes: &[u8]) -> io::Result<Refusal> {
    let mut refusal = Refusal::default();
    for (number, value) in fields(bytes)? {
        match number {
            1 => refusal.field = value.text()?,
            2 => refusal.code = value.text()?,
            _ => {}
        }
    }
    Ok(refusal)
}

fn word(words: &[&'static str], value: &Value<'_>) -> io::Result<Option<&'static str>> {
    let index = usize::try_from(value.number()?).unwrap_or(usize::MAX);
    Ok(index.checked_sub(1).and_then(|index| words.get(index).copied()))
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

impl<'a> Value<'a> {
    fn number(&self) -> io::Result<u64> {
        match self {
            Self::Number(number) => Ok(*number),
            _ => Err(odd("a number was expected")),
        }
    }

    fn bytes(&self) -> io::Result<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(odd("bytes were expected")),
        }
    }

    fn text(&self) -> io::Result<String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| odd("a text that is not UTF-8"))
    }

    fn uuid(&self) -> io::Result<String> {
        let uuid = uuid::Uuid::from_slice(self.bytes()?).map_err(|_| odd("a UUID is 16 bytes"))?;
        Ok(uuid.to_string())
    }
}

/// The fields of a message, by number.
fn fields(bytes: &[u8]) -> io::Result<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let tag = number(&mut rest)?;
        let value = match tag & 7 {
            0 => Value::Number(number(&mut rest)?),
            1 => take(&mut rest, 8).map(|_| Value::Other)?,
            2 => {
                let length = number(&mut rest)?;
                Value::Bytes(take(&mut rest, length)?)
            }
            5 => take(&mut rest, 4).map(|_| Value::Other)?,
            _ => return Err(odd("a wire type that is not used")),
        };
        fields.push((tag >> 3, value));
    }
    Ok(fields)
}

fn number(rest: &mut &[u8]) -> io::Result<u64> {
    let (value, taken) = varint(rest)?.ok_or_else(|| odd("a number that does not end"))?;
    *rest = rest.get(taken..).unwrap_or_default();
    Ok(value)
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> io::Result<&'a [u8]> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let (taken, after) =
        rest.split_at_checked(length).ok_or_else(|| odd("a field longer than its message"))?;
    *rest = after;
    Ok(taken)
}

/// A number and its length in bytes; `None` if the bytes end in it.
fn varint(bytes: &[u8]) -> io::Result<Option<(u64, usize)>> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index > 9 || (index == 9 && bits > 1) {
            return Err(odd("a number beyond 64 bits"));
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    Ok(None)
}

pub(crate) fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
