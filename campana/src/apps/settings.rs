//! What the applications need of the platform's configuration, put into it.
//! Reads: the configuration. Writes: the sections `edge` and `gateway` of it. Never: overrules a namespace that a user
//! configured.

use campana_identity::Allow;
use campana_ws_edge::NamespaceOptions;

use super::plan::{App, Ports};
use crate::config::Config;

/// A member of a room whose page is loaded anew neither left nor came.
const CHAT_LEAVE_DEBOUNCE_MS: u64 = 3_000;

/// Adds origins, namespaces and what else the READMEs of the applications ask for.
pub fn apply(config: &mut Config, ports: &Ports) {
    for app in App::ALL {
        add_origins(&mut config.edge.allowed_origins, ports.origins(app));
    }
    // The bell of the chat marks as read at the gateway; the others' pages ask their own server.
    add_origins(&mut config.gateway.cors_origins, ports.origins(App::Chat));
    // Who is named while away is told by the bell.
    config.edge.presence.user_events = true;
    for namespace in namespaces() {
        if !config.edge.namespaces.iter().any(|one| one.name == namespace.name) {
            config.edge.namespaces.push(namespace);
        }
    }
}

fn add_origins(list: &mut Vec<String>, origins: [String; 2]) {
    if list.iter().any(|one| one == "*") {
        return;
    }
    for origin in origins {
        if !list.contains(&origin) {
            list.push(origin);
        }
    }
}

fn namespaces() -> [NamespaceOptions; 5] {
    let named =
        |name: &str| NamespaceOptions { name: name.to_owned(), ..NamespaceOptions::default() };
    [
        NamespaceOptions { subscribe: vec![Allow::OwnUser], ..named("clinic") },
        NamespaceOptions {
            history: Vec::new(),
            presence: vec![Allow::Subscriber],
            track_presence: true,
            join_leave: true,
            leave_debounce_ms: CHAT_LEAVE_DEBOUNCE_MS,
            ..named("chat")
        },
        NamespaceOptions {
            publish: vec![Allow::Token],
            history: Vec::new(),
            history_size: 0,
            ..named("chattyping")
        },
        named("shop"),
        named("support"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Sources};

    fn config(overrides: &[(&str, &str)]) -> Config {
        let overrides = overrides.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        config::load(&Sources { file: None, overrides: overrides.collect() }).unwrap().0
    }

    fn applied(overrides: &[(&str, &str)]) -> Config {
        let mut config = config(overrides);
        apply(&mut config, &Ports::moved(0));
        config.check().unwrap();
        config
    }

    #[test]
    fn defaults_get_everything_that_the_readmes_ask_for() {
        let config = applied(&[]);
        let names: Vec<&str> = config.edge.namespaces.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["clinic", "chat", "chattyping", "shop", "support"]);
        assert!(config.edge.presence.user_events);
        for port in [8082, 8090, 8091, 8092] {
            for host in ["127.0.0.1", "localhost"] {
                let origin = format!("http://{host}:{port}");
                assert!(config.edge.allowed_origins.contains(&origin), "{origin}");
            }
        }
        assert_eq!(config.gateway.cors_origins, ["http://127.0.0.1:8082", "http://localhost:8082"]);
    }

    #[test]
    fn what_a_user_configured_stays() {
        let config = applied(&[
            ("edge.namespaces", r#"[{name="mine"},{name="chat",history_size=7}]"#),
            ("edge.allowed_origins", r#"["https://a.example"]"#),
            ("gateway.cors_origins", r#"["*"]"#),
        ]);
        let names: Vec<&str> = config.edge.namespaces.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["mine", "chat", "clinic", "chattyping", "shop", "support"]);
        assert_eq!(config.edge.namespaces[1].history_size, 7);
        assert_eq!(config.edge.allowed_origins[0], "https://a.example");
        assert_eq!(config.gateway.cors_origins, ["*"]);
    }
}
