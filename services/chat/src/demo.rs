//! Demo accounts and rooms, for `--demo` only.
//! Reads and writes: the store. Never: touches an account or a room that is there.

use campana_bus::clock;

use crate::http::person_id;
use crate::secrets;
use crate::store::Store;
use crate::store::messages::Draft;
use crate::store::people::Person;
use crate::store::rooms::NewRoom;
use crate::store::search::fold;

/// The password of every demo account; the login page shows it.
pub(crate) const PASSWORD: &str = "campana-demo";

const PEOPLE: [(&str, &str); 4] = [
    ("ana", "Ana Torres"),
    ("bruno", "Bruno Díaz"),
    ("clara", "Clara Ruiz"),
    ("dan", "Dan Brooks"),
];

const ROOMS: [(&str, &str, &str); 3] = [
    ("room_demo_plaza", "Plaza", "Everybody is here · Aquí estamos todos"),
    ("room_demo_bread", "Bread and dough", "Sourdough, mostly"),
    ("room_demo_montana", "Montaña", "Rutas para el fin de semana"),
];

const LINES: [(&str, &str); 4] = [
    ("ana", "Welcome! Open this page in a second window as somebody else and watch both."),
    ("bruno", "¡Hola! Escribe @ana y la llamas, aunque no esté."),
    ("clara", "Send a picture, then type /thumbnail. Or /export for all that was said."),
    ("dan", "Every message comes once and in order, also after a tunnel. Try airplane mode."),
];

/// Makes what is missing.
///
/// # Errors
/// If the database does not answer.
pub(crate) async fn fill(store: &Store) -> anyhow::Result<()> {
    for (handle, name) in PEOPLE {
        if store.person(&person_id(handle)).await?.is_some() {
            continue;
        }
        let hash = tokio::task::spawn_blocking(|| secrets::hash_password(PASSWORD)).await??;
        let person =
            Person { id: person_id(handle), handle: handle.to_owned(), name: name.to_owned() };
        // Another process of this chat may be faster; then there is nothing to do.
        match store.add_person(&person, &hash, true, clock::now()).await {
            Err(error) if !error.is_taken() => return Err(error.into()),
            _ => {}
        }
    }
    for (id, name, topic) in ROOMS {
        let new = NewRoom { id, kind: "public", name, topic };
        if !store.add_room(&new, &person_id(PEOPLE[0].0), clock::now()).await? {
            continue;
        }
        for (handle, _) in &PEOPLE[1..] {
            store.join(id, &person_id(handle), false, clock::now()).await?;
        }
    }
    for (number, (handle, line)) in LINES.into_iter().enumerate() {
        let draft = Draft {
            id: secrets::fresh_id("msg")?,
            room: ROOMS[0].0.to_owned(),
            author: person_id(handle),
            // The same at every start, so that it is said once.
            client_id: format!("demo-{number}"),
            text: line.to_owned(),
            folded: fold(line),
            file: None,
            command: None,
            mentions: Vec::new(),
        };
        store.post(&draft, clock::now()).await?;
    }
    Ok(())
}
