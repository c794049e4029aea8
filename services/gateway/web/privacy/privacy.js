// Shows a person's own consent records: what was agreed, with whom, since when. Lets them take a
// yes back or give it again, and hands out receipts.
import { attempt, byId, call, confirmed, day, download, make, moment, onceKey, tell } from "/web/page.js";
import { relationshipsOf, showEvents } from "/web/privacy-history.js";
import { readAndAgree } from "/web/privacy-text.js";
import { begin, finish, isOffered } from "/web/sign_in.js";

const STATUS = {
  requested: ["Not answered", ""],
  given: ["You said yes", "good"],
  refused: ["You said no", ""],
  withdrawn: ["You took your yes back", ""],
  expired: ["Your yes has ended", "warn"],
  superseded: ["The text has changed since you said yes", "warn"],
  invalidated: ["The agreement has ended", ""],
};

const BASE = "/consent/service";
const RECORD = `${BASE}/individual/record`;
const PAGE = 20;
const EVENTS = 50;
const MOST = 100;
// Somebody of whom nothing was ever written down.
const UNKNOWN = "individual_not_found";

let token = "";
let offset = 0;
// Purposes by agreement, for telling what an event is about.
const purposes = new Map();
// Where the events go on, and what is known for telling of them: who was allowed to use data in
// those that are shown, the person's own id, and who may answer for them.
let earlier = "";
const known = { purposes, used: new Map(), own: "", relationships: new Map() };

const ask = (method, path, body, more) => call(token, method, path, body, more);

const fact = (list, name, content) => {
  if (content) list.append(make("dt", {}, name), make("dd", {}, content));
};

const outside = (address, content) => (address
  ? make("a", { href: address, rel: "noreferrer" }, content)
  : content);

// The text that was answered, as its revision locks it. What is published now may say something
// else; nobody agreed to that here.
const answeredText = (record) => ({
  ...(record.dataAgreement ?? {}),
  ...(record.dataAgreementRevision?.objectData ?? {}),
});

// Names of the data that may be used, and of the data that was left out.
const dataOf = (record, agreement) => {
  const choices = record.attributes ?? [];
  const granted = (one) => {
    if (choices.length === 0) return true;
    const choice = choices.find(({ attribute }) => attribute === one.id || attribute === one.name);
    return choice ? choice.granted === true : one.necessity === "required";
  };
  const all = agreement.dataAttributes ?? [];
  const names = (rows) => rows.map((one) => one.name).join(", ");
  return [names(all.filter(granted)), names(all.filter((one) => !granted(one)))];
};

const facts = (record, agreement) => {
  const list = make("dl", { kind: "facts" });
  const controller = agreement.controller;
  fact(list, "Agreed with", controller && outside(controller.url, controller.name));
  fact(list, "Contact", controller?.contact ?? controller?.email ?? controller?.phone);
  const [used, left] = dataOf(record, agreement);
  fact(list, "Data", used);
  fact(list, "Left out by you", left);
  const sources = (agreement.dataSources ?? []).map((one) => one.name);
  fact(list, "Comes from", sources.join(", "));
  const recipients = (agreement.recipients ?? []).map((one) => one.name ?? one.id);
  fact(list, "May be used by", recipients.join(", "));
  const policy = agreement.policy;
  fact(list, "Rules", policy && outside(policy.url, policy.name));
  if (policy?.dataRetentionPeriodDays) fact(list, "Kept for", `${policy.dataRetentionPeriodDays} days`);
  fact(list, "First answered", record.createdAt && day(record.createdAt));
  fact(list, "Last changed", day(record.timestamp));
  fact(list, "Holds until", record.validUntil && day(record.validUntil));
  return list;
};

const history = (record) => {
  const details = make("details", {}, make("summary", {}, "Everything you answered"));
  details.addEventListener("toggle", () => {
    if (!details.open || details.querySelector("ol")) return;
    attempt(async () => {
      const id = encodeURIComponent(record.dataAgreementId);
      const answer = await ask("GET", `${RECORD}/data-agreement/${id}/all/?limit=${PAGE}`);
      const items = answer.consentRecords.map((one) => make("li", {},
        `${moment(one.timestamp)}: ${one.optIn ? "yes" : "no"}, ${one.state}`));
      details.append(make("ol", {}, ...items));
    });
  });
  return details;
};

// Agrees to the text as it is now, as it was just read.
const agree = async (item, record, name) => {
  const id = encodeURIComponent(record.dataAgreementId);
  const { dataAgreement, revision } = await ask("GET", `${BASE}/data-agreement/${id}/`);
  const attributes = await readAndAgree(dataAgreement);
  if (!attributes) return;
  const path = `${RECORD}/data-agreement/${id}/?revisionId=${encodeURIComponent(revision.id)}`;
  const answer = await ask("POST", path, { attributes }, { "idempotency-key": onceKey() });
  fill(item, answer.consentRecord);
  tell(`Your yes to ${dataAgreement.purpose || name} was noted.`);
  item.querySelector("h3").focus();
};

const sayYes = (item, record, name) => async () => {
  try {
    await change(item, record, name, true)();
  } catch (error) {
    // Nobody says yes to a text that was replaced meanwhile.
    if (error.code !== "revision_superseded") throw error;
    await agree(item, record, name);
  }
};

const change = (item, record, name, optIn) => async () => {
  const path = `${RECORD}/consent-record/${encodeURIComponent(record.id)}/`;
  const body = { consentRecord: { optIn } };
  const answer = await ask("PUT", path, body, { "idempotency-key": onceKey() });
  fill(item, answer.consentRecord);
  tell(optIn ? `Your yes to ${name} was noted.` : `Your yes to ${name} was taken back.`);
  item.querySelector("h3").focus();
};

const FORMATS = [
  ["iso27560", "ISO/IEC TS 27560"],
  ["kantara", "Kantara consent receipt"],
  ["fhir", "FHIR consent"],
  ["pdf", "PDF, to be read and printed"],
];

const asText = (content) => JSON.stringify(content, null, 2);

// A receipt in the form that was chosen. Where the agreement says too little for it, the answer
// itself with its text and signature, which is never less.
const receipt = (record, form) => async () => {
  const id = encodeURIComponent(record.id);
  try {
    const answer = await ask("GET", `${RECORD}/consent-record/${id}/receipt/?format=${form.value}`);
    const file = answer instanceof Blob;
    download(`consent-receipt-${form.value}-${record.id}.${file ? "pdf" : "json"}`,
      file ? answer.type : "application/json", file ? answer : asText(answer));
    tell("The receipt was handed to your browser.");
  } catch (error) {
    if (error.code !== "receipt_incomplete") throw error;
    download(`consent-record-${record.id}.json`, "application/json", asText({ consentRecord: record }));
    tell("The agreement does not say enough for a receipt of this form. Your answer itself, with the text "
      + "you answered, was handed to your browser instead.");
  }
};

const button = (label, name, kind, work) => {
  const element = make("button", { type: "button", kind, "aria-label": `${label}: ${name}` }, label);
  element.addEventListener("click", () => work(element));
  return element;
};

const withdraw = (item, record, name) => async (pressed) => {
  byId("sure-what").textContent = name;
  if (await confirmed(byId("sure"))) {
    await attempt(change(item, record, name, false), pressed);
  }
};

// Fills an item anew, so that what is shown is what the server says.
const fill = (item, record) => {
  const agreement = answeredText(record);
  const name = agreement.purpose || record.dataAgreementId;
  const status = record.effectiveStatus ?? "requested";
  const [words, kind] = STATUS[status] ?? [status, ""];
  const about = agreement.purposeDescription;
  purposes.set(record.dataAgreementId, name);
  const buttons = make("div", { kind: "buttons" });
  if (record.reconfirmationDue) {
    buttons.append(button("Confirm", name, "",
      (pressed) => attempt(change(item, record, name, true), pressed)));
  }
  if (status === "superseded") {
    buttons.append(button("Read the new text", name, "",
      (pressed) => attempt(() => agree(item, record, name), pressed)));
  }
  if (status === "expired") {
    buttons.append(button("Say yes again", name, "",
      (pressed) => attempt(sayYes(item, record, name), pressed)));
  }
  if (record.optIn === true) {
    buttons.append(button("Take back my yes", name, "", withdraw(item, record, name)));
  } else if (status === "withdrawn" || status === "refused") {
    buttons.append(button("Say yes", name, "",
      (pressed) => attempt(sayYes(item, record, name), pressed)));
  }
  const form = make("select", { "aria-label": `Form of the receipt: ${name}` },
    ...FORMATS.map(([value, words]) => make("option", { value }, words)));
  buttons.append(form, button("Get a receipt", name, "secondary",
    (pressed) => attempt(receipt(record, form), pressed)));
  item.replaceChildren(
    make("h3", { tabindex: "-1" }, name),
    make("p", { kind: `answer ${kind}` }, words),
    ...(record.reconfirmationDue
      ? [make("p", { kind: "warn" }, "Somebody answered this for you, and may not any more. Please "
        + "confirm it, or take it back.")]
      : []),
    ...(about ? [make("p", {}, about)] : []),
    facts(record, agreement),
    history(record),
    buttons,
  );
};

const load = async () => {
  const answer = await ask("GET", `${RECORD}/consent-record/?limit=${PAGE}&offset=${offset}`);
  for (const record of answer.consentRecords) {
    const item = make("li", { kind: "panel" });
    fill(item, record);
    byId("list").append(item);
  }
  offset += answer.consentRecords.length;
  byId("none").hidden = offset > 0;
  byId("more").hidden = !answer.pagination.hasNext;
  byId("answers").hidden = false;
};

const loadNotices = async () => {
  const { enabled } = await ask("GET", `${BASE}/individual/notifications/`);
  byId("notify").checked = enabled;
  byId("notices").hidden = false;
};

// Data is also used under agreements that nobody answers; what they are for is public.
const learnPurposes = async (events) => {
  const ids = new Set(events.map((one) => one.dataAgreementId).filter((id) => id && !purposes.has(id)));
  for (const id of ids) {
    try {
      const { dataAgreement } = await ask("GET", `${BASE}/data-agreement/${encodeURIComponent(id)}/`);
      purposes.set(id, dataAgreement.purpose);
    } catch (error) {
      // It was taken back meanwhile; the event is told without it.
      if (error.status === 0 || error.status >= 500) throw error;
      purposes.set(id, "");
    }
  }
};

const readEvents = async () => {
  const from = earlier ? `&cursor=${encodeURIComponent(earlier)}` : "";
  try {
    const answer = await ask("GET", `${RECORD}/history/?limit=${EVENTS}${from}`);
    if (!known.own) {
      const { delegations } = await ask("GET", `${BASE}/delegations/?limit=${MOST}`);
      known.relationships = relationshipsOf(delegations);
    }
    known.own = answer.individualId;
    return answer;
  } catch (error) {
    if (error.code !== UNKNOWN) throw error;
    return { events: [], pagination: {} };
  }
};

const loadEvents = async () => {
  const { events, pagination } = await readEvents();
  await learnPurposes(events);
  const more = pagination.hasNext === true;
  showEvents(events, known, more);
  earlier = pagination.nextCursor ?? "";
  const shown = byId("events").children.length;
  byId("events-more").hidden = !more;
  byId("events-none").hidden = shown > 0;
  byId("events-some").hidden = shown === 0;
  byId("events-all").hidden = false;
  byId("events-show").hidden = true;
  tell(shown === 1 ? "1 event is shown." : `${shown} events are shown.`);
};

const showEntrance = async () => {
  const offered = await isOffered();
  byId("sign-in").hidden = !offered;
  byId("closed").hidden = offered;
};

byId("begin").addEventListener("click", (event) => attempt(begin, event.currentTarget));
// The token is nowhere but in this page.
byId("leave").addEventListener("click", () => window.location.replace(window.location.pathname));
byId("events-show").addEventListener("click", (event) => attempt(async () => {
  await loadEvents();
  byId("happened-title").focus();
}, event.currentTarget));
byId("events-more").addEventListener("click", (event) => attempt(loadEvents, event.currentTarget));
byId("more").addEventListener("click", (event) => attempt(load, event.currentTarget));
byId("notify").addEventListener("change", async () => {
  const box = byId("notify");
  const noted = await attempt(async () => {
    await ask("PUT", `${BASE}/individual/notifications/`, { enabled: box.checked });
    tell("Noted.");
  });
  if (!noted) box.checked = !box.checked;
});

await attempt(async () => {
  token = await finish();
  if (!token) return;
  tell("Reading your answers");
  await load();
  byId("leave").hidden = false;
  // Data is used without answers as well.
  byId("happened").hidden = false;
  tell("You are signed in.");
  byId("title").focus();
  // Nobody is told of anything who never answered anything.
  if (offset > 0) await loadNotices();
});
if (!token) {
  const said = byId("problem").textContent;
  await attempt(showEntrance);
  if (said) byId("problem").textContent = said;
}
