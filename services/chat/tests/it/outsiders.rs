//! Who is not in a room: hears, reads, finds and changes nothing of it, and keeps no token.

use serde_json::{Value, json};

use crate::person::Person;
use crate::world::{World, eventually};

/// Every way to a room, for somebody who is not in it.
async fn refused(outsider: &Person, room: &str, message: &str, file: &str) {
    let path = format!("/api/rooms/{room}");
    let handle = json!({"handle": "out-eve"});
    let ban = json!({"action": "ban", "handle": "out-ana", "seconds": 600});
    let nothing = json!({});
    let all: [(&str, String, Value); 16] = [
        ("GET", path.clone(), Value::Null),
        ("PATCH", path.clone(), json!({"topic": "mine"})),
        ("POST", format!("{path}/leave"), nothing.clone()),
        ("POST", format!("{path}/members"), handle),
        ("POST", format!("{path}/moderation"), ban),
        ("POST", format!("{path}/token"), nothing),
        ("GET", format!("{path}/messages"), Value::Null),
        ("POST", format!("{path}/messages"), json!({"client_id": "1", "text": "hello"})),
        ("POST", format!("{path}/messages"), json!({"client_id": "2", "text": "/export"})),
        ("PATCH", format!("{path}/messages/{message}"), json!({"text": "mine"})),
        ("DELETE", format!("{path}/messages/{message}"), Value::Null),
        ("GET", format!("{path}/changes?after=0"), Value::Null),
        ("GET", format!("{path}/search?q=secret"), Value::Null),
        ("POST", format!("{path}/read"), json!({"seq": 1})),
        ("POST", format!("{path}/files?name=a"), json!("bytes")),
        ("GET", format!("/api/files/{file}"), Value::Null),
    ];
    for (method, path, body) in all {
        let mut request = outsider.request(method, &path);
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 404, "{method} {path}");
        assert!(!answer.text().await.unwrap().contains("secret"), "{method} {path}");
    }
}

pub async fn see_nothing(world: &World) {
    let ana = Person::register(world, "out-ana").await;
    let eve = Person::register(world, "out-eve").await;
    let (_, made) = ana.post("/api/rooms", &json!({"name": "Hidden", "private": true})).await;
    let room = made["id"].as_str().unwrap();
    let path = format!("/api/rooms/{room}");
    let file = ana.upload(room, "secret.txt", b"a secret").await;
    let said = json!({"client_id": "1", "text": "the secret", "file": file});
    let (_, said) = ana.post(&format!("{path}/messages"), &said).await;
    let message = said["message"]["id"].as_str().unwrap();

    refused(&eve, room, message, &file).await;
    assert_eq!(eve.post(&format!("{path}/join"), &json!({})).await.0, 404, "it is private");
    assert!(!eve.get("/api/directory").await.1.to_string().contains(room), "it is not listed");

    assert_eq!(ana.post(&format!("{path}/members"), &json!({"handle": "out-eve"})).await.0, 204);
    assert_eq!(eve.get(&format!("/api/files/{file}")).await.0, 200);
    assert_eq!(eve.get(&format!("{path}/search?q=secret")).await.0, 200);
    let own = ana.room("Elsewhere").await;
    let borrowed = json!({"client_id": "2", "file": file});
    assert_eq!(ana.post(&format!("/api/rooms/{own}/messages"), &borrowed).await.0, 422);
    let other = format!("/api/rooms/{own}/messages/{message}");
    assert_eq!(ana.delete(&other).await.0, 404, "a message of another room");

    let ban = json!({"action": "ban", "handle": "out-eve", "seconds": 600});
    assert_eq!(ana.post(&format!("{path}/moderation"), &ban).await.0, 204);
    refused(&eve, room, message, &file).await;
    let (_, listed) = eve.get("/api/rooms").await;
    assert!(!listed.to_string().contains(room), "{listed}");

    let nobody = eve.signed_out();
    for path in ["/api/rooms", "/api/sessions", path.as_str(), "/api/directory"] {
        assert_eq!(nobody.get(path).await.0, 401, "{path}");
    }
    assert_eq!(nobody.post("/api/token", &json!({})).await.0, 401);
}

/// The edge is asked to take back what a stay or a session was let in with, also if it does not answer at first.
pub async fn lose_their_tokens(world: &World) {
    let owner = Person::register(world, "tok-owner").await;
    let guest = Person::register(world, "tok-guest").await;
    let room = owner.room("Tokens").await;
    let path = format!("/api/rooms/{room}");
    let channel = json!(format!("chat:{room}"));
    let join = async || assert_eq!(guest.post(&format!("{path}/join"), &json!({})).await.0, 200);
    let stay = async || {
        let (_, tokens) = guest.post(&format!("{path}/token"), &json!({})).await;
        let (room, typing) =
            (world.claims(&tokens["token"]), world.claims(&tokens["typing_token"]));
        assert_eq!(room["jti"], typing["jti"]);
        assert_eq!((&room["sub"], &room["channel"]), (&json!("chat-tok-guest"), &channel));
        room["jti"].as_str().unwrap().to_owned()
    };
    let revoked = async |token: String| {
        eventually("a revocation", async || world.revoked().contains(&token).then_some(())).await;
    };
    join().await;
    let first = stay().await;
    assert_eq!(first, stay().await, "all tokens of a stay go together");
    assert_eq!(guest.post(&format!("{path}/leave"), &json!({})).await.0, 204);
    join().await;
    let second = stay().await;
    assert_ne!(first, second, "who comes back is not sent out by an old revocation");
    revoked(first).await;
    assert!(!world.revoked().contains(&second));
    let ban = json!({"action": "ban", "handle": "tok-guest", "seconds": 600});
    assert_eq!(owner.post(&format!("{path}/moderation"), &ban).await.0, 204);
    revoked(second).await;

    let (_, me) = guest.get("/api/session").await;
    let session = me["session"].as_str().unwrap().to_owned();
    let (_, token) = guest.post("/api/token", &json!({})).await;
    assert_eq!(world.claims(&token["token"])["jti"], session.as_str());
    assert_eq!(guest.delete("/api/session").await.0, 204);
    revoked(session).await;

    // A room is never without an owner.
    let heir = Person::register(world, "tok-heir").await;
    assert_eq!(heir.post(&format!("{path}/join"), &json!({})).await.0, 200);
    assert_eq!(owner.post(&format!("{path}/leave"), &json!({})).await.0, 204);
    assert_eq!(heir.get(&path).await.1["room"]["role"], "owner");
}

/// What a database may refuse is refused before.
pub async fn cannot_ask_what_breaks(world: &World) {
    let ana = Person::register(world, "odd-ana").await;
    let room = ana.room("Odd").await;
    let path = format!("/api/rooms/{room}");
    for odd in ["/api/rooms/%00", "/api/files/%00", "/api/rooms/x/search?q=%00"] {
        assert_eq!(ana.get(odd).await.0, 404, "{odd}");
    }
    assert_eq!(ana.get(&format!("{path}/search?q=a%00")).await.0, 404);
    let refused = async |body: Value| ana.post(&format!("{path}/messages"), &body).await.0;
    assert_eq!(refused(json!({"client_id": "\0", "text": "a"})).await, 422);
    assert_eq!(refused(json!({"client_id": "1", "text": "a\0"})).await, 422);
    assert_eq!(refused(json!({"client_id": "1", "text": "a", "file": "\0"})).await, 422);
    assert_eq!(refused(json!({"client_id": "1", "text": "ñ".repeat(4_001)})).await, 422);
    assert_eq!(refused(json!({"client_id": "x".repeat(65), "text": "a"})).await, 422);
    assert_eq!(refused(json!({"client_id": "1", "text": "a", "more": 1})).await, 400);
    let page = async |query: &str| ana.get(&format!("{path}/messages?{query}")).await.0;
    for query in ["before=-9223372036854775808", "limit=9223372036854775807", "limit=-1"] {
        assert_eq!(page(query).await, 200, "{query}");
    }
    assert_eq!(page("before=x").await, 422);
    let after = format!("{path}/changes?after=9223372036854775807");
    assert_eq!(ana.get(&after).await.0, 200);
    assert_eq!(ana.post(&format!("{path}/read"), &json!({"seq": i64::MAX})).await.0, 204);
}
