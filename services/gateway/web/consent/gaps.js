// What an agreement still lacks before it can be published, and for receipts in two forms, as the
// consent block sees it. The block decides; this is shown while one writes. A test holds both
// against each other.
const there = (text) => typeof text === "string" && text !== "";
// What says nothing but spaces says nothing, where the block looks that closely.
const said = (text) => there(text) && text.trim() !== "";

const WORDS = {
  purpose: "the purpose",
  lawfulBasis: "the lawful basis",
  dpia: "the impact assessment",
  "controller.name": "the responsible organisation",
  "controller.url": "the organisation's address on the web",
  "controller.address": "the organisation's postal address",
  "controller.contact": "whom to ask",
  "controller.email": "the organisation's e-mail address",
  "controller.phone": "the organisation's telephone number",
  noticeUrl: "the address of the notice, here or in the policy",
  dataAttributes: "the data that it is about",
  "policy.storageLocation": "where data is stored, in the policy",
  "policy.dataRetentionPeriodDays": "how long data is kept, in the policy",
  "policy.jurisdiction": "the jurisdiction, in the policy",
  "policy.withdrawalMethod": "how to take a yes back, in the policy",
};

// Names of what is not there, of pairs of a name and whether it is.
const lacking = (pairs) => pairs.filter(([, known]) => !known).map(([name]) => name);

const forIso27560 = (agreement, controller, policy) => lacking([
  ["purpose", said(agreement.purpose)],
  ["controller.name", there(controller.name)],
  ["controller.address", there(controller.address)],
  ["controller.contact", there(controller.contact)],
  ["noticeUrl", there(agreement.noticeUrl) || there(policy.url)],
  ["dataAttributes", (agreement.dataAttributes ?? []).length > 0],
  ["policy.storageLocation", there(policy.storageLocation)],
  ["policy.dataRetentionPeriodDays", Number.isInteger(policy.dataRetentionPeriodDays)],
  ["policy.jurisdiction", there(policy.jurisdiction)],
  ["policy.withdrawalMethod", there(policy.withdrawalMethod)],
]);

const forKantara = (agreement, controller, policy) => lacking([
  ["policy.jurisdiction", there(policy.jurisdiction)],
  ["controller.name", there(controller.name)],
  ["controller.contact", there(controller.contact)],
  ["controller.address", there(controller.address)],
  ["controller.email", there(controller.email)],
  ["controller.phone", there(controller.phone)],
  ["noticeUrl", there(agreement.noticeUrl) || there(policy.url)],
  ["dataAttributes", (agreement.dataAttributes ?? []).length > 0],
]);

const forPublication = (agreement, iso27560) => {
  const gaps = lacking([
    ["purpose", said(agreement.purpose)],
    ["lawfulBasis", there(agreement.lawfulBasis)],
    ["dpia", said(agreement.dpia)],
    ["controller.name", !agreement.controller || there(agreement.controller.name)],
    ["controller.url", !agreement.controller || there(agreement.controller.url)],
  ]);
  const also = agreement.receiptProfile === "iso27560" ? iso27560 : [];
  return [...new Set([...gaps, ...also])];
};

// Names of the members, in three lists: the shape of the interface's own answer.
export const gapsOf = (agreement, policy = {}) => {
  const controller = agreement.controller ?? {};
  const iso27560 = forIso27560(agreement, controller, policy);
  return {
    publication: forPublication(agreement, iso27560),
    iso27560,
    kantara: forKantara(agreement, controller, policy),
  };
};

export const wordsFor = (gap) => WORDS[gap] ?? gap;
