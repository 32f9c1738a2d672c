//! How much a caller may ask for.

use serde_json::json;

use super::{json_of, refused, register, registration};
use crate::support::{
    http::{Answer, get, post, request},
    process::{DataDir, LIMITS, Server},
};

/// A server that limits those who ask.
fn limited(data: &DataDir, config: &str) -> Server {
    let file = data.file("limited.toml", config);
    let mut command = data.command("serve --listen 127.0.0.1:0");
    Server::start(command.arg("-c").arg(file).env_remove(LIMITS))
}

#[test]
fn who_shows_no_key_has_the_limits_of_his_address_and_a_partner_its_own() {
    let data = DataDir::new();
    let server = limited(&data, "");
    let path = "/api/v1/chains";
    let first = get(&server.address, path);
    assert_eq!(first.headers["x-ratelimit-limit"], "100");
    assert!(first.headers["ratelimit-policy"].contains("\"hour\";q=5000;w=3600"));
    let mut last = first;
    for _ in 0..250 {
        last = get(&server.address, path);
        if last.status == 429 {
            break;
        }
    }
    refused(&last, 429, "rate_limited");
    assert_eq!(last.headers["x-ratelimit-remaining"], "0");
    let wait: u64 = last.headers["retry-after"].parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    let reset: u64 = last.headers["x-ratelimit-reset"].parse().expect("seconds");
    assert_eq!(reset % 60, 0);
    let lied = [("x-forwarded-for", "203.0.113.7")];
    let lied = request(&server.address, "GET", path, &lied);
    refused(&lied, 429, "rate_limited");
}

#[test]
fn a_proxy_that_is_trusted_says_who_asks() {
    let data = DataDir::new();
    let server = limited(&data, "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n");
    let remaining = |client: &str| {
        let headers = [("x-forwarded-for", client)];
        let answer = request(&server.address, "GET", "/api/v1/chains", &headers);
        answer.headers["x-ratelimit-remaining"].clone()
    };
    assert_eq!(remaining("203.0.113.7"), "99");
    assert_eq!(remaining("203.0.113.8"), "99");
    assert_eq!(remaining("203.0.113.9, 203.0.113.8"), "98");
}

#[test]
fn limits_and_usage_hold_across_a_restart() {
    let data = DataDir::new();
    let server = limited(&data, "");
    let partner = register(&server, &registration());
    let left = |answer: &Answer| -> u64 {
        let policy = &answer.headers["ratelimit"];
        let hour = policy.split("\"hour\";r=").nth(1).expect("the hour");
        hour.split(';')
            .next()
            .and_then(|left| left.parse().ok())
            .expect("a number")
    };
    let before = (0..20)
        .map(|_| left(&partner.get(&server, "/api/v1/chains")))
        .min();
    let before = before.expect("a request");
    let (status, _) = server.terminate();
    assert!(status.success());
    let server = limited(&data, "");
    let after = left(&partner.get(&server, "/api/explorer/blocks"));
    // The hour may have changed meanwhile.
    assert!(
        after == before - 1 || after == 49_999,
        "{before} before, {after} after"
    );
    let usage = json_of(&partner.get(&server, "/api/v1/partners/me/usage"));
    assert_eq!(usage["requests"], 20, "{usage}");
    assert_eq!(usage["usage"][0]["endpoint"], "GET /chains");
    let none = partner.get(
        &server,
        "/api/v1/partners/me/usage?start=2020-01-01&end=2020-02-01",
    );
    assert_eq!(json_of(&none)["usage"], json!([]));
    let inverted = partner.get(
        &server,
        "/api/v1/partners/me/usage?start=2021-01-01&end=2020-02-01",
    );
    refused(&inverted, 400, "invalid_parameter");
}

#[test]
fn from_one_address_only_so_many_register() {
    let data = DataDir::new();
    let server = limited(&data, "[limits]\nregistrations_per_hour = 2\n");
    let send = || {
        let body = registration().to_string();
        post(&server.address, "/api/v1/partners/register", &[], &body)
    };
    let statuses: Vec<_> = (0..5).map(|_| send().status).collect();
    // The hour may change meanwhile.
    assert_eq!(statuses[..2], [201, 201]);
    assert!(statuses.contains(&429), "{statuses:?}");
}
