// What a person may answer for others: the delegations that they hold, with what those people
// answered as far as they may see it.
import { attempt, byId, confirmed, day, make, onceKey, tell } from "/web/page.js";
import { answeredText, facts } from "/web/privacy-facts.js";
import { agreeTo, allOf, openAgreements } from "/web/privacy-offers.js";

const BASE = "/consent/service";
const RECORD = `${BASE}/individual/record`;

const RELATIONSHIPS = {
  parent: "as their parent",
  legal_guardian: "as their legal guardian",
  power_of_attorney: "by a power of attorney",
  court_appointed: "as a court appointed you",
  carer: "as their carer",
  organisation: "for an organisation",
};

const ACTIONS = { give: "say yes", withdraw: "take a yes back", view: "see the answers" };

const STATUS = {
  requested: ["Not answered", ""],
  given: ["Yes was answered", "good"],
  refused: ["No was answered", ""],
  withdrawn: ["The yes was taken back", ""],
  expired: ["The yes has ended", "warn"],
  superseded: ["The text has changed since the yes", "warn"],
  invalidated: ["The agreement has ended", ""],
};

// A delegation is not about this agreement, or no longer about any.
const BEYOND = new Set(["delegation_invalid", "not_yours"]);

const may = (delegation, action) => delegation.actions.includes(action);

const mayTakeBack = (delegation) => may(delegation, "withdraw") || may(delegation, "give");

const nameOf = (delegation) => delegation.authorityReference || delegation.individualId;

const fact = (list, name, content) => {
  if (content) list.append(make("dt", {}, name), make("dd", {}, content));
};

const factsOf = (delegation) => {
  const list = make("dl", { kind: "facts" });
  fact(list, "Person", delegation.individualId);
  fact(list, "On the ground of", delegation.authorityReference);
  fact(list, "You may", delegation.actions.map((one) => ACTIONS[one] ?? one).join(", "));
  const limited = (delegation.scopeAgreements ?? []).length + (delegation.scopePurposes ?? []).length > 0;
  fact(list, "About", limited ? "certain agreements only" : "all agreements");
  fact(list, "Until", delegation.validUntil && day(delegation.validUntil));
  return list;
};

const button = (label, name, kind, work) => {
  const element = make("button", { type: "button", kind, "aria-label": `${label}: ${name}` }, label);
  element.addEventListener("click", () => attempt(work, element));
  return element;
};

// Agreements that a delegation may be about, as far as this page can tell; the block knows which
// purposes stand below others, and refuses the rest.
const withinScope = (delegation, agreements) => {
  const ids = delegation.scopeAgreements ?? [];
  const purposes = delegation.scopePurposes ?? [];
  if (ids.length + purposes.length === 0) return agreements;
  return agreements.filter((one) => ids.includes(one.id) || (purposes.length > 0 && one.purposeCode));
};

// The answers that may be seen, and the agreements that may be answered.
const read = async (ask, delegation) => {
  const who = `individualId=${encodeURIComponent(delegation.individualId)}`;
  const agreements = withinScope(delegation, await openAgreements(ask));
  const open = agreements.filter((one) => one.lawfulBasis === "consent");
  if (!may(delegation, "view")) return { records: [], open };
  const limited = (delegation.scopeAgreements ?? []).length + (delegation.scopePurposes ?? []).length > 0;
  if (!limited) {
    const records = await allOf(ask, `${RECORD}/consent-record/?${who}`, "consentRecords");
    const known = new Set(records.map((one) => one.dataAgreementId));
    return { records, open: open.filter((one) => !known.has(one.id)) };
  }
  const records = [];
  const unanswered = [];
  for (const agreement of agreements) {
    try {
      const path = `${RECORD}/data-agreement/${encodeURIComponent(agreement.id)}/?${who}`;
      const { consentRecord } = await ask("GET", path);
      if (consentRecord) records.push(consentRecord);
      else if (open.includes(agreement)) unanswered.push(agreement);
    } catch (error) {
      if (!BEYOND.has(error.code)) throw error;
    }
  }
  return { records, open: unanswered };
};

const change = async (ask, delegation, record, optIn) => {
  const id = encodeURIComponent(record.id);
  const who = `individualId=${encodeURIComponent(delegation.individualId)}`;
  const path = `${RECORD}/consent-record/${id}/?${who}`;
  await ask("PUT", path, { consentRecord: { optIn } }, { "idempotency-key": onceKey() });
};

const agree = async (ask, delegation, agreementId, again) => {
  const done = await agreeTo(ask, agreementId, delegation.individualId);
  if (done) await again(`The yes to ${done.purpose} was noted for them.`);
};

const recordPanel = (ask, delegation, again) => (record) => {
  const agreement = answeredText(record);
  const name = agreement.purpose || record.dataAgreementId;
  const status = record.effectiveStatus ?? "requested";
  const [words, kind] = STATUS[status] ?? [status, ""];
  const buttons = make("div", { kind: "buttons" });
  if (record.optIn === true && mayTakeBack(delegation)) {
    buttons.append(button("Take their yes back", name, "", async () => {
      byId("sure-other-what").textContent = name;
      if (!await confirmed(byId("sure-other"))) return;
      await change(ask, delegation, record, false);
      await again(`The yes to ${name} was taken back for them.`);
    }));
  }
  if (may(delegation, "give") && ["refused", "withdrawn", "expired", "superseded"].includes(status)
    && agreement.lawfulBasis === "consent") {
    const current = status !== "superseded";
    buttons.append(button(current ? "Say yes for them" : "Read the text", name, "", async () => {
      if (!current) {
        await agree(ask, delegation, record.dataAgreementId, again);
        return;
      }
      try {
        await change(ask, delegation, record, true);
      } catch (error) {
        // Nobody says yes to a text that was replaced meanwhile.
        if (error.code !== "revision_superseded") throw error;
        await agree(ask, delegation, record.dataAgreementId, again);
        return;
      }
      await again(`The yes to ${name} was noted for them.`);
    }));
  }
  return make("li", { kind: "panel" }, make("h4", {}, name), make("p", { kind: `answer ${kind}` }, words),
    facts(agreement, record, "Left out"), buttons);
};

const openPanel = (ask, delegation, again) => (agreement) => make("li", { kind: "panel" },
  make("h4", {}, agreement.purpose),
  make("p", { kind: "answer" }, may(delegation, "view") ? "Not answered" : "You may not see whether it was answered"),
  ...(agreement.purposeDescription ? [make("p", {}, agreement.purposeDescription)] : []),
  facts(agreement),
  make("div", { kind: "buttons" }, button("Read and say yes for them", agreement.purpose, "",
    () => agree(ask, delegation, agreement.id, again))));

// Fills an item with what may be seen and answered, as it is now.
const fill = async (ask, delegation, item) => {
  const { records, open } = await read(ask, delegation);
  const heading = item.querySelector("h3");
  const again = async (words) => {
    await fill(ask, delegation, item);
    tell(words);
    heading.focus();
  };
  const offered = may(delegation, "give") ? open : [];
  const rows = [
    ...records.map(recordPanel(ask, delegation, again)),
    ...offered.map(openPanel(ask, delegation, again)),
  ];
  item.querySelector(".rows").replaceChildren(...rows);
  item.querySelector(".nothing").hidden = rows.length > 0;
  item.querySelector(".show").hidden = true;
};

const itemOf = (ask) => (delegation) => {
  const name = `${nameOf(delegation)}, ${RELATIONSHIPS[delegation.relationship] ?? delegation.relationship}`;
  const item = make("li", { kind: "panel" }, make("h3", { tabindex: "-1" }, name), factsOf(delegation));
  const show = button("Show what there is", name, "secondary show", async () => {
    await fill(ask, delegation, item);
    item.querySelector("h3").focus();
  });
  item.append(show, make("p", { kind: "nothing", hidden: true }, "There is nothing to see or to answer."),
    make("ul", { kind: "plain rows" }));
  return item;
};

// Shows for whom the person may answer; nothing where that is nobody.
export const showOthers = async (ask) => {
  const held = await allOf(ask, `${BASE}/delegations/?held=true`, "delegations");
  const active = held.filter((one) => one.active);
  byId("others-list").replaceChildren(...active.map(itemOf(ask)));
  byId("others").hidden = active.length === 0;
};
