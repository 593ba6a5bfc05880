//! The service over its HTTP API, on a real nats-server, SQLite and PostgreSQL. The edge is not here: what it would bring
//! to browsers is read from the stream that it reads. Accounts and what live pages see are in tests/tests/chat.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and its runtime ends with it"
)]

mod attachments;
mod outsiders;
mod person;
mod world;

use campana_bus_sqlx::testing::Postgres;
use person::Person;
use serde_json::{Value, json};
use world::{World, eventually};

/// Everything that the database decides, on both engines.
async fn conform(world: &World) {
    sessions(world).await;
    timeline(world).await;
    moderation(world).await;
    searching(world).await;
    outsiders::see_nothing(world).await;
    outsiders::lose_their_tokens(world).await;
    outsiders::cannot_ask_what_breaks(world).await;
    attachments::are_harmless_and_go_with_their_message(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_conforms() {
    let world = World::start("").await;
    conform(&world).await;
    commands(&world).await;
    attachments::slow_uploads_hold_up_nobody_else(&world).await;
    restart(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms() {
    let postgres = Postgres::start().unwrap();
    let world = World::start(&postgres.url()).await;
    conform(&world).await;
    world.stop().await;
}

async fn sessions(world: &World) {
    let ana = Person::register(world, "ses-ana").await;
    let taken = json!({"handle": "ses-ana", "name": "x", "password": "long enough"});
    assert_eq!(ana.post("/api/accounts", &taken).await.0, 409);
    let wrong = json!({"handle": "ses-ana", "password": "not this one"});
    assert_eq!(ana.post("/api/session", &wrong).await.1["code"], "wrong_password");
    let nobody = json!({"handle": "nobody-here", "password": "not this one"});
    assert_eq!(ana.post("/api/session", &nobody).await.1["code"], "wrong_password");

    let other = Person::sign_in(world, "ses-ana").await;
    let (_, listed) = ana.get("/api/sessions").await;
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 2);
    let (_, me) = other.get("/api/session").await;
    let revoke = format!("/api/sessions/{}", me["session"].as_str().unwrap());
    assert_eq!(ana.delete(&revoke).await.0, 204);
    assert_eq!(other.get("/api/rooms").await.0, 401, "revoked at once");
    assert_eq!(ana.get("/api/rooms").await.0, 200);

    let foreign = ana.request("POST", "/api/rooms").header("origin", "https://evil.example");
    let answer = foreign.json(&json!({"name": "x"})).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 403);
}

/// Written, edited, deleted, repeated: each change has the next number, and the stream has them in this order.
async fn timeline(world: &World) {
    let ana = Person::register(world, "tim-ana").await;
    let bruno = Person::register(world, "tim-bruno").await;
    let room = ana.room("Timeline").await;
    let path = format!("/api/rooms/{room}");
    assert_eq!(bruno.get(&path).await.0, 404, "not in it, so it is not there");
    assert_eq!(bruno.post(&format!("{path}/join"), &json!({})).await.0, 200);

    let first = ana.say(&room, "first").await;
    let (status, again) = ana
        .post(&format!("{path}/messages"), &json!({"client_id": first.client, "text": "first"}))
        .await;
    assert_eq!(
        (status, &again["message"]["id"]),
        (200, &json!(first.id)),
        "a repeat is no second message"
    );
    let second = bruno.say(&room, "second").await;
    let edit = format!("{path}/messages/{}", first.id);
    assert_eq!(bruno.patch(&edit, &json!({"text": "mine now"})).await.0, 403);
    assert_eq!(ana.patch(&edit, &json!({"text": "first, better"})).await.0, 200);
    assert_eq!(bruno.delete(&format!("{path}/messages/{}", second.id)).await.0, 200);

    let (_, page) = bruno.get(&format!("{path}/messages")).await;
    let texts: Vec<&str> =
        page["messages"].as_array().unwrap().iter().map(|m| m["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["first, better", ""]);
    assert_eq!(page["as_of"], 6, "two came in, two wrote, one edited, one deleted");
    let (_, older) = bruno.get(&format!("{path}/messages?limit=1&before={}", second.seq)).await;
    assert_eq!((older["messages"].as_array().unwrap().len(), &older["more"]), (1, &json!(false)));

    let (_, missed) = ana.get(&format!("{path}/changes?after=0")).await;
    let kinds: Vec<&str> =
        missed["changes"].as_array().unwrap().iter().map(|c| c["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["join", "join", "message", "message", "edit", "delete"]);
    assert!(!missed.to_string().contains("second"), "what was deleted is nowhere");

    let told = eventually("the stream has all", async || {
        let told = world.told(&room).await;
        (told.iter().filter(|change| change["seq"].is_i64()).count() == 6).then_some(told)
    })
    .await;
    let numbers: Vec<i64> = told.iter().filter_map(|change| change["seq"].as_i64()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6], "in order and without holes");

    assert_eq!(bruno.post(&format!("{path}/read"), &json!({"seq": 6})).await.0, 204);
    let receipt = eventually("the receipt", async || {
        world.told(&room).await.into_iter().find(|one| one["kind"] == "read")
    })
    .await;
    assert_eq!((&receipt["person"], &receipt["upto"]), (&json!("chat-tim-bruno"), &json!(6)));
    let (_, rooms) = ana.get("/api/rooms").await;
    assert_eq!(rooms["rooms"][0]["unread"], 0, "what was deleted is not unread");

    let (_, direct) = ana.post("/api/direct", &json!({"handle": "tim-bruno"})).await;
    let (_, same) = bruno.post("/api/direct", &json!({"handle": "tim-ana"})).await;
    assert_eq!((&direct["id"], &direct["name"]), (&same["id"], &json!("Person tim-bruno")));
    assert_eq!(same["name"], "Person tim-ana");
}

async fn moderation(world: &World) {
    let owner = Person::register(world, "mod-owner").await;
    let guest = Person::register(world, "mod-guest").await;
    let room = owner.room("Moderated").await;
    let path = format!("/api/rooms/{room}");
    guest.post(&format!("{path}/join"), &json!({})).await;
    let act =
        |action: &str, handle: &str| json!({"action": action, "handle": handle, "seconds": 600});
    let moderation = format!("{path}/moderation");
    assert_eq!(guest.post(&moderation, &act("mute", "mod-owner")).await.0, 403);
    assert_eq!(owner.post(&moderation, &act("mute", "mod-guest")).await.0, 204);
    let (status, muted) = guest.try_say(&room, "let me").await;
    assert_eq!((status, &muted["code"]), (403, &json!("muted")));
    assert!(muted["retry_after_seconds"].as_f64().unwrap() > 500.0);
    assert_eq!(owner.post(&moderation, &act("unmute", "mod-guest")).await.0, 204);
    guest.say(&room, "thank you").await;

    assert_eq!(owner.patch(&path, &json!({"slow_seconds": 60})).await.0, 200);
    let (status, slow) = guest.try_say(&room, "too soon").await;
    assert_eq!((status, &slow["code"]), (429, &json!("rate_limited")));
    owner.say(&room, "owners are not slowed").await;

    assert_eq!(owner.post(&moderation, &act("ban", "mod-guest")).await.0, 204);
    assert_eq!(guest.get(&format!("{path}/messages")).await.0, 404);
    assert_eq!(guest.post(&format!("{path}/token"), &json!({})).await.0, 404);
    assert_eq!(guest.post(&format!("{path}/join"), &json!({})).await.1["code"], "banned");
    assert_eq!(owner.post(&moderation, &act("unban", "mod-guest")).await.0, 204);
    assert_eq!(guest.post(&format!("{path}/join"), &json!({})).await.0, 200);
    assert_eq!(owner.post(&moderation, &act("promote", "mod-guest")).await.0, 204);
    let said = owner.say(&room, "delete me").await;
    assert_eq!(guest.delete(&format!("{path}/messages/{}", said.id)).await.0, 200);

    let flooder = Person::register(world, "mod-flood").await;
    let own = flooder.room("Flood").await;
    let mut refused = None;
    for number in 0..60 {
        let (status, body) = flooder.try_say(&own, &format!("flood {number}")).await;
        if status == 429 {
            refused = Some(body);
            break;
        }
    }
    assert_eq!(refused.unwrap()["code"], "rate_limited");
}

async fn searching(world: &World) {
    let ana = Person::register(world, "sea-ana").await;
    let room = ana.room("Search").await;
    for text in ["La CANCIÓN de Ñandú", "another song", "100% sure", "cancion 2"] {
        ana.say(&room, text).await;
    }
    let found = async |question: &str| {
        let answer = ana.request("GET", &format!("/api/rooms/{room}/search"));
        let answer = answer.query(&[("q", question)]).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        body["messages"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(found("cancion").await, 2);
    assert_eq!(found("nandu CANCIÓN").await, 1);
    assert_eq!(found("0%").await, 1);
    assert_eq!(found("_").await, 0);
    assert_eq!(found("  ").await, 0);
}

/// Uploads, and commands that run as jobs on the bus.
async fn commands(world: &World) {
    let ana = Person::register(world, "com-ana").await;
    let room = ana.room("Commands").await;
    let path = format!("/api/rooms/{room}");
    assert_eq!(ana.try_say(&room, "/nonsense").await.1["code"], "unknown_command");
    let early = ana.say(&room, "/thumbnail").await;
    assert_eq!(ended(&ana, &room, &early.id).await["detail"], "no_picture");

    let upload =
        ana.request("POST", &format!("{path}/files?name=a%20b.png")).body(world::png(640, 320));
    let file: Value = upload.send().await.unwrap().json().await.unwrap();
    assert_eq!((&file["media_type"], &file["name"]), (&json!("image/png"), &json!("a b.png")));
    let large =
        ana.request("POST", &format!("{path}/files?name=large")).body(vec![0; (10 << 20) + 1]);
    assert_eq!(large.send().await.unwrap().status().as_u16(), 413);
    let carried = json!({"client_id": "with-file", "text": "look", "file": file["id"]});
    let (status, posted) = ana.post(&format!("{path}/messages"), &carried).await;
    assert_eq!(status, 201, "{posted}");
    let twice = json!({"client_id": "with-file-2", "file": file["id"]});
    assert_eq!(ana.post(&format!("{path}/messages"), &twice).await.0, 422);
    let shown = format!("/api/files/{}", file["id"].as_str().unwrap());
    let stranger = Person::register(world, "com-stranger").await;
    assert_eq!(stranger.get(&shown).await.0, 404);

    let small = ana.say(&room, "/thumbnail 64").await;
    let job = ended(&ana, &room, &small.id).await;
    assert_eq!((&job["state"], &job["file"]["name"]), (&json!("done"), &json!("a b-64.png")));
    let made = format!("/api/files/{}", job["file"]["id"].as_str().unwrap());
    let bytes = ana.request("GET", &made).send().await.unwrap().bytes().await.unwrap();
    let picture = image::load_from_memory(&bytes).unwrap();
    assert_eq!((picture.width(), picture.height()), (64, 32));

    let export = ana.say(&room, "/export").await;
    let job = ended(&ana, &room, &export.id).await;
    let made = format!("/api/files/{}", job["file"]["id"].as_str().unwrap());
    let answer = ana.request("GET", &made).send().await.unwrap();
    let how = answer.headers()["content-disposition"].to_str().unwrap().to_owned();
    let text = answer.text().await.unwrap();
    assert!(
        how.starts_with("attachment;") && text.contains("(@com-ana): look [a b.png]"),
        "{text}"
    );

    // Progress is told in the room like everything else.
    eventually("the steps of the export", async || {
        let told = world.told(&room).await;
        let steps = told
            .iter()
            .filter(|one| one["kind"] == "job" && one["message"]["id"] == export.id.as_str());
        (steps.count() >= 2).then_some(())
    })
    .await;

    let picture = posted["message"]["id"].as_str().unwrap();
    assert_eq!(ana.delete(&format!("{path}/messages/{picture}")).await.0, 200);
    assert_eq!(ana.get(&shown).await.0, 404, "the file goes with its message");
}

async fn ended(person: &Person, room: &str, message: &str) -> Value {
    eventually("the job's end", async || {
        let (_, page) = person.get(&format!("/api/rooms/{room}/messages")).await;
        let all = page["messages"].as_array()?.clone();
        let found = all.into_iter().find(|one| one["id"] == message)?;
        let job = found["job"].clone();
        (job["state"] == "done" || job["state"] == "failed").then_some(job)
    })
    .await
}

/// Sessions and rooms outlive the process; so does what was committed and not yet told.
async fn restart(world: World) {
    let ana = Person::register(&world, "res-ana").await;
    let room = ana.room("Restart").await;
    ana.say(&room, "before").await;
    let left = attachments::whose_removal_did_not_end(&world, &ana, &room).await;
    let world = world.restarted().await;
    let ana = ana.moved(&world);
    eventually("the bytes are gone", async || (!world.has_bytes(&left).await).then_some(())).await;
    let (status, page) = ana.get(&format!("/api/rooms/{room}/messages")).await;
    assert_eq!((status, &page["messages"][0]["text"]), (200, &json!("before")));
    ana.say(&room, "after").await;
    eventually("both are told", async || (world.told(&room).await.len() == 3).then_some(())).await;
    world.stop().await;
}
