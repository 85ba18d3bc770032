//! Golden files: bytes that were written once and are read for ever.
//!
//! - `golden/values.txt` holds the encoding of one of everything that is stored. What is in the log (effects, requests,
//!   records) must be read for ever: lines are added and never changed. Rows of tables are in the index only; if their
//!   bytes change, `INDEX_FORMAT` is raised, so that older indexes are rebuilt.
//! - `golden/store-1` is the log of a small store: a sealed segment, and one that was being written when the process
//!   was killed. `golden/store-1.txt` is what every later version must read from it.
//!
//! `UPDATE_GOLDEN=1` writes the texts anew, and the store only if there is none.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test: a panic is its report")]

use bincode::{Decode, Encode};
use spoor::core::decide::Stamp;
use spoor::core::decimal::Decimal;
use spoor::core::decision::{Decision, Effect, Ends, EventEffect, JoinCause, LinkCode, LinkResult};
use spoor::core::numbers::Numbers;
use spoor::core::rows::{
    ClientIdRow, ConsentsRow, Counters, DeviceKey, DeviceRow, DirectKind, FragmentRow, GapKey, GapRow,
    IdentifierKey, IdentifierRow, Limit, LinkKey, LinkRow, Mark, NameKey, NameKind, NameRow, PairKey, PartOf,
    PartRow, PersonConsentsRow, PersonRow, SessionKey, SessionRow, Span, Standing, StandingRefusals,
    TallyRow, TextRow, TraitsRow,
};
use spoor::core::traits::{Order, TraitOperation};
use spoor::ids::{
    AgentNo, ConsentNo, DeviceNo, FragmentNo, IdentifierNo, NamespaceNo, PartNo, ProfileKey, SessionNo,
    SourceNo, SpaceNo, TraitNo, TypeNo,
};
use spoor::settings::{ProfileIds, SourceSettings, StoreSettings, TraitKind};
use spoor::store::checkpoint::Meta;
use spoor::store::codec::{KeyBytes, decode, encode};
use spoor::store::log::LogPosition;
use spoor::store::record::{Cause, RecordView, encode_act, encode_command, encode_record};
use spoor::{
    Act, Consent, Engine, Environment, Event, EventSeq, Json, LinkOutcome, ManualClock, Origin, Settings,
    Timestamp, TrackRequest, TraitOperations,
};
use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Compares what is encoded now with the lines of `values.txt`, and collects what differs.
struct Values {
    kept: BTreeMap<String, String>,
    now: BTreeMap<String, String>,
    faults: Vec<String>,
}

impl Values {
    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        let text = hex(bytes);
        let kept = self.kept.get(name).cloned();
        if kept.as_ref() != Some(&text) {
            self.faults.push(format!("{name} is written as {text} and was kept as {kept:?}"));
        }
        assert_eq!(self.now.insert(name.to_owned(), text), None, "{name} stands for two values");
        kept.map(|text| unhex(&text))
    }

    fn value<T: Encode + Decode<()> + PartialEq + Debug>(&mut self, name: &str, value: &T) {
        let Some(kept) = self.bytes(name, &encode(value)) else { return };
        match decode::<T>(&kept, Path::new(name)) {
            Ok(read) if read == *value => {}
            other => self.faults.push(format!("{name} is read as {other:?} and was {value:?}")),
        }
    }
}

#[test]
fn everything_stored_is_written_and_read_as_ever() {
    let path = golden("values.txt");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let kept = text.lines().filter_map(|line| line.rsplit_once(' '));
    let kept = kept.map(|(name, bytes)| (name.to_owned(), bytes.to_owned())).collect();
    let mut values = Values { kept, now: BTreeMap::new(), faults: Vec::new() };
    all_effects(&mut values);
    all_requests_and_records(&mut values);
    all_tables(&mut values);
    all_of_the_index(&mut values);
    if updating() {
        let lines: String = values.now.iter().map(|(name, bytes)| format!("{name} {bytes}\n")).collect();
        std::fs::write(&path, lines).unwrap();
        return;
    }
    let gone: Vec<_> = values.kept.keys().filter(|name| !values.now.contains_key(*name)).collect();
    assert!(gone.is_empty(), "nothing reads {gone:?} any more");
    assert!(values.faults.is_empty(), "{:#?}", values.faults);
}

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

fn uuid() -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001)
}

const TIME: Timestamp = Timestamp(1_767_225_600_123_456);

fn operations() -> Vec<TraitOperation> {
    vec![
        TraitOperation::Set(json("\"pro\"")),
        TraitOperation::SetOnce(json("{\"a\":[1,2.5]}")),
        TraitOperation::Unset,
        TraitOperation::Add(Decimal(-12_500_000_000)),
        TraitOperation::Append(json("\"shoes\"")),
        TraitOperation::Remove(json("7")),
    ]
}

fn event_effect() -> EventEffect {
    let traits = (1..).zip(operations()).map(|(no, operation)| (TraitNo(no), 300, operation)).collect();
    EventEffect {
        index: 999,
        part: Some(PartNo(70_000)),
        event_type: TypeNo(3),
        time: TIME,
        id_hash: u64::MAX - 5,
        repeat: Some((1 << 62, 2)),
        flags: EventEffect::PAGE_VIEW | EventEffect::CONVERSION | EventEffect::SESSION_END,
        value: Some(Decimal(19_950_000_000)),
        agent: AgentNo(4),
        traits,
        consents: vec![(ConsentNo(1), Consent::Granted), (ConsentNo(2), Consent::Refused)],
    }
}

/// One of each variant, some with and without what may be absent.
fn effects() -> Vec<Effect> {
    let (device, fragment) = (DeviceNo(5), FragmentNo(6));
    let (session, part, timeout_ms) = (SessionNo(8), PartNo(9), 1_800_000);
    let bare = EventEffect {
        part: None,
        repeat: None,
        value: None,
        traits: Vec::new(),
        consents: Vec::new(),
        ..event_effect()
    };
    let client = ProfileKey::Client { space: SpaceNo(2), id: "1001".into() };
    let mut effects = vec![
        Effect::Event(event_effect()),
        Effect::Event(bare),
        Effect::Device { device, fragment, key: client, provisional: true, device_key: None },
        Effect::Device {
            device,
            fragment,
            key: ProfileKey::Server(uuid()),
            provisional: false,
            device_key: Some(Sample::sample()),
        },
        Effect::Session {
            session,
            space: SpaceNo(2),
            source: SourceNo(3),
            id: "s-1".into(),
            made: true,
            part,
            fragment: Some(fragment),
            timeout_ms,
        },
        Effect::Part { part, session, fragment: None, timeout_ms },
        Effect::ImplicitPart { part, fragment },
        Effect::Current { session, part, fragment: Some(fragment) },
        Effect::Settled { device },
        Effect::Join { child: FragmentNo(7), parent: fragment, cause: JoinCause::Direct(Sample::sample()) },
        Effect::Join {
            child: FragmentNo(7),
            parent: fragment,
            cause: JoinCause::Link { link: Sample::sample(), carrier: FragmentNo(8) },
        },
        Effect::Met { session, fragment, shared: true },
        Effect::Gap { fragment, source: SourceNo(3), day: 20_454, session },
        Effect::Bridge { kept: SessionNo(7), alias: session },
        Effect::Ended { session, at: TIME },
    ];
    effects.extend(identity_effects());
    for (no, kind) in (1..).zip(NameKind::ALL) {
        effects.push(Effect::Name { kind, no, text: "a name".into(), trait_kind: None });
    }
    for (no, trait_kind) in (1..).zip([TraitKind::Value, TraitKind::Counter, TraitKind::Collection]) {
        let text = "a trait".into();
        effects.push(Effect::Name { kind: NameKind::Trait, no, text, trait_kind: Some(trait_kind) });
    }
    effects
}

fn identity_effects() -> Vec<Effect> {
    let (fragment, other, identifier) = (FragmentNo(6), FragmentNo(7), IdentifierNo(10));
    let result = |outcome, code, merge| LinkResult {
        namespace: "email".into(),
        value: "ada@example.com".into(),
        outcome,
        code,
        merge,
        sides: merge.map(|_| (fragment, other)),
        from: (outcome == LinkOutcome::Switched).then_some(fragment),
        entry: (outcome == LinkOutcome::Quarantined).then_some((EventSeq(70_001), 1)),
    };
    let mut results = vec![
        result(LinkOutcome::Attached, None, None),
        result(LinkOutcome::Known, None, None),
        result(LinkOutcome::Merged, None, Some(1)),
        result(LinkOutcome::Switched, None, Some(0)),
        result(LinkOutcome::Quarantined, Some(LinkCode::FragmentsMax), None),
    ];
    for code in [
        LinkCode::ProfileLess,
        LinkCode::UnknownNamespace,
        LinkCode::Junk,
        LinkCode::Unlinkable,
        LinkCode::Blocked,
        LinkCode::Cut,
        LinkCode::Rejected,
        LinkCode::TwoValues,
        LinkCode::UniqueConflict,
        LinkCode::KeptApart,
        LinkCode::ValuesPerProfile,
        LinkCode::FragmentsMax,
        LinkCode::AttachOnly,
        LinkCode::Unverified,
    ] {
        results.push(result(LinkOutcome::Refused, Some(code), None));
    }
    let mut effects = vec![
        Effect::Identifier { no: identifier, namespace: NamespaceNo(2), value: "ada@example.com".into() },
        Effect::Link { fragment, identifier, joins: true, verified: true, time: TIME },
        Effect::Direct {
            one: fragment,
            other,
            kind: DirectKind::Session(SessionNo(8)),
            time: Timestamp(1_700_000_000_000_000),
        },
        Effect::Direct {
            one: fragment,
            other,
            kind: DirectKind::Hand,
            time: Timestamp(1_700_000_000_000_000),
        },
        Effect::Direct {
            one: fragment,
            other,
            kind: DirectKind::Device,
            time: Timestamp(1_700_000_000_000_000),
        },
        Effect::Fragment { fragment, device: DeviceNo(5), key: ProfileKey::Server(uuid()) },
        Effect::Holder { device: DeviceNo(5), fragment },
        Effect::Identified { fragment: Some(fragment), results },
        Effect::Restore { fragment, identifier, joins: true },
        Effect::Blocked { identifier, blocked: true },
        Effect::Guard { one: fragment, other, stands: true },
        Effect::Regroup {
            roots: vec![fragment],
            moves: vec![(other, None), (FragmentNo(8), Some((fragment, EventSeq(70_001))))],
            new_roots: vec![other],
        },
        Effect::Acted,
        Effect::Ruled("{}".into()),
    ];
    for limit in [Limit::ValuesPerProfile, Limit::FragmentsMax] {
        effects.push(Effect::Quarantine {
            fragment,
            identifier,
            limit,
            place: 1,
            verified: false,
            time: TIME,
        });
    }
    let link = Ends::Identifier(Sample::sample());
    for (ends, standing) in [
        (link, Standing::Joins),
        (link, Standing::Attaches),
        (link, Standing::Cut),
        (link, Standing::Suspended(true)),
        (link, Standing::Quarantined(Limit::ValuesPerProfile)),
        (link, Standing::Rejected),
        (Ends::Pair(Sample::sample()), Standing::Cut),
    ] {
        effects.push(Effect::Loosen { ends, standing });
    }
    effects
}

/// Those that came after the records of the first version were kept.
fn later_effects() -> Vec<Effect> {
    let late = LinkResult {
        namespace: "number".into(),
        value: "7".into(),
        outcome: LinkOutcome::Refused,
        code: Some(LinkCode::Expired),
        merge: None,
        sides: None,
        from: None,
        entry: None,
    };
    let ends = Ends::Identifier(Sample::sample());
    vec![
        Effect::Identified { fragment: Some(FragmentNo(6)), results: vec![late] },
        Effect::Loosen { ends, standing: Standing::Expired },
        Effect::Expired,
    ]
}

/// Place and name of a variant. A new one does not compile here, and then needs a sample above.
const fn variant(effect: &Effect) -> (usize, &'static str) {
    match effect {
        Effect::Event(_) => (0, "Event"),
        Effect::Name { .. } => (1, "Name"),
        Effect::Device { .. } => (2, "Device"),
        Effect::Session { .. } => (3, "Session"),
        Effect::Part { .. } => (4, "Part"),
        Effect::ImplicitPart { .. } => (5, "ImplicitPart"),
        Effect::Current { .. } => (6, "Current"),
        Effect::Settled { .. } => (7, "Settled"),
        Effect::Join { .. } => (8, "Join"),
        Effect::Met { .. } => (9, "Met"),
        Effect::Gap { .. } => (10, "Gap"),
        Effect::Bridge { .. } => (11, "Bridge"),
        Effect::Ended { .. } => (12, "Ended"),
        Effect::Identifier { .. } => (13, "Identifier"),
        Effect::Link { .. } => (14, "Link"),
        Effect::Direct { .. } => (15, "Direct"),
        Effect::Fragment { .. } => (16, "Fragment"),
        Effect::Holder { .. } => (17, "Holder"),
        Effect::Quarantine { .. } => (18, "Quarantine"),
        Effect::Identified { .. } => (19, "Identified"),
        Effect::Loosen { .. } => (20, "Loosen"),
        Effect::Restore { .. } => (21, "Restore"),
        Effect::Blocked { .. } => (22, "Blocked"),
        Effect::Guard { .. } => (23, "Guard"),
        Effect::Regroup { .. } => (24, "Regroup"),
        Effect::Acted => (25, "Acted"),
        Effect::Ruled(_) => (26, "Ruled"),
        Effect::Expired => (27, "Expired"),
    }
}

fn all_effects(values: &mut Values) {
    let mut seen = BTreeMap::new();
    for effect in effects().into_iter().chain(later_effects()) {
        let (place, name) = variant(&effect);
        let count = seen.entry(place).and_modify(|count| *count += 1).or_insert(1);
        values.value(&format!("effect {name} {count}"), &effect);
    }
    assert!(seen.keys().copied().eq(0..seen.len()) && seen.len() == 28, "a variant has no sample: {seen:?}");
}

fn request() -> TrackRequest {
    let pair = |name: &str, value: &str| vec![(name.to_owned(), json(value))];
    TrackRequest {
        source: Some("web".to_owned()),
        session: Some("s-1".to_owned()),
        profile: Some("1001".to_owned()),
        sent_at: Some(TIME),
        context: Some(json("{\"page\":{\"url\":\"/shoes\"}}")),
        user_agent: Some("Mozilla/5.0".to_owned()),
        profile_less: true,
        origin: Origin::Import,
        events: vec![Event {
            id: Some("m-1".to_owned()),
            event_type: "page-view".to_owned(),
            time: Some(TIME),
            properties: Some(json("{\"price\":1.50}")),
            context: Some(json("{}")),
            identifiers: vec![("email".to_owned(), "Ada@example.com".to_owned())],
            traits: TraitOperations {
                set: pair("plan", "\"pro\""),
                set_once: pair("first", "1"),
                unset: vec!["old".to_owned()],
                add: pair("visits", "1"),
                append: pair("seen", "[1]"),
                remove: pair("seen", "null"),
            },
            consents: vec![
                ("marketing".to_owned(), Consent::Granted),
                ("stats".to_owned(), Consent::Refused),
            ],
        }],
    }
}

fn all_requests_and_records(values: &mut Values) {
    values.value("request full", &request());
    values.value("request empty", &TrackRequest::default());
    let stamp = Stamp { received: TIME, entropy: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10 };
    let said = Decision { effects: effects() };
    let silent = Decision { effects: vec![Effect::Ended { session: SessionNo(8), at: TIME }] };
    for (name, drew, request, decision) in [
        ("drew", true, Some(request()), said.clone()),
        ("plain", false, Some(request()), said),
        ("silent", false, None, silent),
    ] {
        let command = request.as_ref().map(encode_command);
        let cause = command.as_ref().map_or(Cause::Engine, |command| Cause::Request(command));
        let bytes = encode_record(&mut Vec::new(), stamp, drew, cause, &decision).concat();
        let Some(kept) = values.bytes(&format!("record {name}"), &bytes) else { continue };
        let path = Path::new(name);
        let view = RecordView::parse(&kept, path).unwrap();
        let entropy = if drew { stamp.entropy } else { 0 };
        assert_eq!(view.stamp, Stamp { entropy, ..stamp }, "{name}");
        assert_eq!(view.command(path).unwrap(), request, "{name}");
        assert_eq!(view.act(path).unwrap(), None, "{name}");
        assert_eq!(view.decision(path).unwrap(), decision, "{name}");
    }
    all_acts(values, stamp);
}

fn all_acts(values: &mut Values, stamp: Stamp) {
    let (profile, other) = ("p-1".to_owned(), "p-2".to_owned());
    let identifier = "email:ada@example.com".to_owned();
    for (name, act) in [
        ("undo", Act::Undo { merge: "m4-0".to_owned(), keep_apart: true }),
        ("merge", Act::Merge { profile: profile.clone(), other, force: true }),
        ("detach", Act::Detach { profile: profile.clone(), identifier: identifier.clone() }),
        ("attach", Act::Attach { profile, identifier: identifier.clone() }),
        ("decide", Act::Decide { quarantine: "q4-0".to_owned(), approve: true }),
        ("block", Act::Block { identifier: identifier.clone() }),
        ("unblock", Act::Unblock { identifier }),
    ] {
        let decision = Decision { effects: vec![Effect::Acted] };
        let act_bytes = encode_act(&act);
        let bytes = encode_record(&mut Vec::new(), stamp, false, Cause::Act(&act_bytes), &decision).concat();
        let Some(kept) = values.bytes(&format!("record {name}"), &bytes) else { continue };
        let path = Path::new(name);
        let view = RecordView::parse(&kept, path).unwrap();
        assert_eq!(view.act(path).unwrap(), Some(act), "{name}");
        assert_eq!(view.command(path).unwrap(), None, "{name}");
        assert_eq!(view.decision(path).unwrap(), decision, "{name}");
    }
}

/// One value of every type of key and row.
trait Sample {
    fn sample() -> Self;
}

macro_rules! samples {
    ($($name:ty => $value:expr;)*) => {
        $(impl Sample for $name {
            fn sample() -> Self {
                $value
            }
        })*
    };
}

samples! {
    NameKey => NameKey { kind: NameKind::EventType, text: "page-view".into() };
    NameRow => NameRow { no: 300, trait_kind: Some(TraitKind::Collection) };
    (NameKind, u32) => (NameKind::Agent, 300);
    TextRow => TextRow { text: "page-view".into(), trait_kind: Some(TraitKind::Counter) };
    SessionKey => SessionKey { space: SpaceNo(2), id: "s-1".into() };
    SessionNo => SessionNo(70_000);
    PartNo => PartNo(80_000);
    DeviceNo => DeviceNo(90_000);
    FragmentNo => FragmentNo(100_000);
    (SessionNo, FragmentNo) => (SessionNo(70_000), FragmentNo(100_000));
    Uuid => uuid();
    Box<str> => "1001".into();
    DeviceKey => DeviceKey { source: SourceNo(3), namespace: "email".into(), value: "ada@example.com".into() };
    DeviceRow => DeviceRow { holder: FragmentNo(100_000), first: FragmentNo(6), provisional: true };
    ClientIdRow => ClientIdRow(vec![(SpaceNo(2), FragmentNo(6)), (SpaceNo(3), FragmentNo(100_000))]);
    IdentifierNo => IdentifierNo(110_000);
    IdentifierKey => IdentifierKey { namespace: NamespaceNo(2), value: "ada@example.com".into() };
    IdentifierRow => IdentifierRow { key: Sample::sample(), owner: Some(FragmentNo(6)), links: 300, blocked: Some(EventSeq(4)) };
    LinkKey => LinkKey { fragment: FragmentNo(6), identifier: IdentifierNo(110_000) };
    PairKey => PairKey::of(FragmentNo(100_000), FragmentNo(6));
    LinkRow => LinkRow {
        standing: Standing::Joins, order: 300, spans: vec![
            Span { from: EventSeq(4), since: EventSeq(4), to: Some(EventSeq(70_001)), joins: false },
            Span { from: EventSeq(70_001), since: EventSeq(4), to: None, joins: true },
        ],
        verified: true, first_seq: EventSeq(4), last_seq: EventSeq(70_001), first_seen: Timestamp(1), last_seen: TIME,
        kind: Some(DirectKind::Session(SessionNo(8))), entry: Some((EventSeq(70_001), 1)),
    };
    PersonRow => PersonRow {
        fragments: 2, oldest: FragmentNo(6), identifiers: vec![IdentifierNo(1), IdentifierNo(110_000)],
        guards: vec![(FragmentNo(6), FragmentNo(7))], split_sessions: vec![SessionNo(8)], changed: EventSeq(70_001),
    };
    PersonConsentsRow => PersonConsentsRow(vec![
        (ConsentNo(1), StandingRefusals { by: vec![FragmentNo(6)], more: true }),
        (ConsentNo(2), StandingRefusals::default()),
    ]);
    GapKey => GapKey { fragment: FragmentNo(100_000), source: SourceNo(3), day: 20_454 };
    GapRow => GapRow(vec![SessionNo(8), SessionNo(70_000)]);
    PartOf => PartOf { part: PartNo(80_000), fragment: Some(FragmentNo(100_000)) };
    Mark => Mark { time: TIME, tie: 0xffff_fff0, seq: EventSeq(70_001) };
    TallyRow => TallyRow {
        events: 1_000, page_views: 900, sessions: 30, implicit_sessions: 2, first: Some(Timestamp(1)), last: Some(TIME),
    };
    SessionRow => SessionRow {
        space: SpaceNo(2), source: SourceNo(3), id: "s-1".into(), made: true, created: EventSeq(70_001),
        first: Sample::sample(), current: Sample::sample(), parts: 2, met: vec![FragmentNo(6)], shared: true,
        silent_at: Some(TIME), alias_of: Some(SessionNo(8)), alias_since: Some(EventSeq(70_001)),
    };
    PartRow => PartRow {
        session: Some(SessionNo(70_000)), fragment: Some(FragmentNo(100_000)), numbers: Numbers { timeout_ms: 1_800_000, events: 10,
        page_views: 9, conversions: 1, value: Some(Decimal(19_950_000_000)), start: Some(Sample::sample()),
        last: Some(Sample::sample()), entry: Some(Sample::sample()), exit: Some(Sample::sample()), end: None,
        agent: AgentNo(4), received_last: TIME }, due_ms: 1_767_227_400_123,
    };
    FragmentRow => FragmentRow {
        device: DeviceNo(90_000), key: ProfileKey::Server(uuid()), created: EventSeq(70_001), created_at: TIME,
        parent: Some((FragmentNo(6), EventSeq(70_002))), joined: true, implicit_part: Some(PartNo(80_000)),
        split_sessions: vec![SessionNo(70_000)], after: Some(FragmentNo(6)),
    };
    TraitsRow => {
        let mut row = TraitsRow::default();
        // A value that was set and one that was only set once; a counter; a collection that lost an item.
        for (index, (no, operation)) in (0..).zip([1, 2, 1, 3, 4, 4].into_iter().zip(operations())) {
            let order = Order { time: TIME, tie: 7, seq: EventSeq(70_001), index };
            row.try_apply(TraitNo(no), order, &operation).unwrap();
        }
        row
    };
    ConsentsRow => {
        let mut row = ConsentsRow::default();
        row.0.apply(ConsentNo(1), EventSeq(5), Consent::Granted);
        row.0.apply(ConsentNo(1), EventSeq(6), Consent::Refused);
        row.0.apply(ConsentNo(2), EventSeq(6), Consent::Granted);
        row
    };
}

macro_rules! each_table {
    ($($(#[$doc:meta])* $get:ident, $put:ident: $key:ty => $row:ty, $id:ident;)*) => {
        fn all_tables(values: &mut Values) {
            $(
                values.bytes(concat!("key of ", stringify!($get)), &<$key>::sample().key_bytes());
                values.value(concat!("row of ", stringify!($get)), &<$row>::sample());
            )*
        }
    };
}
spoor::for_each_table!(each_table);

fn all_of_the_index(values: &mut Values) {
    let counters = Counters {
        seq: EventSeq(70_001),
        received: TIME,
        device: Sample::sample(),
        fragment: Sample::sample(),
        session: Sample::sample(),
        part: Sample::sample(),
        names: [1, 2, 3, 4, 5, 300, 6],
        identifier: Sample::sample(),
        links: 300,
        rules: u64::MAX - 2,
        events: 70_000,
        bridged: 1,
        unions: 2,
    };
    let position =
        LogPosition { segment: 3, offset: 70_000, checksum: u64::MAX - 1, next_seq: EventSeq(70_002) };
    values.value("meta", &Meta { position: Some(position), counters });
    values.value("meta of a rebuild", &Meta { position: None, counters: Counters::default() });
}

fn store_settings() -> Settings {
    let shop = SourceSettings {
        ids: Some("space".to_owned()),
        profile_ids: ProfileIds::Client,
        ..SourceSettings::default()
    };
    let web = SourceSettings { ids: Some("space".to_owned()), ..SourceSettings::default() };
    let store = StoreSettings { segment_bytes: 4 << 10, ..StoreSettings::default() };
    let sources = [("shop".to_owned(), shop), ("web".to_owned(), web)].into();
    Settings { sources, store, ..Settings::default() }
}

fn open_store(dir: &Path, clock: &Arc<ManualClock>) -> Engine {
    let environment = Environment { clock: clock.clone(), seed: Some(1), ..Environment::default() };
    Engine::open_with(dir, store_settings(), environment).unwrap()
}

/// A little of everything: devices of both kinds, merges, one of which is undone, repeats, a session that fell silent, events without a session.
fn write_store(dir: &Path) {
    let clock = Arc::new(ManualClock::new(TIME));
    let engine = open_store(dir, &clock);
    let mut merges = Vec::new();
    for turn in 0..30_i64 {
        clock.advance_ms(60_000);
        let mut request = request();
        request.origin = Origin::Live;
        request.profile_less = turn % 7 == 0;
        request.source = Some(["web", "shop"][usize::from(turn % 3 == 0)].to_owned());
        request.session = (turn % 5 != 0).then(|| format!("s-{}", turn % 4));
        request.profile = (turn % 2 == 0).then(|| format!("c-{}", turn % 6));
        request.sent_at = None;
        request.events[0].id = Some(format!("m-{turn}"));
        request.events[0].time = Some(Timestamp(TIME.0 - turn * 1_000_000));
        let reply = engine.track(request).unwrap();
        merges
            .extend(reply.events.iter().flat_map(|event| &event.links).filter_map(|link| link.merge.clone()));
    }
    let undone = engine.act(Act::Undo { merge: merges[0].clone(), keep_apart: true }, false).unwrap();
    assert!(!undone.removed.is_empty());
    clock.advance_ms(3_600_000);
    assert!(engine.tick().unwrap() > 2);
    // The first request of a session is overtaken, and its device then turns out to be a known one.
    for (id, profile) in [("m-90", None), ("m-91", Some("c-0"))] {
        let mut request = request();
        (request.profile_less, request.origin, request.sent_at) = (false, Origin::Live, None);
        (request.source, request.session) = (Some("shop".to_owned()), Some("s-9".to_owned()));
        request.profile = profile.map(str::to_owned);
        request.events[0].id = Some(id.to_owned());
        engine.track(request).unwrap();
    }
    assert!(engine.status().fragments > engine.status().profiles);
    let log = dir.join("log");
    let ends_with = |end: &str| {
        let names =
            std::fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(end)).count()
    };
    // The segment that is written, and at most the one that is prepared, are left.
    while ends_with(".open") > 2 || ends_with(".sealed") == 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    engine.abandon();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_store_of_the_first_version_opens_and_says_what_it_said() {
    let dir = tempfile::tempdir().unwrap();
    let kept = golden("store-1/log");
    if updating() && !kept.exists() {
        write_store(dir.path());
        copy(&dir.path().join("log"), &kept);
        std::fs::remove_dir_all(dir.path().join("log")).unwrap();
        std::fs::remove_file(dir.path().join("index.redb")).unwrap();
    }
    copy(&kept, &dir.path().join("log"));
    let names: Vec<_> = std::fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let has = |end: &str| names.iter().any(|name| name.to_string_lossy().ends_with(end));
    assert!(has(".sealed") && has(".open"), "segments of both kinds: {names:?}");

    let engine = open_store(dir.path(), &Arc::new(ManualClock::new(TIME)));
    let report = engine.check().unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    let status = report.status;
    let mut said = format!(
        "position {}\nevents {}\nsessions {}\nfragments {}\nprofiles {}\nstore digest {}\ncontent digest {}\n",
        status.position,
        status.events,
        status.sessions,
        status.fragments,
        status.profiles,
        report.store_digest,
        report.content_digest
    );
    for event in engine.snapshot().unwrap().events_after(0, 1_000).unwrap() {
        let profile = event.profile.as_deref().unwrap_or("-");
        writeln!(
            said,
            "{} {} {} {} {} {profile}",
            event.seq.0, event.id, event.event_type, event.time, event.session
        )
        .unwrap();
    }
    engine.close().unwrap();
    let path = golden("store-1.txt");
    if updating() {
        std::fs::write(&path, &said).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), said);
}
