//! Verifying whole chains: each revision by itself, its place, and what is stored beside the chain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use publica_proto::consent::v1 as pb;
use publica_seal::SubjectKey;
use publica_types::{Tenant, Timestamp};
use serde_json::{Value, json};

use super::delegations::opened;
use super::revisions::{CHUNK, follows, head_of, open, schema};
use super::seals::{self, Made, Reach};
use super::shown::{key_of, name, open_circumstances};
use super::texts::text;
use super::{App, Shop, Who, entry, record_keys, signing};
use crate::domain::{agreement, policy, record, signature};
use crate::error::{Error, Why};
use crate::store::{self, revision};

/// Altered chains that are kept in mind.
const MAX_REMEMBERED: usize = 1_000;

/// What was found so far about one chain.
#[derive(Default)]
struct Walk {
    found: pb::VerifyChainResponse,
    head: revision::Head,
    /// The latest revision, its text, and how far its seal reaches.
    last: Option<(revision::Row, String, Reach)>,
    /// The latest revision that was erased.
    erased: Option<String>,
    /// Revisions of an agreement that may be the one that is shown: the latest that published a
    /// text, and what was imported since.
    shown: Vec<String>,
    /// A text of the agreement was published here.
    published_here: bool,
    /// The person said yes in one of the revisions.
    given: bool,
    /// The hash of the newest revision that the journal tells of, until the chain is seen to
    /// hold it.
    journalled: Option<String>,
}

impl Walk {
    fn new() -> Self {
        Self {
            found: pb::VerifyChainResponse {
                intact: true,
                ..pb::VerifyChainResponse::default()
            },
            ..Self::default()
        }
    }

    /// Keeps the first thing that does not hold.
    fn object(&mut self, revision_id: &str, problem: &'static str) {
        if self.found.intact {
            self.found.intact = false;
            revision_id.clone_into(&mut self.found.first_bad_revision_id);
            problem.clone_into(&mut self.found.problem);
        }
    }

    /// Whether the chain's last revision is the one that the object names, which is nothing where
    /// the object is gone.
    fn ends_with(&mut self, latest: Option<&str>) -> bool {
        let problem = match latest {
            Some(latest) if latest == self.head.revision_id => return true,
            Some(_) => "head",
            None if self.found.revisions > 0 => "row",
            None => return false,
        };
        self.object_to_head(problem);
        false
    }

    /// The same about what should agree with the latest revision.
    fn object_to_head(&mut self, problem: &'static str) {
        let id = self.head.revision_id.clone();
        self.object(&id, problem);
    }

    /// Whether the latest revision was made here, and under a seal that says so.
    fn made_here(&self) -> bool {
        let reach = self.last.as_ref().map(|(_, _, reach)| reach);
        matches!(reach, Some(Reach::Whole { made, .. }) if *made == Made::Here)
    }

    /// The latest revision, where this service wrote its snapshot.
    fn own_head(&self) -> Option<(&revision::Row, Value)> {
        let (row, text, reach) = self.last.as_ref()?;
        (!text.is_empty() && seals::is_own(reach, text)).then(|| (row, seals::object_data(text)))
    }
}

/// Whose chain is meant. A revision says so by what is stored of it, checked or not.
async fn whose(shop: &Shop, request: &pb::VerifyChainRequest) -> Result<(i64, String), Error> {
    let id = request.revision_id.as_str();
    if id.is_empty() {
        return Ok((i64::from(request.schema), request.object_id.clone()));
    }
    let row = store::revision::find(&shop.db, id).await?;
    let row = row.ok_or_else(|| Why::RevisionNotFound.about(id))?;
    Ok((row.kind, row.object_id))
}

impl App {
    /// Checks one object's whole chain.
    pub(crate) async fn verify_chain(
        &self,
        who: &Who,
        request: pb::VerifyChainRequest,
    ) -> Result<pb::VerifyChainResponse, Error> {
        // The answer discloses no content, so an auditor of chains needs no right to read any.
        if !who.may("consent:audit:read") {
            who.need("consent:chain:verify")?;
        }
        let shop = self.shop(&who.origin.tenant).await?;
        let (kind, object_id) = whose(&shop, &request).await?;
        let mut walk = Walk::new();
        // Read before the chain, which may only grow meanwhile.
        walk.journalled = journalled(&shop, kind, &object_id).await?;
        along(&shop, &mut walk, kind, &object_id).await?;
        match schema(kind) {
            pb::Schema::Policy => beside_policy(&shop, &mut walk, &object_id).await?,
            pb::Schema::DataAgreement => beside_agreement(&shop, &mut walk, &object_id).await?,
            pb::Schema::ConsentRecord => beside_record(&shop, &mut walk, &object_id).await?,
            pb::Schema::Delegation => beside_delegation(&shop, &mut walk, &object_id).await?,
            pb::Schema::Unspecified => {}
        }
        if walk.journalled.is_some() {
            // The chain was cut back behind what the block once made and told.
            walk.object_to_head("journal");
        }
        let mut found = walk.found;
        if found.revisions == 0 && found.intact {
            return Err(Why::ObjectNotFound.about(object_id));
        }
        found.head_revision_id = walk.head.revision_id;
        found.head_hash_sha256 = walk.head.sha256;
        let body = json!({
            "intact": found.intact,
            "revisions": found.revisions,
            "head_sha256": found.head_hash_sha256,
        });
        let verified = entry("consent.chain.verified", "chain", &object_id, body);
        self.journal().record(&who.origin, verified).await?;
        self.remember(&who.origin.tenant, &object_id, found.intact);
        if !found.intact {
            self.raise(who, &object_id, &found).await?;
        }
        Ok(found)
    }

    /// Keeps in mind whose chain was altered, until it is found whole.
    fn remember(&self, tenant: &Tenant, object_id: &str, intact: bool) {
        let object = (tenant.clone(), object_id.to_owned());
        let mut altered = self
            .0
            .altered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if intact {
            altered.remove(&object);
        } else if altered.len() < MAX_REMEMBERED {
            altered.insert(object);
        }
    }

    /// What an operator must look into.
    pub(crate) fn concern(&self) -> Option<String> {
        let altered = self
            .0
            .altered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = altered.len();
        (count > 0).then(|| format!("chains of revisions found altered: {count}"))
    }

    /// Says wherever it is listened for that a chain was altered.
    async fn raise(
        &self,
        who: &Who,
        object_id: &str,
        found: &pb::VerifyChainResponse,
    ) -> Result<(), Error> {
        tracing::error!(
            object.id = object_id,
            revision.id = found.first_bad_revision_id,
            problem = found.problem,
            "a chain of revisions was altered"
        );
        let body = json!({
            "revision_id": found.first_bad_revision_id,
            "problem": found.problem,
        });
        let altered = entry("consent.chain.altered", "chain", object_id, body);
        Ok(self.journal().record(&who.origin, altered).await?)
    }
}

/// Entries about an object that are looked through for a revision.
const ENTRIES: i64 = 50;

/// The hash of the newest revision of an object that the journal tells of. What was brought in, or
/// answered together with others, stands there by the root of many hashes alone.
async fn journalled(shop: &Shop, kind: i64, id: &str) -> Result<Option<String>, Error> {
    let kind = match schema(kind) {
        pb::Schema::Policy => "policy",
        pb::Schema::DataAgreement => "agreement",
        pb::Schema::ConsentRecord => "consent_record",
        pb::Schema::Delegation => "delegation",
        pb::Schema::Unspecified => return Ok(None),
    };
    // That somebody looked, or had the chain checked, however often, hides nothing.
    let read = "consent.data.read";
    let bodies = publica_journal::latest(&shop.db, (kind, id), read, ENTRIES).await?;
    Ok(bodies.into_iter().find_map(|body| {
        let body: Value = serde_json::from_slice(&body).ok()?;
        body["revision_sha256"].as_str().map(str::to_owned)
    }))
}

/// Checks the revisions one after the other.
async fn along(shop: &Shop, walk: &mut Walk, kind: i64, object_id: &str) -> Result<(), Error> {
    let mut keys: BTreeMap<String, Option<SubjectKey>> = BTreeMap::new();
    loop {
        let after = walk.head.seq;
        let rows = store::revision::chain(&shop.db, kind, object_id, after, CHUNK).await?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            if let Some(subject) = &row.subject
                && !keys.contains_key(subject)
            {
                let key = match schema(kind) {
                    pb::Schema::ConsentRecord => {
                        record_keys::load(shop, subject, object_id).await?
                    }
                    _ => key_of(shop, subject).await?,
                };
                keys.insert(subject.clone(), key);
            }
            let key = row.subject.as_ref().and_then(|subject| keys.get(subject));
            step(shop, walk, row, key.and_then(Option::as_ref)).await?;
        }
    }
}

/// Checks one revision, given the one before.
async fn step(
    shop: &Shop,
    walk: &mut Walk,
    row: revision::Row,
    key: Option<&SubjectKey>,
) -> Result<(), Error> {
    let id = row.revision_id.as_str();
    let reach = seals::reach(shop, &row);
    walk.journalled.take_if(|hash| *hash == row.sha256);
    if !follows(&row, &walk.head) {
        walk.object(id, "link");
    }
    if reach.is_none() {
        walk.object(id, "seal");
    }
    let reach = reach.unwrap_or(Reach::Short);
    signed_before(shop, walk, &row).await?;
    let personal = row.subject.is_some();
    let text = match open(&row, key) {
        Ok(text) => text,
        Err(_) => {
            walk.object(id, "hash");
            String::new()
        }
    };
    if text.is_empty() && row.erased.is_some() && personal {
        walk.found.erased += 1;
        walk.erased = Some(id.to_owned());
    } else if text.is_empty() {
        walk.object(id, "snapshot");
    } else {
        if !seals::holds_content(&row, &reach, &text) {
            walk.object(id, "body");
        }
        signatures(shop, walk, &row, key, &text).await?;
        let said = seals::object_data(&text);
        walk.given |= said["optIn"] == json!(true);
        let publishes = said["lifecycle"]["name"] == json!("Complete");
        let here = !matches!(&reach, Reach::Whole { made, .. } if *made != Made::Here);
        if publishes && here {
            walk.shown.clear();
            walk.published_here = true;
        }
        if publishes || !here {
            walk.shown.push(id.to_owned());
        }
    }
    walk.found.revisions += 1;
    walk.head = head_of(&row);
    walk.last = Some((row, text, reach));
    Ok(())
}

/// Checks that the signature over the revision before is still there.
async fn signed_before(shop: &Shop, walk: &mut Walk, row: &revision::Row) -> Result<(), Error> {
    let id = row.predecessor_signature.as_str();
    if id.is_empty() || walk.erased.as_deref() == Some(&*row.predecessor_id) {
        return Ok(());
    }
    let found = store::signature::find(&shop.db, id).await?;
    if found.is_none_or(|found| found.revision_id != row.predecessor_id) {
        walk.object(&row.predecessor_id, "signature_missing");
    }
    Ok(())
}

/// Checks the signatures over a revision.
async fn signatures(
    shop: &Shop,
    walk: &mut Walk,
    row: &revision::Row,
    key: Option<&SubjectKey>,
    text: &str,
) -> Result<(), Error> {
    for one in store::signature::of_revision(&shop.db, &row.revision_id).await? {
        walk.found.signatures += 1;
        let sound = match key {
            Some(key) => signing::still_holds(shop, &one, key, text).await?,
            None => false,
        };
        if !sound {
            walk.object(&row.revision_id, "signature");
        }
    }
    Ok(())
}

/// Checks that a policy is what its latest revision says.
async fn beside_policy(shop: &Shop, walk: &mut Walk, id: &str) -> Result<(), Error> {
    let row = store::policy::find(&shop.db, id).await?;
    let latest = row.as_ref().map(|row| row.revision_id.as_str());
    let (true, Some(row)) = (walk.ends_with(latest), row) else {
        return Ok(());
    };
    let Some((head, said)) = walk.own_head() else {
        return Ok(());
    };
    let told = policy::data(&row.policy()?);
    let same = seals::content_data(pb::Schema::Policy, head.body.as_deref().unwrap_or_default());
    // A policy that came in deleted has no revision that says so.
    let gone = said["deleted"] == json!(true);
    if same != Some(told) || (gone && !row.deleted) {
        walk.object_to_head("row");
    }
    Ok(())
}

/// Checks that an agreement is what its latest revision says, and shows the latest text that was
/// published.
async fn beside_agreement(shop: &Shop, walk: &mut Walk, id: &str) -> Result<(), Error> {
    let row = store::agreement::find(&shop.db, id).await?;
    let latest = row.as_ref().map(|row| row.revision_id.as_str());
    let (true, Some(row)) = (walk.ends_with(latest), row) else {
        return Ok(());
    };
    let Some((head, _)) = walk.own_head() else {
        return Ok(());
    };
    let kind = pb::Schema::DataAgreement;
    let same = seals::content_data(kind, head.body.as_deref().unwrap_or_default());
    let told = agreement::data(&row.agreement()?);
    let draft = row.published_revision_id.is_empty();
    let shows = walk.shown.contains(&row.published_revision_id) || (draft && !walk.published_here);
    if same != Some(told) || !shows {
        walk.object_to_head("row");
    }
    Ok(())
}

/// Checks that a delegation is what its latest revision says.
async fn beside_delegation(shop: &Shop, walk: &mut Walk, id: &str) -> Result<(), Error> {
    let row = store::delegation::find(&shop.db, id).await?;
    let Some(row) = row else {
        // Whatever is gone was erased with its person, and with all of its revisions.
        if walk.found.erased < walk.found.revisions {
            walk.object_to_head("row");
        }
        return Ok(());
    };
    if let Some(erased) = walk.erased.clone() {
        walk.object(&erased, "snapshot");
        return Ok(());
    }
    let Some((_, said)) = walk.own_head() else {
        return Ok(());
    };
    let key = key_of(shop, &row.individual_id).await?;
    let told = crate::domain::delegation::data(&opened(&row, key.as_ref())?);
    if told != said {
        walk.object_to_head("row");
    }
    Ok(())
}

/// Checks that a record is what its latest revision says, and as signed as it claims to be.
async fn beside_record(shop: &Shop, walk: &mut Walk, id: &str) -> Result<(), Error> {
    let row = store::record::find(&shop.db, id).await?;
    let Some(row) = row else {
        // Whatever is gone was erased, with all of its revisions.
        if walk.found.erased < walk.found.revisions {
            walk.object_to_head("row");
        }
        return Ok(());
    };
    walk.found.data_agreement_id.clone_from(&row.agreement_id);
    if let Some(erased) = walk.erased.clone() {
        walk.object(&erased, "snapshot");
        return Ok(());
    }
    if row.revision_id != walk.head.revision_id || row.revision_sha256 != walk.head.sha256 {
        walk.object_to_head("head");
        return Ok(());
    }
    let problem = answer_problem(shop, walk, &row).await?;
    let problem = match problem {
        None => state_problem(shop, walk, &row).await?,
        problem => problem,
    };
    let void = store::delegation::rests_on_void(&shop.db, id).await?;
    let revived = (void && !row.delegation_void) || (walk.given && !row.ever_given);
    if let Some(problem) = problem.or_else(|| revived.then_some("row")) {
        walk.object_to_head(problem);
    }
    Ok(())
}

/// Members of a snapshot that the record's row does not hold in the same way.
const ASIDE: [&str; 6] = [
    "id",
    "state",
    "signature",
    "signatureId",
    "validFrom",
    "validUntil",
];

/// What about a record's answer differs from its latest revision.
async fn answer_problem(
    shop: &Shop,
    walk: &Walk,
    row: &store::record::Row,
) -> Result<Option<&'static str>, Error> {
    let Some((head, said)) = walk.own_head() else {
        return Ok(foreign_problem(walk, row));
    };
    let key = key_of(shop, &row.individual_id).await?;
    let mut told = match (&key, &row.sealed) {
        (Some(key), Some(sealed)) => match open_circumstances(key, sealed) {
            Ok(opened) => opened,
            Err(_) => return Ok(Some("row")),
        },
        _ => pb::ConsentRecord::default(),
    };
    name(&mut told, row);
    told.opt_in = row.opt_in;
    let bare = |mut data: Value| {
        if let Value::Object(members) = &mut data {
            members.retain(|name, value| !value.is_null() && !ASIDE.contains(&name.as_str()));
        }
        data
    };
    if bare(record::data(&told)) != bare(said.clone()) {
        return Ok(Some("row"));
    }
    if row.opt_in != Some(true) || !walk.made_here() {
        return Ok(None);
    }
    let time = |name: &str| {
        let text = said[name].as_str();
        text.and_then(|text| text.parse::<Timestamp>().ok())
    };
    let from = time("validFrom").unwrap_or(head.created);
    // An agreement that was altered is found out by its own chain.
    let Ok(text) = text(shop, &row.agreement_revision_id).await else {
        return Ok(None);
    };
    let until = record::valid_until(&text.agreement, from, time("validUntil"));
    let moved = row.valid_until != until || row.valid_from != from;
    Ok(moved.then_some("row"))
}

/// The same of a snapshot that an earlier system wrote: of it, only the answer is understood.
fn foreign_problem(walk: &Walk, row: &store::record::Row) -> Option<&'static str> {
    let text = walk.last.as_ref().map_or("", |(_, text, _)| text);
    let said = seals::object_data(text);
    let differs = said["optIn"]
        .as_bool()
        .is_some_and(|said| row.opt_in != Some(said));
    differs.then_some("row")
}

/// Whether a record is as signed as it says.
async fn state_problem(
    shop: &Shop,
    walk: &Walk,
    row: &store::record::Row,
) -> Result<Option<&'static str>, Error> {
    let signed = store::signature::of_revision(&shop.db, &row.revision_id).await?;
    let named = signed
        .iter()
        .any(|one| one.signature_id == row.signature_id);
    if !row.signature_id.is_empty() && !named {
        return Ok(Some("signature_missing"));
    }
    let short = matches!(walk.last, Some((_, _, Reach::Short)));
    let known = walk.made_here() || (short && !signed.is_empty());
    if !known || signed.iter().any(signing::is_imported) {
        // What an earlier system said of its own signatures cannot be worked out again.
        return Ok(None);
    }
    let Ok(text) = text(shop, &row.agreement_revision_id).await else {
        return Ok(None);
    };
    let roles: BTreeSet<String> = signed.into_iter().map(|one| one.signed_as).collect();
    let claimed = super::shown::state(row.state);
    let found = signature::state(&text.agreement.required_signatures, &roles);
    Ok(match (claimed == found, claimed) {
        (true, _) => None,
        (false, pb::RecordState::Unsigned) => Some("row"),
        (false, _) => Some("signature_missing"),
    })
}
