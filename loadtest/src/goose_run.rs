//! One goose attack per step: goose owns the users, the gate owns the moment. The only file that
//! knows goose.
//!
//! How goose 0.19 is set up, and why:
//! - `increase_rate` is raised from one user a second to "at once"; the gate does the waiting;
//! - no metrics: goose's clock starts after its own work, the ledger's starts at the release;
//! - no `iterations` and no `run_time`: the attack ends by the kill switch when the last wave
//!   has drained. (With `iterations`, goose prints a line on stdout that would spoil `--json`.)
//! - one shared HTTP client that is never used, or each of n users would build its own;
//! - ctrl-C is taken before goose asks for it; goose then leaves it alone.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::goose::{GooseUser, Scenario, Transaction, TransactionFunction};
use goose::{GooseAttack, GooseError};
use tokio::sync::watch;

use crate::failure::Failure;
use crate::gate::{Gate, Signal};
use crate::senders::Crew;

/// Users per second; more than any step has.
const AT_ONCE: &str = "1000000";
/// A user whose step is over looks this often whether goose has told it to go.
const FAREWELL: Duration = Duration::from_millis(20);

/// As named in reports.
pub const NAME: &str = "goose 0.19, one attack per step";

/// What a user remembers between its transactions.
#[derive(Clone)]
struct Seat {
    watch: watch::Receiver<Signal>,
    last: Option<u32>,
}

/// Starts `users` users, runs `conduct` beside them, and returns when both have ended.
pub async fn attack<T>(
    crew: Arc<Crew>,
    gate: Arc<Gate>,
    users: u32,
    target: &str,
    conduct: impl Future<Output = T>,
) -> Result<T, Failure> {
    let failed = |error: GooseError| Failure::failed("goose", error);
    let attack = prepare(crew, Arc::clone(&gate), users, target).map_err(failed)?;
    let mut attack = Box::pin(attack.execute());
    let mut conduct = Box::pin(conduct);
    let result = tokio::select! {
        result = &mut conduct => result,
        ended = &mut attack => {
            let why = ended.err().map_or_else(|| "it ended early".to_owned(), |e| e.to_string());
            return Err(Failure::failed("goose", why));
        }
    };
    gate.over();
    goose::trigger_killswitch("the step is over");
    attack.await.map_err(failed)?;
    Ok(result)
}

fn prepare(
    crew: Arc<Crew>,
    gate: Arc<Gate>,
    users: u32,
    target: &str,
) -> Result<GooseAttack, GooseError> {
    // Some of its fields are private, so the struct cannot be written out.
    let mut configuration = GooseConfiguration::default();
    configuration.host = Some(target.to_owned());
    configuration.users = Some(users as usize);
    configuration.increase_rate = Some(AT_ONCE.to_owned());
    configuration.no_metrics = true;
    configuration.no_print_metrics = true;
    configuration.no_error_summary = true;
    configuration.no_telnet = true;
    configuration.no_websocket = true;
    configuration.quiet = 2;
    let wave: TransactionFunction = Arc::new(move |user: &mut GooseUser| {
        let (crew, gate) = (Arc::clone(&crew), Arc::clone(&gate));
        Box::pin(async move {
            one_wave(user, &crew, &gate).await;
            Ok(())
        })
    });
    let scenario = Scenario::new("wave").register_transaction(Transaction::new(wave));
    GooseAttack::initialize_with_config(configuration)?
        .set_client_builder_without_cookies(GooseClientBuilder::new().without_cookies())
        .map(|attack| attack.register_scenario(scenario))
}

async fn one_wave(user: &mut GooseUser, crew: &Crew, gate: &Gate) {
    let mut seat = user
        .get_session_data::<Seat>()
        .cloned()
        .unwrap_or_else(|| Seat { watch: gate.watch(), last: None });
    // goose numbers the users of an attack from 0.
    let index = user.weighted_users_index;
    match crew.take_part(index, gate, &mut seat.watch, seat.last).await {
        Some(wave) => {
            seat.last = Some(wave);
            user.set_session_data(seat);
        }
        None => tokio::time::sleep(FAREWELL).await,
    }
}
