//! The AsyncAPI text: what is said on the WebSocket, and in server-sent events, with the schemas of OpenAPI.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::channel::{CHANNELS, Channel, EventDoc};
use crate::routes::openapi_json;

/// The AsyncAPI 3.0 text of all channels: the same on every call and machine.
pub fn asyncapi_json() -> String {
    serde_json::to_string_pretty(&document()).expect("the description is plain data")
}

/// A message by its name, what it is for, and its form.
type Described = (&'static str, &'static str, Value);

/// What clients say.
fn said() -> [Described; 4] {
    [
        (
            "auth",
            "Shows a key; what is asked for before that waits.",
            auth(),
        ),
        ("subscribe", "Follows a channel.", subscribe()),
        ("unsubscribe", "Follows a channel no longer.", unsubscribe()),
        (
            "ping",
            "Asks whether the server is there.",
            object("ping", json!({}), &[]),
        ),
    ]
}

/// What they are told beside events.
fn told() -> [Described; 5] {
    let ok = json!({"status": {"const": "ok"}});
    [
        (
            "auth_ok",
            "The key is good.",
            object("auth", ok, &["status"]),
        ),
        (
            "subscription",
            "A channel is followed from now on, or no longer.",
            subscription(),
        ),
        ("error", "What was asked for is not done.", failure()),
        (
            "lagged",
            "The client was too slow, and follows the channel no longer; it can go on from the cursor.",
            lagged(),
        ),
        (
            "pong",
            "The server is there.",
            object("pong", json!({}), &[]),
        ),
    ]
}

/// Every event of every channel.
fn events() -> impl Iterator<Item = Described> {
    let channels = CHANNELS.iter();
    channels.flat_map(|channel| {
        let events = channel.events().iter();
        events.map(|event| (event.name, event.doc, envelope(*channel, event)))
    })
}

fn references<'a>(place: &str, names: impl Iterator<Item = &'a str>) -> Vec<Value> {
    names
        .map(|name| json!({"$ref": format!("{place}/{name}")}))
        .collect()
}

fn document() -> Value {
    let (said, told): (Vec<_>, Vec<_>) =
        (said().into(), told().into_iter().chain(events()).collect());
    let mut messages = Map::new();
    for (name, doc, payload) in said.iter().chain(&told) {
        let message = json!({"name": name, "summary": doc, "payload": payload});
        messages.insert((*name).to_owned(), message);
    }
    let all: Map<_, _> = messages
        .keys()
        .map(|name| {
            let reference = json!({"$ref": format!("#/components/messages/{name}")});
            (name.clone(), reference)
        })
        .collect();
    let of = |described: &[Described]| {
        let names = described.iter().map(|(name, ..)| *name);
        references("#/channels/socket/messages", names)
    };
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Cairn",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Events as they happen. The same messages come as server-sent events under \
                `/api/v1/stream/{channel}`, where the id of an event is its cursor.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {"socket": {
            "address": "/ws",
            "title": "The WebSocket",
            "description": channels_doc(),
            "messages": all,
        }},
        "operations": {
            "say": {"action": "receive", "channel": {"$ref": "#/channels/socket"}, "messages": of(&said)},
            "hear": {"action": "send", "channel": {"$ref": "#/channels/socket"}, "messages": of(&told)},
        },
        "components": {"messages": messages, "schemas": schemas()},
    })
}

fn channels_doc() -> String {
    let line = |channel: &&dyn Channel| {
        let filters = channel.filters().join("`, `");
        format!(
            "- `{}`: {} Filters: `{filters}`.",
            channel.name(),
            channel.doc()
        )
    };
    let lines: Vec<_> = CHANNELS.iter().map(line).collect();
    format!("What can be followed:\n\n{}", lines.join("\n"))
}

/// An object with a `type`, and more.
fn object(kind: &str, more: Value, required: &[&str]) -> Value {
    let mut properties = json!({"type": {"const": kind}});
    if let (Some(all), Value::Object(more)) = (properties.as_object_mut(), more) {
        all.extend(more);
    }
    let required: Vec<_> = ["type"].iter().chain(required).collect();
    json!({"type": "object", "required": required, "properties": properties})
}

fn auth() -> Value {
    object("auth", json!({"api_key": {"type": "string"}}), &["api_key"])
}

fn names() -> Vec<&'static str> {
    CHANNELS.iter().map(|channel| channel.name()).collect()
}

fn subscribe() -> Value {
    let filters: BTreeSet<_> = CHANNELS
        .iter()
        .flat_map(|channel| channel.filters())
        .collect();
    let more = json!({
        "channel": {"enum": names()},
        "filters": {
            "type": "object",
            "description": "Equality, all of them; each channel knows some.",
            "propertyNames": {"enum": filters},
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        },
        "from_cursor": {
            "type": ["string", "null"],
            "description": "Begins behind this cursor, of an event or of a page, or with all that ever happened: `start`.",
        },
    });
    object("subscribe", more, &["channel"])
}

fn unsubscribe() -> Value {
    let more = json!({"subscription_id": {"type": "string"}, "channel": {"enum": names()}});
    object("unsubscribe", more, &[])
}

fn subscription() -> Value {
    let more = json!({
        "channel": {"enum": names()},
        "subscription_id": {"type": "string"},
        "status": {"enum": ["confirmed", "ended"]},
        "cursor": {"type": "string"},
    });
    object(
        "subscription",
        more,
        &["channel", "subscription_id", "status"],
    )
}

fn failure() -> Value {
    let more = json!({"code": {"type": "string"}, "message": {"type": "string"}, "details": {}});
    object("error", more, &["code", "message"])
}

fn lagged() -> Value {
    let more = json!({"subscription_id": {"type": "string"}, "cursor": {"type": "string"}});
    object("lagged", more, &["cursor"])
}

fn envelope(channel: &dyn Channel, event: &EventDoc) -> Value {
    let more = json!({
        "channel": {"const": channel.name()},
        "event": {"const": event.name},
        "cursor": {"type": "string", "description": "Goes on behind this event."},
        "timestamp": {"type": "string", "format": "date-time"},
        "data": {"$ref": format!("#/components/schemas/{}", event.data)},
    });
    object(
        "event",
        more,
        &["channel", "event", "cursor", "timestamp", "data"],
    )
}

/// The schemas of data, with those that they name, as OpenAPI has them.
fn schemas() -> Map<String, Value> {
    let openapi: Value = serde_json::from_str(&openapi_json()).unwrap_or_default();
    let known = &openapi["components"]["schemas"];
    let mut schemas = Map::new();
    let mut wanted: Vec<String> = CHANNELS
        .iter()
        .flat_map(|channel| channel.events())
        .map(|event| event.data.to_owned())
        .collect();
    while let Some(name) = wanted.pop() {
        if !schemas.contains_key(&name) {
            let schema = known[&name].clone();
            named_in(&schema, &mut wanted);
            schemas.insert(name, schema);
        }
    }
    schemas
}

fn named_in(schema: &Value, names: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            let named = fields.get("$ref").and_then(Value::as_str);
            let name = named.and_then(|text| text.strip_prefix("#/components/schemas/"));
            names.extend(name.map(str::to_owned));
            fields.values().for_each(|value| named_in(value, names));
        }
        Value::Array(items) => items.iter().for_each(|item| named_in(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_described_by_a_schema_that_is_there() {
        let document = document();
        for event in CHANNELS.iter().flat_map(|channel| channel.events()) {
            let payload = &document["components"]["messages"][event.name]["payload"];
            assert_eq!(payload["properties"]["event"]["const"], event.name);
            let schema = &document["components"]["schemas"][event.data];
            assert!(schema["properties"].is_object(), "{}", event.data);
        }
    }
}
