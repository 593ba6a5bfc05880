//! The subject template of an event: `app.{tenant}.service.event` or `app.{tenant}.service.event.{key}`.
//! Reads: the text in the attribute. Writes: nothing. Never: accepts a token that would need escaping, so
//! that the template is, character by character, what travels; the values in braces are escaped at run time.

/// Longest service or event name in bytes; the type attribute and the consumers' filters carry both.
const NAME_BYTES_MAX: usize = 64;

/// What a template says.
#[derive(Debug, PartialEq, Eq)]
pub struct Subject {
    /// Whose event it is.
    pub tenant: Tenant,
    /// The service that tells it.
    pub service: String,
    /// What happened.
    pub event: String,
    /// The field whose value is the ordering key.
    pub key: Option<String>,
}

/// The second token.
#[derive(Debug, PartialEq, Eq)]
pub enum Tenant {
    /// A name in the template itself.
    Fixed(String),
    /// A field of the event.
    Field(String),
}

/// Takes a template apart; the error says which rule it breaks and shows a right one.
pub fn parse(template: &str) -> Result<Subject, String> {
    let tokens: Vec<&str> = template.split('.').collect();
    let (tenant, service, event, key) = match tokens[..] {
        ["app", tenant, service, event] => (tenant, service, event, None),
        ["app", tenant, service, event, key] => (tenant, service, event, Some(key)),
        ["app", ..] => {
            return Err(format!(
                "a subject has 4 tokens, or 5 with a key, not {}: \
                 \"app.{{tenant}}.shop.order_created.{{order}}\"",
                tokens.len()
            ));
        }
        _ => {
            return Err("a subject begins with `app.`: \"app.{tenant}.shop.order_created\"".into());
        }
    };
    let tenant = match field(tenant)? {
        Some(name) => Tenant::Field(name),
        None => Tenant::Fixed(name("tenant", tenant)?),
    };
    let key = match key.map(|key| field(key).map(|field| (key, field))).transpose()? {
        None => None,
        Some((_, Some(field))) => Some(field),
        Some((key, None)) => {
            return Err(format!(
                "the fifth token is the ordering key and names a field in braces: `{{{key}}}`, not `{key}`"
            ));
        }
    };
    Ok(Subject { tenant, service: name("service", service)?, event: name("event", event)?, key })
}

/// The field of a token like `{order}`; `None` for a token without braces.
fn field(token: &str) -> Result<Option<String>, String> {
    if !token.contains(['{', '}']) {
        return Ok(None);
    }
    token
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .filter(|name| !name.is_empty() && !name.contains(['{', '}']))
        .map(|name| Some(name.to_owned()))
        .ok_or_else(|| {
            format!("`{token}`: braces hold one field and fill the whole token: `{{order}}`")
        })
}

fn name(what: &str, token: &str) -> Result<String, String> {
    if field(token)?.is_some() {
        return Err(format!(
            "the {what} is a name, not a field: consumers choose by it, so it must be the same for all"
        ));
    }
    let starts = token.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let rest = token.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !starts || !rest {
        return Err(format!(
            "the {what} `{token}` is not a name: a lower-case letter, then lower-case letters, digits and `_`"
        ));
    }
    if token.len() > NAME_BYTES_MAX {
        return Err(format!(
            "the {what} has {} characters; {NAME_BYTES_MAX} are the limit",
            token.len()
        ));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_say_who_what_and_in_which_order() {
        let keyed = parse("app.{shop}.shop.order_created.{order}").unwrap();
        assert_eq!(keyed.tenant, Tenant::Field("shop".into()));
        assert_eq!((keyed.service.as_str(), keyed.event.as_str()), ("shop", "order_created"));
        assert_eq!(keyed.key.as_deref(), Some("order"));
        let plain = parse("app.default.shop.order_created").unwrap();
        assert_eq!((plain.tenant, plain.key), (Tenant::Fixed("default".into()), None));
    }

    #[test]
    fn wrong_templates_are_explained() {
        let cases = [
            ("", "begins with `app.`"),
            ("notify.deliver.email.default", "begins with `app.`"),
            ("app.default.shop", "4 tokens"),
            ("app.default.shop.order.created.now", "4 tokens"),
            ("app.default.shop.OrderCreated", "is not a name"),
            ("app.default.shop.order-created", "is not a name"),
            ("app.default..order_created", "is not a name"),
            ("app.default.shop.*", "is not a name"),
            ("app.>.shop.order_created", "is not a name"),
            ("app.default.shop.2nd", "is not a name"),
            ("app.default.{service}.order_created", "not a field"),
            ("app.{tenant.shop.order_created", "braces"),
            ("app.x{tenant}.shop.order_created", "braces"),
            ("app.{}.shop.order_created", "braces"),
            ("app.{tenant}.shop.order_created.order", "`{order}`"),
        ];
        for (template, expected) in cases {
            let said = parse(template).unwrap_err();
            assert!(said.contains(expected), "{template}: {said}");
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        assert!(parse(&format!("app.default.shop.{long}")).unwrap_err().contains("limit"));
    }
}
