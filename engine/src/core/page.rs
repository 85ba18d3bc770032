//! What a session wants to know of an event: its page, its referrer, its campaign, its value.
//!
//! Owns where these stand in the properties and the contexts, and which place goes first. It reads JSON text that is
//! known to be sound and builds no tree of it: members that are not asked for are skipped. Called when a request is
//! prepared; what it finds is recorded.

use crate::core::decimal::Decimal;
use crate::core::truncated;
use crate::json::Json;
use crate::limits::{PAGE_MAX_BYTES, UTM_MAX_BYTES};
use bincode::{Decode, Encode};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The facts of one event. Empty text counts as absent, and so does a value of another type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct PageFacts {
    /// Address or path, at most [`PAGE_MAX_BYTES`] of it: `properties.url`, else `properties.path`, else `page.url` of
    /// the event's context, else of the request's.
    pub page: Option<String>,
    /// Address, at most [`PAGE_MAX_BYTES`] of it: `properties.referrer`, else `page.referrer` of the event's context,
    /// else of the request's.
    pub referrer: Option<String>,
    /// The campaign.
    pub utm: Utm,
    /// `properties.value` if it is a number, else `properties.revenue` if that is one.
    pub value: Option<Decimal>,
}

/// The campaign that brought a customer, each value at most [`UTM_MAX_BYTES`].
///
/// All from one place: the query of the page if it has any `utm_` parameter, else `campaign` of the event's context,
/// else of the request's (`source`, `medium`, `name` for the campaign, `term`, `content`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Utm {
    /// `utm_source`.
    pub source: Option<String>,
    /// `utm_medium`.
    pub medium: Option<String>,
    /// `utm_campaign`.
    pub campaign: Option<String>,
    /// `utm_term`.
    pub term: Option<String>,
    /// `utm_content`.
    pub content: Option<String>,
}

impl Utm {
    /// Whether nothing is known of a campaign.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Name and value of what is known: `source`, `medium`, `campaign`, `term`, `content`.
    #[must_use]
    pub fn pairs(&self) -> Vec<(String, String)> {
        let all = [
            ("source", &self.source),
            ("medium", &self.medium),
            ("campaign", &self.campaign),
            ("term", &self.term),
            ("content", &self.content),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect()
    }

    /// From the query of an address or a path; of a parameter given twice the first that is not empty.
    fn from_page(page: &str) -> Self {
        let mut utm = Self::default();
        let address = page.split_once('#').map_or(page, |(address, _)| address);
        let Some((_, query)) = address.split_once('?') else { return utm };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "utm_source" => &mut utm.source,
                "utm_medium" => &mut utm.medium,
                "utm_campaign" => &mut utm.campaign,
                "utm_term" => &mut utm.term,
                "utm_content" => &mut utm.content,
                _ => continue,
            };
            if place.is_none() {
                *place = bounded(&value, UTM_MAX_BYTES);
            }
        }
        utm
    }

    fn from_campaign(campaign: &Campaign<'_>) -> Self {
        let value = |raw: Option<&RawValue>| text(raw).and_then(|value| bounded(&value, UTM_MAX_BYTES));
        Self {
            source: value(campaign.source),
            medium: value(campaign.medium),
            campaign: value(campaign.name),
            term: value(campaign.term),
            content: value(campaign.content),
        }
    }
}

/// Reads the facts of one event from its properties, its own context and that of its request. Never fails: what is
/// not where it should be is absent. Costs one pass over each text.
#[must_use]
pub fn page_facts(
    properties: Option<&Json>,
    event_context: Option<&Json>,
    request_context: Option<&Json>,
) -> PageFacts {
    let properties: Properties<'_> = members(properties);
    let contexts: [Context<'_>; 2] = [members(event_context), members(request_context)];
    let pages = contexts.each_ref().map(|context| object::<ContextPage<'_>>(context.page));

    let places = [properties.url, properties.path].into_iter().chain(pages.iter().map(|page| page.url));
    let page = places.into_iter().find_map(text);
    let referrers = [properties.referrer].into_iter().chain(pages.iter().map(|page| page.referrer));
    let referrer = referrers.into_iter().find_map(text);
    let utm = page.as_deref().map(Utm::from_page).filter(|utm| !utm.is_empty());
    let campaigns = || contexts.iter().map(|context| Utm::from_campaign(&object(context.campaign)));

    PageFacts {
        utm: utm.or_else(|| campaigns().find(|utm| !utm.is_empty())).unwrap_or_default(),
        page: page.and_then(|page| bounded(&page, PAGE_MAX_BYTES)),
        referrer: referrer.and_then(|referrer| bounded(&referrer, PAGE_MAX_BYTES)),
        value: [properties.value, properties.revenue]
            .into_iter()
            .flatten()
            .find_map(|raw| Decimal::parse(raw.get())),
    }
}

#[derive(Default, Deserialize)]
struct Properties<'a> {
    #[serde(borrow)]
    url: Option<&'a RawValue>,
    #[serde(borrow)]
    path: Option<&'a RawValue>,
    #[serde(borrow)]
    referrer: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    revenue: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Context<'a> {
    #[serde(borrow)]
    page: Option<&'a RawValue>,
    #[serde(borrow)]
    campaign: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct ContextPage<'a> {
    #[serde(borrow)]
    url: Option<&'a RawValue>,
    #[serde(borrow)]
    referrer: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Campaign<'a> {
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    medium: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    term: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

/// The members of an object that are asked for; none if it is no object. (An array would be read as a struct too.)
fn members<'a, T: Default + Deserialize<'a>>(json: Option<&'a Json>) -> T {
    json.filter(|json| json.is_object())
        .and_then(|json| serde_json::from_str(json.as_str()).ok())
        .unwrap_or_default()
}

/// The same of an object within one.
fn object<'a, T: Default + Deserialize<'a>>(raw: Option<&'a RawValue>) -> T {
    raw.map(RawValue::get)
        .filter(|text| text.starts_with('{'))
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

/// A string that is not empty, without white space at its ends; copied only if it holds escapes.
fn text(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let json = raw?.get();
    if !json.starts_with('"') {
        return None;
    }
    let value = match serde_json::from_str::<&str>(json) {
        Ok(borrowed) => Cow::Borrowed(borrowed.trim()),
        Err(_) => Cow::Owned(serde_json::from_str::<String>(json).ok()?.trim().to_owned()),
    };
    (!value.is_empty()).then_some(value)
}

/// At most so many bytes, without white space at the ends and without U+0000; `None` if nothing is left.
fn bounded(value: &str, bytes_max: usize) -> Option<String> {
    let value = value.trim().replace('\0', "");
    let value = truncated(&value, bytes_max).trim();
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn facts(properties: &Value, event_context: &Value, request_context: &Value) -> PageFacts {
        let [properties, event_context, request_context] =
            [properties, event_context, request_context].map(|value| Json::from_value(value).unwrap());
        page_facts(Some(&properties), Some(&event_context), Some(&request_context))
    }

    fn pairs(utm: &Utm) -> String {
        let pairs: Vec<_> = utm.pairs().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join(" ")
    }

    #[test]
    fn the_nearest_place_goes_first() {
        let context = |name: &str| json!({"page": {"url": format!("{name}-url"), "referrer": format!("{name}-referrer")}});
        let (event, request) = (context("event"), context("request"));
        let found = |properties: Value, event: &Value| {
            let facts = facts(&properties, event, &request);
            format!("{} {}", facts.page.unwrap_or_default(), facts.referrer.unwrap_or_default())
        };
        assert_eq!(found(json!({"url": "u", "path": "p", "referrer": "r"}), &event), "u r");
        assert_eq!(found(json!({"url": " ", "path": "p", "referrer": ""}), &event), "p event-referrer");
        assert_eq!(found(json!({"url": 5, "path": null}), &event), "event-url event-referrer");
        assert_eq!(found(json!({}), &json!({"page": {"referrer": "r"}})), "request-url r");
        assert_eq!(found(json!({}), &json!({"page": "text"})), "request-url request-referrer");
        assert_eq!(found(json!(["a", "b", "c", 4, 5]), &json!(7)), "request-url request-referrer");
        assert_eq!(page_facts(None, None, None), PageFacts::default());
    }

    #[test]
    fn a_campaign_comes_from_the_page_or_else_from_a_context() {
        let context = |source: &str| json!({"campaign": {"source": source, "medium": "m", "name": "n", "term": "t", "content": "c"}});
        let (event, request) = (context("event"), context("request"));
        let found = |url: &str, event: &Value| pairs(&facts(&json!({"url": url}), event, &request).utm);
        assert_eq!(
            found(
                "https://shop.example/?utm_source=news&x=1&utm_medium=e%2Dmail&utm_campaign=spring+sale&utm_term=%C3%A9&utm_content=top#utm_source=no",
                &event
            ),
            "source=news medium=e-mail campaign=spring sale term=é content=top"
        );
        assert_eq!(
            found("/a?utm_source=&utm_source=b&utm_source=c", &event),
            "source=b",
            "all from one place"
        );
        assert_eq!(found("/a?x=1", &event), "source=event medium=m campaign=n term=t content=c");
        assert_eq!(
            found("/a#?utm_source=x", &json!({})),
            "source=request medium=m campaign=n term=t content=c"
        );
        assert_eq!(found("/a", &json!({"campaign": {"source": 5, "name": "only"}})), "campaign=only");
        assert_eq!(found("%%%?utm_source=%FF%zz&&=&?", &json!({})), "source=\u{FFFD}%zz");
    }

    #[test]
    fn a_value_is_a_number_and_exact() {
        let found = |properties: &str| {
            page_facts(Some(&Json::parse(properties).unwrap()), None, None)
                .value
                .map(|value| value.to_string())
        };
        assert_eq!(found(r#"{"value":12.10,"revenue":5}"#).as_deref(), Some("12.1"));
        assert_eq!(found(r#"{"value":"12.10","revenue":-0.1}"#).as_deref(), Some("-0.1"));
        assert_eq!(found(r#"{"value":null,"revenue":1e2}"#).as_deref(), Some("100"));
        assert_eq!(found(r#"{"value":0}"#).as_deref(), Some("0"));
        assert_eq!(found(r#"{"value":{"value":1},"revenue":[1]}"#), None);
    }

    #[test]
    fn long_texts_are_cut_between_characters_and_escapes_are_read() {
        let long = "é".repeat(PAGE_MAX_BYTES);
        let url = format!("x{long}?utm_source={long}");
        let found = facts(&json!({"url": url, "referrer": long}), &json!({}), &json!({}));
        assert_eq!(found.page.unwrap().len(), PAGE_MAX_BYTES - 1);
        assert_eq!(found.referrer.unwrap().len(), PAGE_MAX_BYTES);
        assert_eq!(found.utm.source.unwrap().len(), UTM_MAX_BYTES);
        let escaped = Json::parse(r#"{"\u0075rl":"\u002fa\u0000\"b","path":"p"}"#).unwrap();
        assert_eq!(page_facts(Some(&escaped), None, None).page.as_deref(), Some("/a\"b"));
    }

    /// JSON in which the members that matter turn up often, at any depth and of any type.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e18_f64..1e18).prop_map(Value::from),
            "\\PC{0,8}|/a\\?(utm_[a-z]{4,8}=[%&=a-f0-9]{0,8}&?){0,3}".prop_map(Value::from),
        ];
        let key = prop::sample::select(vec![
            "url", "path", "referrer", "value", "revenue", "page", "campaign", "source", "medium", "name",
            "term", "content", "other",
        ]);
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(key.clone(), inner, 0..8).prop_map(|members| members
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect()),
            ]
        })
    }

    /// The same by way of trees.
    fn naive(properties: &Value, contexts: [&Value; 2]) -> (Option<String>, Option<String>, bool) {
        let text =
            |value: &Value| value.as_str().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let member = |value: &Value, path: [&str; 2]| {
            value.as_object().and_then(|value| text(value.get(path[0])?.as_object()?.get(path[1])?))
        };
        let own = |name: &str| properties.as_object().and_then(|value| text(value.get(name)?));
        let of_contexts =
            |name: &'static str| contexts.iter().find_map(|context| member(context, ["page", name]));
        let number =
            ["value", "revenue"].iter().any(|name| properties.get(name).is_some_and(Value::is_number));
        (
            own("url").or_else(|| own("path")).or_else(|| of_contexts("url")),
            own("referrer").or_else(|| of_contexts("referrer")),
            number,
        )
    }

    proptest! {
        #[test]
        fn what_is_read_in_passing_is_what_a_tree_holds(properties in any_json(), event in any_json(), request in any_json()) {
            let found = facts(&properties, &event, &request);
            let (page, referrer, number) = naive(&properties, [&event, &request]);
            prop_assert_eq!(found.page, page);
            prop_assert_eq!(found.referrer, referrer);
            prop_assert_eq!(found.value.is_some(), number);
            prop_assert!(found.utm.pairs().iter().all(|(_, value)| !value.is_empty()));
        }

        #[test]
        fn never_panics(url in ".{0,200}|\\PC{0,50}\\?(utm_source=|%|&|\\+|#|\\?|=|\u{0}|é){0,40}") {
            let found = facts(&json!({"url": url}), &json!({}), &json!({}));
            prop_assert!(found.page.is_none_or(|page| !page.is_empty() && page.len() <= PAGE_MAX_BYTES));
        }
    }
}
