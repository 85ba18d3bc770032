//! Spoor inside a process: two requests of one visit, and the profile they come to.

use spoor::{Consent, Engine, Event, Json, Settings, TrackRequest, TraitOperations};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let engine = Engine::open(dir.path(), Settings::default())?;

    let request = |event: Event| TrackRequest {
        session: Some("s-1".to_owned()),
        events: vec![event],
        ..TrackRequest::default()
    };
    let view = Event { id: Some("m-1".to_owned()), event_type: "page-view".to_owned(), ..Event::default() };
    let first = engine.track(request(view))?.profile.ok_or("a profile")?;
    assert!(first.created);

    // The device has lost its profile id; its session still knows it.
    let set = vec![("plan".to_owned(), Json::parse(r#""pro""#).map_err(|fault| fault.message)?)];
    let sign_up = Event {
        event_type: "sign-up".to_owned(),
        traits: TraitOperations { set, ..TraitOperations::default() },
        consents: vec![("marketing".to_owned(), Consent::Granted)],
        ..Event::default()
    };
    let second = engine.track(request(sign_up))?.profile.ok_or("a profile")?;
    assert_eq!((second.reason.as_str(), &second.id), ("recovered", &first.id));

    let profile = engine.snapshot()?.profile(&first.id).map_err(|error| format!("{error:?}"))?;
    assert_eq!((profile.counters.sessions, profile.counters.events), (1, 2));
    for (name, value) in &profile.traits {
        println!("{name} is {value}");
    }
    engine.close()?;
    Ok(())
}
