//! The document as a page for people: what can be called, with what, and what comes back. Plain HTML: no script, and
//! nothing from elsewhere.

use serde_json::{Map, Value};
use std::fmt::Write;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
     color:#1b1b1b;background:#fff}code,pre{font:14px/1.4 ui-monospace,monospace}h2{margin-top:2.5rem}\
     h3{margin:2rem 0 .25rem}h3 b{display:inline-block;min-width:4.5rem}table{border-collapse:collapse;margin:.5rem 0}\
     td,th{border-bottom:1px solid #ddd;padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}\
     pre{background:#f5f5f5;padding:.8rem;overflow:auto}@media(prefers-color-scheme:dark){\
     body{color:#e6e6e6;background:#161616}pre{background:#222}td,th{border-color:#333}a{color:#8ab4f8}}";

/// The page of an OpenAPI document of ours.
pub(super) fn page(document: &Value) -> String {
    let mut out = String::new();
    // Writing to a text does not fail.
    let _ = write_page(&mut out, document);
    out
}

fn write_page(out: &mut String, document: &Value) -> std::fmt::Result {
    let info = at(document, "/info");
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style><h1>{title} {version}</h1>\
         <p>{about}</p><p>For programs: <a href=\"/openapi.json\">openapi.json</a>.</p>",
        title = escaped(at(info, "/title")),
        version = escaped(at(info, "/version")),
        about = escaped(at(info, "/description")),
    )?;
    for group in groups(document) {
        write!(out, "<h2>{}</h2>", escaped(&group.into()))?;
        for (path, method, operation) in operations(document) {
            if at(operation, "/tags/0") == group {
                write_operation(out, path, method, operation)?;
            }
        }
    }
    out.push_str("<h2>What goes in and comes back</h2>");
    for (name, schema) in members(at(document, "/components/schemas")) {
        let shown = format!("{schema:#}").replace("#/components/schemas/", "");
        let name = escaped(&name.as_str().into());
        write!(out, "<h3 id=\"{name}\">{name}</h3><pre>{}</pre>", escaped(&shown.into()))?;
    }
    out.push_str("</html>\n");
    Ok(())
}

fn write_operation(out: &mut String, path: &str, method: &str, operation: &Value) -> std::fmt::Result {
    write!(
        out,
        "<h3><b>{}</b> <code>{}</code></h3><p>{}</p>",
        method.to_uppercase(),
        escaped(&path.into()),
        escaped(at(operation, "/summary")),
    )?;
    let parameters = at(operation, "/parameters").as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        out.push_str("<table><tr><th>parameter<th>in<th>what it is");
        for parameter in parameters {
            let needed = if at(parameter, "/required") == true { " (needed)" } else { "" };
            write!(
                out,
                "<tr><td><code>{}</code><td>{}<td>{}{needed}",
                escaped(at(parameter, "/name")),
                escaped(at(parameter, "/in")),
                escaped(at(parameter, "/description")),
            )?;
        }
        out.push_str("</table>");
    }
    for (kind, content) in members(at(operation, "/requestBody/content")) {
        write!(out, "<p>Sent: {}</p>", content_of(kind, content))?;
    }
    for (kind, content) in members(at(operation, "/responses/200/content")) {
        write!(out, "<p>Answered: {}</p>", content_of(kind, content))?;
    }
    let refused = members(at(operation, "/responses")).filter(|(status, _)| *status != "200");
    let refused: Vec<&str> = refused.map(|(status, _)| status.as_str()).collect();
    write!(out, "<p>Refused with: {}</p>", refused.join(", "))
}

/// A kind of content, and the schema of it if it has a name.
fn content_of(kind: &str, content: &Value) -> String {
    let schema = at(content, "/schema");
    let (before, named) = match at(schema, "/properties/items/items/$ref").as_str() {
        Some(item) => ("a page of ", Some(item)),
        None => ("", at(schema, "/$ref").as_str()),
    };
    let kind = escaped(&kind.into());
    match named.and_then(|named| named.rsplit('/').next()) {
        Some(name) => format!("<code>{kind}</code>, {before}<a href=\"#{name}\">{name}</a>"),
        None => format!("<code>{kind}</code>"),
    }
}

fn operations(document: &Value) -> impl Iterator<Item = (&String, &String, &Value)> {
    members(at(document, "/paths")).flat_map(|(path, methods)| {
        members(methods).map(move |(method, operation)| (path, method, operation))
    })
}

/// The headings.
fn groups(document: &Value) -> impl Iterator<Item = &str> {
    at(document, "/tags").as_array().into_iter().flatten().filter_map(|tag| at(tag, "/name").as_str())
}

/// What stands at a place; null if nothing does.
fn at<'a>(value: &'a Value, place: &str) -> &'a Value {
    static NOTHING: Value = Value::Null;
    value.pointer(place).unwrap_or(&NOTHING)
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// Text as HTML; what stands between backquotes, as code.
fn escaped(text: &Value) -> String {
    let text = text.as_str().unwrap_or_default();
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let mut out = String::with_capacity(text.len());
    for (number, part) in text.split('`').enumerate() {
        out.push_str(match number % 2 {
            _ if number == 0 => "",
            1 => "<code>",
            _ => "</code>",
        });
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::document;
    use super::*;

    #[test]
    fn each_operation_and_each_schema_is_on_the_page() {
        let document = document();
        let page = page(&document);
        for (path, method, _) in operations(&document) {
            let heading = format!("<b>{}</b> <code>{path}</code>", method.to_uppercase());
            assert!(page.contains(&heading), "{method} {path}");
        }
        for (name, _) in members(&document["components"]["schemas"]) {
            assert!(page.contains(&format!("id=\"{name}\"")), "{name}");
        }
        assert!(!page.contains("<script") && !page.contains("http://"));
    }

    #[test]
    fn text_is_not_taken_for_html() {
        assert_eq!(escaped(&"`a` or `b`".into()), "<code>a</code> or <code>b</code>");
        assert_eq!(escaped(&"<a href=\"x\">&</a>".into()), "&lt;a href=&quot;x&quot;&gt;&amp;&lt;/a&gt;");
    }
}
