//! Who calls, and for whom they may act.

use std::sync::Arc;

use publica_auth::{Caller, CallerKind};
use publica_proto::consent::v1 as pb;
use publica_types::Origin;
use tonic::Request;

use super::Shop;
use super::delegations;
use super::individuals;
use super::records::{READ, WRITE};
use crate::domain::delegation::Act;
use crate::error::{Error, Why};
use crate::store;

/// The caller of a request.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    /// For the journal.
    pub(crate) origin: Origin,
    caller: Option<Arc<Caller>>,
    /// The person that the caller turned out to be.
    own: Option<String>,
    /// The caller's own id, where they act as somebody's delegate.
    delegate: Option<String>,
}

impl Who {
    /// The caller that the layers before found.
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        Self {
            origin: publica_rpc::origin(request),
            caller: publica_rpc::caller(request).cloned(),
            own: None,
            delegate: None,
        }
    }

    /// Whether a person calls, rather than a system.
    pub(crate) fn is_person(&self) -> bool {
        self.caller
            .as_ref()
            .is_some_and(|caller| caller.kind == CallerKind::Person)
    }

    /// Whether the caller has a scope.
    pub(crate) fn may(&self, scope: &str) -> bool {
        self.caller
            .as_ref()
            .is_some_and(|caller| caller.allows(scope))
    }

    /// Refuses a caller without the scope.
    pub(crate) fn need(&self, scope: &'static str) -> Result<(), Error> {
        if self.may(scope) {
            Ok(())
        } else {
            Err(Why::NotYours.about(""))
        }
    }

    /// The consumer that the caller is in decisions.
    pub(crate) fn consumer(&self) -> String {
        let caller = self.caller.as_ref();
        caller
            .map(|caller| {
                caller
                    .client_id
                    .clone()
                    .unwrap_or_else(|| caller.subject.clone())
            })
            .unwrap_or_default()
    }

    /// The id of the person that a call names. People may name themselves by the subject of
    /// their token where that is their external id.
    pub(crate) async fn resolve(&self, shop: &Shop, named: &str) -> Result<String, Error> {
        let subject = self.caller.as_ref().map_or("", |caller| &caller.subject);
        if !self.is_person() || named != subject {
            return Ok(named.to_owned());
        }
        if store::individual::find(&shop.db, named).await?.is_some() {
            return Ok(named.to_owned());
        }
        let mut found = individuals::with_external_id(shop, subject).await?;
        found.retain(|one| self.is_vouched_for(one));
        match found.as_slice() {
            [one] => Ok(one.individual_id.clone()),
            _ => Ok(named.to_owned()),
        }
    }

    /// Whether whoever issued the caller's token is the provider of a person's external id. Two
    /// providers may give one id to two people. A provider that is not named by its address is a
    /// mere label, with which nothing can be compared.
    fn is_vouched_for(&self, person: &pb::Individual) -> bool {
        let provider = person.identity_provider_id.as_str();
        let issuer = self.caller.as_ref().and_then(|one| one.issuer.as_deref());
        !provider.contains("://") || issuer == Some(provider)
    }

    /// Checks that the caller may act for the person: whoever has the scope, and people for
    /// themselves. What does not exist and what is somebody else's look the same to people.
    /// Returns the caller, marked as the person where that is so.
    pub(crate) async fn acts_for(
        &self,
        shop: &Shop,
        individual_id: &str,
        scope: &'static str,
    ) -> Result<Self, Error> {
        let subject = self.caller.as_ref().map_or("", |caller| &caller.subject);
        let mut own = !individual_id.is_empty() && individual_id == subject;
        if !own && !individual_id.is_empty() && self.is_person() {
            let row = store::individual::find(&shop.db, individual_id).await?;
            if let Some(row) = row {
                let person = individuals::open(shop, &row).await?;
                let same = !person.external_id.is_empty() && person.external_id == subject;
                own = same && self.is_vouched_for(&person);
            }
        }
        // Auditors read what readers read.
        let may = self.may(scope) || (scope == READ && self.may("consent:audit:read"));
        let own_act = own && self.is_person();
        if !may && !own_act {
            return self.as_delegate(shop, individual_id, scope).await;
        }
        let own = own.then(|| individual_id.to_owned());
        Ok(Self {
            own,
            ..self.clone()
        })
    }

    /// The caller as the person's delegate, if they are one.
    async fn as_delegate(
        &self,
        shop: &Shop,
        individual_id: &str,
        scope: &'static str,
    ) -> Result<Self, Error> {
        let act = match scope {
            READ => Act::View,
            WRITE => Act::Give,
            // Keys, identity and preferences are the person's own.
            _ => return Err(Why::NotYours.about("")),
        };
        let subject = self.caller.as_ref().map_or("", |caller| &caller.subject);
        let known = !individual_id.is_empty() && self.is_person() && !subject.is_empty();
        if known {
            let me = self.resolve(shop, subject).await?;
            if delegations::is_delegate(shop, individual_id, &me, act).await? {
                return Ok(Self {
                    delegate: Some(me),
                    ..self.clone()
                });
            }
        }
        Err(Why::NotYours.about(""))
    }

    /// Whether the caller is this person, by id or by external id.
    pub(crate) async fn is_person_of(
        &self,
        shop: &Shop,
        individual_id: &str,
    ) -> Result<bool, Error> {
        let subject = self.caller.as_ref().map_or("", |caller| &caller.subject);
        if !self.is_person() || subject.is_empty() {
            return Ok(false);
        }
        Ok(individual_id == subject || self.resolve(shop, subject).await? == individual_id)
    }

    /// The caller's own id, where they act as the person's delegate.
    pub(crate) fn delegate(&self) -> Option<&str> {
        self.delegate.as_deref()
    }

    /// Whether the caller is this very person.
    pub(crate) fn is_self(&self, individual_id: &str) -> bool {
        self.own.as_deref() == Some(individual_id)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use publica_types::Tenant;

    use super::*;

    #[test]
    fn a_provider_that_is_named_by_its_address_must_be_the_issuer() {
        let caller = |issuer: Option<&str>| {
            let mut request = Request::new(());
            request.extensions_mut().insert(Arc::new(Caller {
                subject: "712".to_owned(),
                issuer: issuer.map(str::to_owned),
                client_id: Some("portal".to_owned()),
                affiliation: None,
                scopes: BTreeSet::new(),
                tenant: Tenant::default(),
                kind: CallerKind::Person,
            }));
            Who::of(&request)
        };
        let (one, two) = ("https://one.example", "https://two.example");
        for (issuer, provider, vouched) in [
            (Some(one), one, true),
            (Some(two), one, false),
            (None, one, false),
            (Some(one), "IDBB", true),
            (Some(one), "", true),
            (None, "", true),
        ] {
            let person = pb::Individual {
                identity_provider_id: provider.to_owned(),
                ..pb::Individual::default()
            };
            let found = caller(issuer).is_vouched_for(&person);
            assert_eq!(found, vouched, "{issuer:?} {provider}");
        }
    }
}
