// Published agreements that a person has not answered: what they may say yes to, and what uses
// data without a yes, against which they may object.
import { byId, confirmed, make, onceKey } from "/web/page.js";
import { facts, mayBeObjected } from "/web/privacy-facts.js";
import { objectTo } from "/web/privacy-objection.js";
import { readAndAgree } from "/web/privacy-text.js";

const BASE = "/consent/service";
const RECORD = `${BASE}/individual/record`;
const PAGE = 100;
const PAGES = 10;

// All rows of a list, up to a bound that nobody reads through by hand.
export const allOf = async (ask, path, member) => {
  const rows = [];
  const more = path.includes("?") ? "&" : "?";
  for (let page = 0; page < PAGES; page += 1) {
    const answer = await ask("GET", `${path}${more}limit=${PAGE}&offset=${rows.length}`);
    rows.push(...answer[member]);
    if (!answer.pagination?.hasNext) break;
  }
  return rows;
};

// Published agreements that take answers.
export const openAgreements = async (ask) => {
  const all = await allOf(ask, `${BASE}/verification/data-agreements/`, "dataAgreements");
  return all.filter((one) => one.active !== false && one.lifecycle?.name === "Complete");
};

// Shows the text as it is published now; gives the record of whoever agrees, for themselves or for
// somebody whom they may answer for, and nothing for everybody else.
export const agreeTo = async (ask, agreementId, individualId) => {
  const id = encodeURIComponent(agreementId);
  const { dataAgreement, revision } = await ask("GET", `${BASE}/data-agreement/${id}/`);
  const attributes = await readAndAgree(dataAgreement);
  if (!attributes) return undefined;
  const query = new URLSearchParams({ revisionId: revision.id });
  if (individualId) query.set("individualId", individualId);
  const path = `${RECORD}/data-agreement/${id}/?${query}`;
  const answer = await ask("POST", path, { attributes }, { "idempotency-key": onceKey() });
  return { record: answer.consentRecord, purpose: dataAgreement.purpose };
};

const object = async (ask, agreement) => {
  byId("object-what").textContent = agreement.purpose;
  if (!await confirmed(byId("object"))) return undefined;
  return { record: await objectTo(ask, agreement.id), purpose: agreement.purpose };
};

const panel = (agreement, button) => make("li", { kind: "panel" },
  make("h4", { tabindex: "-1" }, agreement.purpose),
  ...(agreement.purposeDescription ? [make("p", {}, agreement.purposeDescription)] : []),
  facts(agreement),
  make("div", { kind: "buttons" }, button));

const fillList = (id, agreements, panelOf) => {
  byId(`${id}-list`).replaceChildren(...agreements.map(panelOf));
  byId(id).hidden = agreements.length === 0;
};

// Fills both lists. `button` makes one that does something and has `answered` told of the record.
export const showOffers = async (ask, button, answered) => {
  const records = await allOf(ask, `${RECORD}/consent-record/`, "consentRecords");
  const known = new Set(records.map((one) => one.dataAgreementId));
  const open = (await openAgreements(ask)).filter((one) => !known.has(one.id));
  const consent = open.filter((one) => one.lawfulBasis === "consent");
  const others = open.filter(mayBeObjected);
  const panelOf = (label, act, words) => (agreement) => {
    const item = panel(agreement, button(label, agreement.purpose, async () => {
      const done = await act(agreement);
      if (!done) return;
      const list = item.parentElement;
      item.remove();
      list.parentElement.hidden = list.children.length === 0;
      byId("offers-none").hidden = ["offers-yes-list", "offers-object-list"]
        .some((id) => byId(id).children.length > 0);
      answered(done.record, words(done.purpose));
    }));
    return item;
  };
  fillList("offers-yes", consent, panelOf("Read and say yes",
    (agreement) => agreeTo(ask, agreement.id), (purpose) => `Your yes to ${purpose} was noted.`));
  fillList("offers-object", others, panelOf("Object",
    (agreement) => object(ask, agreement), (purpose) => `Your objection to ${purpose} was noted.`));
  byId("offers-none").hidden = consent.length + others.length > 0;
  byId("offers-all").hidden = false;
  return consent.length + others.length;
};
