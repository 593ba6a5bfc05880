//! Deliveries that the app has in hand, by their ids, so that it can answer them apart from the request.
//! Reads and writes: memory. Never: takes two answers for one delivery, or an answer for one that is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use campana_bus::ids::HandoverId;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::telemetry;

/// What an app said about a delivery apart from its answer to the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Ack,
    Retry { after: Option<Duration> },
    Dead { reason: String, error: String },
}

/// Why an answer was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No such delivery is in hand.
    Unknown,
    /// It has an answer.
    Settled,
}

enum State {
    Open { deadline: Instant },
    Decided(Decision),
    Closed,
}

struct Slot {
    subscription: Arc<str>,
    latest: Instant,
    state: watch::Sender<State>,
}

/// Every delivery in hand; cheap to clone. Bounded by the `max_in_flight` of the subscriptions.
#[derive(Clone, Default)]
pub(crate) struct InHand(Arc<Mutex<HashMap<HandoverId, Arc<Slot>>>>);

/// One delivery in hand; it is over when this value is gone.
pub(crate) struct Holding {
    pub id: HandoverId,
    slot: Arc<Slot>,
    all: InHand,
}

/// A delivery in hand, as `GET /v1/deliveries/{id}` shows it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct DeliveryView {
    /// Its id.
    #[schema(example = "hnd_0198c0ffee0070008000000000000000")]
    pub id: String,
    /// For which subscription.
    pub subscription: String,
    /// Seconds until it counts as not answered; 0 if it is settled already.
    pub seconds_left: f64,
}

impl InHand {
    fn slots(&self) -> MutexGuard<'_, HashMap<HandoverId, Arc<Slot>>> {
        // A panic elsewhere leaves the map whole: every change is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a delivery in hand for `timeout`, which extensions may stretch up to `hold`.
    pub fn open(&self, subscription: &Arc<str>, timeout: Duration, hold: Duration) -> Holding {
        let now = Instant::now();
        let slot = Arc::new(Slot {
            subscription: Arc::clone(subscription),
            latest: now + hold,
            state: watch::Sender::new(State::Open { deadline: now + timeout }),
        });
        let id = HandoverId::fresh();
        let mut slots = self.slots();
        slots.insert(id, Arc::clone(&slot));
        telemetry::in_hand(slots.len());
        Holding { id, slot, all: self.clone() }
    }

    fn find(&self, id: &str) -> Result<(HandoverId, Arc<Slot>), Refused> {
        let id: HandoverId = id.parse().map_err(|_| Refused::Unknown)?;
        let slot = self.slots().get(&id).cloned().ok_or(Refused::Unknown)?;
        Ok((id, slot))
    }

    /// Takes an answer.
    pub fn decide(&self, id: &str, decision: Decision) -> Result<(), Refused> {
        let (_, slot) = self.find(id)?;
        let mut decision = Some(decision);
        let mut result = Err(Refused::Unknown);
        slot.state.send_if_modified(|state| {
            result = match state {
                State::Open { .. } => Ok(()),
                State::Decided(_) => Err(Refused::Settled),
                State::Closed => Err(Refused::Unknown),
            };
            if result.is_ok()
                && let Some(decision) = decision.take()
            {
                *state = State::Decided(decision);
                return true;
            }
            false
        });
        result
    }

    /// Gives a delivery this much time from now, within its limit.
    pub fn extend(&self, id: &str, by: Duration) -> Result<DeliveryView, Refused> {
        let (id, slot) = self.find(id)?;
        let wanted = (Instant::now() + by).min(slot.latest);
        let mut result = Err(Refused::Unknown);
        slot.state.send_if_modified(|state| match state {
            State::Open { deadline } => {
                *deadline = wanted.max(*deadline);
                result = Ok(());
                true
            }
            State::Decided(_) => {
                result = Err(Refused::Settled);
                false
            }
            State::Closed => false,
        });
        result.map(|()| slot.view(id))
    }

    /// Shows a delivery.
    pub fn view(&self, id: &str) -> Result<DeliveryView, Refused> {
        let (id, slot) = self.find(id)?;
        Ok(slot.view(id))
    }
}

impl Slot {
    fn view(&self, id: HandoverId) -> DeliveryView {
        let left = match &*self.state.borrow() {
            State::Open { deadline } => deadline.saturating_duration_since(Instant::now()),
            State::Decided(_) | State::Closed => Duration::ZERO,
        };
        DeliveryView {
            id: id.to_string(),
            subscription: self.subscription.to_string(),
            seconds_left: left.as_secs_f64(),
        }
    }
}

impl Holding {
    /// Ready when its time is over, extensions included. A decision is carried out with the end of the
    /// request, which then has until the end of all extensions: no app keeps a place for ever.
    pub async fn expired(&self) {
        let mut state = self.slot.state.subscribe();
        loop {
            let deadline = match &*state.borrow_and_update() {
                State::Open { deadline } => *deadline,
                State::Decided(_) | State::Closed => self.slot.latest,
            };
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return,
                _ = state.changed() => {}
            }
        }
    }

    /// Ready when the app has answered apart from the request.
    pub async fn decided(&self) {
        let mut state = self.slot.state.subscribe();
        let _ = state.wait_for(|state| matches!(state, State::Decided(_))).await;
    }

    /// Ends it: the app's separate answer, if there is one. None is taken afterwards.
    pub fn close(&self) -> Option<Decision> {
        match self.slot.state.send_replace(State::Closed) {
            State::Decided(decision) => Some(decision),
            State::Open { .. } | State::Closed => None,
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.slot.state.send_replace(State::Closed);
        let mut slots = self.all.slots();
        slots.remove(&self.id);
        telemetry::in_hand(slots.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(hold: u64) -> (InHand, Holding, String) {
        let all = InHand::default();
        let holding = all.open(&Arc::from("s"), Duration::from_secs(10), Duration::from_secs(hold));
        let id = holding.id.to_string();
        (all, holding, id)
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_is_taken() {
        let (all, holding, id) = one(60);
        assert_eq!(all.decide(&id, Decision::Ack), Ok(()));
        assert_eq!(all.decide(&id, Decision::Ack), Err(Refused::Settled));
        assert_eq!(all.extend(&id, Duration::from_secs(1)).unwrap_err(), Refused::Settled);
        holding.decided().await;
        assert_eq!(holding.close(), Some(Decision::Ack));
        assert_eq!(all.decide(&id, Decision::Ack), Err(Refused::Unknown));
        drop(holding);
        assert_eq!(all.view(&id).unwrap_err(), Refused::Unknown);
        assert_eq!(all.view("../etc").unwrap_err(), Refused::Unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn a_decision_waits_for_the_request_but_not_for_ever() {
        let (all, holding, id) = one(60);
        let started = Instant::now();
        assert_eq!(all.decide(&id, Decision::Ack), Ok(()));
        holding.expired().await;
        assert_eq!(started.elapsed().as_secs(), 60);
        assert_eq!(holding.close(), Some(Decision::Ack));
    }

    #[tokio::test(start_paused = true)]
    async fn extensions_stretch_the_time_up_to_the_limit() {
        let (all, holding, id) = one(60);
        let started = Instant::now();
        let view = all.extend(&id, Duration::from_secs(3600)).unwrap();
        assert!(view.seconds_left <= 60.0);
        holding.expired().await;
        assert_eq!(started.elapsed().as_secs(), 60);
        // A short one does not shorten it.
        let (all, holding, id) = one(60);
        all.extend(&id, Duration::from_secs(1)).unwrap();
        let started = Instant::now();
        holding.expired().await;
        assert_eq!(started.elapsed().as_secs(), 10);
    }
}
