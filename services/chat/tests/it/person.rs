//! Somebody who uses the chat over HTTP.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::world::World;

const PASSWORD: &str = "a long password";
static MESSAGES: AtomicU64 = AtomicU64::new(0);

pub struct Person {
    http: reqwest::Client,
    url: String,
    cookie: String,
}

/// A message that was written.
pub struct Said {
    pub id: String,
    pub seq: i64,
    pub client: String,
}

impl Person {
    pub async fn register(world: &World, handle: &str) -> Self {
        let body =
            json!({"handle": handle, "name": format!("Person {handle}"), "password": PASSWORD});
        Self::enter(world, "/api/accounts", &body).await
    }

    pub async fn sign_in(world: &World, handle: &str) -> Self {
        Self::enter(world, "/api/session", &json!({"handle": handle, "password": PASSWORD})).await
    }

    async fn enter(world: &World, path: &str, body: &Value) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy();
        let mut person =
            Self { http: http.build().unwrap(), url: world.url.clone(), cookie: String::new() };
        let answer = person.request("POST", path).json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"));
        person.cookie = cookie.split(';').next().unwrap().to_owned();
        person
    }

    /// The same person and session at another address.
    pub fn moved(self, world: &World) -> Self {
        Self { url: world.url.clone(), ..self }
    }

    /// The same browser without its cookie.
    pub fn signed_out(&self) -> Self {
        Self { http: self.http.clone(), url: self.url.clone(), cookie: String::new() }
    }

    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Uploads a file; its id.
    pub async fn upload(&self, room: &str, name: &str, bytes: &[u8]) -> String {
        let request = self.request("POST", &format!("/api/rooms/{room}/files"));
        let answer = request.query(&[("name", name)]).body(bytes.to_vec()).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 201);
        let file: Value = answer.json().await.unwrap();
        file["id"].as_str().unwrap().to_owned()
    }

    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.http.request(method, format!("{}{path}", self.url)).header("cookie", &self.cookie)
    }

    async fn answer(request: RequestBuilder) -> (u16, Value) {
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        Self::answer(self.request("GET", path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        Self::answer(self.request("POST", path).json(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> (u16, Value) {
        Self::answer(self.request("PATCH", path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> (u16, Value) {
        Self::answer(self.request("DELETE", path)).await
    }

    pub async fn room(&self, name: &str) -> String {
        let (status, room) = self.post("/api/rooms", &json!({"name": name})).await;
        assert_eq!(status, 201, "{room}");
        room["id"].as_str().unwrap().to_owned()
    }

    pub async fn try_say(&self, room: &str, text: &str) -> (u16, Value) {
        let client = format!("c{}", MESSAGES.fetch_add(1, Ordering::Relaxed));
        let body = json!({"client_id": client, "text": text});
        self.post(&format!("/api/rooms/{room}/messages"), &body).await
    }

    pub async fn say(&self, room: &str, text: &str) -> Said {
        let (status, change) = self.try_say(room, text).await;
        assert_eq!(status, 201, "{change}");
        let message = &change["message"];
        Said {
            id: message["id"].as_str().unwrap().to_owned(),
            seq: change["seq"].as_i64().unwrap(),
            client: message["client_id"].as_str().unwrap().to_owned(),
        }
    }
}
