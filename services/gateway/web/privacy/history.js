// What happened to a person's data and answers, in words: who asked to use it and what they were
// told, and every event about the answers.
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
  purpose_mismatch: "it was for something else",
  frequency_exceeded: "it asked too often",
  agreement_terminated: "the agreement has ended",
  delegation_invalid: "whoever answered for you might not",
};

const reasonsOf = (event) => (event.reasons ?? [])
  .map((reason) => REASONS[reason] ?? reason.replaceAll("_", " ")).join(", ");

const sentence = (event, purposes) => {
  const about = purposes.get(event.dataAgreementId);
  const for_ = about ? `: ${about}` : "";
  if (event.action !== DECISION) return `${WORDS[event.action] ?? event.action}${for_}`;
  const who = event.consumer || event.actor;
  if (event.allowed) return `${who} was allowed to use your data${for_}`;
  const why = reasonsOf(event);
  return `${who} was refused your data${for_}${why ? ` (${why})` : ""}`;
};

// Adds a page of events to both lists; `used` counts who was allowed over all pages.
export const showEvents = (events, purposes, used) => {
  for (const event of events) {
    byId("events").append(make("li", {}, make("time", { datetime: event.timestamp },
      moment(event.timestamp)), ` ${sentence(event, purposes)}`));
    if (event.action !== DECISION || !event.allowed) continue;
    const who = event.consumer || event.actor;
    const known = used.get(who) ?? { times: 0, last: event.timestamp };
    used.set(who, { ...known, times: known.times + 1 });
  }
  const rows = [...used].map(([who, { times, last }]) => make("li", {},
    `${who}: ${times === 1 ? "once" : `${times} times`}, last on ${moment(last)}`));
  byId("used").replaceChildren(...rows);
  byId("used-none").hidden = used.size > 0;
};
