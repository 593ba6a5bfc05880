//! The default file is complete and true; wrong input gets a clear answer.

use super::*;

fn with(overrides: &[(&str, &str)]) -> anyhow::Result<Config> {
    let overrides =
        overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    load(&Sources { file: None, overrides }).map(|(config, _)| config)
}

#[test]
fn the_default_file_alone_is_a_valid_configuration() {
    let config = with(&[]).unwrap();
    assert_eq!(config.listen.gateway, 8080);
    assert_eq!(config.nats.durability, Durability::Power);
    assert_eq!(config.nats.embedded.binary, None);
}

#[test]
fn the_default_file_says_what_the_code_does() {
    let config = with(&[]).unwrap();
    assert_eq!(config.ops, OpsOptions::default());
    assert_eq!(config.gateway, GatewayOptions::default());
    assert_eq!(format!("{:?}", config.edge), format!("{:?}", EdgeOptions::default()));
    assert_eq!(format!("{:?}", config.dispatcher), format!("{:?}", DispatcherOptions::default()));
    assert_eq!(format!("{:?}", config.recorder), format!("{:?}", RecorderOptions::default()));
    assert_eq!(format!("{:?}", config.channels), format!("{:?}", ChannelOptions::default()));
}

#[test]
fn unknown_keys_are_errors_that_help() {
    let error = with(&[("gateway.rate_per_secnd", "5")]).unwrap_err().to_string();
    assert!(error.contains("unknown option gateway.rate_per_secnd"), "{error}");
    assert!(error.contains("gateway.rate_per_second"), "{error}");
}

#[test]
fn wrong_types_and_contradictions_are_errors() {
    let error = with(&[("listen.gateway", "\"eighty\"")]).unwrap_err().to_string();
    assert!(error.contains("listen.gateway"), "{error}");
    assert!(with(&[("nats.replicas", "3")]).unwrap_err().to_string().contains("cluster"));
    assert!(with(&[("listen.host", "localhost")]).unwrap_err().to_string().contains("IP address"));
    assert!(with(&[("nats.durability", "maybe")]).is_err());
}

#[test]
fn a_text_may_look_like_a_number() {
    let config =
        with(&[("channels.twilio.sms_from", "+12025550199"), ("edge.tokens.issuer", "12")])
            .unwrap();
    assert_eq!(config.channels.twilio.sms_from, "+12025550199");
    assert_eq!(config.edge.tokens.issuer, "12");
    let error = with(&[("gateway.rate_burst", "many")]).unwrap_err().to_string();
    assert!(error.contains("gateway.rate_burst") && error.contains("(flag)"), "{error}");
}

#[test]
fn optional_keys_are_known_although_they_are_off() {
    let config = with(&[("channels.email.ca_file", "\"/ca.pem\"")]).unwrap();
    assert_eq!(config.channels.email.ca_file.as_deref(), Some(std::path::Path::new("/ca.pem")));
}

#[test]
fn secrets_are_not_shown() {
    let overrides = vec![
        ("auth.token_secret".to_owned(), "\"hunter2\"".to_owned()),
        ("database.url".to_owned(), "\"postgres://u:hunter2@h/d\"".to_owned()),
        ("channels.email.password".to_owned(), "\"hunter2\"".to_owned()),
        ("channels.twilio.auth_token".to_owned(), "\"hunter2\"".to_owned()),
        ("channels.webhook.default_secret".to_owned(), "\"hunter2\"".to_owned()),
    ];
    let (config, figment) = load(&Sources { file: None, overrides }).unwrap();
    let shown = serde_json::to_string(&explain(&figment)).unwrap();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn every_option_is_documented() {
    let undocumented: Vec<&str> = DEFAULT_FILE
        .lines()
        .zip(DEFAULT_FILE.lines().skip(1))
        .filter(|(before, line)| {
            line.contains(" = ") && !line.starts_with("# ") && before.is_empty()
        })
        .map(|(_, line)| line)
        .collect();
    assert!(undocumented.is_empty(), "{undocumented:?}");
}
