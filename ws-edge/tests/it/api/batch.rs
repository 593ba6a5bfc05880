//! Many commands in one request.

use serde_json::json;

use super::{KEY, Pair, done, post};

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_a_batch_has_its_reply() {
    let pair = Pair::start().await;
    for parallel in [false, true] {
        let channel = format!("room:{parallel}");
        let commands = json!([
            {"publish": {"channel": channel, "data": 1}},
            {"publish": {"channel": "nowhere:x", "data": 1}},
            {"something": {}},
            {"publish": {"channel": 7}},
            {"batch": {"commands": []}},
            {"presence_stats": {"channel": "seen:a"}},
            {"publish": {"channel": channel, "data": 2}},
            {"info": {}},
        ]);
        let body = json!({"commands": commands, "parallel": parallel}).to_string();
        let answer = post(&pair.one, "/api/batch", &[("X-API-Key", KEY)], &body).await;
        assert_eq!(answer.status, 200);
        let replies = answer.body["replies"].as_array().unwrap();
        let codes: Vec<_> = replies.iter().map(|one| one["error"]["code"].as_u64()).collect();
        let wanted = [None, Some(102), Some(104), Some(107), Some(107), None, None, None];
        assert_eq!(codes, wanted, "{}", answer.body);
        assert!(replies[0]["publish"]["offset"].as_u64() > Some(0));
        assert_eq!(replies[5], json!({"presence_stats": {"num_clients": 0, "num_users": 0}}));
        assert_eq!(replies[7]["info"]["nodes"].as_array().unwrap().len(), 2);
        let history = done(&pair.two, "history", json!({"channel": channel, "limit": 9})).await;
        assert_eq!(history["publications"].as_array().unwrap().len(), 2);
    }
    pair.stop().await;
}
