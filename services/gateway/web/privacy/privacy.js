// Shows a person's own consent records: what was agreed, with whom, since when. Lets them take a
// yes back or give it again, and hands out receipts.
import { attempt, byId, call, confirmed, download, make, moment, onceKey, tell } from "/web/page.js";
import { answeredText, facts, mayBeObjected } from "/web/privacy-facts.js";
import { relationshipsOf, showEvents } from "/web/privacy-history.js";
import { agreeTo, showOffers } from "/web/privacy-offers.js";
import { showOthers } from "/web/privacy-others.js";
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
// What needs no yes is objected to, or not.
const OBJECTED = {
  given: ["You do not object", ""],
  superseded: ["You do not object", ""],
  refused: ["You objected", "good"],
  withdrawn: ["You objected", "good"],
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
  const done = await agreeTo(ask, record.dataAgreementId);
  if (!done) return;
  fill(item, done.record);
  tell(`Your yes to ${done.purpose || name} was noted.`);
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

const change = (item, record, name, optIn, words) => async () => {
  const path = `${RECORD}/consent-record/${encodeURIComponent(record.id)}/`;
  const body = { consentRecord: { optIn } };
  const answer = await ask("PUT", path, body, { "idempotency-key": onceKey() });
  fill(item, answer.consentRecord);
  tell(words ?? (optIn ? `Your yes to ${name} was noted.` : `Your yes to ${name} was taken back.`));
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

const objects = (item, record, name) => async (pressed) => {
  byId("object-what").textContent = name;
  if (await confirmed(byId("object"))) {
    const words = `Your objection to ${name} was noted.`;
    await attempt(change(item, record, name, false, words), pressed);
  }
};

// What may be done about an answer: a label, and what a press of the button does.
const acts = (item, record, name, status) => {
  const press = (work) => (pressed) => attempt(work, pressed);
  const found = [];
  if (record.reconfirmationDue) found.push(["Confirm", press(change(item, record, name, true))]);
  if (mayBeObjected(answeredText(record))) {
    const words = `Your objection to ${name} was taken back.`;
    found.push(record.optIn === true
      ? ["Object", objects(item, record, name)]
      : ["Take back my objection", press(change(item, record, name, true, words))]);
    return found;
  }
  if (status === "superseded") found.push(["Read the new text", press(() => agree(item, record, name))]);
  if (status === "expired") found.push(["Say yes again", press(sayYes(item, record, name))]);
  if (record.optIn === true) found.push(["Take back my yes", withdraw(item, record, name)]);
  else if (status === "withdrawn" || status === "refused") {
    found.push(["Say yes", press(sayYes(item, record, name))]);
  }
  return found;
};

// Fills an item anew, so that what is shown is what the server says.
const fill = (item, record) => {
  const agreement = answeredText(record);
  const name = agreement.purpose || record.dataAgreementId;
  const status = record.effectiveStatus ?? "requested";
  const said = (mayBeObjected(agreement) && OBJECTED[status]) || STATUS[status];
  const [words, kind] = said ?? [status, ""];
  const about = agreement.purposeDescription;
  purposes.set(record.dataAgreementId, name);
  const buttons = make("div", { kind: "buttons" });
  for (const [label, act] of acts(item, record, name, status)) {
    buttons.append(button(label, name, "", act));
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
    facts(agreement, record),
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

// What was answered for the first time stands before the rest.
const answered = (record, words) => {
  const item = make("li", { kind: "panel" });
  fill(item, record);
  byId("list").prepend(item);
  offset += 1;
  byId("none").hidden = true;
  tell(words);
  item.querySelector("h3").focus();
};

const loadOffers = async () => {
  const pressable = (label, name, work) => button(label, name, "", (pressed) => attempt(work, pressed));
  const found = await showOffers(ask, pressable, answered);
  byId("offers-show").hidden = true;
  tell(found === 1 ? "1 more is shown." : `${found} more are shown.`);
  byId("offers-title").focus();
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
byId("offers-show").addEventListener("click", (event) => attempt(loadOffers, event.currentTarget));
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
  byId("offers").hidden = false;
  // Data is used without answers as well.
  byId("happened").hidden = false;
  await showOthers(ask);
  // Nobody is told of anything who never answered anything.
  if (offset > 0) await loadNotices();
  // Last, since nothing that is pressed before is heard.
  tell("You are signed in.");
  byId("title").focus();
});
if (!token) {
  const said = byId("problem").textContent;
  await attempt(showEntrance);
  if (said) byId("problem").textContent = said;
}
