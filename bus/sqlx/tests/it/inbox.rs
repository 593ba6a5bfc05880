//! The inbox: one effect for a message, however it comes.

use std::time::Duration;

use campana_bus::consume::{Failure, Meta};
use campana_bus::headers::{CE_ID, ORIGINAL_MESSAGE_ID};
use campana_bus_sqlx::{EffectError, Inbox, Once, inbox::message_name};
use futures::future::join_all;
use sqlx::Pool;

use crate::databases::TestDb;
use crate::meta;

async fn effects<DB: TestDb>(pool: &Pool<DB>, name: &str) -> i64 {
    DB::number(pool, &format!("SELECT COUNT(*) FROM effects WHERE name = '{name}'")).await
}

pub async fn handle<DB: TestDb>(pool: &Pool<DB>, meta: &Meta, name: &str) -> Result<(), Failure> {
    let insert = format!("INSERT INTO effects (name) VALUES ('{name}')");
    let effect = |mut tx: sqlx::Transaction<'static, DB>| async move {
        DB::run(&mut tx, &insert).await?;
        Ok(tx)
    };
    Inbox.handle(pool, meta, effect).await
}

pub async fn suite<DB: TestDb>(pool: &Pool<DB>) {
    a_repeat_changes_nothing(pool).await;
    an_effect_that_fails_leaves_no_trace(pool).await;
    a_handler_that_dies_before_the_commit_leaves_no_trace(pool).await;
    two_transactions_at_once_do_one_effect(pool).await;
    many_handlers_at_once_do_one_effect(pool).await;
    a_message_without_an_id_is_refused(pool).await;
    old_rows_are_pruned_and_only_those(pool).await;
}

async fn a_repeat_changes_nothing<DB: TestDb>(pool: &Pool<DB>) {
    let first = meta(Some("repeat"), &[]);
    for _ in 0..3 {
        handle(pool, &first, "repeat").await.unwrap();
    }
    let redriven = Meta {
        redrives: 1,
        sequence: 99,
        ..meta(Some("redrive:7:1"), &[(ORIGINAL_MESSAGE_ID, "repeat")])
    };
    handle(pool, &redriven, "repeat").await.unwrap();
    assert_eq!(effects(pool, "repeat").await, 1);

    let other = Meta { consumer: "audit".into(), ..first };
    handle(pool, &other, "repeat").await.unwrap();
    assert_eq!(effects(pool, "repeat").await, 2, "another consumer has an effect of its own");

    let hostile = "'\0\u{1F}\u{1F980}".repeat(300);
    for _ in 0..2 {
        handle(pool, &meta(Some(&hostile), &[]), "hostile").await.unwrap();
    }
    assert_eq!(effects(pool, "hostile").await, 1, "any text is an id");
}

async fn an_effect_that_fails_leaves_no_trace<DB: TestDb>(pool: &Pool<DB>) {
    let message = meta(Some("fails"), &[]);
    let failed = Inbox
        .handle(pool, &message, |mut tx: sqlx::Transaction<'static, DB>| async move {
            DB::run(&mut tx, "INSERT INTO effects (name) VALUES ('fails')").await?;
            Err(EffectError::Failure(Failure::dead("refused", "no such customer")))
        })
        .await;
    assert_eq!(failed, Err(Failure::dead("refused", "no such customer")));
    let statement = Inbox
        .handle(pool, &message, |mut tx: sqlx::Transaction<'static, DB>| async move {
            DB::run(&mut tx, "INSERT INTO effects (name) VALUES ('fails')").await?;
            DB::run(&mut tx, "INSERT INTO effects (name) VALUES (NULL)").await?;
            Ok(tx)
        })
        .await;
    assert!(matches!(statement, Err(Failure::Retry { .. })), "{statement:?}");
    assert_eq!(effects(pool, "fails").await, 0);
    handle(pool, &message, "fails").await.unwrap();
    assert_eq!(effects(pool, "fails").await, 1);
}

async fn a_handler_that_dies_before_the_commit_leaves_no_trace<DB: TestDb>(pool: &Pool<DB>) {
    let message = meta(Some("dies"), &[]);
    let (reached, at_the_end) = tokio::sync::oneshot::channel();
    let dying = {
        let (pool, message) = (pool.clone(), message.clone());
        tokio::spawn(async move {
            let mut tx = pool.begin().await.unwrap();
            assert_eq!(Inbox.once(&mut tx, &message).await.unwrap(), Once::First);
            DB::run(&mut tx, "INSERT INTO effects (name) VALUES ('dies')").await.unwrap();
            reached.send(()).unwrap();
            std::future::pending::<()>().await;
            tx.commit().await.unwrap();
        })
    };
    at_the_end.await.unwrap();
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());
    handle(pool, &message, "dies").await.unwrap();
    handle(pool, &message, "dies").await.unwrap();
    assert_eq!(effects(pool, "dies").await, 1);
}

async fn two_transactions_at_once_do_one_effect<DB: TestDb>(pool: &Pool<DB>) {
    for commits in [true, false] {
        let message = meta(Some(if commits { "two-commit" } else { "two-rollback" }), &[]);
        let mut one = pool.begin().await.unwrap();
        assert_eq!(Inbox.once(&mut one, &message).await.unwrap(), Once::First);
        let mut two = pool.begin().await.unwrap();
        // The second one waits for the end of the first, and then knows.
        let (answer, ended) = tokio::join!(Inbox.once(&mut two, &message), async {
            tokio::task::yield_now().await;
            if commits { one.commit().await } else { one.rollback().await }
        });
        ended.unwrap();
        assert_eq!(answer.unwrap(), if commits { Once::Seen } else { Once::First });
        two.rollback().await.unwrap();
    }
}

async fn many_handlers_at_once_do_one_effect<DB: TestDb>(pool: &Pool<DB>) {
    for round in 0..5 {
        let name = format!("many-{round}");
        let message = meta(Some(&name), &[]);
        let results = join_all((0..6).map(|_| handle(pool, &message, &name))).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(effects(pool, &name).await, 1);
    }
}

async fn a_message_without_an_id_is_refused<DB: TestDb>(pool: &Pool<DB>) {
    let refused = handle(pool, &meta(None, &[]), "nameless").await;
    assert!(matches!(refused, Err(Failure::Dead { reason, .. }) if reason == "no_message_id"));
    assert_eq!(effects(pool, "nameless").await, 0);
    let mut tx = pool.begin().await.unwrap();
    let answer = Inbox.once_named(&mut tx, "EVENTS/shipping", "order 9").await.unwrap();
    assert_eq!(answer, Once::First);
    tx.commit().await.unwrap();
}

async fn old_rows_are_pruned_and_only_those<DB: TestDb>(pool: &Pool<DB>) {
    let count = "SELECT COUNT(*) FROM campana_inbox WHERE scope = 'old'";
    DB::run_all(
        pool,
        "INSERT INTO campana_inbox (scope, message_id, seen_at) \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) \
         SELECT 'old', 'm' || i, 1 FROM n",
    )
    .await;
    let before = DB::number(pool, "SELECT COUNT(*) FROM campana_inbox").await;
    assert_eq!(Inbox.prune(pool, Duration::from_secs(3_600)).await.unwrap(), 2_500);
    assert_eq!(DB::number(pool, count).await, 0);
    assert_eq!(DB::number(pool, "SELECT COUNT(*) FROM campana_inbox").await, before - 2_500);
}

#[test]
fn a_message_is_named_by_the_id_that_its_copies_share() {
    let name = |message: &Meta| message_name(message);
    let original = [(ORIGINAL_MESSAGE_ID, "m1"), (CE_ID, "e1")];
    assert_eq!(name(&meta(Some("redrive:7:1"), &original)).as_deref(), Some("m1"));
    assert_eq!(name(&meta(Some("m1"), &[(CE_ID, "e1")])).as_deref(), Some("m1"));
    assert_eq!(name(&meta(None, &[(CE_ID, "e1")])).as_deref(), Some("e1"));
    let fired = [(CE_ID, "e1"), ("Nats-Schedule-Next", "2026-01-01T00:00:00Z")];
    assert_eq!(
        name(&meta(None, &fired)).as_deref(),
        Some("e1@7"),
        "every firing is another message"
    );
    let once = [(CE_ID, "e1"), ("Nats-Schedule-Next", "purge")];
    assert_eq!(name(&meta(None, &once)).as_deref(), Some("e1"));
    assert_eq!(name(&meta(None, &[])), None);
}
