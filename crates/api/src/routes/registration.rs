//! What somebody sends who wants to be a partner.

use std::{net::IpAddr, sync::Arc};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};
use cairn_domain::events::IntegrationType;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::{
    access,
    app::App,
    error::{ApiError, ErrorCode},
    partners::Profile,
};

/// Who wants to be a partner.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what `Registered` reads by name")]
pub(super) struct Registration {
    /// What the service is called.
    #[schema(min_length = 3, max_length = 100)]
    name: String,
    /// What it does.
    #[schema(min_length = 10, max_length = 500)]
    description: String,
    /// Its home page, an http or https URL.
    #[schema(pattern = "^https?://")]
    website: String,
    /// An e-mail address.
    #[schema(format = Email)]
    contact: String,
    /// explorer, analytics, wallet, exchange or other.
    #[schema(pattern = "^(explorer|analytics|wallet|exchange|other)$")]
    integration_type: String,
}

/// A registration that is as it should be, from an address that may register.
pub(super) struct Registered {
    pub(super) profile: Profile,
    pub(super) integration: IntegrationType,
}

impl FromRequest<Arc<App>> for Registered {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let address: IpAddr = access::client(app, &request);
        let body = Bytes::from_request(request, app).await;
        let body = body.map_err(|error| ApiError::parameter("body", error))?;
        let registered = Self::read(&body)?;
        access::admit_registration(app, address)?;
        Ok(registered)
    }
}

impl Registered {
    fn read(body: &[u8]) -> Result<Self, ApiError> {
        let fields: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|error| ApiError::parameter("body", format!("expected an object: {error}")))?;
        let mut form = Form {
            fields: &fields,
            problems: Map::new(),
        };
        let name = form.text("name", |text| length(text, 3, 100));
        let description = form.text("description", |text| length(text, 10, 500));
        let website = form.text("website", website);
        let contact = form.text("contact", email);
        let integration = form.text("integration_type", |text| {
            let parsed = text.parse::<IntegrationType>();
            parsed.map(drop).map_err(|error| error.to_string())
        });
        let (profile, integration) = match (name, description, website, contact, integration) {
            (Some(name), Some(description), Some(website), Some(contact), Some(integration)) => {
                let profile = Profile {
                    name,
                    description,
                    website,
                    contact,
                };
                (profile, integration)
            }
            _ => return Err(form.refuse()),
        };
        Ok(Self {
            profile,
            integration: integration.parse()?,
        })
    }
}

/// Fields of a body, and what is wrong with each.
struct Form<'a> {
    fields: &'a Map<String, Value>,
    problems: Map<String, Value>,
}

impl Form<'_> {
    fn text(
        &mut self,
        name: &str,
        check: impl FnOnce(&str) -> Result<(), String>,
    ) -> Option<String> {
        let text = match self.fields.get(name) {
            Some(Value::String(text)) => Ok(text.trim().to_owned()),
            Some(_) => Err("expected a text".to_owned()),
            None => Err("it is missing".to_owned()),
        };
        let checked = text.and_then(|text| check(&text).map(|()| text));
        match checked {
            Ok(text) => Some(text),
            Err(reason) => {
                self.problems.insert(name.to_owned(), reason.into());
                None
            }
        }
    }

    fn refuse(self) -> ApiError {
        let names: Vec<_> = self.problems.keys().map(String::as_str).collect();
        let message = format!(
            "these fields are not as they should be: {}",
            names.join(", ")
        );
        ApiError::new(ErrorCode::InvalidFields, message).with(json!({"fields": self.problems}))
    }
}

fn length(text: &str, least: usize, most: usize) -> Result<(), String> {
    let count = text.chars().count();
    if !(least..=most).contains(&count) {
        return Err(format!(
            "expected {least} to {most} characters, got {count}"
        ));
    }
    match text.chars().any(char::is_control) {
        true => Err("it contains a control character".into()),
        false => Ok(()),
    }
}

fn website(text: &str) -> Result<(), String> {
    length(text, 1, 500)?;
    let url = url::Url::parse(text).map_err(|error| format!("it is no URL: {error}"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() && url.username().is_empty() => Ok(()),
        "http" | "https" => Err("expected a host, and no user name".into()),
        scheme => Err(format!("expected an http or https URL, not {scheme}")),
    }
}

/// Whether it looks like an address that mail can be sent to: who it really is, only a mail would show.
fn email(text: &str) -> Result<(), String> {
    length(text, 3, 254)?;
    let parts = text.rsplit_once('@');
    let is_one = parts.is_some_and(|(local, domain)| {
        let labels = || domain.split('.');
        (1..=64).contains(&local.len())
            && !local.contains(['@', ' ', '<', '>', '(', ')', ',', ';', ':', '"'])
            && labels().count() > 1
            && labels().all(|label| {
                !label.is_empty()
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            })
    });
    match is_one {
        true => Ok(()),
        false => Err("expected an e-mail address, such as name@example.com".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(change: impl FnOnce(&mut Value)) -> Result<Registered, ApiError> {
        let mut body = json!({
            "name": "Your Service Name",
            "description": "Brief description of your service",
            "website": "https://yourservice.com",
            "contact": "contact@yourservice.com",
            "integration_type": "explorer",
        });
        change(&mut body);
        Registered::read(body.to_string().as_bytes())
    }

    #[test]
    fn the_guides_example_is_a_registration() {
        let registered = read(|_| ()).unwrap();
        assert_eq!(registered.integration, IntegrationType::Explorer);
        assert_eq!(registered.profile.contact, "contact@yourservice.com");
    }

    #[test]
    fn every_field_that_is_wrong_is_named_at_once() {
        let refused = read(|body| {
            body["name"] = json!("ab");
            body["website"] = json!("ftp://yourservice.com");
            body["contact"] = json!(7);
            body["integration_type"] = json!("bank");
        });
        let refused = refused.err().unwrap();
        assert_eq!(refused.code, ErrorCode::InvalidFields);
        let fields = refused.details["fields"].as_object().unwrap();
        let names: Vec<_> = fields.keys().collect();
        assert_eq!(names, ["contact", "integration_type", "name", "website"]);
    }

    #[test]
    fn addresses_and_pages_that_cannot_be_are_refused() {
        for bad in [
            "", "a", "@b.c", "a@b", "a@b.", "a b@c.de", "a@-b.de", "a@b@c.de", "<a@b.de>",
        ] {
            assert!(email(bad).is_err(), "{bad}");
        }
        for good in ["a@b.de", "first.last+tag@sub.example.co.uk", "ü@münchen.de"] {
            assert!(email(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "yourservice.com",
            "https://",
            "https://me:x@a.de",
            "javascript:alert(1)",
        ] {
            assert!(website(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_object_is_no_registration() {
        for bad in ["", "[]", "7", "{", "null"] {
            let refused = Registered::read(bad.as_bytes()).err().unwrap();
            assert_eq!(refused.code, ErrorCode::InvalidParameter, "{bad}");
        }
    }
}
