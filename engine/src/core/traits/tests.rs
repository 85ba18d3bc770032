//! The fold against a naive one that keeps every operation, in every order of arrival and every split over fragments.

use super::*;
use proptest::prelude::*;

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

fn at(time: i64) -> Order {
    Order { time: Timestamp(time), ..Order::default() }
}

type Operations = Vec<(Order, TraitOperation)>;

/// In the order of a world's operations, one microsecond apart.
fn in_order(operations: &[TraitOperation]) -> Operations {
    (0_i64..).zip(operations).map(|(time, operation)| (at(time), operation.clone())).collect()
}

/// What is shown when all operations are applied one after the other by order, nothing forgotten.
fn naive(operations: &Operations) -> Option<Json> {
    let mut sorted = operations.clone();
    sorted.sort_by_key(|(order, _)| *order);
    let (mut held, mut sum, mut items) = (None, None, Vec::<Json>::new());
    for (_, operation) in sorted {
        match operation {
            TraitOperation::Set(value) => held = (!value.is_null()).then_some(value),
            TraitOperation::SetOnce(value) => held = held.or((!value.is_null()).then_some(value)),
            TraitOperation::Unset => held = None,
            TraitOperation::Add(number) => sum = Some(sum.unwrap_or(0) + number.0),
            TraitOperation::Append(value) => {
                for item in items_of(&value).unwrap() {
                    items.retain(|other| *other != item);
                    items.push(item);
                }
            }
            TraitOperation::Remove(value) => {
                let removed = items_of(&value).unwrap();
                items.retain(|item| !removed.contains(item));
            }
        }
    }
    let items: Vec<_> = items.iter().map(Json::as_str).collect();
    held.or_else(|| sum.map(|sum| json(&Decimal(sum).to_string())))
        .or_else(|| (!items.is_empty()).then(|| json(&format!("[{}]", items.join(",")))))
}

fn state_of(kind: TraitKind, operations: &[(Order, TraitOperation)]) -> TraitState {
    let mut state = TraitState::new(kind);
    for (order, operation) in operations {
        let before = state.clone();
        let changed = state.apply(*order, operation).unwrap();
        assert_eq!(changed, state != before, "{operation:?} on {before:?}");
    }
    state
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![vec![]];
    }
    let mut all = vec![];
    for shorter in permutations(count - 1) {
        for place in 0..count {
            let mut longer = shorter.clone();
            longer.insert(place, count - 1);
            all.push(longer);
        }
    }
    all
}

/// Every sequence over `alphabet` of up to `length` operations.
fn worlds(alphabet: &[TraitOperation], length: usize) -> Vec<Vec<TraitOperation>> {
    let mut all: Vec<Vec<TraitOperation>> = vec![vec![]];
    let mut last = all.clone();
    for _ in 0..length {
        last = last
            .iter()
            .flat_map(|world| {
                alphabet
                    .iter()
                    .map(move |operation| [world.as_slice(), std::slice::from_ref(operation)].concat())
            })
            .collect();
        all.extend(last.iter().cloned());
    }
    all
}

/// Any arrival gives one state, it shows what the naive fold shows, and fragments merge to it.
fn check_world(kind: TraitKind, world: &[TraitOperation], arrivals: &[Vec<usize>]) {
    let operations = in_order(world);
    let expected = state_of(kind, &operations);
    assert_eq!(expected.shown(), naive(&operations), "{world:?}");
    for arrival in arrivals {
        let arrived: Operations = arrival.iter().map(|place| operations[*place].clone()).collect();
        assert_eq!(state_of(kind, &arrived), expected, "{arrived:?}");
    }
    for split in 0..1_usize << operations.len() {
        let part = |side: usize| -> Operations {
            (0..operations.len())
                .filter(|place| split >> place & 1 == side)
                .map(|place| operations[place].clone())
                .collect()
        };
        let (left, right) = (state_of(kind, &part(0)), state_of(kind, &part(1)));
        assert_eq!(merged(&[&left, &right]), Some(expected.clone()), "{world:?} split {split:b}");
        assert_eq!(merged(&[&right, &left]), Some(expected.clone()), "{world:?} split {split:b}");
    }
}

fn check_all_worlds(kind: TraitKind, alphabet: &[TraitOperation], length: usize) {
    let arrivals: Vec<_> = (0..=length).map(permutations).collect();
    for world in worlds(alphabet, length) {
        check_world(kind, &world, &arrivals[world.len()]);
    }
}

fn value_alphabet() -> Vec<TraitOperation> {
    vec![
        TraitOperation::Set(json("\"a\"")),
        TraitOperation::Set(json("null")),
        TraitOperation::Unset,
        TraitOperation::SetOnce(json("\"a\"")),
        TraitOperation::SetOnce(json("\"b\"")),
        TraitOperation::SetOnce(json("null")),
    ]
}

fn collection_alphabet() -> Vec<TraitOperation> {
    vec![
        TraitOperation::Append(json("1")),
        TraitOperation::Append(json("[2,1.0]")),
        TraitOperation::Remove(json("1e0")),
        TraitOperation::Remove(json("[1,2]")),
    ]
}

#[test]
fn every_small_world_of_a_value() {
    check_all_worlds(TraitKind::Value, &value_alphabet(), 4);
}

#[test]
fn every_small_world_of_a_counter() {
    let alphabet = ["0.1", "-3", "1e3"].map(|text| TraitOperation::Add(Decimal::parse(text).unwrap()));
    check_all_worlds(TraitKind::Counter, &alphabet, 4);
}

#[test]
fn every_small_world_of_a_collection() {
    check_all_worlds(TraitKind::Collection, &collection_alphabet(), 4);
}

/// Why a value keeps every `set_once` after its last `set` or `unset`: each of them can still decide.
#[test]
fn no_set_once_of_a_state_could_have_been_forgotten() {
    // Orders are two apart, so that something can arrive between any two.
    for world in worlds(&value_alphabet(), 4) {
        let operations: Operations =
            (0_i64..).zip(&world).map(|(place, operation)| (at(4 * place), operation.clone())).collect();
        let TraitState::Value(state) = state_of(TraitKind::Value, &operations) else { unreachable!() };
        for place in 0..state.once.len() {
            let mut poorer = state.clone();
            let (order, _) = poorer.once.remove(place);
            let future = [
                (at(order.time.0 - 1), TraitOperation::Unset),
                (at(order.time.0 + 1), TraitOperation::SetOnce(json("\"other\""))),
            ];
            let after = |state: ValueState| {
                let mut state = TraitState::Value(state);
                for (order, operation) in &future {
                    state.apply(*order, operation).unwrap();
                }
                state.shown()
            };
            assert_ne!(after(state.clone()), after(poorer), "{world:?} without {order:?}");
        }
    }
}

fn value_operation(set_once_weight: u32) -> impl Strategy<Value = TraitOperation> {
    let value = prop::sample::select(vec!["\"a\"", "\"b\"", "1", "\"\"", "null"]).prop_map(json);
    prop_oneof![
        2 => value.clone().prop_map(TraitOperation::Set),
        1 => Just(TraitOperation::Unset),
        set_once_weight => value.prop_map(TraitOperation::SetOnce),
    ]
}

fn collection_operation() -> impl Strategy<Value = TraitOperation> {
    let items = prop::sample::select(vec![
        "1",
        "[1,2]",
        "{\"b\":1,\"a\":2}",
        "{\"a\":2.0, \"b\":1}",
        "[3,3,4]",
        "[]",
    ]);
    (items.prop_map(json), any::<bool>()).prop_map(|(items, append)| {
        if append { TraitOperation::Append(items) } else { TraitOperation::Remove(items) }
    })
}

/// Operations with orders that collide in all but the last field, in some order of arrival.
fn arrivals(
    operation: impl Strategy<Value = TraitOperation>,
    most: usize,
) -> impl Strategy<Value = (Operations, Operations, Vec<usize>)> {
    prop::collection::vec((operation, 0..3_i64, 0..2_u64, 0..2_u64), 0..=most).prop_flat_map(|drawn| {
        let operations: Operations = (0_u16..)
            .zip(drawn)
            .map(|(index, (operation, time, tie, seq))| {
                (Order { time: Timestamp(time), tie, seq: EventSeq(seq), index }, operation)
            })
            .collect();
        let fragments = prop::collection::vec(0..3_usize, operations.len());
        (Just(operations.clone()), Just(operations).prop_shuffle(), fragments)
    })
}

fn check_arrival(kind: TraitKind, sent: &Operations, arrived: &Operations, fragments: &[usize]) {
    let state = state_of(kind, arrived);
    assert_eq!(state, state_of(kind, sent));
    assert_eq!(state.shown(), naive(sent));
    let parts: Vec<TraitState> = (0..3)
        .map(|fragment| {
            let part: Operations = arrived
                .iter()
                .zip(fragments)
                .filter(|(_, owner)| **owner == fragment)
                .map(|(operation, _)| operation.clone())
                .collect();
            state_of(kind, &part)
        })
        .collect();
    let parts: Vec<_> = parts.iter().collect();
    assert_eq!(shown_with_policy(&parts, TraitPolicy::Latest), naive(sent));
    assert_eq!(merged(&parts), Some(state.clone()));
    let bytes = bincode::encode_to_vec(&state, bincode::config::standard()).unwrap();
    let (read, _): (TraitState, usize) =
        bincode::decode_from_slice(&bytes, bincode::config::standard()).unwrap();
    assert_eq!(read, state);
}

proptest! {
    #[test]
    fn any_arrival_of_a_value((sent, arrived, fragments) in arrivals(value_operation(6), TRAIT_MAX_SET_ONCES)) {
        check_arrival(TraitKind::Value, &sent, &arrived, &fragments);
    }

    #[test]
    fn any_arrival_of_a_collection((sent, arrived, fragments) in arrivals(collection_operation(), 30)) {
        check_arrival(TraitKind::Collection, &sent, &arrived, &fragments);
    }

    #[test]
    fn beyond_the_limit_what_is_promised_holds((sent, arrived, fragments) in arrivals(value_operation(100), 120)) {
        let once_count = |state: &TraitState| match state {
            TraitState::Value(state) => state.once.len(),
            _ => 0,
        };
        // Whether anything is shown is exact in any arrival, also over fragments.
        let state = state_of(TraitKind::Value, &arrived);
        prop_assert_eq!(state.shown().is_some(), naive(&sent).is_some());
        prop_assert!(once_count(&state) <= TRAIT_MAX_SET_ONCES);
        let mut parts = vec![TraitState::new(TraitKind::Value); 3];
        for ((order, operation), fragment) in arrived.iter().zip(&fragments) {
            parts[*fragment].apply(*order, operation).unwrap();
        }
        let joined = shown_with_policy(&parts.iter().collect::<Vec<_>>(), TraitPolicy::Latest);
        prop_assert_eq!(joined.is_some(), naive(&sent).is_some());
        // What is shown is exact if nothing comes late.
        let mut in_order = sent.clone();
        in_order.sort_by_key(|(order, _)| *order);
        prop_assert_eq!(state_of(TraitKind::Value, &in_order).shown(), naive(&sent));
        // ... or if every set_once says the same.
        let same: Operations = arrived.iter().map(|(order, operation)| match operation {
            TraitOperation::SetOnce(_) => (*order, TraitOperation::SetOnce(json("\"same\""))),
            other => (*order, other.clone()),
        }).collect();
        prop_assert_eq!(state_of(TraitKind::Value, &same).shown(), naive(&same));
    }

    #[test]
    fn cleaning_never_panics_and_leaves_no_nul(text in "\\PC{0,12}|(\\\\|u0000|\u{0}|a){0,12}", key in "\u{0}{0,2}|\u{FFFD}{0,2}") {
        let value = json(&serde_json::json!({ "a": [text.clone()], key: text }).to_string());
        let clean = without_nul(value.clone());
        let expected = serde_json::json!([text.replace('\u{0}', "\u{FFFD}")]);
        prop_assert_eq!(&clean.to_value()["a"], &expected);
        prop_assert_eq!(without_nul(clean.clone()), clean);
    }
}

/// The `set_once`s that are left of these, as value and time.
fn kept(values: &[&str]) -> Vec<(String, i64)> {
    let operations: Vec<_> =
        values.iter().map(|value| TraitOperation::SetOnce(json(&format!("\"{value}\"")))).collect();
    let TraitState::Value(state) = state_of(TraitKind::Value, &in_order(&operations)) else { unreachable!() };
    state
        .once
        .iter()
        .map(|(order, value)| (value.to_value().as_str().unwrap().to_owned(), order.time.0))
        .collect()
}

#[test]
fn beyond_the_limit_the_first_and_the_last_stay_and_the_least_missed_goes() {
    let limit = i64::try_from(TRAIT_MAX_SET_ONCES).unwrap();
    let names: Vec<String> = (0..40).map(|number| format!("v{number}")).collect();
    let all_differ = kept(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let times: Vec<_> = all_differ.iter().map(|(_, time)| *time).collect();
    assert_eq!(times, (0..limit - 1).chain([39]).collect::<Vec<_>>(), "the last but one goes");

    let mut values = vec!["a"; TRAIT_MAX_SET_ONCES - 1];
    values.extend(["b", "c"]);
    let times: Vec<_> = kept(&values).iter().map(|(_, time)| *time).collect();
    let expected: Vec<_> = (0..=limit).filter(|time| *time != limit - 3).collect();
    assert_eq!(times, expected, "the latest between two of its own value goes, and nothing of another");

    let same = kept(&["a"; 40]);
    assert_eq!((same.first().unwrap().1, same.last().unwrap().1, same.len()), (0, 39, TRAIT_MAX_SET_ONCES));
}

#[test]
fn an_operation_of_another_kind_is_refused_and_changes_nothing() {
    let operations =
        [TraitOperation::Set(json("1")), TraitOperation::Add(Decimal(1)), TraitOperation::Append(json("1"))];
    for kind in [TraitKind::Value, TraitKind::Counter, TraitKind::Collection] {
        for operation in &operations {
            let mut state = TraitState::new(kind);
            let result = state.apply(at(1), operation);
            assert_eq!(result, if operation.kind() == kind { Ok(true) } else { Err("trait_kind") });
            assert_eq!(state.kind(), kind);
            assert_eq!(state.shown().is_some(), operation.kind() == kind);
        }
    }
}

#[test]
fn merging_another_kind_leaves_it_out() {
    let mut state = state_of(TraitKind::Counter, &in_order(&[TraitOperation::Add(Decimal(1))]));
    let before = state.clone();
    state.merge(&TraitState::new(TraitKind::Value));
    assert_eq!(state, before);
    assert_eq!(merged(&[]), None);
}

#[test]
fn a_full_collection_refuses_the_whole_operation() {
    let mut state = TraitState::new(TraitKind::Collection);
    let items: Vec<_> = (0..COLLECTION_MAX_ITEMS - 1).map(|item| item.to_string()).collect();
    assert_eq!(
        state.apply(at(1), &TraitOperation::Append(json(&format!("[{}]", items.join(","))))),
        Ok(true)
    );
    let before = state.clone();
    assert_eq!(state.apply(at(2), &TraitOperation::Append(json("[\"x\",\"y\"]"))), Err("trait_limit"));
    assert_eq!(state, before);
    assert_eq!(state.apply(at(2), &TraitOperation::Append(json("\"x\""))), Ok(true));
    assert_eq!(state.apply(at(3), &TraitOperation::Append(json("\"y\""))), Err("trait_limit"));
    assert_eq!(
        state.apply(at(3), &TraitOperation::Append(json("\"x\""))),
        Ok(true),
        "one that is there is not new"
    );
    assert_eq!(state.apply(at(4), &TraitOperation::Remove(json("\"x\""))), Ok(true));
    assert_eq!(state.apply(at(5), &TraitOperation::Append(json("\"y\""))), Ok(true));
    assert_eq!(state.apply(at(6), &TraitOperation::Append(json("null"))), Err("trait_value"));
}

#[test]
fn a_forgotten_removal_brings_nothing_back() {
    let mut state = TraitState::new(TraitKind::Collection);
    let count = i64::try_from(COLLECTION_MAX_ITEMS).unwrap();
    for item in 0..=count {
        state.apply(at(10 + item), &TraitOperation::Remove(json(&item.to_string()))).unwrap();
    }
    let TraitState::Collection(collection) = &state else { unreachable!() };
    assert_eq!((collection.items.len(), collection.forgotten), (COLLECTION_MAX_ITEMS, Some(at(10))));
    assert_eq!(state.apply(at(9), &TraitOperation::Append(json("0"))), Err("trait_limit"));
    assert_eq!(
        state.apply(at(9), &TraitOperation::Append(json("5"))),
        Ok(false),
        "its removal is remembered"
    );
    assert_eq!(state.apply(at(9), &TraitOperation::Remove(json("\"x\""))), Ok(false));
    assert_eq!(state.shown(), None);
    assert_eq!(state.apply(at(11), &TraitOperation::Append(json("0"))), Ok(true));
    assert_eq!(state.shown(), Some(json("[0]")));
}

#[test]
fn a_counter_at_the_end_of_its_range_refuses_and_a_merge_stays_there() {
    let mut state = state_of(TraitKind::Counter, &in_order(&[TraitOperation::Add(Decimal(i128::MAX))]));
    assert_eq!(state.apply(at(5), &TraitOperation::Add(Decimal(1))), Err("trait_limit"));
    let shown = state.shown();
    assert_eq!(shown, Some(json("\"170141183460469231731687303715.884105727\"")), "no reader loses a digit");
    let other = state.clone();
    state.merge(&other);
    assert_eq!(state.shown(), shown);
}

#[test]
fn policies_choose_among_what_each_fragment_shows() {
    use TraitPolicy::{All, Any, First, Latest, Max, Min};
    let fragment = |operations: &[(i64, TraitOperation)]| {
        let operations: Operations =
            operations.iter().map(|(time, operation)| (at(*time), operation.clone())).collect();
        state_of(operations.first().unwrap().1.kind(), &operations)
    };
    let set = |time: i64, value: &str| (time, TraitOperation::Set(json(value)));
    let shown = |fragments: &[TraitState], policy| {
        let mut states: Vec<_> = fragments.iter().collect();
        let forth = shown_with_policy(&states, policy);
        states.reverse();
        assert_eq!(
            forth,
            shown_with_policy(&states, policy),
            "the order of the fragments is without meaning"
        );
        forth.map(|value| value.to_string()).unwrap_or_default()
    };
    let numbers = [
        fragment(&[set(1, "2"), set(5, "10")]),
        fragment(&[set(2, "9.5")]),
        fragment(&[set(3, "\"text\"")]),
        fragment(&[set(4, "1"), (9, TraitOperation::Unset)]),
    ];
    let found: Vec<_> = [Latest, First, Max, Min, Any].map(|policy| shown(&numbers, policy)).to_vec();
    assert_eq!(
        found,
        ["", "9.5", "10", "9.5", ""],
        "the unset is the latest of all, and empties its own fragment"
    );

    let mixed = [fragment(&[set(1, "false")]), fragment(&[set(2, "true")]), fragment(&[set(3, "7")])];
    assert_eq!([Any, All, Latest].map(|policy| shown(&mixed, policy)), ["true", "false", "7"]);
    let neither = [fragment(&[set(1, "\"x\"")]), fragment(&[set(2, "\"y\"")])];
    assert_eq!([Any, All, Max, Min].map(|policy| shown(&neither, policy)), ["\"y\""; 4]);
    let equal = [fragment(&[set(2, "1.0")]), fragment(&[set(1, "1")])];
    assert_eq!([Max, Min].map(|policy| shown(&equal, policy)), ["1", "1"], "the earliest at a tie");

    let add = |text: &str| fragment(&[(1, TraitOperation::Add(Decimal::parse(text).unwrap()))]);
    let counters = [add("2"), add("0.5"), add("-1")];
    assert_eq!(
        [Latest, Max, Min, First, All].map(|policy| shown(&counters, policy)),
        ["1.5", "2", "-1", "1.5", "1.5"]
    );
    let collections = [
        fragment(&[(2, TraitOperation::Append(json("1")))]),
        fragment(&[(1, TraitOperation::Append(json("[2,1]")))]),
    ];
    assert_eq!([Latest, First, Max].map(|policy| shown(&collections, policy)), ["[2,1]"; 3]);
    assert_eq!(shown_with_policy(&[], Max), None);
}

#[test]
fn canonical_forms_are_equal_exactly_if_the_values_are() {
    let form = |text: &str| canonical(&json(text)).to_string();
    assert_eq!(form(r#"{ "b" : [1.0, "\u0041"], "a":null }"#), r#"{"a":null,"b":[1,"A"]}"#);
    assert_eq!(form("10e-1"), "1");
    assert_eq!(form("-0.0"), "0");
    assert_eq!(form("18446744073709551615"), "18446744073709551615");
    assert_ne!(form("1e-10"), form("0"));
    assert_ne!(form("1e-10"), form("2e-10"));
    assert_ne!(form("\"1\""), form("1"));
    assert_ne!(form("9007199254740993"), form("9007199254740992"));
}

#[test]
fn nul_is_replaced_where_it_is_one() {
    let clean = |text: &str| without_nul(json(text)).to_value();
    assert_eq!(clean(r#"{"a":["x\u0000y"]}"#), serde_json::json!({"a": ["x\u{FFFD}y"]}));
    assert_eq!(clean(r#""\\u0000""#), serde_json::json!("\\u0000"), "an escaped backslash, then plain text");
    assert_eq!(clean(r#""\\\u0000""#), serde_json::json!("\\\u{FFFD}"));
    assert_eq!(clean("{\"\\u0000\":1,\"\u{FFFD}\":2}"), serde_json::json!({"\u{FFFD}": 2}));
}
