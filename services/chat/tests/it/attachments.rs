//! Attachments: nothing of them runs in a browser, nothing of them stays, and nobody waits for somebody else's.

use campana_chat::store::Store;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::person::Person;
use crate::world::{World, png};

/// More than one person may have in hand, and than all transfers had together once.
const STALLED: usize = 9;

pub async fn are_harmless_and_go_with_their_message(world: &World) {
    let ana = Person::register(world, "att-ana").await;
    let room = ana.room("Attachments").await;
    let path = format!("/api/rooms/{room}");
    let drawing = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>";
    let name = "a\";filename=b.html;ñ.svg";
    let id = ana.upload(&room, name, drawing).await;
    let answer = ana.request("GET", &format!("/api/files/{id}")).send().await.unwrap();
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/plain; charset=utf-8", "no browser draws it");
    assert_eq!(
        header("content-disposition"),
        "attachment; filename*=UTF-8''a%22%3Bfilename%3Db%2Ehtml%3B%C3%B1%2Esvg"
    );
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("content-security-policy"), "default-src 'none'; sandbox");
    assert_eq!((header("vary"), header("content-length")), ("Cookie".into(), "59".into()));
    assert_eq!(answer.bytes().await.unwrap(), &drawing[..]);
    for bad in ["a%0Ab", "a%2Fb", "%20", &"x".repeat(121)] {
        let upload = ana.request("POST", &format!("{path}/files?name={bad}")).body("x");
        assert_eq!(upload.send().await.unwrap().status().as_u16(), 422, "{bad}");
    }

    let picture = png(300, 200);
    let id = ana.upload(&room, "large.png", &picture).await;
    let body = json!({"client_id": "1", "file": id});
    let (_, said) = ana.post(&format!("{path}/messages"), &body).await;
    let answer = ana.request("GET", &format!("/api/files/{id}")).send().await.unwrap();
    assert!(answer.headers()["content-disposition"].to_str().unwrap().starts_with("inline;"));
    assert_eq!(answer.bytes().await.unwrap(), picture);
    assert!(world.has_bytes(&id).await);
    let message = said["message"]["id"].as_str().unwrap();
    assert_eq!(ana.delete(&format!("{path}/messages/{message}")).await.0, 200);
    assert_eq!(ana.get(&format!("/api/files/{id}")).await.0, 404);
    assert!(!world.has_bytes(&id).await, "the bytes go with the message");
    let again = json!({"client_id": "2", "file": id});
    assert_eq!(ana.post(&format!("{path}/messages"), &again).await.0, 422);
}

pub async fn slow_uploads_hold_up_nobody_else(world: &World) {
    let (ana, bruno) =
        (Person::register(world, "slow-a").await, Person::register(world, "slow-b").await);
    let (of_ana, room) = (ana.room("Slow").await, bruno.room("Quick").await);
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let mut socket =
            tokio::net::TcpStream::connect(&world.url["http://".len()..]).await.unwrap();
        let head = format!(
            "POST /api/rooms/{of_ana}/files?name=a HTTP/1.1\r\nhost: chat\r\ncookie: {}\r\n\
             content-length: 1000\r\n\r\nthe beginning",
            ana.cookie()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        stalled.push(socket);
    }
    // All of them were let in when no upload of Ana is taken any more.
    crate::world::eventually("the uploads stand", async || {
        let upload = ana.request("POST", &format!("/api/rooms/{of_ana}/files?name=")).body("x");
        (upload.send().await.unwrap().status().as_u16() == 429).then_some(())
    })
    .await;
    let id = bruno.upload(&room, "quick.txt", b"quick").await;
    assert_eq!(bruno.get(&format!("/api/files/{id}")).await.0, 200);
}

/// An upload that was marked as gone by a process that was killed then.
pub async fn whose_removal_did_not_end(world: &World, person: &Person, room: &str) -> String {
    let id = person.upload(room, "left.txt", b"left").await;
    let store = Store::open(&world.database()).await.unwrap();
    assert!(store.retire_file(&id).await.unwrap());
    store.close().await;
    assert_eq!(person.get(&format!("/api/files/{id}")).await.0, 404, "shown to nobody");
    assert!(world.has_bytes(&id).await);
    id
}
