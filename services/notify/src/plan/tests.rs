//! The rules of a plan, row by row, and what holds for every request.

use campana_bus::ids::NotificationId;
use campana_bus::trace::TraceParent;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::contracts::Priority;

const NOW: Micros = Micros(1_700_000_000_000_000);

fn target(id: &str) -> Target {
    Target { id: id.to_owned(), inline: false, email: None, phone: None, webhook_url: None }
}

fn request(to: Vec<Target>, channels: Option<Vec<Channel>>) -> NotificationRequest {
    NotificationRequest {
        id: NotificationId::derived(&["test"]),
        tenant: "default".to_owned(),
        accepted_at: NOW,
        to,
        content: Content::Inline {
            title: "Hi".to_owned(),
            body: "there".to_owned(),
            url: Some("https://x.test/".to_owned()),
        },
        channels,
        priority: Priority::Normal,
        send_at: None,
        expires_at: None,
        metadata: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        stamps: None,
        trace: TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
            .unwrap(),
    }
}

fn person() -> RecipientView {
    RecipientView {
        email: Some("alice@example.test".to_owned()),
        phone: Some("+15550001".to_owned()),
        whatsapp: None,
        webhook_url: Some("https://hook.test/".to_owned()),
        preferences: BTreeMap::new(),
    }
}

fn template(sources: &[(Channel, &str)]) -> CompiledTemplate {
    let channels = sources
        .iter()
        .map(|(channel, text)| {
            (
                *channel,
                ChannelTemplate { text: Some((*text).to_owned()), ..ChannelTemplate::default() },
            )
        })
        .collect();
    CompiledTemplate::compile(&TemplateView { key: "welcome".to_owned(), channels }).unwrap()
}

/// (what the store knows, the target, the channel) -> (status, reason, address)
type Row = (
    &'static str,
    Option<RecipientView>,
    Target,
    Channel,
    DeliveryStatus,
    Option<&'static str>,
    Option<&'static str>,
);

fn rows() -> Vec<Row> {
    use Channel::{Email, InApp, Sms, Webhook, Whatsapp};
    use DeliveryStatus::{Delivered, Failed, Queued, Suppressed};
    let inline = |email: Option<&str>| Target {
        inline: true,
        email: email.map(str::to_owned),
        ..target("alice")
    };
    let off =
        |channel| RecipientView { preferences: BTreeMap::from([(channel, false)]), ..person() };
    let on = RecipientView { preferences: BTreeMap::from([(Email, true)]), ..person() };
    let numbers = RecipientView { whatsapp: Some("+15550002".to_owned()), ..person() };
    let bare = RecipientView { email: Some("  ".to_owned()), ..RecipientView::default() };
    vec![
        (
            "stored address",
            Some(person()),
            target("alice"),
            Email,
            Queued,
            None,
            Some("alice@example.test"),
        ),
        ("switched on", Some(on), target("alice"), Email, Queued, None, Some("alice@example.test")),
        (
            "the request's address wins",
            Some(person()),
            inline(Some("new@example.test")),
            Email,
            Queued,
            None,
            Some("new@example.test"),
        ),
        (
            "inline needs no store",
            None,
            inline(Some("new@example.test")),
            Email,
            Queued,
            None,
            Some("new@example.test"),
        ),
        ("inline without address", None, inline(None), Email, Suppressed, Some(NO_ADDRESS), None),
        (
            "inline falls back to the store",
            Some(person()),
            inline(None),
            Email,
            Queued,
            None,
            Some("alice@example.test"),
        ),
        (
            "preference off",
            Some(off(Email)),
            target("alice"),
            Email,
            Suppressed,
            Some(PREFERENCE_OFF),
            None,
        ),
        (
            "preference off wins over an address in the request",
            Some(off(Email)),
            inline(Some("n@x.test")),
            Email,
            Suppressed,
            Some(PREFERENCE_OFF),
            None,
        ),
        (
            "another channel off",
            Some(off(Sms)),
            target("alice"),
            Email,
            Queued,
            None,
            Some("alice@example.test"),
        ),
        (
            "in-app off",
            Some(off(InApp)),
            target("alice"),
            InApp,
            Suppressed,
            Some(PREFERENCE_OFF),
            None,
        ),
        ("unknown", None, target("alice"), Sms, Suppressed, Some(UNKNOWN_RECIPIENT), None),
        (
            "known without address",
            Some(bare.clone()),
            target("alice"),
            Webhook,
            Suppressed,
            Some(NO_ADDRESS),
            None,
        ),
        (
            "a blank address is none",
            Some(bare),
            target("alice"),
            Email,
            Suppressed,
            Some(NO_ADDRESS),
            None,
        ),
        ("in-app for a stranger", None, target("alice"), InApp, Delivered, None, None),
        ("in-app for a name with wildcards", None, target("a.*.>"), InApp, Delivered, None, None),
        (
            "in-app for a name with a line break",
            None,
            target("a\nb"),
            InApp,
            Failed,
            Some(BAD_RECIPIENT),
            None,
        ),
        ("sms", Some(person()), target("alice"), Sms, Queued, None, Some("+15550001")),
        (
            "whatsapp falls back to the phone",
            Some(person()),
            target("alice"),
            Whatsapp,
            Queued,
            None,
            Some("+15550001"),
        ),
        (
            "whatsapp number of its own",
            Some(numbers),
            target("alice"),
            Whatsapp,
            Queued,
            None,
            Some("+15550002"),
        ),
        (
            "webhook",
            Some(person()),
            target("alice"),
            Webhook,
            Queued,
            None,
            Some("https://hook.test/"),
        ),
    ]
}

#[test]
fn every_rule_has_its_row() {
    for (name, known, target, channel, status, reason, address) in rows() {
        let recipients = Recipients::from([(target.id.clone(), known)]);
        let plan =
            plan(&request(vec![target], Some(vec![channel])), &recipients, None, NOW).unwrap();
        assert_eq!(plan.planned.len(), 1, "{name}");
        assert_eq!(plan.planned[0].status, status, "{name}");
        assert_eq!(plan.planned[0].reason.as_deref(), reason, "{name}");
        assert_eq!(
            plan.deliveries.first().map(|delivery| delivery.address.as_str()),
            address,
            "{name}"
        );
        assert_eq!(plan.inbox.len(), usize::from(status == DeliveryStatus::Delivered), "{name}");
    }
}

#[test]
fn too_late_is_expired_on_every_channel() {
    let mut late = request(vec![target("alice")], Some(Channel::ALL.to_vec()));
    late.expires_at = Some(NOW);
    let outcome =
        plan(&late, &Recipients::from([("alice".to_owned(), Some(person()))]), None, NOW).unwrap();
    assert_eq!(outcome.planned.len(), Channel::ALL.len());
    assert!(
        outcome.planned.iter().all(|line| line.status == DeliveryStatus::Expired
            && line.reason.as_deref() == Some(EXPIRED))
    );
    assert!(outcome.inbox.is_empty() && outcome.deliveries.is_empty());
    late.expires_at = Some(Micros(NOW.0 + 1));
    assert!(!plan(&late, &Recipients::new(), None, NOW).unwrap().inbox.is_empty());
}

#[test]
fn channels_come_from_the_request_the_template_or_default_to_the_bell() {
    let template = template(&[(Channel::InApp, "x"), (Channel::Email, "y")]);
    assert_eq!(channels(&request(vec![], None), None), [Channel::InApp]);
    assert_eq!(channels(&request(vec![], None), Some(&template)), [Channel::InApp, Channel::Email]);
    let twice = Some(vec![Channel::Sms, Channel::Email, Channel::Sms]);
    assert_eq!(channels(&request(vec![], twice), Some(&template)), [Channel::Sms, Channel::Email]);
}

#[test]
fn templates_fill_and_fail_as_a_whole() {
    let mut wanted =
        request(vec![target("alice"), target("bob")], Some(vec![Channel::InApp, Channel::Sms]));
    wanted.to[1].phone = Some("+1".to_owned());
    let data = json!({"n": 1}).as_object().unwrap().clone();
    wanted.content = Content::Template { key: "welcome".to_owned(), data };
    let personal = template(&[(Channel::InApp, "{{ recipient.id }} {{ n }}")]);
    let outcome = plan(&wanted, &Recipients::new(), Some(&personal), NOW).unwrap();
    let bodies: Vec<String> = outcome
        .inbox
        .iter()
        .map(|inbox| match &inbox.message {
            InboxMessage::Notification { body, .. } => body.clone(),
            InboxMessage::Read { .. } => String::new(),
        })
        .collect();
    assert_eq!(bodies, ["alice 1", "bob 1"]);
    assert_eq!(outcome.planned[3].reason.as_deref(), Some(NO_TEXT));
    assert_eq!(
        plan(&wanted, &Recipients::new(), None, NOW).unwrap_err().reason(),
        "unknown_template"
    );
    let broken = template(&[(Channel::InApp, "{{ missing }}")]);
    assert_eq!(
        plan(&wanted, &Recipients::new(), Some(&broken), NOW).unwrap_err().reason(),
        "template_failed"
    );
}

#[test]
fn channels_without_a_title_carry_it_in_the_text() {
    assert_eq!(
        inline(Channel::Sms, "Hi", "there", Some("https://x.test/")).text,
        "Hi\nthere\nhttps://x.test/"
    );
    assert_eq!(inline(Channel::Sms, "Hi", "", None).text, "Hi");
    assert_eq!(inline(Channel::Email, "Hi", "", None).text, "Hi");
    assert_eq!(inline(Channel::InApp, "Hi", "there", None).text, "there");
}

fn any_channels() -> impl Strategy<Value = Option<Vec<Channel>>> {
    proptest::option::of(proptest::collection::vec(
        proptest::sample::select(Channel::ALL.to_vec()),
        0..8,
    ))
}

fn any_person() -> impl Strategy<Value = Option<RecipientView>> {
    let preferences = proptest::collection::btree_map(
        proptest::sample::select(Channel::ALL.to_vec()),
        any::<bool>(),
        0..5,
    );
    proptest::option::of((any::<bool>(), any::<bool>(), preferences).prop_map(
        |(email, phone, preferences)| RecipientView {
            email: email.then(|| "a@b.test".to_owned()),
            phone: phone.then(|| "+15550001".to_owned()),
            preferences,
            ..RecipientView::default()
        },
    ))
}

proptest! {
    #[test]
    fn every_recipient_and_channel_is_planned_exactly_once(
        people in proptest::collection::vec(("[a-d]{1,2}|[ -~]{1,8}", any_person()), 0..12),
        wanted in any_channels(),
        expired in any::<bool>(),
    ) {
        let mut request = request(people.iter().map(|(id, _)| target(id)).collect(), wanted);
        request.expires_at = expired.then_some(NOW);
        let recipients: Recipients = people.iter().cloned().collect();
        let first = plan(&request, &recipients, None, NOW).unwrap();
        let again = plan(&request, &recipients, None, NOW).unwrap();
        prop_assert_eq!(&first, &again);

        let ids: HashSet<&String> = people.iter().map(|(id, _)| id).collect();
        let channels = channels(&request, None);
        prop_assert_eq!(first.planned.len(), ids.len() * channels.len());
        let lines: HashSet<(&str, Channel)> = first.planned.iter().map(|line| (line.recipient.as_str(), line.channel)).collect();
        prop_assert_eq!(lines.len(), first.planned.len());
        let unique: HashSet<_> = first.planned.iter().map(|line| line.id).collect();
        prop_assert_eq!(unique.len(), first.planned.len());

        let count = |status| first.planned.iter().filter(|line| line.status == status).count();
        prop_assert_eq!(first.inbox.len(), count(DeliveryStatus::Delivered));
        prop_assert_eq!(first.deliveries.len(), count(DeliveryStatus::Queued));
        for line in &first.planned {
            prop_assert_eq!(line.id, Delivery::derive_id(request.id, &line.recipient, line.channel));
        }
    }
}
