// Shows a person's own consent records: what was agreed, with whom, since when. Lets them take a
// yes back or give it again, and hands out receipts.
import { attempt, byId, call, confirmed, day, download, make, moment, onceKey, tell } from "/web/page.js";
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

let token = "";
let offset = 0;

const ask = (method, path, body, more) => call(token, method, path, body, more);

const fact = (list, name, content) => {
  if (content) list.append(make("dt", {}, name), make("dd", {}, content));
};

const outside = (address, content) => (address
  ? make("a", { href: address, rel: "noreferrer" }, content)
  : content);

// Who asked, under which rules; a text that is no longer published is shown as far as the record
// itself has it.
const published = async (record) => {
  try {
    const id = encodeURIComponent(record.dataAgreementId);
    return (await ask("GET", `${BASE}/data-agreement/${id}/`)).dataAgreement ?? {};
  } catch {
    return {};
  }
};

const facts = (record, agreement) => {
  const list = make("dl", { kind: "facts" });
  const controller = agreement.controller;
  fact(list, "Agreed with", controller && outside(controller.url, controller.name));
  fact(list, "Contact", controller?.contact ?? controller?.email ?? controller?.phone);
  const names = (record.dataAgreement?.dataAttributes ?? []).map((one) => one.name);
  fact(list, "Data", names.join(", "));
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

const change = (item, record, name, optIn) => async () => {
  const path = `${RECORD}/consent-record/${encodeURIComponent(record.id)}/`;
  const body = { consentRecord: { optIn } };
  const answer = await ask("PUT", path, body, { "idempotency-key": onceKey() });
  await fill(item, answer.consentRecord);
  tell(optIn ? `Your yes to ${name} was noted.` : `Your yes to ${name} was taken back.`);
  item.querySelector("h3").focus();
};

const receipt = (record) => async () => {
  const id = encodeURIComponent(record.id);
  const answer = await ask("GET", `${RECORD}/consent-record/${id}/receipt/`);
  const text = JSON.stringify(answer, null, 2);
  download(`consent-receipt-${record.id}.json`, "application/json", text);
  tell("The receipt was handed to your browser.");
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
const fill = async (item, record) => {
  const agreement = await published(record);
  const name = record.dataAgreement?.purpose ?? agreement.purpose ?? record.dataAgreementId;
  const status = record.effectiveStatus ?? "requested";
  const [words, kind] = STATUS[status] ?? [status, ""];
  const about = record.dataAgreement?.purposeDescription;
  const buttons = make("div", { kind: "buttons" });
  if (record.optIn === true) {
    buttons.append(button("Take back my yes", name, "", withdraw(item, record, name)));
  } else if (status === "withdrawn" || status === "refused") {
    buttons.append(button("Say yes", name, "",
      (pressed) => attempt(change(item, record, name, true), pressed)));
  }
  buttons.append(button("Get a receipt", name, "secondary",
    (pressed) => attempt(receipt(record), pressed)));
  item.replaceChildren(
    make("h3", { tabindex: "-1" }, name),
    make("p", { kind: `answer ${kind}` }, words),
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
    await fill(item, record);
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

const showEntrance = async () => {
  const offered = await isOffered();
  byId("sign-in").hidden = !offered;
  byId("closed").hidden = offered;
};

byId("begin").addEventListener("click", (event) => attempt(begin, event.currentTarget));
// The token is nowhere but in this page.
byId("leave").addEventListener("click", () => window.location.replace(window.location.pathname));
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
