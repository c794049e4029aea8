// Lets an organisation write its policies and data agreements, see what an agreement lacks
// before it is published, and compare revisions.
import { attempt, byId, call, confirmed, make, moment, onceKey, tell } from "/web/page.js";
import { gapsOf, wordsFor } from "/web/consent-gaps.js";
import { difference } from "/web/consent-difference.js";
import { rowsOf } from "/web/consent-rows.js";
import { showWebhooks } from "/web/consent-webhooks.js";

const CONFIG = "/consent/config";
const PAGE = 100;

let token = "";
let policies = [];
let agreements = [];
// What the open form was filled from; nothing while something new is written.
let open = { policy: null, agreement: null };

const ask = (method, path, body, more) => call(token, method, `${CONFIG}${path}`, body, more);

// All pages of a list, up to a bound that nobody reads through by hand.
const all = async (path, member) => {
  const rows = [];
  for (let page = 0; page < 10; page += 1) {
    const answer = await ask("GET", `${path}?limit=${PAGE}&offset=${rows.length}`);
    rows.push(...answer[member]);
    if (!answer.pagination?.hasNext) break;
  }
  return rows;
};

const fields = (form) => [...form.elements].filter((field) => field.name);

const read = (form) => {
  const content = {};
  for (const field of fields(form)) {
    content[field.name] = field.type === "checkbox" ? field.checked : field.value.trim();
  }
  return content;
};

const fill = (form, content) => {
  for (const field of fields(form)) {
    const value = content[field.name];
    if (field.type === "checkbox") field.checked = value === true;
    else field.value = value ?? "";
  }
};

const close = (form) => {
  form.hidden = true;
  form.querySelector(".faults").hidden = true;
};

const show = (form) => {
  form.hidden = false;
  form.querySelector(".faults").hidden = true;
  form.querySelector("h3").focus();
};

// Saves, and lists beside the buttons which members were refused.
const save = (form, work) => attempt(async () => {
  const list = form.querySelector(".faults");
  list.hidden = true;
  try {
    await work();
  } catch (error) {
    const items = (error.fields ?? []).map(({ field, words }) => make("li", {}, `${field}: ${words}`));
    list.replaceChildren(...items);
    list.hidden = items.length === 0;
    throw error;
  }
}, form.querySelector("[type=submit]"));

const ifMatch = (one) => ({
  "idempotency-key": onceKey(),
  ...(one?.revisionId ? { "if-match": `"${one.revisionId}"` } : {}),
});

// --- policies

// A number where there is one; what else was written is the interface's to refuse.
const numberOf = (text) => (/^\d+$/.test(text) ? Number(text) : text);

// What is left empty is not said, which is not the same as no.
const policyOf = (content) => {
  const { dataRetentionPeriodDays: days, thirdPartyDataSharing: sharing, ...others } = content;
  const policy = { ...(open.policy ?? {}), ...others };
  delete policy.dataRetentionPeriodDays;
  delete policy.thirdPartyDataSharing;
  if (days !== "") policy.dataRetentionPeriodDays = numberOf(days);
  if (sharing !== "") policy.thirdPartyDataSharing = sharing === "true";
  return policy;
};

const savePolicy = async () => {
  const policy = policyOf(read(byId("policy")));
  const id = open.policy?.id;
  const path = id ? `/policy/${encodeURIComponent(id)}/` : "/policy/";
  const answer = await ask(id ? "PUT" : "POST", path, { policy }, ifMatch(open.policy));
  close(byId("policy"));
  await load();
  const notes = (answer.warnings ?? []).map((note) => ` Note: ${note}.`).join("");
  tell(`The policy ${answer.policy.name} was saved.${notes}`);
  byId("policies-title").focus();
};

const editPolicy = (policy) => {
  open.policy = policy;
  fill(byId("policy"), policy ?? { version: "1.0.0" });
  show(byId("policy"));
};

// --- agreements

const data = rowsOf("data", "Data", [
  { member: "name", words: "Name" },
  { member: "description", words: "What it is" },
  { member: "category", words: "Category" },
  {
    member: "necessity", words: "Needed", kind: "choice",
    options: [["required", "Needed"], ["optional", "May be left out"]],
  },
  { member: "specialCategory", words: "Of a special category, such as health or belief", kind: "check" },
], { sensitivity: "personal" });

const recipients = rowsOf("recipient", "Recipient", [
  { member: "id", words: "Name under which it asks" },
  { member: "name", words: "Name that people know" },
  { member: "country", words: "Country" },
  { member: "attributes", words: "Only these data, by name, with commas between", kind: "list" },
]);

const agreementOf = (form) => {
  const content = read(form);
  const agreement = { ...(open.agreement ?? {}) };
  const controller = { ...(agreement.controller ?? {}) };
  for (const [name, value] of Object.entries(content)) {
    if (name.startsWith("controller.")) controller[name.slice(11)] = value;
    else if (name === "receiptProfile") agreement.receiptProfile = value ? "iso27560" : "";
    else agreement[name] = value;
  }
  delete agreement.validityDays;
  if (content.validityDays !== "") agreement.validityDays = numberOf(content.validityDays);
  agreement.dataAttributes = data.read();
  agreement.recipients = recipients.read();
  // An empty one would be one without a name, whatever id it had.
  const named = Object.entries(content).some(([name, value]) => name.startsWith("controller.") && value);
  if (named) agreement.controller = controller;
  else delete agreement.controller;
  // Names of what stands beside them under another name; and the policy's earlier revision, so that what
  // is saved and what is shown here both rest on the policy as it is now.
  for (const name of ["controllerId", "controllerName", "controllerUrl", "policy", "dataUse",
    "policyRevisionId", "policyRevisionHash"]) delete agreement[name];
  return agreement;
};

const flat = (agreement) => ({
  ...agreement,
  ...Object.fromEntries(Object.entries(agreement.controller ?? {})
    .map(([name, value]) => [`controller.${name}`, value])),
  receiptProfile: agreement.receiptProfile === "iso27560",
});

const policyById = (id) => policies.find((one) => one.id === id) ?? {};

const listed = (words, gaps, member) => (gaps.length === 0 ? [] : [
  make("p", {}, words),
  make("ul", {}, ...gaps.map((gap) => make("li", { [member]: gap }, wordsFor(gap)))),
]);

// What publication needs comes first; what receipts need besides is advice. What is shown already
// stays as it is: a field that loses the focus to a button says that it changed, and a page that
// is made anew just then loses the press.
let told = "";
const tellGaps = (gaps) => {
  const { publication, iso27560, kantara } = gaps;
  if (told === JSON.stringify(gaps)) return;
  told = JSON.stringify(gaps);
  const besides = (all) => all.filter((gap) => !publication.includes(gap));
  const ready = iso27560.length + kantara.length === 0
    ? "Nothing is missing: this can be published."
    : "This can be published.";
  byId("gaps").replaceChildren(
    ...(publication.length === 0 ? [make("p", { kind: "good" }, ready)] : []),
    ...listed("Before this can be published it needs:", publication, "data-gap"),
    ...listed("Advice: a receipt after ISO/IEC TS 27560 also needs:", besides(iso27560), "data-iso27560"),
    ...listed("Advice: a Kantara consent receipt also needs:", besides(kantara), "data-kantara"),
  );
};

const showGaps = () => {
  const agreement = agreementOf(byId("agreement"));
  const gaps = gapsOf(agreement, policyById(agreement.policyId));
  tellGaps(gaps);
  return gaps.publication;
};

// What the block itself finds missing in what is stored.
const storedGaps = async () => {
  const path = `/data-agreement/${encodeURIComponent(open.agreement.id)}/gaps/`;
  return ask("GET", path);
};

const tellCount = (gaps) => tell(`${gaps.length} ${gaps.length === 1 ? "thing is" : "things are"} missing.`);

const put = async () => {
  const agreement = { ...agreementOf(byId("agreement")), lifecycle: "Draft" };
  const id = open.agreement?.id;
  const path = id ? `/data-agreement/${encodeURIComponent(id)}/` : "/data-agreement/";
  const body = { dataAgreement: agreement };
  const answer = await ask(id ? "PUT" : "POST", path, body, ifMatch(open.agreement));
  open.agreement = answer.dataAgreement;
  return answer;
};

const noted = (answer) => (answer.warnings ?? []).map((note) => ` Note: ${note}.`).join("");

const saveAgreement = async () => {
  const answer = await put();
  const { publication } = await storedGaps();
  const needs = publication.length > 0
    ? ` Before it can be published it needs ${publication.map(wordsFor).join("; ")}.`
    : "";
  close(byId("agreement"));
  await load();
  const name = answer.dataAgreement.purpose || answer.dataAgreement.id;
  tell(`The draft ${name} was saved.${needs}${noted(answer)}`);
  byId("agreements-title").focus();
};

const publish = async () => {
  const gaps = showGaps();
  if (gaps.length > 0) {
    tellCount(gaps);
    return;
  }
  byId("sure-what").textContent = agreementOf(byId("agreement")).purpose;
  if (!await confirmed(byId("sure"))) return;
  await save(byId("agreement"), async () => {
    await put();
    const stored = await storedGaps();
    if (stored.publication.length > 0) {
      // A policy may have changed since this page read it.
      policies = await all("/policies/", "policies");
      tellGaps(stored);
      tellCount(stored.publication);
      return;
    }
    const id = encodeURIComponent(open.agreement.id);
    const answer = await ask("POST", `/data-agreement/${id}/publish/`, {}, ifMatch(open.agreement));
    close(byId("agreement"));
    await load();
    tell(`${answer.dataAgreement.purpose} was published as version ${answer.dataAgreement.version}.${noted(answer)}`);
    byId("agreements-title").focus();
  });
};

const editAgreement = (agreement) => {
  open.agreement = agreement;
  const options = [make("option", { value: "" }, "None"),
    ...policies.map((one) => make("option", { value: one.id }, `${one.name} ${one.version}`))];
  byId("agreement-policy").replaceChildren(...options);
  const fresh = { version: "1.0.0", lawfulBasis: "consent", active: true, forgettable: true };
  fill(byId("agreement"), agreement ? flat(agreement) : fresh);
  data.fill(agreement?.dataAttributes);
  recipients.fill(agreement?.recipients);
  showGaps();
  show(byId("agreement"));
};

// --- revisions

let revisions = [];

const compare = () => {
  const [from, to] = ["compare-from", "compare-to"].map((id) => revisions[byId(id).value]?.objectData);
  const rows = difference(from, to).map(([member, earlier, later]) => make("tr", {},
    make("th", { scope: "row" }, member),
    make("td", { "data-label": "Earlier" }, earlier && make("del", {}, earlier)),
    make("td", { "data-label": "Later" }, later && make("ins", {}, later))));
  byId("compare-rows").replaceChildren(...rows);
  byId("compare-table").hidden = rows.length === 0;
  byId("compare-same").hidden = rows.length > 0;
};

const showRevisions = async (path, name) => {
  // Newest first, as the interface gives them.
  revisions = (await ask("GET", `${path}revisions/?limit=${PAGE}`)).revisions;
  const option = (one, at) => make("option", { value: at }, `${moment(one.timestamp)}, ${one.id.slice(-8)}`);
  for (const id of ["compare-from", "compare-to"]) byId(id).replaceChildren(...revisions.map(option));
  byId("compare-from").value = String(Math.min(1, revisions.length - 1));
  byId("compare-to").value = "0";
  byId("compare-title").textContent = `Revisions of ${name}`;
  byId("compare").hidden = false;
  compare();
  byId("compare-title").focus();
};

// --- lists

const button = (label, name, work) => {
  const element = make("button", { type: "button", kind: "secondary", "aria-label": `${label}: ${name}` }, label);
  element.addEventListener("click", () => attempt(work, element));
  return element;
};

const row = (name, facts, path, edit) => make("li", { kind: "panel" },
  make("h3", {}, name),
  ...facts.filter(Boolean).map((text) => make("p", { kind: "hint" }, text)),
  make("div", { kind: "buttons" },
    button("Change", name, async () => edit()),
    button("Revisions", name, () => showRevisions(path, name))));

const load = async () => {
  policies = await all("/policies/", "policies");
  agreements = await all("/data-agreements/", "dataAgreements");
  byId("policy-list").replaceChildren(...policies.map((one) => row(
    one.name,
    [`Version ${one.version}`, one.jurisdiction && `Jurisdiction ${one.jurisdiction}`],
    `/policy/${encodeURIComponent(one.id)}/`,
    () => editPolicy(one),
  )));
  byId("policy-none").hidden = policies.length > 0;
  byId("agreement-list").replaceChildren(...agreements.map((one) => row(
    one.purpose || "Without a purpose",
    [`${one.lifecycle?.name ?? "Draft"}, version ${one.version}`,
      one.publishedRevisionId && one.publishedRevisionId !== one.revisionId
        && "Has changes that are not published"],
    `/data-agreement/${encodeURIComponent(one.id)}/`,
    () => editAgreement(one),
  )));
  byId("agreement-none").hidden = agreements.length > 0;
  await showWebhooks(ask, all);
};

byId("entrance").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    token = byId("token").value.trim();
    await load();
    byId("token").value = "";
    byId("entrance").hidden = true;
    byId("inside").hidden = false;
    tell("You are inside.");
    byId("policies-title").focus();
  }, event.submitter);
});
byId("policy-new").addEventListener("click", () => editPolicy(null));
byId("agreement-new").addEventListener("click", () => editAgreement(null));
byId("policy").addEventListener("submit", (event) => {
  event.preventDefault();
  save(byId("policy"), savePolicy);
});
byId("agreement").addEventListener("submit", (event) => {
  event.preventDefault();
  save(byId("agreement"), saveAgreement);
});
for (const event of ["input", "change"]) byId("agreement").addEventListener(event, showGaps);
byId("agreement-publish").addEventListener("click", publish);
for (const form of [byId("policy"), byId("agreement")]) {
  form.querySelector(".close").addEventListener("click", () => {
    close(form);
    form.closest("section").querySelector("h2").focus();
  });
}
for (const id of ["compare-from", "compare-to"]) byId(id).addEventListener("change", compare);
byId("compare-close").addEventListener("click", () => {
  byId("compare").hidden = true;
  byId("agreements-title").focus();
});
byId("entrance").hidden = false;
