//! What the browser libraries fetch before they send anything: settings in which there is no other destination than
//! this server. Without them they send nothing.

use serde_json::{Value, json};

/// Where the server is reached from outside, as the request that asks says it.
#[derive(Debug, Clone, Copy)]
pub struct Reached<'a> {
    /// Host and port.
    pub authority: &'a str,
    /// Whether the server speaks TLS, or somebody in front of it.
    pub tls: bool,
}

/// The settings for Segment's `analytics.js`: events go to where the settings came from. What it would tell of its own
/// working to its maker is off.
#[must_use]
pub fn segment_settings(key: &str, reached: Reached<'_>) -> Value {
    let protocol = if reached.tls { "https" } else { "http" };
    json!({
        "integrations": {
            "Segment.io": {
                "apiKey": key,
                "apiHost": format!("{}/v1", reached.authority),
                "protocol": protocol,
                "unbundledIntegrations": [],
                "addBundledMetadata": false,
                "maybeBundledConfigIds": {},
                "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]}
            }
        },
        "plan": {
            "track": {"__default": {"enabled": true, "integrations": {}}},
            "identify": {"__default": {"enabled": true}},
            "group": {"__default": {"enabled": true}}
        },
        "edgeFunction": {},
        "analyticsNextEnabled": true,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": false,
        "remotePlugins": []
    })
}

/// The settings for RudderStack's libraries: a source that is on, and no destination.
#[must_use]
pub fn rudder_settings(key: &str) -> Value {
    json!({
        "isHosted": true,
        "source": {
            "id": key,
            "name": key,
            "writeKey": key,
            "enabled": true,
            "workspaceId": "spoor",
            "config": {
                "statsCollection": {"errors": {"enabled": false}, "metrics": {"enabled": false}}
            },
            "connections": [],
            "destinations": [],
            "dataplanes": {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_go_to_where_the_settings_came_from() {
        let settings = segment_settings("web", Reached { authority: "127.0.0.1:8420", tls: false });
        let destination = &settings["integrations"]["Segment.io"];
        assert_eq!(destination["apiHost"], "127.0.0.1:8420/v1");
        assert_eq!((&destination["protocol"], &destination["apiKey"]), (&json!("http"), &json!("web")));
        let settings = segment_settings("web", Reached { authority: "spoor.shop.example", tls: true });
        assert_eq!(settings["integrations"]["Segment.io"]["protocol"], "https");
        assert_eq!(rudder_settings("web")["source"]["enabled"], true);
    }
}
