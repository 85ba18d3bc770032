//! Puts the document together: paths from the table of routes, answers from the table of errors.

use super::schemas::schemas;
use crate::http::errors::CODES;
use crate::http::routes::operation::{Answer, Body, EVERYWHERE, Operation, Parameter, Place};
use crate::http::routes::route::Route;
use crate::http::routes::table::ROUTES;
use crate::protocol::compact::MEDIA_TYPE;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// What stands at its head, for a person.
const ABOUT: &str = "A tracking database: takes events, keeps profiles and sessions, recognises the same customer on \
     another device. What each call means, with examples: docs/protocol.md. A GET can be asked as HEAD too. \
     Where there are keys, one is shown as `Authorization: Bearer`: docs/access.md. The calls of other services' \
     client libraries are taken too, and described by those: docs/clients.md.";

/// The OpenAPI document.
#[must_use]
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    let mut groups: Vec<&str> = Vec::new();
    for Route { method, path, about, .. } in ROUTES {
        if !groups.contains(&about.group) {
            groups.push(about.group);
        }
        let path = paths.entry(*path).or_insert_with(|| json!({}));
        if let Some(methods) = path.as_object_mut() {
            methods.insert(method.to_ascii_lowercase(), described(about));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Spoor",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"}
        },
        "servers": [{"url": "/"}],
        "tags": groups.iter().map(|group| json!({"name": group})).collect::<Value>(),
        "paths": paths,
        "components": {"schemas": schemas(), "responses": refusals()}
    })
}

fn described(operation: &Operation) -> Value {
    let Operation { id, group, says, parameters, body, answer, refused } = operation;
    let mut described = json!({
        "operationId": id,
        "tags": [group],
        "summary": says,
        "responses": responses(answer, refused)
    });
    if let Some(members) = described.as_object_mut() {
        if !parameters.is_empty() {
            members.insert("parameters".to_owned(), parameters.iter().map(parameter).collect());
        }
        if let Some(content) = sent(body) {
            members.insert("requestBody".to_owned(), json!({"required": true, "content": content}));
        }
    }
    described
}

fn parameter(parameter: &Parameter) -> Value {
    let place = match parameter.place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
    };
    json!({
        "name": parameter.name,
        "in": place,
        "required": parameter.needed,
        "description": parameter.says,
        "schema": reference(parameter.schema)
    })
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn sent(body: &Body) -> Option<Value> {
    Some(match body {
        Body::None => return None,
        Body::Json(schema) => json!({"application/json": {"schema": reference(schema)}}),
        Body::Either(schema) => json!({"application/json": {"schema": reference(schema)}, MEDIA_TYPE: {}}),
        Body::Compact => json!({MEDIA_TYPE: {}}),
    })
}

fn responses(answer: &Answer, refused: &[u16]) -> Value {
    let page = |schema: &str| {
        json!({
            "type": "object",
            "required": ["items", "cursor"],
            "properties": {
                "items": {"type": "array", "items": reference(schema)},
                "cursor": {"type": ["string", "null"], "description": "Where the next page begins; null at the end"}
            }
        })
    };
    let content = match answer {
        Answer::Json(schema) => json!({"application/json": {"schema": reference(schema)}}),
        Answer::Either(schema) => json!({"application/json": {"schema": reference(schema)}, MEDIA_TYPE: {}}),
        Answer::PageOf(schema) => json!({"application/json": {"schema": page(schema)}}),
        Answer::Compact => json!({MEDIA_TYPE: {}}),
        // Each line, and the data of each event, is one of them: the form has no word for that.
        Answer::Stream(schema) => {
            let says = format!("Each line, or the data of each event, is one `{schema}`");
            json!({
                "application/x-ndjson": {"schema": {"type": "string", "description": says}},
                "text/event-stream": {"schema": {"type": "string", "description": says}}
            })
        }
        Answer::Text(kind) => json!({*kind: {"schema": {"type": "string"}}}),
    };
    let mut responses = Map::new();
    responses.insert("200".to_owned(), json!({"description": "Done", "content": content}));
    let statuses: BTreeSet<u16> = EVERYWHERE.iter().chain(refused).copied().collect();
    for status in statuses {
        responses
            .insert(status.to_string(), json!({"$ref": format!("#/components/responses/Refused{status}")}));
    }
    Value::Object(responses)
}

/// For each status of the table what it looks like, with its codes.
fn refusals() -> Value {
    let statuses: BTreeSet<u16> = CODES.iter().map(|(_, status)| *status).collect();
    let refusal = |status: u16| {
        let codes: Vec<&str> = CODES.iter().filter(|(_, of)| *of == status).map(|(code, _)| *code).collect();
        let schema = json!({
            "allOf": [reference("Error"), {"properties": {"code": {"enum": codes}}}]
        });
        let content = json!({"application/json": {"schema": schema}});
        (format!("Refused{status}"), json!({"description": codes.join(", "), "content": content}))
    };
    Value::Object(statuses.into_iter().map(refusal).collect())
}
