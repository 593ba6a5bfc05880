//! Simulated users of wave and closed load, whoever runs them: each has its own keep-alive
//! connection, kept from step to step, so that every step finds warm ones. A user never retries:
//! a notification is sent once or reported as unknown.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::post::Scratch;
use super::{Aim, Sending};
use crate::clock::now_ns;
use crate::http1::Connection;
use crate::intake::Event;

/// All users of a run.
pub struct Users {
    pub sending: Arc<Sending>,
    seats: Vec<Mutex<Seat>>,
}

/// What a user keeps.
#[derive(Default)]
struct Seat {
    connection: Option<Connection>,
    scratch: Scratch,
}

/// One notification of a user.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    pub slot: u64,
    pub wave: u32,
    pub intended_ns: u64,
    pub aim: Aim<'a>,
}

impl Users {
    /// As many as the largest step has.
    pub fn new(sending: Arc<Sending>, count: u32) -> Self {
        Self { sending, seats: (0..count).map(|_| Mutex::default()).collect() }
    }

    /// Where a user sends: each to a recipient of its own, as far as there are enough.
    pub fn recipient_of(&self, index: usize, fan_out: u32) -> u32 {
        let recipients = self.sending.poster.recipients.len();
        let places = recipients.saturating_sub(fan_out as usize).saturating_add(1);
        u32::try_from(index % places).unwrap_or(0)
    }

    /// Opens the user's connection if it is not open: servers close idle ones, so it is looked at
    /// right before it is used.
    pub async fn make_ready(&self, index: usize) -> std::io::Result<()> {
        let mut seat = self.seats[index].lock().await;
        if !seat.connection.as_ref().is_some_and(Connection::is_idle) {
            seat.connection = None;
            seat.connection = Some(Connection::open(&self.sending.authority).await?);
        }
        Ok(())
    }

    /// Sends one notification and enters what came back.
    pub async fn send(&self, index: usize, turn: &Turn<'_>) {
        let sending = &self.sending;
        let mut seat = self.seats[index].lock().await;
        let Seat { connection, scratch } = &mut *seat;
        sending.poster.write(turn.slot, &turn.aim, scratch);
        let Turn { slot, wave, intended_ns, aim } = *turn;
        let sent_ns = now_ns();
        let recipient = aim.recipient;
        sending.intake.push(Event::Sent { slot, wave, recipient, intended_ns, sent_ns });
        let Some(open) = connection.as_mut() else {
            return sending.unanswered(slot, sent_ns, "connect: refused");
        };
        let exchange = open.exchange(&scratch.bytes);
        match tokio::time::timeout(sending.timeout, exchange).await {
            Ok(Ok(answer)) => {
                sending.answered(slot, now_ns(), &answer);
                if !answer.keep_alive {
                    *connection = None;
                }
            }
            Ok(Err(error)) => {
                *connection = None;
                sending.unanswered(slot, now_ns(), error.to_string());
            }
            Err(_) => {
                *connection = None;
                sending.unanswered(slot, now_ns(), "time-out");
            }
        }
    }
}
