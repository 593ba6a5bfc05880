//! No sequence of events breaks the order of what a client gets.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Event {
    Say(String),
    Subscribe(u8, bool),
    Unsubscribe(u8),
    Publication(u8),
    Repeat(u8, u64),
    Answer(u64, bool),
    Lost(u8),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let channel = 0_u8..3;
    prop_oneof![
        1 => "[ -~]{0,40}".prop_map(Event::Say),
        1 => prop::sample::select(vec!["{}", "{\"id\":7,\"ping\":{}}", "{\"id\":7,\"history\":{\"channel\":\"room:0\"}}", "{\"id\":7,\"publish\":{\"channel\":\"room:1\",\"data\":1}}"]).prop_map(|text| Event::Say(text.to_owned())),
        6 => (channel.clone(), any::<bool>()).prop_map(|(channel, recover)| Event::Subscribe(channel, recover)),
        3 => channel.clone().prop_map(Event::Unsubscribe),
        12 => channel.clone().prop_map(Event::Publication),
        2 => (channel.clone(), 0_u64..5).prop_map(|(channel, back)| Event::Repeat(channel, back)),
        10 => (0_u64..4, any::<bool>()).prop_map(|(size, more)| Event::Answer(size, more)),
        1 => channel.prop_map(Event::Lost),
        1 => (0_u64..3_000).prop_map(Event::Wait),
    ]
}

/// The stream as the world sees it: every channel has the messages 1..=top.
fn answer_from_stream(
    world: &mut World,
    operation: Operation,
    tops: &HashMap<String, u64>,
    size: u64,
    more: bool,
) {
    let after = |channel: &str, after: u64| {
        let top = tops.get(channel).copied().unwrap_or(0);
        let last = if more { top.min(after + size) } else { top };
        let offsets: Vec<u64> = (after + 1..=last).collect();
        page(channel, &offsets, last < top)
    };
    let done = match operation {
        Operation::Join(joins) => Done::Joined(
            joins
                .into_iter()
                .map(|join| {
                    let name = join.key.name.as_str();
                    let top = tops.get(name).copied().unwrap_or(0);
                    let recovery = match &join.since {
                        None => Recovery::None,
                        Some(since) if since.offset > top => Recovery::Lost(LostReason::Gap),
                        Some(since) => {
                            Recovery::Page { from: since.offset, page: after(name, since.offset) }
                        }
                    };
                    (join.ticket, Ok(Joined { top, epoch: "e".into(), recovery, known: None }))
                })
                .collect(),
        ),
        Operation::More(more) => {
            Done::More(more.ticket, Ok(after(more.key.name.as_str(), more.after)))
        }
        Operation::Leave(_) => Done::Left,
        Operation::Publish(message) => Done::Published(message.command, Ok(())),
        Operation::Ask(ask) => Done::Asked(ask, Err(Unanswered)),
        Operation::Authenticate => Done::Authenticated(Ok(())),
        Operation::History(question) => Done::History(question.command, Err(error::INTERNAL)),
        Operation::Presence(question) => Done::Present(question.command, Err(error::INTERNAL)),
    };
    world.done(done);
}

/// What a client may rely on, checked over everything that was sent.
fn check(sent: &[Value]) -> Result<(), TestCaseError> {
    let mut position: HashMap<String, Option<u64>> = HashMap::new();
    let mut commands: HashMap<u64, String> = HashMap::new();
    for line in sent {
        if let Some(note) = line["note"].as_str() {
            commands.insert(line["command"].as_u64().unwrap(), note.to_owned());
        } else if line["subscribe"].is_object() {
            let channel = commands[&line["id"].as_u64().unwrap()].clone();
            let mut at = line["subscribe"]["offset"].as_u64().unwrap();
            for publication in line["subscribe"]["publications"].as_array().into_iter().flatten() {
                let offset = publication["offset"].as_u64().unwrap();
                prop_assert_eq!(offset, at + 1, "a hole in the recovery of {}", channel);
                at = offset;
            }
            position.insert(channel, Some(at));
        } else if line["push"]["pub"].is_object() {
            let channel = line["push"]["channel"].as_str().unwrap().to_owned();
            let offset = line["push"]["pub"]["offset"].as_u64().unwrap();
            let at = position.get(&channel).copied().flatten();
            prop_assert_eq!(Some(offset), at.map(|at| at + 1), "{} of {}", offset, channel);
            position.insert(channel, Some(offset));
        } else if line["push"]["unsubscribe"].is_object() {
            position.insert(line["push"]["channel"].as_str().unwrap().to_owned(), None);
        } else if line["unsubscribe"].is_object() {
            let channel = commands[&line["id"].as_u64().unwrap()].clone();
            position.insert(channel, None);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever comes in whatever order: no panic, a subscription's answer before its publications, and
    /// every offset of a channel exactly once, in order.
    #[test]
    fn no_sequence_of_events_breaks_the_order(
        events in prop::collection::vec(event(), 0..120),
        protobuf in any::<bool>(),
    ) {
        let protocol = if protobuf { Protocol::Protobuf } else { Protocol::Json };
        let mut world = World::connected_by(protocol);
        let mut tops: HashMap<String, u64> = HashMap::new();
        let mut id = 100;
        for event in events {
            if world.closed.is_some() {
                break;
            }
            id += 1;
            match event {
                Event::Say(text) => world.raw(&text),
                Event::Subscribe(channel, recover) => {
                    let name = format!("room:{channel}");
                    let offset = tops.get(&name).copied().unwrap_or(0) / 2;
                    world.sent.push(json!({"note": name, "command": id}));
                    world.say(&json!({"id": id, "subscribe": {"channel": name, "recover": recover, "offset": offset}}));
                }
                Event::Unsubscribe(channel) => {
                    let name = format!("room:{channel}");
                    world.sent.push(json!({"note": name, "command": id}));
                    world.say(&json!({"id": id, "unsubscribe": {"channel": name}}));
                }
                Event::Publication(channel) => {
                    let name = format!("room:{channel}");
                    let top = tops.entry(name.clone()).or_insert(0);
                    *top += 1;
                    let offset = *top;
                    world.publish(&name, offset);
                }
                Event::Repeat(channel, back) => {
                    let name = format!("room:{channel}");
                    let top = tops.get(&name).copied().unwrap_or(0);
                    if top > back {
                        world.publish(&name, top - back);
                    }
                }
                // Operations run one after the other, so the oldest is answered.
                Event::Answer(size, more) if !world.waiting.is_empty() => {
                    let operation = world.waiting.remove(0);
                    answer_from_stream(&mut world, operation, &tops, size, more);
                }
                Event::Answer(..) => {}
                Event::Lost(channel) => {
                    let key = ChannelKey::new("acme", ChannelName::parse(&format!("room:{channel}")).unwrap());
                    let mut out = Vec::new();
                    world.session.on_lost(&key, &mut out);
                    world.take(out);
                }
                Event::Wait(ms) => {
                    let at = world.now.ms + ms;
                    world.at(at);
                }
            }
        }
        check(&world.sent)?;
    }

    #[test]
    fn no_text_panics(lines in prop::collection::vec("\\PC{0,60}", 0..5)) {
        let mut world = World::connected();
        world.text(&lines.join("\n"));
        world.answer();
    }
}
