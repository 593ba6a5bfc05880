//! The field `to` of a notification: an id, a described recipient, or a list of either.
//! Reads and writes: nothing; pure.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

/// A recipient described in the request; its addresses win over stored ones.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecipientRef {
    /// As you name people.
    #[schema(example = "alice")]
    pub id: String,
    /// E-mail address.
    pub email: Option<String>,
    /// Phone number in E.164 form.
    #[schema(example = "+15551234567")]
    pub phone: Option<String>,
    /// Where webhooks go.
    pub webhook_url: Option<String>,
}

/// A recipient's id or a described recipient.
#[derive(Debug, ToSchema)]
#[schema(as = RecipientOrId)]
#[serde(untagged)]
pub enum OneRecipient {
    /// Id of a stored recipient.
    Id(String),
    /// A recipient described here.
    Described(RecipientRef),
}

/// One or several recipients.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub enum Recipients {
    /// One.
    One(OneRecipient),
    /// Several.
    Many(Vec<OneRecipient>),
}

// Untagged enums say only that nothing matched; these visitors say what is wrong and where.
struct OneVisitor;

impl<'de> Visitor<'de> for OneVisitor {
    type Value = OneRecipient;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a recipient's id or a recipient")
    }

    fn visit_str<E: de::Error>(self, id: &str) -> Result<OneRecipient, E> {
        Ok(OneRecipient::Id(id.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneRecipient, A::Error> {
        RecipientRef::deserialize(MapAccessDeserializer::new(map)).map(OneRecipient::Described)
    }
}

impl<'de> Deserialize<'de> for OneRecipient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneVisitor)
    }
}

struct RecipientsVisitor;

impl<'de> Visitor<'de> for RecipientsVisitor {
    type Value = Recipients;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a recipient's id, a recipient, or a list of either")
    }

    fn visit_str<E: de::Error>(self, id: &str) -> Result<Recipients, E> {
        OneVisitor.visit_str::<E>(id).map(Recipients::One)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Recipients, A::Error> {
        OneVisitor.visit_map(map).map(Recipients::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Recipients, A::Error> {
        let mut list = Vec::new();
        while let Some(one) = seq.next_element()? {
            list.push(one);
        }
        Ok(Recipients::Many(list))
    }
}

impl<'de> Deserialize<'de> for Recipients {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RecipientsVisitor)
    }
}
