//! Stored templates: versions that never change, approved by somebody else than their author.

use std::collections::BTreeMap;

use prost::Message as _;
use publica_journal::{Call, Entry};
use publica_proto::messaging::v1 as api;
use publica_rpc::{PageToken, page_size, timestamp};
use publica_store::{Db, Tx};
use publica_types::{Origin, Timestamp};
use serde_json::json;

use super::{App, Who};
use crate::domain::address::Mailbox;
use crate::domain::compose::{Letter, compose};
use crate::domain::encode::Charset;
use crate::domain::envelope::{self, Code, Violation};
use crate::domain::template::{self, Compiled, Rendered, Variant};
use crate::error::Error;
use crate::store::template::{self as store, TemplateRow, TemplateState};

const VARIANTS_MAX: usize = 64;
const VARIABLES_MAX: usize = 64;

/// What a version consists of, as it is stored.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StoredTemplate {
    #[prost(message, repeated, tag = "1")]
    pub(super) variants: Vec<Variant>,
    #[prost(string, repeated, tag = "2")]
    pub(super) variables: Vec<String>,
}

impl App {
    /// The variants of an approved template.
    pub(super) async fn resolve(
        &self,
        db: &Db,
        reference: &api::TemplateReference,
    ) -> Result<Vec<Variant>, Error> {
        let row = store::find(db, &reference.name, i64::from(reference.version)).await?;
        let row = row.filter(|row| row.state == TemplateState::Approved as i64);
        Ok(stored(&row.ok_or(Error::UnknownTemplate)?)?.variants)
    }

    pub(crate) async fn get_template(
        &self,
        who: &Who,
        name: &str,
        version: i32,
    ) -> Result<api::Template, Error> {
        let house = self.house(&who.origin.tenant).await?;
        let row = store::find(&house.db, name, i64::from(version)).await?;
        to_proto(&row.ok_or(Error::UnknownTemplate)?)
    }

    pub(crate) async fn list_templates(
        &self,
        who: &Who,
        message: &api::ListTemplatesRequest,
    ) -> Result<api::ListTemplatesResponse, Error> {
        let size = page_size(message.page_size, 50, 200)?;
        let after: Option<(String, i64)> = PageToken::decode(&(), &message.page_token)?;
        let (name, version) = after.unwrap_or_default();
        let house = self.house(&who.origin.tenant).await?;
        let mut rows = store::list(&house.db, (&name, version), size + 1).await?;
        let more = i64::try_from(rows.len()).unwrap_or(i64::MAX) > size;
        rows.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        let next = match rows.last() {
            Some(last) if more => PageToken::encode(&(), &(&last.name, last.version)),
            _ => String::new(),
        };
        let templates = rows.iter().map(to_proto).collect::<Result<_, _>>()?;
        Ok(api::ListTemplatesResponse {
            templates,
            next_page_token: next,
        })
    }

    /// Stores a new version as a draft.
    pub(crate) async fn create_template(
        &self,
        who: &Who,
        message: api::CreateTemplateRequest,
    ) -> Result<api::Template, Error> {
        let fingerprint = publica_journal::fingerprint(&message);
        let call_id = message.request_id.clone();
        let name = message.name.clone();
        let checked = check(message).map_err(Error::Unsound)?;
        let house = self.house(&who.origin.tenant).await?;
        let call = Call {
            name: "messaging.create_template",
            origin: &who.origin,
            rpc: "/publica.messaging.v1.TemplateService/CreateTemplate",
            request_id: Some(call_id),
            fingerprint,
        };
        let input = (who.origin.clone(), name, checked.encode_to_vec());
        let write = publica_journal::write(&house.db, call, input, |tx, input| {
            let (origin, name, content) = input;
            Box::pin(async move {
                let row = TemplateRow {
                    name: name.clone(),
                    version: store::newest(tx, name).await? + 1,
                    author: origin.actor.clone(),
                    created_at: tx.now(),
                    content: content.clone(),
                    state: TemplateState::Draft as i64,
                };
                store::insert(tx, &row).await?;
                journal(tx, origin, "messaging.template.created", &row);
                Ok::<_, Error>(api::CreateTemplateResponse {
                    template: Some(to_proto(&row)?),
                })
            })
        });
        Ok(write.await?.template.unwrap_or_default())
    }

    /// Makes a draft usable.
    pub(crate) async fn approve_template(
        &self,
        who: &Who,
        message: api::ApproveTemplateRequest,
    ) -> Result<api::Template, Error> {
        let fingerprint = publica_journal::fingerprint(&message);
        let house = self.house(&who.origin.tenant).await?;
        let call = Call {
            name: "messaging.approve_template",
            origin: &who.origin,
            rpc: "/publica.messaging.v1.TemplateService/ApproveTemplate",
            request_id: Some(message.request_id.clone()),
            fingerprint,
        };
        let input = (who.origin.clone(), message.name, i64::from(message.version));
        let write = publica_journal::write(&house.db, call, input, |tx, input| {
            let (origin, name, version) = input;
            Box::pin(async move {
                let found = store::find_in(tx, name, *version).await?;
                let mut row = found.ok_or(Error::UnknownTemplate)?;
                if row.state != TemplateState::Draft as i64 {
                    return Err(Error::NotADraft);
                }
                if row.author == origin.actor {
                    return Err(Error::FourEyes);
                }
                step(tx, origin, &mut row, TemplateState::Approved).await?;
                Ok(api::ApproveTemplateResponse {
                    template: Some(to_proto(&row)?),
                })
            })
        });
        Ok(write.await?.template.unwrap_or_default())
    }

    /// Takes a version out of use.
    pub(crate) async fn retire_template(
        &self,
        who: &Who,
        message: api::RetireTemplateRequest,
    ) -> Result<api::Template, Error> {
        let fingerprint = publica_journal::fingerprint(&message);
        let house = self.house(&who.origin.tenant).await?;
        let call = Call {
            name: "messaging.retire_template",
            origin: &who.origin,
            rpc: "/publica.messaging.v1.TemplateService/RetireTemplate",
            request_id: Some(message.request_id.clone()),
            fingerprint,
        };
        let input = (who.origin.clone(), message.name, i64::from(message.version));
        let write = publica_journal::write(&house.db, call, input, |tx, input| {
            let (origin, name, version) = input;
            Box::pin(async move {
                let found = store::find_in(tx, name, *version).await?;
                let mut row = found.ok_or(Error::UnknownTemplate)?;
                if row.state != TemplateState::Retired as i64 {
                    step(tx, origin, &mut row, TemplateState::Retired).await?;
                }
                Ok::<_, Error>(api::RetireTemplateResponse {
                    template: Some(to_proto(&row)?),
                })
            })
        });
        Ok(write.await?.template.unwrap_or_default())
    }

    /// Renders a version without sending anything.
    pub(crate) async fn preview_template(
        &self,
        who: &Who,
        message: api::PreviewTemplateRequest,
    ) -> Result<api::PreviewTemplateResponse, Error> {
        let reference = message.template.unwrap_or_default();
        let house = self.house(&who.origin.tenant).await?;
        let row = store::find(&house.db, &reference.name, i64::from(reference.version)).await?;
        let found = stored(&row.ok_or(Error::UnknownTemplate)?)?;
        let locales: Vec<&str> = found
            .variants
            .iter()
            .map(|variant| variant.locale.as_str())
            .collect();
        let index = template::choose(&locales, &message.locale);
        let variant = found.variants.get(index).ok_or(Error::UnknownTemplate)?;
        let values: BTreeMap<String, String> = message.parameters.into_iter().collect();
        let rendered = Compiled::new(variant).and_then(|compiled| compiled.render(&values));
        let rendered = rendered.map_err(|error| {
            Error::Unsound(vec![Violation::new(
                Code::SchemaViolation,
                "parameters",
                error.to_string(),
            )])
        })?;
        Ok(api::PreviewTemplateResponse {
            size_bytes: size(&rendered, variant),
            locale: variant.locale.clone(),
            content: Some(api::Content {
                subject: rendered.subject,
                text: rendered.text,
                html: rendered.html,
                charset: variant.charset.clone(),
            }),
        })
    }
}

/// Checks the parts of a template.
pub(super) fn check(message: api::CreateTemplateRequest) -> Result<StoredTemplate, Vec<Violation>> {
    let mut violations = Vec::new();
    let mut refuse = |path: &str, why: String| {
        violations.push(Violation::new(Code::SchemaViolation, path, why));
    };
    if !envelope::is_name(&message.name, 128) {
        refuse("name", "is no name of a template".to_owned());
    }
    if message.variants.is_empty() || message.variants.len() > VARIANTS_MAX {
        refuse("variants", "must have 1 to 64 languages".to_owned());
    }
    let named = |name: &String| {
        (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if message.variables.len() > VARIABLES_MAX || !message.variables.iter().all(named) {
        refuse(
            "variables",
            "must be at most 64 names of variables".to_owned(),
        );
    }
    let mut variants = Vec::new();
    for (index, variant) in message.variants.into_iter().enumerate() {
        let path = format!("variants[{index}]");
        let tag = !variant.locale.is_empty()
            && variant.locale.len() <= 35
            && variant
                .locale
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !tag {
            let why = "is no language tag";
            violations.push(Violation::new(
                Code::SchemaViolation,
                format!("{path}.locale"),
                why,
            ));
        }
        let content = variant.content.unwrap_or_default();
        let checked = envelope::variant(&mut violations, &path, &variant.locale, content);
        let compiled = Compiled::new(&checked)
            .and_then(|compiled| compiled.check_declared(&message.variables));
        if let Err(error) = compiled {
            violations.push(Violation::new(
                Code::SchemaViolation,
                path,
                error.to_string(),
            ));
        }
        variants.push(checked);
    }
    if violations.is_empty() {
        Ok(StoredTemplate {
            variants,
            variables: message.variables,
        })
    } else {
        Err(violations)
    }
}

async fn step(
    tx: &mut Tx<'_>,
    origin: &Origin,
    row: &mut TemplateRow,
    state: TemplateState,
) -> Result<(), Error> {
    store::add_step(tx, &row.name, row.version, state, &origin.actor).await?;
    row.state = state as i64;
    let action = match state {
        TemplateState::Retired => "messaging.template.retired",
        _ => "messaging.template.approved",
    };
    journal(tx, origin, action, row);
    Ok(())
}

pub(super) fn journal(tx: &mut Tx<'_>, origin: &Origin, action: &'static str, row: &TemplateRow) {
    let entry = Entry::new(action)
        .subject("message_template", format!("{}:{}", row.name, row.version))
        .body(json!({ "name": row.name, "version": row.version }));
    publica_journal::append(tx, origin, entry);
}

fn stored(row: &TemplateRow) -> Result<StoredTemplate, Error> {
    StoredTemplate::decode(row.content.as_slice()).map_err(|_| super::corrupt("a template"))
}

fn to_proto(row: &TemplateRow) -> Result<api::Template, Error> {
    let found = stored(row)?;
    let variants = found
        .variants
        .into_iter()
        .map(|variant| api::TemplateVariant {
            locale: variant.locale,
            content: Some(api::Content {
                subject: variant.subject,
                text: variant.text,
                html: variant.html,
                charset: variant.charset,
            }),
        });
    Ok(api::Template {
        name: row.name.clone(),
        version: i32::try_from(row.version).unwrap_or(i32::MAX),
        state: i32::try_from(row.state).unwrap_or_default(),
        variants: variants.collect(),
        variables: found.variables,
        create_time: Some(timestamp(row.created_at)),
    })
}

/// The size of a rendered message with a sender and a recipient of ordinary length.
fn size(rendered: &Rendered, variant: &Variant) -> i64 {
    let address = "somebody@some-domain.example";
    let Ok(from) = Mailbox::parse(address) else {
        return 0;
    };
    let to = [address.to_owned()];
    let message = compose(&Letter {
        from: &from,
        from_name: "",
        organisation: "",
        reply_to: None,
        to: &to,
        to_name: "",
        cc: &[],
        subject: &rendered.subject,
        text: &rendered.text,
        html: &rendered.html,
        charset: Charset::parse(&variant.charset).unwrap_or(Charset::UTF_8),
        message_id: "00000000000000000000000000000000-000@some-domain.example",
        feedback_id: "",
        unsubscribe: "",
        date: Timestamp::EPOCH,
    });
    message.map_or(0, |message| {
        i64::try_from(message.len()).unwrap_or(i64::MAX)
    })
}
