//! Rows of the store as the plan and the renderer see them.
//! Reads: its arguments. Writes: nothing. Never: keeps a secret; a webhook's stays in the store.

use std::collections::BTreeMap;

use super::{ChannelTemplate, RecipientView, TemplateView};
use crate::contracts::Channel;
use crate::store::{Recipient, Template};

/// The row as the plan sees it; names of channels that this version does not know are left out.
#[must_use]
pub fn recipient_view(row: &Recipient) -> RecipientView {
    let preferences = Channel::ALL
        .into_iter()
        .filter_map(|channel| {
            row.preferences.get(channel.as_str()).map(|wanted| (channel, *wanted))
        })
        .collect();
    RecipientView {
        email: row.email.clone(),
        phone: row.phone.clone(),
        whatsapp: row.whatsapp.clone(),
        webhook_url: row.webhook_url.clone(),
        preferences,
    }
}

/// The row as the renderer sees it.
#[must_use]
pub fn template_view(row: &Template) -> TemplateView {
    let sources = row.channels.clone();
    let some = |text: String| Some(text);
    let mut channels = BTreeMap::new();
    if let Some(part) = sources.in_app {
        channels.insert(
            Channel::InApp,
            ChannelTemplate {
                title: some(part.title),
                text: some(part.body),
                html: None,
                url: part.url,
            },
        );
    }
    if let Some(part) = sources.email {
        channels.insert(
            Channel::Email,
            ChannelTemplate {
                title: some(part.subject),
                text: some(part.text),
                html: part.html,
                url: None,
            },
        );
    }
    for (channel, part) in [(Channel::Sms, sources.sms), (Channel::Whatsapp, sources.whatsapp)] {
        if let Some(part) = part {
            channels.insert(
                channel,
                ChannelTemplate { text: some(part.text), ..ChannelTemplate::default() },
            );
        }
    }
    if let Some(part) = sources.webhook {
        channels.insert(
            Channel::Webhook,
            ChannelTemplate {
                title: some(part.title),
                text: some(part.body),
                ..ChannelTemplate::default()
            },
        );
    }
    TemplateView { key: row.key.clone(), channels }
}
