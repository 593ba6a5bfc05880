//! How SQLite reads for the questions whose cost could grow with the table: never more than what is asked for.
//! Reads and writes: a temporary database.

use sqlx::{AssertSqlSafe, Row};

use super::{Engine, Store, counts, notifications, status};

/// How the deliveries of one notification are found.
const BY_NOTIFICATION: &str = "deliveries_by_notification (tenant=? AND notification_id=?)";

/// The steps of a statement, as SQLite explains them.
async fn plan(store: &Store, sql: String) -> Vec<String> {
    let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
    let rows = rows.fetch_all(&store.reads).await.unwrap();
    rows.iter().map(|row| row.try_get::<String, _>(3).unwrap()).collect()
}

#[tokio::test]
async fn no_question_about_some_rows_reads_all() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/plans.db", folder.path().display());
    let store = Store::connect(&url).await.unwrap();
    store.migrate().await.unwrap();

    for notifications in [1, 2, 256] {
        let steps = plan(&store, status::derive_sql(Engine::Sqlite, notifications)).await;
        assert!(steps[0].starts_with("SEARCH notifications USING INDEX"), "{steps:#?}");
        assert!(steps[0].ends_with("(tenant=? AND id=?)"), "{steps:#?}");
        assert!(steps.iter().any(|step| step.ends_with(BY_NOTIFICATION)), "{steps:#?}");
    }
    for prefix in [None, Some("lt-")] {
        let by_status = plan(&store, counts::by_status(Engine::Sqlite, prefix)).await;
        let looks = by_status.iter().filter(|step| step.contains("SEARCH d"));
        assert!(looks.clone().all(|step| step.ends_with(BY_NOTIFICATION)), "{by_status:#?}");
        assert_eq!(looks.count(), usize::from(prefix.is_some()), "{by_status:#?}");
        let by_channel = plan(&store, counts::by_channel(Engine::Sqlite, prefix)).await;
        assert!(by_channel.iter().any(|step| step.ends_with(BY_NOTIFICATION)), "{by_channel:#?}");
        for steps in [by_status, by_channel] {
            let notifications = steps.iter().filter(|step| step.contains(" n USING"));
            assert!(notifications.clone().all(|step| step.contains("notifications_by_time")));
            assert_eq!(notifications.count(), 1, "{steps:#?}");
        }
    }
    let deliveries = plan(&store, notifications::deliveries_sql(Engine::Sqlite)).await;
    assert!(deliveries[0].ends_with(BY_NOTIFICATION), "{deliveries:#?}");
    store.close().await;
}
