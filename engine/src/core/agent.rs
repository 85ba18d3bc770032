//! Device class, operating system and browser, from a user agent.
//!
//! Owns the rules' data (`data/user_agents.json`, those of uap-core) and what a device class is; the matching is the
//! `ua-parser` crate's business. Called when a request is prepared: the result is recorded with the request, so that
//! newer rules change no history.

use crate::core::truncated;
use crate::limits::{AGENT_NAME_MAX_BYTES, USER_AGENT_MAX_BYTES};
use bincode::{Decode, Encode};
use std::sync::LazyLock;
use ua_parser::{Extractor, Regexes};

/// What a user agent says about the device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Agent {
    /// Its class.
    pub device: DeviceClass,
    /// Operating system, such as `Windows`, `iOS` or `Android`.
    pub os: Option<String>,
    /// Browser or client library, such as `Chrome`, `Mobile Safari` or `curl`.
    pub browser: Option<String>,
}

/// The class of a device. An iPad whose browser asks for desktop pages says that it is a Mac, and counts as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum DeviceClass {
    /// Unknown, a client library, or none of the others.
    #[default]
    Other,
    /// Also a laptop.
    Desktop,
    /// A phone.
    Mobile,
    /// A tablet or an electronic book.
    Tablet,
    /// A television, or a box or stick at one.
    Tv,
    /// A game console.
    Console,
    /// A crawler, a monitor, or a browser without a person.
    Bot,
}

impl DeviceClass {
    /// As it is written in a reply.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Desktop => "desktop",
            Self::Mobile => "mobile",
            Self::Tablet => "tablet",
            Self::Tv => "tv",
            Self::Console => "console",
            Self::Bot => "bot",
        }
    }
}

/// Recognises a user agent. Text beyond [`USER_AGENT_MAX_BYTES`] is not read.
///
/// Costs some microseconds for a common browser and up to a millisecond for a long rarity; the first call in a
/// process compiles the rules (some 0.2 seconds, 15 MB). [`super::agents::Agents`] saves most of it.
#[must_use]
pub fn parse_agent(user_agent: &str) -> Agent {
    let user_agent = truncated(user_agent.trim(), USER_AGENT_MAX_BYTES);
    let Some(rules) = &*RULES else { return UNKNOWN };
    if user_agent.is_empty() {
        return UNKNOWN;
    }
    let (browser, os, device) = rules.extract(user_agent);
    let browser = browser.map(|found| found.family.into_owned());
    let os = os.map(|found| found.os.into_owned());
    let family = device.map(|found| found.device.into_owned());
    let device = device_class(
        user_agent,
        browser.as_deref().unwrap_or_default(),
        os.as_deref().unwrap_or_default(),
        family.as_deref().unwrap_or_default(),
    );
    Agent { device, os: os.as_deref().and_then(name), browser: browser.as_deref().and_then(name) }
}

const UNKNOWN: Agent = Agent { device: DeviceClass::Other, os: None, browser: None };

/// Compiled at the first use. `None` cannot happen with the rules that are built in: a test compiles them.
static RULES: LazyLock<Option<Extractor<'static>>> = LazyLock::new(|| {
    let rules: Regexes<'static> = serde_json::from_str(include_str!("../../data/user_agents.json")).ok()?;
    Extractor::try_from(rules).ok()
});

fn name(found: &str) -> Option<String> {
    let found = truncated(found.trim(), AGENT_NAME_MAX_BYTES);
    (!found.is_empty() && found != "Other").then(|| found.to_owned())
}

/// Parts of a user agent that say more than the operating system beside them.
const TV_MARKS: &[&str] = &[
    "SmartTV",
    "SMART-TV",
    "Smart-TV",
    "HbbTV",
    "AppleTV",
    "Apple TV",
    "GoogleTV",
    "Android TV",
    "BRAVIA",
    "CrKey",
    "Roku",
    "Web0S",
    "NetCast",
    "; AFT",
];
const CONSOLE_MARKS: &[&str] = &["PlayStation", "Xbox", "Nintendo"];
const DESKTOP_SYSTEMS: &[&str] = &[
    "Windows",
    "Mac OS X",
    "Mac OS",
    "Linux",
    "Chrome OS",
    "Ubuntu",
    "Debian",
    "Fedora",
    "Red Hat",
    "CentOS",
    "SUSE",
    "Gentoo",
    "Mandriva",
    "Mageia",
    "Puppy",
    "Slackware",
    "Kubuntu",
    "Arch Linux",
    "FreeBSD",
    "OpenBSD",
    "NetBSD",
    "Solaris",
];

/// The rules name products, not classes; this tells one from the other. First match wins:
///
/// 1. crawlers, by the rules' own name for them, and browsers that say they run without a screen;
/// 2. televisions and consoles, which otherwise look like the system they are built from;
/// 3. tablets: by name, or a *browser* on Android that does not say `Mobile` (the convention of its makers). An app on
///    Android never says it, so that without a browser it counts as a phone;
/// 4. phones, by system or by `Mobi`, which is what all makers of browsers put in;
/// 5. desktops, by system.
fn device_class(user_agent: &str, browser: &str, os: &str, family: &str) -> DeviceClass {
    let says = |marks: &[&str]| marks.iter().any(|mark| user_agent.contains(mark));
    if family == "Spider" || browser.starts_with("Headless") || says(&["Chrome-Lighthouse"]) {
        DeviceClass::Bot
    } else if says(TV_MARKS) || os == "tvOS" || os == "ATV OS X" || os.starts_with("Chromecast") {
        DeviceClass::Tv
    } else if says(CONSOLE_MARKS) {
        DeviceClass::Console
    } else if is_tablet(user_agent, os, family) {
        DeviceClass::Tablet
    } else if says(&["Mobi"]) || is_phone(os, family) {
        DeviceClass::Mobile
    } else if DESKTOP_SYSTEMS.contains(&os) {
        DeviceClass::Desktop
    } else {
        DeviceClass::Other
    }
}

fn is_tablet(user_agent: &str, os: &str, family: &str) -> bool {
    let android_browser =
        os == "Android" && user_agent.starts_with("Mozilla/") && !user_agent.contains("Mobi");
    android_browser
        || family.starts_with("iPad")
        || family.starts_with("Kindle")
        || family == "Generic Tablet"
        || os == "BlackBerry Tablet OS"
}

fn is_phone(os: &str, family: &str) -> bool {
    matches!(
        os,
        "Android" | "iOS" | "KaiOS" | "HarmonyOS" | "BlackBerry OS" | "Windows Phone" | "Windows Mobile"
    ) || os.starts_with("Symbian")
        || matches!(family, "Generic Smartphone" | "Generic Feature Phone")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KNOWN: &[(&str, &str, &str, &str)] = &[
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
            "desktop",
            "Windows",
            "Chrome",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
            "desktop",
            "Windows",
            "Edge",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
            "desktop",
            "Linux",
            "Firefox",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
            "desktop",
            "Mac OS X",
            "Safari",
        ),
        (
            "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
            "desktop",
            "Chrome OS",
            "Chrome",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 OPR/125.0.0.0",
            "desktop",
            "Windows",
            "Opera",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
            "mobile",
            "iOS",
            "Mobile Safari",
        ),
        (
            "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/142.0.7444.77 Mobile/15E148 Safari/604.1",
            "tablet",
            "iOS",
            "Chrome Mobile iOS",
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
            "mobile",
            "Android",
            "Chrome Mobile",
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
            "tablet",
            "Android",
            "Chrome",
        ),
        (
            "Mozilla/5.0 (Linux; Android 11; CUBOT NOTE 20) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
            "mobile",
            "Android",
            "Chrome Mobile",
        ),
        (
            "Mozilla/5.0 (Linux; Android 14; SM-S928B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
            "mobile",
            "Android",
            "Samsung Internet",
        ),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot", "", "Googlebot"),
        (
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.7390.122 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "bot",
            "Android",
            "Googlebot",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/142.0.0.0 Safari/537.36",
            "bot",
            "Linux",
            "HeadlessChrome",
        ),
        (
            "Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) 76.0.3809.146/6.0 TV Safari/537.36",
            "tv",
            "Tizen",
            "Safari",
        ),
        (
            "Mozilla/5.0 (PlayStation; PlayStation 5/9.00) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0 Safari/605.1.15",
            "console",
            "",
            "Safari",
        ),
        ("curl/8.14.1", "other", "", "curl"),
        (
            "Dalvik/2.1.0 (Linux; U; Android 15; Pixel 9 Build/AP4A.250205.002)",
            "mobile",
            "Android",
            "Android",
        ),
        ("ShopApp/5.2 (iPhone; iOS 18.6; Scale/3.00)", "mobile", "iOS", "Mobile Safari UI/WKWebView"),
        ("ShopApp/512 CFNetwork/3826.600.41 Darwin/24.6.0", "mobile", "iOS", "ShopApp"),
    ];

    #[test]
    fn real_user_agents_are_recognised() {
        let shown = |value: Option<String>| value.unwrap_or_default();
        for (user_agent, device, os, browser) in KNOWN {
            let agent = parse_agent(user_agent);
            let found = (agent.device.as_str(), shown(agent.os), shown(agent.browser));
            assert_eq!(found, (*device, (*os).to_owned(), (*browser).to_owned()), "{user_agent}");
        }
    }

    #[test]
    fn nothing_is_made_of_nothing() {
        for user_agent in ["", "   ", "-", "ünïcödé", "\u{0}"] {
            assert_eq!(parse_agent(user_agent), UNKNOWN, "{user_agent:?}");
        }
    }

    #[test]
    fn text_beyond_the_bound_is_not_read_and_names_are_short() {
        let padding = "é".repeat(USER_AGENT_MAX_BYTES);
        assert_eq!(parse_agent(&format!("{padding} Googlebot/2.1")), UNKNOWN);
        let long = parse_agent(&format!("{}/1.0 CFNetwork/1.0 Darwin/24.0.0", "App".repeat(300)));
        assert!(long.browser.is_none_or(|browser| browser.len() <= AGENT_NAME_MAX_BYTES));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn never_panics(user_agent in "\\PC{0,80}|(Mozilla/5.0 |\\(|Android |; |bot|/1.0 |CFNetwork|Darwin|Mobile ){0,60}") {
            let _ = parse_agent(&user_agent);
        }
    }
}
