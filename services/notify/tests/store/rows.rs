//! Recipients, templates and API keys: written, read, listed, deleted.

use std::collections::BTreeMap;

use campana_notify::store::{InAppTemplate, KeyRow, Recipient, Store, Template, TemplateChannels};

use crate::at;

pub async fn recipients(store: &Store, tenant: &str) {
    assert_eq!(store.recipient(tenant, "alice").await.unwrap(), None);
    let mut alice = Recipient {
        tenant: tenant.to_owned(),
        id: "alice".to_owned(),
        email: Some("alice@example.com".to_owned()),
        webhook_secret: Some("whsec_x".to_owned()),
        preferences: BTreeMap::from([("email".to_owned(), false)]),
        created_at: at(0),
        updated_at: at(0),
        ..Recipient::default()
    };
    assert!(store.put_recipient(&alice).await.unwrap());
    assert_eq!(store.recipient(tenant, "alice").await.unwrap().as_ref(), Some(&alice));
    let changed = Recipient {
        email: None,
        phone: Some("+15551234567".to_owned()),
        webhook_secret: None,
        created_at: at(5),
        updated_at: at(5),
        ..alice.clone()
    };
    assert!(!store.put_recipient(&changed).await.unwrap(), "a second write is no creation");
    alice.email = None;
    alice.phone.clone_from(&changed.phone);
    alice.updated_at = at(5);
    assert_eq!(
        store.recipient(tenant, "alice").await.unwrap().as_ref(),
        Some(&alice),
        "the secret stays"
    );
}

pub async fn recipient_names(store: &Store, tenant: &str) {
    for name in ["bob", "*.>", "🔔", "o'hara; DROP TABLE recipients"] {
        store.ensure_recipient(tenant, name, at(9)).await.unwrap();
        store.ensure_recipient(tenant, name, at(10)).await.unwrap();
        assert_eq!(store.recipient(tenant, name).await.unwrap().unwrap().created_at, at(9));
    }
    let ids = ["alice", "nobody", "🔔"].map(str::to_owned);
    let mut found: Vec<_> =
        store.recipients_by_id(tenant, &ids).await.unwrap().into_iter().map(|row| row.id).collect();
    found.sort();
    assert_eq!(found, ["alice", "🔔"]);
    assert!(store.recipients_by_id(tenant, &[]).await.unwrap().is_empty());

    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = store.list_recipients(tenant, after.as_deref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        listed.extend(page.into_iter().map(|row| row.id));
    }
    listed.sort();
    assert_eq!(listed, ["*.>", "alice", "bob", "o'hara; DROP TABLE recipients", "🔔"]);
    assert!(store.delete_recipient(tenant, "bob").await.unwrap());
    assert!(!store.delete_recipient(tenant, "bob").await.unwrap());
}

pub async fn templates(store: &Store, tenant: &str) {
    let channels = TemplateChannels {
        in_app: Some(InAppTemplate {
            title: "Hi {{ name }}".to_owned(),
            ..InAppTemplate::default()
        }),
        ..TemplateChannels::default()
    };
    let template = |key: &str, when| Template {
        tenant: tenant.to_owned(),
        key: key.to_owned(),
        channels: channels.clone(),
        created_at: at(when),
        updated_at: at(when),
    };
    assert!(store.put_template(&template("welcome", 0)).await.unwrap());
    assert!(!store.put_template(&template("welcome", 1)).await.unwrap());
    assert!(store.put_template(&template("bye", 2)).await.unwrap());
    let found = store.template(tenant, "welcome").await.unwrap().unwrap();
    assert_eq!(
        (found.channels, found.created_at, found.updated_at),
        (channels.clone(), at(0), at(1))
    );
    assert_eq!(
        store.templates_by_key(tenant, &["bye".to_owned(), "x".to_owned()]).await.unwrap().len(),
        1
    );
    let first = store.list_templates(tenant, None, 1).await.unwrap();
    assert_eq!(first[0].key, "bye");
    assert_eq!(store.list_templates(tenant, Some("bye"), 9).await.unwrap()[0].key, "welcome");
    assert!(store.delete_template(tenant, "bye").await.unwrap());
    assert_eq!(store.template(tenant, "bye").await.unwrap(), None);
}

pub async fn keys(store: &Store, tenant: &str) {
    let key = KeyRow {
        id: "key_1".to_owned(),
        tenant: tenant.to_owned(),
        name: "shop".to_owned(),
        role: "sender".to_owned(),
        hash: "aa".repeat(32),
        created_at: at(0),
        expires_at: Some(at(100)),
        revoked_at: None,
    };
    store.insert_key(&key).await.unwrap();
    store.insert_key(&KeyRow { id: "key_2".to_owned(), ..key.clone() }).await.unwrap();
    assert_eq!(
        store.key_by_hash(&key.hash).await.unwrap().as_ref(),
        Some(&key),
        "a known hash is left alone"
    );
    assert_eq!(store.key_by_hash("bb").await.unwrap(), None);
    assert!(key.is_live(at(99)) && !key.is_live(at(100)));
    assert!(!store.revoke_key("somebody else", "key_1", at(1)).await.unwrap());
    assert!(store.revoke_key(tenant, "key_1", at(1)).await.unwrap());
    assert!(!store.revoke_key(tenant, "key_1", at(2)).await.unwrap());
    let listed = store.list_keys(tenant).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].revoked_at, Some(at(1)));
    assert!(!listed[0].is_live(at(50)));
}
