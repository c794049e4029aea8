// What happened to a person's data and answers, in words: who asked to use it and what they were
// told, every event about the answers and on whose word it was, and who may answer for whom.
import { byId, make, moment } from "/web/page.js";

const WORDS = {
  "consent.record.given": "Yes was answered",
  "consent.record.refused": "No was answered",
  "consent.record.withdrawn": "A yes was taken back",
  "consent.record.signed": "An answer was signed",
  "consent.record.erased": "An answer was erased",
  "consent.record.expiring": "An answer is about to end",
  "consent.record.expired": "An answer has ended",
  "consent.record.reconfirmation_due": "An answer is to be confirmed",
  "consent.individual.created": "You were written down here",
  "consent.individual.updated": "What is known of you was changed",
  "consent.individual.forgotten": "You asked to be forgotten",
  "consent.key.registered": "A key of yours was registered",
  "consent.key.revoked": "A key of yours was taken out of use",
  "consent.preference.changed": "You chose whether to be told of changes",
  "consent.notice.sent": "A message was sent to you",
};

// About somebody who may answer for the person, and about the person answering for somebody.
const DELEGATIONS = {
  "consent.delegation.created": ["Somebody may answer for you from now on", "You may answer for somebody from now on"],
  "consent.delegation.revoked": ["Somebody may no longer answer for you", "You may no longer answer for somebody"],
  "consent.delegation.changed": ["How long somebody may answer for you was changed",
    "How long you may answer for somebody was changed"],
};

// What somebody did, and not the passing of time.
const ANSWERS = new Set(["consent.record.given", "consent.record.refused", "consent.record.withdrawn",
  "consent.record.signed"]);

const RELATIONSHIPS = {
  parent: "your parent",
  legal_guardian: "your legal guardian",
  power_of_attorney: "whoever has a power of attorney from you",
  court_appointed: "whoever a court appointed for you",
  carer: "your carer",
  organisation: "an organisation that acts for you",
};

const DECISION = "consent.decision.made";

const REASONS = {
  no_record: "you have not answered",
  refused: "you said no",
  withdrawn: "you took your yes back",
  expired: "your yes has ended",
  superseded: "the text has changed",
  unsigned: "the answer is not signed",
  pending_signatures: "a signature is missing",
  attribute_not_granted: "you left that out",
  consumer_not_listed: "it is not named in the agreement",
  third_party_not_allowed: "it may not be shared",
  purpose_mismatch: "it was for something else",
  frequency_exceeded: "it asked too often",
  agreement_terminated: "the agreement has ended",
  delegation_invalid: "whoever answered for you might not",
};

const NEEDS_NO_YES = "basis_not_consent";

const reasonsOf = (event) => (event.reasons ?? [])
  .map((reason) => REASONS[reason] ?? reason.replaceAll("_", " ")).join(", ");

// On whose word an event is: the person's, a delegate's, or that of whoever wrote it down.
const wordOf = (event, { own, relationships }) => {
  const by = event.byIndividualId;
  if (by && by === own) return " by you";
  if (by) return ` for you by ${relationships.get(by) ?? "somebody who might answer for you"}`;
  return event.actor ? `, written down by ${event.actor}` : "";
};

const delegation = (event, known) => {
  const held = event.delegateIndividualId === known.own;
  const who = held ? "" : known.relationships.get(event.delegateIndividualId);
  const words = DELEGATIONS[event.action][held ? 1 : 0];
  return `${words}${who ? ` (${who})` : ""}${wordOf(event, known)}`;
};

const decision = (event, for_) => {
  const who = event.consumer || event.actor;
  if (!event.allowed) {
    const why = reasonsOf(event);
    return `${who} was refused your data${for_}${why ? ` (${why})` : ""}`;
  }
  const freely = (event.reasons ?? []).includes(NEEDS_NO_YES) ? " (this needs no yes of yours)" : "";
  return `${who} was allowed to use your data${for_}${freely}`;
};

const sentence = (event, known) => {
  const about = known.purposes.get(event.dataAgreementId);
  const for_ = about ? `: ${about}` : "";
  if (event.action === DECISION) return decision(event, for_);
  if (event.action in DELEGATIONS) return delegation(event, known);
  const by = ANSWERS.has(event.action) ? wordOf(event, known) : "";
  return `${WORDS[event.action] ?? event.action}${by}${for_}`;
};

// How the delegates in a list of delegations stand to the person.
export const relationshipsOf = (delegations) => new Map(delegations
  .map((one) => [one.delegateIndividualId, RELATIONSHIPS[one.relationship] ?? "somebody who may answer for you"]));

const tellUses = (used, shown, more) => {
  const rows = [...used].map(([who, { times, last }]) => make("li", {},
    `${who}: ${times === 1 ? "once" : `${times} times`}, last on ${moment(last)}`));
  byId("used").replaceChildren(...rows);
  byId("used-none").hidden = used.size > 0;
  const events = shown === 1 ? "the one event" : `the ${shown} events`;
  byId("used-scope").textContent = more
    ? `Counted in ${events} shown here; earlier ones are not counted yet.`
    : `Counted in ${events} that there are.`;
};

// Adds a page of events to both lists; `known` holds what is known over all pages, `more` whether
// there are earlier ones.
export const showEvents = (events, known, more) => {
  const { used } = known;
  for (const event of events) {
    byId("events").append(make("li", {}, make("time", { datetime: event.timestamp },
      moment(event.timestamp)), ` ${sentence(event, known)}`));
    if (event.action !== DECISION || !event.allowed) continue;
    const who = event.consumer || event.actor;
    const before = used.get(who) ?? { times: 0, last: event.timestamp };
    used.set(who, { ...before, times: before.times + 1 });
  }
  tellUses(used, byId("events").children.length, more);
};
