//! What a newcomer does first in each application, and what the platform behind it makes of it.

use anyhow::{Context, Result, ensure};
use campana_tests::{Platform, eventually};
use serde_json::{Value, json};

use crate::site::{Site, stranger_is_refused};
use crate::world::{WITHIN, app};

async fn open(platform: &Platform, name: &str) -> Result<Site> {
    Site::open(&text(&app(platform, name)?, "/url")?).await
}

fn text(value: &Value, pointer: &str) -> Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    Ok(found.with_context(|| format!("no {pointer} in {value}"))?.to_owned())
}

/// A patient books; the dentist's page hears of it, her bell rings, and a mail comes.
pub async fn clinic(platform: &Platform) -> Result<()> {
    let (mut patient, mut dentist) =
        (open(platform, "clinic").await?, open(platform, "clinic").await?);
    let setup = dentist.get("/api/setup").await?.expect(200)?;
    let account = |name: &str| {
        let all = setup["demo"].as_array().into_iter().flatten();
        let mut found = all.filter(|one| one["name"] == name);
        text(found.next().context("a demo account")?, "/id")
    };
    let (ana, elena) = (account("Ana García")?, account("Dra. Elena Ruiz")?);
    patient.post("/api/demo-session", &json!({"account": ana}), 200).await?;
    dentist.post("/api/demo-session", &json!({"account": elena}), 200).await?;

    let edge = text(&setup, "/edge_url")?;
    stranger_is_refused(&edge).await?;
    let token = text(&dentist.post("/api/edge-token", &json!({}), 200).await?, "/token")?;
    let mut live = dentist.follow(&edge, &token, &format!("clinic:#{elena}"), "").await?;

    let starts_at = free_time(&patient, &elena).await?;
    let form = json!({"dentist": elena, "starts_at": starts_at, "request_id": "newcomer"});
    let booked = patient.post("/api/appointments", &form, 201).await?;
    live.publication(|data| data["type"] == "appointment" && data["id"] == booked["id"]).await?;
    // The dentist's inbox, to which the platform subscribes everybody at the connect.
    live.publication(|data| data["type"] == "notification").await?;
    let mail = platform.sandbox()?.message("email", "elena.ruiz@appdental.example").await?;
    ensure!(mail.to_string().contains("Nueva cita: "), "{mail}");
    Ok(())
}

/// The first free time in the coming weeks.
async fn free_time(patient: &Site, dentist: &str) -> Result<String> {
    let clinics = patient.get("/api/clinics").await?.expect(200)?;
    let mut day: time::Date = time::Date::parse(
        &text(&clinics, "/data/0/today")?,
        time::macros::format_description!("[year]-[month]-[day]"),
    )?;
    for _ in 0..21 {
        day = day.next_day().context("there is a tomorrow")?;
        let times = patient.get(&format!("/api/dentists/{dentist}/times?date={day}")).await?;
        if let Ok(first) = text(&times.expect(200)?, "/data/0/starts_at") {
            return Ok(first);
        }
    }
    anyhow::bail!("no free time in three weeks")
}

/// Somebody writes in a room; another page hears it over the edge.
pub async fn chat(platform: &Platform, words: &str) -> Result<()> {
    let (mut ana, mut bruno) = (open(platform, "chat").await?, open(platform, "chat").await?);
    for (site, handle) in [(&mut ana, "ana"), (&mut bruno, "bruno")] {
        let form = json!({"handle": handle, "password": "campana-demo"});
        site.post("/api/session", &form, 200).await?;
    }
    let session = bruno.get("/api/session").await?.expect(200)?;
    ensure!(session["gateway"] == platform.url("gateway"), "the bell finds its gateway: {session}");
    let rooms = bruno.get("/api/rooms").await?.expect(200)?;
    let rooms = rooms["rooms"].as_array().context("a list of rooms")?;
    let plaza = rooms.iter().find(|room| room["name"] == "Plaza").context("the demo's room")?;
    let room = text(plaza, "/id")?;

    let token = text(&bruno.post("/api/token", &json!({}), 200).await?, "/token")?;
    let of_room = bruno.post(&format!("/api/rooms/{room}/token"), &json!({}), 200).await?;
    let (channel, channel_token) = (text(&of_room, "/channel")?, text(&of_room, "/token")?);
    let edge = text(&session, "/edge")?;
    let mut live = bruno.follow(&edge, &token, &channel, &channel_token).await?;
    let message = json!({"client_id": words, "text": words});
    ana.post(&format!("/api/rooms/{room}/messages"), &message, 201).await?;
    live.publication(|data| data.to_string().contains(words)).await
}

/// Somebody orders; the queue packs it, the topic counts it, a mail confirms it, and the page hears of it.
pub async fn shop(platform: &Platform) -> Result<()> {
    let mut shop = open(platform, "shop").await?;
    let live = shop.get("/api/live").await?.expect(200)?;
    let (edge, channel) = (text(&live, "/url")?, text(&live, "/channel")?);
    let tokens = (text(&live, "/token")?, text(&live, "/channel_token")?);
    let mut following = shop.follow(&edge, &tokens.0, &channel, &tokens.1).await?;
    let floor = shop.get("/api/floor").await?.expect(200)?;
    let order = json!({
        "key": "the order of a newcomer", "name": "Ana", "email": "newcomer@example.com", "locale": "en",
        "lines": [{"sku": text(&floor, "/products/0/sku")?, "quantity": 1}],
    });
    let placed = shop.post("/api/orders", &order, 201).await?;
    following.publication(|data| !data["orders"].is_null() || !data["at"].is_null()).await?;
    eventually("the order is packed, counted and confirmed", WITHIN, async || {
        let floor = shop.get("/api/floor").await?.expect(200)?;
        let mut orders = floor["orders"].as_array().into_iter().flatten();
        let order = orders.find(|one| one["order"] == placed["order"]).context("the order")?;
        let done = !order["packed_by"].is_null() && order["confirmed"] == true;
        Ok((done && order["counted"] == true).then_some(()))
    })
    .await?;
    platform.sandbox()?.message("email", "newcomer@example.com").await.map(drop)
}

/// A customer writes; it goes through the sidecar and back, and the agents' page hears of it.
pub async fn support(platform: &Platform, key: &str) -> Result<()> {
    let (mut customer, mut agent) =
        (open(platform, "support").await?, open(platform, "support").await?);
    let form = json!({"name": "lucia", "password": "demo-lucia"});
    agent.post("/api/session", &form, 200).await?;
    let live = agent.get("/api/live").await?.expect(200)?;
    let (edge, channel) = (text(&live, "/url")?, text(&live, "/channel")?);
    let tokens = (text(&live, "/token")?, text(&live, "/channel_token")?);
    let mut following = agent.follow(&edge, &tokens.0, &channel, &tokens.1).await?;
    let ticket =
        json!({"key": key, "name": "Ana", "subject": "The bell", "text": "It does not ring"});
    let opened = customer.post("/api/tickets", &ticket, 201).await?;
    let number = text(&opened, "/ticket")?;
    following.publication(|data| data.to_string().contains(&number)).await?;
    agent.post(&format!("/api/tickets/{number}/claim"), &json!({}), 200).await.map(drop)
}
