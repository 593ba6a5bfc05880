//! What a newcomer finds on the first start: a working key, a few people, a template.
//! Reads: the store. Writes: rows that are missing. Never: overwrites what somebody changed.

use std::collections::BTreeMap;
use std::path::Path;

use campana_bus::clock;
use campana_identity::{ApiKey, DEFAULT_TENANT, Role as KeyRole};
use campana_notify::store::{
    EmailTemplate, InAppTemplate, Recipient, Store, Template, TemplateChannels, TextTemplate,
};

use secrecy::SecretString;

use super::Listeners;
use crate::apps::App;
use crate::cli::keys as cli_keys;
use crate::config::Role;
use crate::discovery::write_private;

/// Who is there on the first start; their webhooks go to the sandbox.
pub const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];

/// The admin key that `up` prints, kept readable for its owner only.
pub async fn dev_key(store: &Store, data_dir: &Path) -> anyhow::Result<String> {
    kept_key(store, &data_dir.join("dev-key"), "campana up", KeyRole::Admin).await
}

/// The sender key that the demo page gets.
pub async fn demo_key(store: &Store, data_dir: &Path) -> anyhow::Result<String> {
    kept_key(store, &data_dir.join("demo-key"), "demo page", KeyRole::Sender).await
}

/// The keys of the applications beside the platform, each its own, so that one can be revoked.
pub async fn app_keys(
    store: &Store,
    data_dir: &Path,
) -> anyhow::Result<[SecretString; App::ALL.len()]> {
    let mut keys = App::ALL.map(|_| SecretString::default());
    for app in App::ALL {
        // Its patients and dentists are recipients, and its pages get their tokens from the gateway.
        let role = if app == App::Clinic { KeyRole::Admin } else { KeyRole::Sender };
        let file = data_dir.join("apps").join(format!("{}-key", app.name()));
        let name = format!("application {}", app.name());
        keys[app as usize] = kept_key(store, &file, &name, role).await?.into();
    }
    Ok(keys)
}

async fn kept_key(store: &Store, file: &Path, name: &str, role: KeyRole) -> anyhow::Result<String> {
    if let Ok(text) = std::fs::read_to_string(file)
        && let Ok(key) = ApiKey::parse(text.trim())
        && let Some(row) = store.key_by_hash(&key.hash().to_string()).await?
        && row.is_live(clock::now())
    {
        return Ok(key.expose().to_owned());
    }
    let key = cli_keys::create(store, DEFAULT_TENANT, name, role, None).await?;
    write_private(file, key.expose().as_bytes())?;
    Ok(key.expose().to_owned())
}

/// People to ring, and a template to try.
pub async fn demo(store: &Store, listeners: &Listeners) -> anyhow::Result<()> {
    let now = clock::now();
    for (index, name) in PEOPLE.into_iter().enumerate() {
        if store.recipient(DEFAULT_TENANT, name).await?.is_some() {
            continue;
        }
        let recipient = Recipient {
            tenant: DEFAULT_TENANT.to_owned(),
            id: name.to_owned(),
            email: Some(format!("{name}@example.com")),
            // A range that is reserved for fiction.
            phone: Some(format!("+1202555010{index}")),
            whatsapp: None,
            webhook_url: Some(format!("{}/webhook/{name}", listeners.http(Role::Sandbox))),
            webhook_secret: None,
            locale: None,
            preferences: BTreeMap::new(),
            created_at: now,
            updated_at: now,
        };
        store.put_recipient(&recipient).await?;
    }
    if store.template(DEFAULT_TENANT, "welcome").await?.is_none() {
        store.put_template(&welcome()).await?;
    }
    Ok(())
}

fn welcome() -> Template {
    let now = clock::now();
    Template {
        tenant: DEFAULT_TENANT.to_owned(),
        key: "welcome".to_owned(),
        channels: TemplateChannels {
            in_app: Some(InAppTemplate {
                title: "Welcome, {{ name }}".to_owned(),
                body: "Your account is ready.".to_owned(),
                url: None,
            }),
            email: Some(EmailTemplate {
                subject: "Welcome, {{ name }}".to_owned(),
                text: "Hello {{ name }},\n\nyour account is ready.\n".to_owned(),
                html: Some(
                    "<p>Hello <b>{{ name }}</b>,</p><p>your account is ready.</p>".to_owned(),
                ),
            }),
            sms: Some(TextTemplate {
                text: "Welcome, {{ name }}. Your account is ready.".to_owned(),
            }),
            ..TemplateChannels::default()
        },
        created_at: now,
        updated_at: now,
    }
}
