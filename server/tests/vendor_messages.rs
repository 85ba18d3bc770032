//! No bytes break the readers of other services' messages, and whatever they accept is whole.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use proptest::prelude::*;
use spoor::Origin;
use spoor_server::vendors::segment::{self, Call, Messages};
use spoor_server::vendors::tracardi;

const CALLS: [Call; 7] =
    [Call::Batch, Call::Track, Call::Identify, Call::Page, Call::Screen, Call::Group, Call::Alias];

/// Values as clients write them, and as nobody should.
fn value() -> impl Strategy<Value = String> {
    let texts = [
        "null",
        "true",
        "7",
        "-1.5e3",
        "\"\"",
        "\" a \"",
        "\"2026-01-31T09:30:00\"",
        "\"\\ud800\"",
        "[]",
        "[7]",
        "{}",
        "{\"id\":\"a\"}",
        "{\"id\":5,\"email\":7}",
        "{\"email\":\"a@b.example\",\"x\":null}",
        "{\"sessionId\":9,\"traits\":{\"phone\":\"+61412345678\"}}",
        "{\"a\":1,\"a\":2}",
        "[{\"type\":\"A b\"}]",
        "[{\"type\":\"track\",\"event\":\"x\",\"userId\":5}]",
        "{\"create\":\"soon\"}",
        "\"identify\"",
        "\"alias\"",
    ];
    proptest::sample::select(texts.map(str::to_owned).to_vec())
}

fn message() -> impl Strategy<Value = String> {
    let names = [
        "type",
        "batch",
        "anonymousId",
        "userId",
        "previousId",
        "groupId",
        "messageId",
        "event",
        "name",
        "traits",
        "properties",
        "context",
        "timestamp",
        "sentAt",
        "writeKey",
        "source",
        "session",
        "profile",
        "events",
        "options",
        "time",
        "profile_less",
    ];
    let member = (proptest::sample::select(names.to_vec()), value());
    proptest::collection::vec(member, 0..9).prop_map(|members| {
        let members: Vec<String> =
            members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    })
}

fn check(messages: Messages) -> Result<(), TestCaseError> {
    for item in messages.items {
        let Ok(request) = item.request else { continue };
        let event = &request.events[0];
        let user = event.identifiers.iter().any(|(namespace, _)| namespace == "user_id");
        prop_assert!(request.profile.is_some() || user, "somebody's");
        prop_assert_eq!((request.origin, request.events.len()), (Origin::Library, 1));
        prop_assert!(!event.event_type.trim().is_empty());
        prop_assert_eq!(&event.id, &item.id);
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_bytes_break_the_readers(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for call in CALLS {
            let _ = segment::read(call, &bytes);
        }
        let _ = tracardi::read(&bytes, None);
        let _ = tracardi::collected_body(&bytes, true);
    }

    #[test]
    fn whatever_is_accepted_is_whole(items in proptest::collection::vec(message(), 1..4)) {
        for call in CALLS {
            if let Ok(messages) = segment::read(call, items[0].as_bytes()) {
                check(messages)?;
            }
        }
        let batch = format!("{{\"batch\":[{}]}}", items.join(","));
        let messages = segment::read(Call::Batch, batch.as_bytes()).unwrap();
        prop_assert_eq!(messages.items.len(), items.len());
        check(messages)?;
        if let Ok(payload) = tracardi::read(items[0].as_bytes(), None) {
            prop_assert!(!payload.source.is_empty() && payload.request.origin == Origin::Live);
        }
    }
}
