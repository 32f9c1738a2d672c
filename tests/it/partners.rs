//! Partners: how one becomes one, what one may do, and how much.

mod limits;

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use crate::support::{
    http::{Answer, get, post, request},
    process::{DataDir, Ended, Server},
};

const CONTACT: &str = "contact-of-ann@yourservice.example";

/// The guide's example.
pub(crate) fn registration() -> Value {
    json!({
        "name": "Your Service Name",
        "description": "Brief description of your service",
        "website": "https://yourservice.com",
        "contact": CONTACT,
        "integration_type": "explorer",
    })
}

pub(crate) fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// Somebody who was given a key.
pub(crate) struct Partner {
    pub(crate) id: String,
    pub(crate) key: String,
    told: Value,
}

pub(crate) fn register(server: &Server, body: &Value) -> Partner {
    let headers = [("content-type", "application/json")];
    let path = "/api/v1/partners/register";
    let answer = post(&server.address, path, &headers, &body.to_string());
    let told = json_of(&answer);
    assert_eq!(answer.status, 201, "{told}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let text = |name: &str| told[name].as_str().expect("a text").to_owned();
    Partner {
        id: text("partner_id"),
        key: text("api_key"),
        told,
    }
}

impl Partner {
    fn ask(&self, server: &Server, method: &str, path: &str) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        request(&server.address, method, path, &[("authorization", &bearer)])
    }

    pub(crate) fn get(&self, server: &Server, path: &str) -> Answer {
        self.ask(server, "GET", path)
    }

    pub(crate) fn post(&self, server: &Server, path: &str, body: &Value) -> Answer {
        let headers = [("x-api-key", self.key.as_str())];
        post(&server.address, path, &headers, &body.to_string())
    }
}

#[track_caller]
pub(crate) fn refused(answer: &Answer, status: u16, code: &str) {
    let body = json_of(answer);
    assert_eq!(
        (answer.status, body["error"]["code"].as_str()),
        (status, Some(code)),
        "{body}"
    );
}

#[test]
fn a_partner_registers_and_sees_itself() {
    let data = DataDir::new();
    let server = data.serve();
    let partner = register(&server, &registration());
    assert!(partner.key.starts_with("aitbc_"), "{}", partner.told);
    let secret = partner.told["api_secret"].as_str().expect("a secret");
    assert!(secret.starts_with("secret_"), "{secret}");
    assert_eq!(partner.told["tier"], "pro");
    let limit = json!({"requests_per_minute": 1000, "requests_per_hour": 50000});
    assert_eq!(partner.told["rate_limit"], limit);
    let me = json_of(&partner.get(&server, "/api/partners/me"));
    assert_eq!(me["partner_id"], partner.told["partner_id"]);
    assert_eq!(me["contact"], CONTACT);
    assert_eq!(me["keys"].as_array().expect("keys").len(), 1);
    assert_eq!(me["created_at"], partner.told["created_at"]);
    let nobody = get(&server.address, "/api/v1/partners/me");
    refused(&nobody, 401, "unauthorized");
    let other = [("authorization", "Bearer aitbc_000000000000")];
    for path in ["/api/v1/partners/me", "/api/v1/chains"] {
        refused(
            &request(&server.address, "GET", path, &other),
            401,
            "unauthorized",
        );
    }
    let (status, _) = server.terminate();
    assert!(status.success());
    data.verify();
}

#[test]
fn a_registration_that_is_wrong_says_which_fields_are() {
    let data = DataDir::new();
    let server = data.serve();
    let mut body = registration();
    body["contact"] = json!("nobody");
    body["integration_type"] = json!("bank");
    let answer = post(
        &server.address,
        "/api/v1/partners/register",
        &[],
        &body.to_string(),
    );
    refused(&answer, 422, "invalid_fields");
    let fields = json_of(&answer)["error"]["details"]["fields"].take();
    let names: Vec<_> = fields.as_object().expect("fields").keys().collect();
    assert_eq!(names, ["contact", "integration_type"]);
    let no_json = post(&server.address, "/api/v1/partners/register", &[], "{");
    refused(&no_json, 400, "invalid_parameter");
}

/// Whether any file under a directory holds a text.
fn holds(directory: &Path, text: &str) -> bool {
    let found = Command::new("grep")
        .args(["-r", "-l", "-a", "-F", text])
        .arg(directory)
        .output();
    let found = found.expect("grep runs");
    !found.stdout.is_empty()
}

#[test]
fn neither_keys_nor_profiles_are_readable_in_the_data_and_erased_ones_never_again() {
    let data = DataDir::new();
    let server = data.serve();
    let partner = register(&server, &registration());
    let secret = partner.told["api_secret"]
        .as_str()
        .expect("a secret")
        .to_owned();
    let shown = data
        .cairn(&format!("partner show {}", partner.id))
        .ok()
        .json();
    assert_eq!(shown["profile"]["contact"], CONTACT);
    let (status, _) = server.terminate();
    assert!(status.success(), "{status}");
    for text in [CONTACT, &partner.key, &secret, "Your Service Name"] {
        assert!(!holds(&data.path(), text), "{text} is readable");
    }
    assert!(
        holds(&data.path(), &partner.id),
        "what is searched for would be found"
    );
    let unmeant = data.cairn(&format!("partner erase {}", partner.id));
    unmeant.refused(2, &["--yes"]);
    data.cairn(&format!("partner erase {} --yes", partner.id))
        .ok();
    let shown = data
        .cairn(&format!("partner show {}", partner.id))
        .ok()
        .json();
    assert_eq!(
        (&shown["status"], &shown["profile"]),
        (&json!("erased"), &Value::Null)
    );
    let server = data.serve();
    refused(
        &partner.get(&server, "/api/v1/partners/me"),
        401,
        "unauthorized",
    );
    drop(server);
    data.verify();
}

#[test]
fn a_rotated_key_holds_for_its_grace_and_a_revoked_one_no_longer() {
    let data = DataDir::new();
    let server = data.serve();
    let old = register(&server, &registration());
    let told = old.post(
        &server,
        "/api/v1/partners/me/rotate",
        &json!({"grace_seconds": 3600}),
    );
    assert_eq!(told.status, 200);
    let told = json_of(&told);
    let new = Partner {
        id: old.id.clone(),
        key: told["api_key"].as_str().expect("a key").to_owned(),
        told,
    };
    for partner in [&old, &new] {
        assert_eq!(partner.get(&server, "/api/v1/partners/me").status, 200);
    }
    let me = json_of(&new.get(&server, "/api/v1/partners/me"));
    let [first, second] = me["keys"].as_array().expect("keys").as_slice() else {
        panic!("{me}");
    };
    assert!(
        first["expires_at"].is_string() && second["expires_at"].is_null(),
        "{me}"
    );
    let id = first["key_id"].as_str().expect("an id");
    let revoked = new.ask(&server, "DELETE", &format!("/api/v1/partners/me/keys/{id}"));
    assert_eq!(revoked.status, 204);
    refused(
        &old.get(&server, "/api/v1/partners/me"),
        401,
        "unauthorized",
    );
    assert_eq!(new.get(&server, "/api/v1/partners/me").status, 200);
    let again = new.ask(&server, "DELETE", &format!("/api/v1/partners/me/keys/{id}"));
    refused(&again, 404, "not_found");
    let at_once = new.post(
        &server,
        "/api/v1/partners/me/rotate",
        &json!({"grace_seconds": 0}),
    );
    assert_eq!(at_once.status, 200);
    refused(
        &new.get(&server, "/api/v1/partners/me"),
        401,
        "unauthorized",
    );
    let long = json!({"grace_seconds": 10_000_000});
    let bad = register(&server, &registration()).post(&server, "/api/v1/partners/me/rotate", &long);
    refused(&bad, 400, "invalid_parameter");
}

#[test]
fn the_operator_changes_tiers_and_shuts_partners_out() {
    let data = DataDir::with_samples();
    let server = data.serve();
    let mut body = registration();
    body["integration_type"] = json!("wallet");
    let partner = register(&server, &body);
    let query = json!({"sql": "SELECT 1 AS one"});
    let sql = || partner.post(&server, "/api/v1/sql", &query);
    refused(&sql(), 403, "pro_tier_required");
    let operator = |line: &str| -> Ended { data.cairn(&format!("partner {line}")) };
    let id = &partner.id;
    operator(&format!("set-tier {id} pro")).ok();
    assert_eq!(sql().status, 200);
    refused(
        &partner.get(&server, "/api/v1/datasets"),
        403,
        "enterprise_tier_required",
    );
    operator(&format!("set-tier {id} enterprise")).ok();
    assert_eq!(partner.get(&server, "/api/v1/datasets").status, 200);
    operator(&format!("suspend {id} --reason unpaid")).ok();
    let out = partner.get(&server, "/api/v1/chains");
    refused(&out, 403, "suspended");
    assert!(
        json_of(&out)["detail"]
            .as_str()
            .expect("a text")
            .contains("unpaid")
    );
    operator(&format!("resume {id}")).ok();
    assert_eq!(partner.get(&server, "/api/v1/chains").status, 200);
    operator(&format!("resume {id}")).refused(1, &["is not suspended"]);
    operator(&format!("revoke {id} --all")).ok();
    refused(&partner.get(&server, "/api/v1/chains"), 401, "unauthorized");
    let rotated = operator(&format!("rotate {id}")).ok().json();
    let key = rotated["api_key"].as_str().expect("a key").to_owned();
    let renewed = Partner { key, ..partner };
    assert_eq!(renewed.get(&server, "/api/v1/partners/me").status, 200);
    operator("set-tier nobody pro").refused(2, &["no partner nobody"]);
    let listed = operator("list --json").ok().json();
    assert_eq!(listed[0]["tier"], "enterprise");
    assert!(operator("list").ok().stdout.contains("Your Service Name"));
}

#[test]
fn an_export_is_its_partners_alone() {
    let data = DataDir::with_samples();
    let server = data.serve();
    let [owner, other] = [0; 2].map(|_| register(&server, &registration()));
    for partner in [&owner, &other] {
        data.cairn(&format!("partner set-tier {} enterprise", partner.id))
            .ok();
    }
    let body = json!({"start_block": 0, "end_block": 10, "format": "csv"});
    let accepted = json_of(&owner.post(&server, "/api/v1/export/blocks", &body));
    let id = accepted["export_id"].as_str().expect("an id");
    for path in [
        format!("/api/v1/export/{id}"),
        format!("/api/v1/export/download/{id}"),
    ] {
        assert!(matches!(owner.get(&server, &path).status, 200 | 202));
        refused(&other.get(&server, &path), 404, "not_found");
    }
}

#[test]
fn a_master_key_that_is_none_or_another_one_is_told() {
    let data = DataDir::new();
    let bad = data.file("bad.toml", "[partners]\nmaster_key = \"short\"\n");
    let refused = data.cairn(&format!("config check -c {}", bad.display()));
    refused.refused(2, &["partners.master_key", "64 hex digits"]);
}
