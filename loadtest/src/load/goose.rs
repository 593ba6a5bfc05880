//! Who runs the users of wave and closed load: goose, one attack per step, or bare tasks as a
//! control that shows goose's own share. The only file that knows goose.
//!
//! How goose 0.19 is set up, and why:
//! - `increase_rate` is raised from one user a second to "at once"; gate and desk do the waiting;
//! - no metrics: goose's clock starts after its own work, the ledger's at the intended send, and
//!   two clocks for one figure would only differ;
//! - no `iterations` and no `run_time`: the attack ends by the kill switch when the step has
//!   ended. (With `iterations`, goose prints a line on stdout that would spoil `--json`.)
//! - one shared HTTP client that is never used, or each of n users would build its own;
//! - ctrl-C is taken before goose asks for it; goose then leaves it alone.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use futures::future::BoxFuture;
use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::goose::{GooseUser, Scenario, Transaction, TransactionFunction};
use goose::{GooseAttack, GooseError};

use crate::failure::Failure;

/// Users per second; more than any step has.
const AT_ONCE: &str = "1000000";
/// A user whose step is over looks this often whether goose has told it to go.
const FAREWELL: Duration = Duration::from_millis(20);

/// What one user does, again and again; false when the step is over.
pub type Action = Arc<dyn Fn(usize) -> BoxFuture<'static, bool> + Send + Sync>;

/// What runs the simulated users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Driver {
    #[default]
    Goose,
    Tasks,
}

impl Driver {
    /// As named in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Goose => "goose 0.19, one attack per step; open load by our own executor",
            Self::Tasks => "bare tasks (control); open load by our own executor",
        }
    }
}

/// Runs `users` users beside `conduct`. When that ends, `over` must make every action end.
pub async fn drive<T>(
    driver: Driver,
    users: u32,
    host: &str,
    action: Action,
    conduct: impl Future<Output = T>,
    over: impl FnOnce(),
) -> Result<T, Failure> {
    match driver {
        Driver::Goose => attack(users, host, action, conduct, over).await,
        Driver::Tasks => Ok(with_tasks(users, action, conduct, over).await),
    }
}

async fn with_tasks<T>(
    users: u32,
    action: Action,
    conduct: impl Future<Output = T>,
    over: impl FnOnce(),
) -> T {
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..users as usize {
        let action = Arc::clone(&action);
        tasks.spawn(async move { while action(index).await {} });
    }
    let result = conduct.await;
    over();
    while tasks.join_next().await.is_some() {}
    result
}

async fn attack<T>(
    users: u32,
    host: &str,
    action: Action,
    conduct: impl Future<Output = T>,
    over: impl FnOnce(),
) -> Result<T, Failure> {
    let failed = |error: GooseError| Failure::failed("goose", error);
    let attack = prepare(users, host, action).map_err(failed)?;
    let mut attack = Box::pin(attack.execute());
    let mut conduct = Box::pin(conduct);
    let result = tokio::select! {
        result = &mut conduct => result,
        ended = &mut attack => {
            let why = ended.err().map_or_else(|| "it ended early".to_owned(), |e| e.to_string());
            return Err(Failure::failed("goose", why));
        }
    };
    over();
    goose::trigger_killswitch("the step is over");
    attack.await.map_err(failed)?;
    Ok(result)
}

fn prepare(users: u32, host: &str, action: Action) -> Result<GooseAttack, GooseError> {
    // Some of its fields are private, so the struct cannot be written out.
    let mut configuration = GooseConfiguration::default();
    configuration.host = Some(host.to_owned());
    configuration.users = Some(users as usize);
    configuration.increase_rate = Some(AT_ONCE.to_owned());
    configuration.no_metrics = true;
    configuration.no_print_metrics = true;
    configuration.no_error_summary = true;
    configuration.no_telnet = true;
    configuration.no_websocket = true;
    configuration.quiet = 2;
    let turn: TransactionFunction = Arc::new(move |user: &mut GooseUser| {
        let action = Arc::clone(&action);
        // goose numbers the users of an attack from 0.
        let index = user.weighted_users_index;
        Box::pin(async move {
            if !action(index).await {
                tokio::time::sleep(FAREWELL).await;
            }
            Ok(())
        })
    });
    let scenario = Scenario::new("turn").register_transaction(Transaction::new(turn));
    GooseAttack::initialize_with_config(configuration)?
        .set_client_builder_without_cookies(GooseClientBuilder::new().without_cookies())
        .map(|attack| attack.register_scenario(scenario))
}
