//! Settings: layers, origins, what is refused and by which key, and that what is printed is read back.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use spoor::settings::{Keys, Merges, Normalizer, ProfileIds, Sessions, TraitKind, TraitPolicy};
use spoor_server::settings::{Configuration, Effective, Flags, Origin, SettingsError, load_from, print};
use std::path::PathBuf;

fn load(file: &str, environment: &[(&str, &str)], flags: Flags) -> Result<Effective, SettingsError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spoor.toml");
    std::fs::write(&path, file).unwrap();
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load_from(&Flags { config: Some(path), ..flags }, &environment)
}

fn refused(file: &str) -> String {
    load(file, &[], Flags::default()).map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}

#[test]
fn nothing_said_is_the_defaults() {
    let effective = load_from(&Flags::default(), &[]).unwrap();
    assert_eq!(effective.configuration, Configuration::default());
    assert_eq!(effective.configuration.server.listen.to_string(), "127.0.0.1:8420");
    assert_eq!(effective.configuration.data_dir, PathBuf::from("./spoor-data"));
}

#[test]
fn each_layer_lies_over_the_one_before() {
    let file =
        "[server]\nlisten = \"127.0.0.1:1\"\nconnections = 7\n[store]\ndir = \"/file\"\ncache = \"1MiB\"";
    let environment = [
        ("SPOOR_SERVER_LISTEN", "127.0.0.1:2"),
        ("SPOOR_STORE_DIR", "/environment"),
        ("SPOOR_SERVER_STREAMS", "9"),
        ("PATH", "/bin"),
    ];
    let flags = Flags { data: Some(PathBuf::from("/flag")), ..Flags::default() };
    let effective = load(file, &environment, flags).unwrap();
    let Configuration { server, data_dir, engine, .. } = &effective.configuration;
    assert_eq!((server.listen.port(), server.connections, server.streams), (2, 7, 9));
    assert_eq!((data_dir.to_str(), engine.store.cache_bytes), (Some("/flag"), 1 << 20));
    let hosts =
        load_from(&Flags::default(), &[("SPOOR_SERVER_HOSTS".to_owned(), "a.example, b.example".to_owned())]);
    assert_eq!(hosts.unwrap().configuration.server.hosts, ["a.example", "b.example"]);
    let origins = ["server.listen", "server.connections", "server.body", "store.dir", "store.cache"]
        .map(|key| effective.origin(key));
    assert_eq!(origins, [Origin::Environment, Origin::File, Origin::Default, Origin::Flag, Origin::File]);
}

#[test]
fn the_environment_can_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spoor.toml");
    std::fs::write(&path, "[server]\nstreams = 3").unwrap();
    let environment = [("SPOOR_CONFIG".to_owned(), path.to_str().unwrap().to_owned())];
    assert_eq!(load_from(&Flags::default(), &environment).unwrap().configuration.server.streams, 3);
}

#[test]
fn a_whole_file_arrives() {
    let file = r#"
        [sources.shop]
        ids = "space"
        keys = "public"
        sessions = "inactivity"
        inactivity_timeout = "10m"
        default_country = "AU"
        conversions = ["order"]
        page_views = []
        merges = "verified"
        [sources."back end"]
        server = true
        profile_ids = "client"
        [identifiers.email]
        priority = 9
        [identifiers.crm]
        unique = true
        merges = false
        values_per_profile = 3
        fragments_max = 7
        blocked = ["0"]
        blocked_patterns = ["^test"]
        [[identification]]
        event = "sign-in"
        identifiers = { email = "properties.email", crm = "context.user.id" }
        verified = true
        [[identification]]
        event = "*"
        source = "shop"
        identifiers.phone = "traits.phone"
        [traits.height]
        kind = "value"
        policy = "max"
    "#;
    let engine = load(file, &[], Flags::default()).unwrap().configuration.engine;
    let shop = &engine.sources["shop"];
    assert_eq!(
        (shop.ids.as_deref(), shop.keys, shop.sessions),
        (Some("space"), Keys::Public, Sessions::Inactivity)
    );
    assert_eq!((shop.inactivity_timeout_ms, shop.default_country.as_deref()), (600_000, Some("AU")));
    assert_eq!((shop.conversions.as_slice(), shop.page_views.len()), (&["order".to_owned()][..], 0));
    let backend = &engine.sources["back end"];
    assert!(backend.server && backend.profile_ids == ProfileIds::Client && backend.keys == Keys::Secret);
    let email = &engine.identifiers["email"];
    assert_eq!((email.normalize, email.priority, email.unique), (Normalizer::Email, 9, false));
    let crm = &engine.identifiers["crm"];
    assert_eq!((crm.normalize, crm.priority, crm.unique), (Normalizer::Text, 100, true));
    assert_eq!((crm.merges, crm.values_per_profile, crm.fragments_max), (Merges::Never, 3, 7));
    assert_eq!(
        (crm.blocked.as_slice(), crm.blocked_patterns.as_slice()),
        (&["0".to_owned()][..], &["^test".to_owned()][..])
    );
    assert_eq!((email.merges, email.values_per_profile, email.fragments_max), (Merges::Always, 20, 1_000));
    assert_eq!(engine.identifiers.len(), 4);
    assert_eq!((shop.merges, backend.merges), (Merges::Verified, Merges::Always));
    let points: Vec<_> = engine
        .identification
        .iter()
        .map(|point| (point.event.as_str(), point.source.as_str(), point.identifiers.len(), point.verified))
        .collect();
    assert_eq!(points, [("sign-in", "*", 2, true), ("*", "shop", 1, false)]);
    assert_eq!(engine.identification[0].identifiers["crm"], "context.user.id");
    let height = &engine.traits["height"];
    assert_eq!((height.kind, height.policy), (Some(TraitKind::Value), TraitPolicy::Max));
}

#[test]
fn what_is_wrong_is_named() {
    let table = [
        ("[server]\nlisen = 1", "settings: server.lisen: unknown key"),
        ("[servers]", "settings: servers: unknown key"),
        ("server = 1", "settings: server: a table is expected, this is integer"),
        ("[server]\nlisten = \"here\"", "settings: server.listen: here is no address such as 127.0.0.1:8420"),
        ("[store]\ndir = \"\"", "settings: store.dir: it must name a directory"),
        (
            "[store]\ncache = 5",
            "settings: store.cache: a size with its unit, such as \"256MiB\", is expected, this is 5",
        ),
        (
            "[server]\nbody_timeout = \"5\"",
            "settings: server.body_timeout: a duration with its unit, such as \"30m\", is expected, this is \"5\"",
        ),
        (
            "[server]\nconnections = -1",
            "settings: server.connections: a whole number in range is expected, this is -1",
        ),
        (
            "[server]\nhosts = [\"http://shop.example\"]",
            "settings: server.hosts: names are expected, such as \"spoor.shop.example\", without scheme and port",
        ),
        ("[server]\nbody_timeout = \"8d\"", "settings: server.body_timeout: must be 7d or less"),
        ("[server]\ntls = true", "settings: server.tls: a table is expected, this is boolean"),
        (
            "[server]\ntls = { certificate = \"cert.pem\" }",
            "settings: server.tls.key: needed beside the other one",
        ),
        ("[server.tls]\nkey = \"key.pem\"", "settings: server.tls.certificate: needed beside the other one"),
        ("[server.tls]\nkey = \" \"", "settings: server.tls.key: it must name a file"),
        ("[server.tls]\nkeys = \"key.pem\"", "settings: server.tls.keys: unknown key"),
        ("[store]\ncache = \"0B\"", "settings: store.cache: must be more than nothing"),
        ("[store]\noverlay = \"1B\"", "settings: store.overlay: must be 128KiB or more"),
        ("[store]\nsegment = \"1B\"", "settings: store.segment: must be 64KiB or more"),
        (
            "[sources.a]\ndefault_country = \"XX\"",
            "settings: sources.a.default_country: no country with telephone numbers of its own has this code \
             (ISO 3166-1)",
        ),
        (
            "[identifiers.email]\nblocked = [\"not an email\"]",
            "settings: identifiers.email.blocked: \"not an email\" blocks nothing: it cannot be read as email \
             without a country",
        ),
        (
            "[traits.x]\nkind = \"counter\"\npolicy = \"any\"",
            "settings: traits.x.policy: chooses among values; counters are summed and collections united",
        ),
        (
            "[webhooks.a]\nsecret = \"sixteen bytes and more\"",
            "settings: webhooks.a.url: must be an address such as https://hooks.shop.example/spoor",
        ),
        (
            "[webhooks.a]\nurl = \"http://shop.example/hook\"\nca = \"ca.pem\"\nsecret = \"sixteen bytes and more\"",
            "settings: webhooks.a.ca: is of no use without https: an http:// address shows no certificate",
        ),
        (
            "[webhooks.a]\nurl = \"http://shop.example/hook\"\nsecret = \"short\"",
            "settings: webhooks.a.secret: must have 16 bytes or more: whoever guesses it can pretend",
        ),
        (
            "[webhooks.\"../a\"]",
            "settings: webhooks.../a: the name is also that of a file: up to 64 letters from a to z, digits, - and _",
        ),
        ("[server]\nconnections = 0", "settings: server.connections: must be 1 or more"),
        ("[server]\nheaders = \"1KiB\"", "settings: server.headers: must be 8KiB or more"),
        (
            "[server]\nbody = \"64MiB\"",
            "settings: server.body_decompressed: must not be less than server.body",
        ),
        (
            "[sources.a]\nkeys = \"open\"",
            "settings: sources.a.keys: \"secret\" or \"public\" is expected, this is \"open\"",
        ),
        (
            "[sources.a]\nserver = \"yes\"",
            "settings: sources.a.server: true or false is expected, this is \"yes\"",
        ),
        (
            "[sources.a]\ninactivity_timeout = \"8d\"",
            "settings: sources.a.inactivity_timeout: must be from 1s to 7d",
        ),
        ("[sources.a]\nkey = \"x\"", "settings: sources.a.key: unknown key"),
        (
            "[sources.\" a\"]",
            "settings: sources.\" a\": the name must be 1 to 128 bytes without blanks around it",
        ),
        (
            "[sources.a]\nmerges = \"never\"",
            "settings: sources.a.merges: true or false or \"verified\" is expected, this is \"never\"",
        ),
        (
            "[identifiers.x]\nmerges = \"true\"",
            "settings: identifiers.x.merges: true or false or \"verified\" is expected, this is \"true\"",
        ),
        (
            "[identifiers.\"a:b\"]",
            "settings: identifiers.\"a:b\": the name must not contain a colon, which ends it where an identifier is written",
        ),
        ("[identifiers.x]\nfragments_max = 0", "settings: identifiers.x.fragments_max: must be 1 or more"),
        (
            "[identifiers.x]\nfragments_max = -1",
            "settings: identifiers.x.fragments_max: a whole number in range is expected, this is -1",
        ),
        (
            "[identifiers.x]\nvalues_per_profile = 10001",
            "settings: identifiers.x.values_per_profile: must be from 1 to 10000",
        ),
        (
            "[identifiers.x]\nblocked = \"a\"",
            "settings: identifiers.x.blocked: a list of text is expected, this is \"a\"",
        ),
        (
            "[identifiers.x]\nblocked = [\" \"]",
            "settings: identifiers.x.blocked: an empty value identifies nobody anyway",
        ),
        (
            "[identifiers.x]\nblocked_patterns = [\"a\", \"(\"]",
            "settings: identifiers.x.blocked_patterns: \"(\" is no regular expression: unclosed group",
        ),
        (
            "[identifiers.x]\nexpires_after = \"999ms\"",
            "settings: identifiers.x.expires_after: must lie between one second and 36500 days",
        ),
        (
            "[identification]\nevent = \"x\"",
            "settings: identification: a list of tables is expected, this is table",
        ),
        (
            "[[identification]]\nsource = \"*\"",
            "settings: identification[0].event: an event type of 1 to 128 bytes is needed, or \"*\" for any",
        ),
        (
            "[[identification]]\nevent = \"x\"",
            "settings: identification[0].identifiers: at least one namespace and its path are needed",
        ),
        (
            "[[identification]]\nevent = \"x\"\nidentifiers.email = \"properties.email\"\n[[identification]]\nevent = \"y\"\nsource = \"shop\"",
            "settings: identification[1].source: no source \"shop\" is declared; \"*\" is any",
        ),
        (
            "[sources.a]\n[[identification]]\nevent = \"y\"\nsource = \"default\"",
            "settings: identification[0].source: no source \"default\" is declared; \"*\" is any",
        ),
        (
            "[[identification]]\nevent = \"x\"\nidentifiers.crm = \"properties.crm\"",
            "settings: identification[0].identifiers.crm: no namespace \"crm\" is declared",
        ),
        (
            "[[identification]]\nevent = \"x\"\nidentifiers.email = \"property.email\"",
            "settings: identification[0].identifiers.email: a path such as properties.email is expected, this is \"property.email\": it begins with properties, context or traits",
        ),
        (
            "[[identification]]\nevent = \"x\"\nidentifiers.email = \"traits.\"",
            "settings: identification[0].identifiers.email: a path such as properties.email is expected, this is \"traits.\": it begins with properties, context or traits",
        ),
        (
            "[[identification]]\nevent = \"x\"\nidentifiers.email = \"traits.a\"\nidentifers.phone = \"traits.b\"",
            "settings: identification[0].identifers: unknown key",
        ),
        (
            "[[identification]]\nevent = \"x\"\nverified = \"yes\"",
            "settings: identification[0].verified: true or false is expected, this is \"yes\"",
        ),
        (
            "[traits.x]\npolicy = \"last\"",
            "settings: traits.x.policy: \"latest\" or \"first\" or \"max\" or \"min\" or \"any\" or \"all\" is expected, this is \"last\"",
        ),
    ];
    for (file, expected) in table {
        assert_eq!(refused(file), expected, "{file}");
    }
    assert!(refused("[server").contains("line 1"), "{}", refused("[server"));
}

#[test]
fn contradictions_name_the_key() {
    let public = "[sources.web]\nkeys = \"public\"\n";
    for (line, key) in [("profile_ids = \"client\"", "profile_ids"), ("server = true", "server")] {
        let error = load(&format!("{public}{line}"), &[], Flags::default()).unwrap_err();
        assert_eq!(error.key, format!("sources.web.{key}"));
        assert!(error.reason.contains("keys = \"public\""), "{error}");
    }
}

/// Whether it may be listened on is known once the keys are: `tests/access.rs`.
#[test]
fn an_address_is_read() {
    for (text, expected) in [
        ("127.8.0.1:80", "127.8.0.1:80"),
        ("[::1]:80", "[::1]:80"),
        ("localhost:80", "127.0.0.1:80"),
        ("0.0.0.0:80", "0.0.0.0:80"),
    ] {
        let flags = Flags { listen: Some(text.to_owned()), ..Flags::default() };
        let effective = load("", &[], flags).unwrap();
        assert_eq!(effective.configuration.server.listen.to_string(), expected);
    }
}

#[test]
fn a_source_says_which_pages_it_has() {
    let file = "[sources.web]\norigins = [\"https://shop.example\"]\n[sources.open]\norigins = \"*\"\n[sources.shop]\n";
    let effective = load(file, &[], Flags::default()).unwrap();
    let origins = &effective.configuration.origins;
    let admits = |source: &str, page: &str| origins.get(source).map(|origins| origins.admit(page));
    assert_eq!(admits("web", "https://shop.example"), Some(true));
    assert_eq!(admits("web", "http://shop.example"), Some(false));
    assert_eq!(admits("open", "null"), Some(true));
    assert_eq!(admits("shop", "https://shop.example"), None);
    let printed = print(&effective);
    for line in ["origins = [\"https://shop.example\"]  # file", "origins = [\"*\"]  # file"] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is not in\n{printed}");
    }
    assert_eq!(load(&printed, &[], Flags::default()).unwrap().configuration, effective.configuration);
    for wrong in
        ["[\"shop.example\"]", "[\"*\", \"https://shop.example\"]", "[\"https://shop.example/\"]", "[\"\"]"]
    {
        let error = load(&format!("[sources.web]\norigins = {wrong}"), &[], Flags::default()).unwrap_err();
        assert_eq!(error.key, "sources.web.origins", "{wrong}");
    }
}

#[test]
fn unknown_variables_are_named_unless_a_cluster_sets_them() {
    let outcome = |name: &str| load("", &[(name, "1")], Flags::default()).map(drop).map_err(|e| e.key);
    assert_eq!(outcome("SPOOR_SERVER_LISEN"), Err("SPOOR_SERVER_LISEN".to_owned()));
    assert_eq!(outcome("SPOOR_STORE_CASH"), Err("SPOOR_STORE_CASH".to_owned()));
    for name in ["SPOOR_SERVER_PORT", "SPOOR_SERVER_SERVICE_HOST", "SPOOR_SERVER_PORT_8420_TCP", "SPOOR_PORT"]
    {
        assert_eq!(outcome(name), Ok(()), "{name}");
    }
}

#[test]
fn what_is_printed_names_origins_and_is_read_back() {
    let file = r#"
        [server]
        streams = 3
        log_format = "json"
        tls.certificate = "c/cert.pem"
        tls.key = "c/key.pem"
        [sources."a b"]
        ids = "x\"y"
        conversions = ["a", "b"]
        merges = false
        [identifiers.crm]
        normalize = "email"
        merges = "verified"
        fragments_max = 5
        blocked = ["info@c.example"]
        blocked_patterns = ['^\d+"$']
        [identifiers."a.b"]
        [[identification]]
        event = "sign in"
        source = "a b"
        identifiers = { crm = "properties.a", "a.b" = "traits.b" }
        [traits.t]
        kind = "value"
        policy = "any"
    "#;
    let flags = Flags { data: Some(PathBuf::from("/d \"q\"")), ..Flags::default() };
    let effective =
        load(file, &[("SPOOR_STORE_CACHE", "1536B"), ("SPOOR_SERVER_TLS_KEY", "e/key.pem")], flags).unwrap();
    let printed = print(&effective);
    for line in [
        "listen = \"127.0.0.1:8420\"  # default",
        "streams = 3  # file",
        "tls.certificate = \"c/cert.pem\"  # file",
        "tls.key = \"e/key.pem\"  # environment",
        "cache = \"1536B\"  # environment",
        "[sources.\"a b\"]",
        "conversions = [\"a\", \"b\"]  # file",
        "page_views = [\"page-view\"]  # default",
        "merges = false  # file",
        "merges = \"verified\"  # file",
        "merges = true  # default",
        "fragments_max = 5  # file",
        "values_per_profile = 20  # default",
        "[[identification]]",
        "event = \"sign in\"  # file",
        "verified = false  # default",
        "identifiers.crm = \"properties.a\"  # file",
        "identifiers.\"a.b\" = \"traits.b\"  # file",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is not in\n{printed}");
    }
    assert!(printed.contains("  # flag"), "{printed}");
    let again = load(&printed, &[], Flags::default()).unwrap();
    assert_eq!(again.configuration, effective.configuration);
}
