//! The page's files, and what the proxy lets through.

use std::sync::Mutex;

use axum::extract::RawQuery;
use axum::http::Uri;
use campana_bus::lifecycle::Lifecycle;
use tokio::net::TcpListener;

use super::*;

/// A server of this test; it ends with the test.
async fn serve(router: Router, lifecycle: &Lifecycle) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let soft = lifecycle.soft.clone();
    lifecycle.spawn("test server", async move {
        let _ = axum::serve(listener, router).with_graceful_shutdown(soft.cancelled_owned()).await;
    });
    format!("http://{address}")
}

fn options(url: &str) -> OpsOptions {
    OpsOptions { prometheus_url: url.to_owned(), prometheus_timeout_ms: 30_000 }
}

fn http() -> reqwest::Client {
    let timeout = std::time::Duration::from_secs(60);
    reqwest::Client::builder().timeout(timeout).no_proxy().build().unwrap()
}

async fn get_text(url: &str) -> (u16, String) {
    let answer = http().get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[test]
fn every_dashboard_is_in_the_list_in_its_order() {
    let slugs: Vec<String> = setup(true).boards.into_iter().map(|board| board.slug).collect();
    assert_eq!(slugs, ORDER);
}

#[test]
fn addresses_are_checked() {
    let base = |url: &str| options(url).base();
    assert_eq!(base("").unwrap(), None);
    assert_eq!(base("http://h:1/prom").unwrap().unwrap().as_str(), "http://h:1/prom/");
    for wrong in ["h:9090", "ftp://h", "http://u:p@h", "http://h/?a=b", "http://h/#x", "nonsense"] {
        assert!(base(wrong).unwrap_err().contains("prometheus_url must be"), "{wrong}");
    }
    let slow = OpsOptions { prometheus_timeout_ms: 5, ..OpsOptions::default() };
    assert!(slow.check().unwrap_err().contains("prometheus_timeout_ms"));
}

#[tokio::test]
async fn files_have_a_policy_and_nothing_else_is_served() {
    let lifecycle = Lifecycle::new();
    let base = serve(router(&options("")).unwrap(), &lifecycle).await;
    let page = http().get(format!("{base}/dashboards")).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    assert!(page.text().await.unwrap().contains("ops.prometheus_url"));
    let (status, board) = get_text(&format!("{base}/dashboards/board/overview.json")).await;
    assert!(status == 200 && board.contains("\"campana-overview\""));
    for gone in [
        "board/..%2f..%2fCargo.toml",
        "assets/..%2fpackage.json",
        "assets/none.js",
        "api/labels",
        "api/query/x",
    ] {
        assert_eq!(get_text(&format!("{base}/dashboards/{gone}")).await.0, 404, "{gone}");
    }
    let (status, text) = get_text(&format!("{base}/dashboards/api/query?query=up")).await;
    assert!(status == 503 && text.contains("set ops.prometheus_url"), "{text}");
    lifecycle.stop(std::time::Duration::from_secs(1)).await;
}

/// A Prometheus that notes what it is asked and answers in the wrong ways that there are.
fn stand_in(asked: &'static Mutex<Vec<String>>) -> Router {
    let note = move |uri: Uri, RawQuery(query): RawQuery| async move {
        let query = query.unwrap_or_default();
        asked.lock().unwrap().push(uri.to_string());
        let has = |word: &str| query.contains(word);
        if has("slow") {
            std::future::pending::<()>().await;
        }
        if has("moved") {
            return (StatusCode::FOUND, [(header::LOCATION, "/secret")], "").into_response();
        }
        if has("login") {
            return "<html>please log in</html>".into_response();
        }
        if has("large") {
            return format!("\"{}\"", "x".repeat(17 * 1024 * 1024)).into_response();
        }
        if has("wrong") {
            return (StatusCode::BAD_REQUEST, r#"{"status":"error","error":"parse error"}"#)
                .into_response();
        }
        r#"{"status":"success","data":{"result":[]}}"#.into_response()
    };
    Router::new()
        .route("/prom/api/v1/query", get(note))
        .route("/prom/api/v1/query_range", get(note))
}

#[tokio::test]
async fn two_questions_pass_and_their_wrong_answers_are_words() {
    static ASKED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let lifecycle = Lifecycle::new();
    let prometheus = serve(stand_in(&ASKED), &lifecycle).await;
    let base = serve(router(&options(&format!("{prometheus}/prom"))).unwrap(), &lifecycle).await;
    let ask = async |rest: &str| get_text(&format!("{base}/dashboards/api/{rest}")).await;

    assert_eq!(ask("query?query=up%26x=1&time=5.5").await.0, 200);
    assert_eq!(ask("query_range?query=up&start=1&end=9&step=2").await.0, 200);
    let asked = std::mem::take(&mut *ASKED.lock().unwrap());
    assert_eq!(
        asked,
        [
            "/prom/api/v1/query?query=up%26x%3D1&timeout=30000ms&time=5.5",
            "/prom/api/v1/query_range?query=up&timeout=30000ms&start=1&end=9&step=2",
        ]
    );

    for (rest, status, words) in [
        ("query?query=wrong", 400, "parse error"),
        ("query?query=moved", 502, "redirect"),
        ("query?query=login", 502, "does not answer like a Prometheus"),
        ("query?query=large", 502, "more than"),
        ("query?query=up&limit=1", 400, "unknown field"),
        ("query_range?query=up&start=NaN&end=9&step=2", 400, "numbers"),
        ("query", 400, "query"),
    ] {
        let (found, text) = ask(rest).await;
        assert!(found == status && text.contains(words), "{rest}: {found} {text}");
    }
    let hasty = OpsOptions { prometheus_timeout_ms: 100, ..options(&format!("{prometheus}/prom")) };
    let hasty = serve(router(&hasty).unwrap(), &lifecycle).await;
    let (found, text) = get_text(&format!("{hasty}/dashboards/api/query?query=slow")).await;
    assert!(found == 502 && text.contains("prometheus_timeout_ms"), "{found} {text}");
    let long = format!("query?query={}", "x".repeat(9_000));
    assert_eq!(ask(&long).await.0, 400);
    let post = http().post(format!("{base}/dashboards/api/query?query=up"));
    assert_eq!(post.send().await.unwrap().status(), 405);
    let cross = http().get(format!("{base}/dashboards/api/query?query=up"));
    assert_eq!(cross.header("sec-fetch-site", "cross-site").send().await.unwrap().status(), 403);

    lifecycle.hard.cancel();
    lifecycle.stop(std::time::Duration::from_millis(1)).await;
    let gone = serve_nothing().await;
    let lifecycle = Lifecycle::new();
    let base = serve(router(&options(&gone)).unwrap(), &lifecycle).await;
    let (status, text) = get_text(&format!("{base}/dashboards/api/query?query=up")).await;
    assert!(status == 502 && text.contains("is it running"), "{text}");
    lifecycle.stop(std::time::Duration::from_secs(1)).await;
}

/// An address where nobody listens.
async fn serve_nothing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
