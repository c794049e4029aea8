// What an agreement still lacks before it can be published, as the consent block sees it. The
// block decides; this is shown while one writes. A test holds both against each other.
const said = (text) => typeof text === "string" && text.trim() !== "";

const WORDS = {
  purpose: "the purpose",
  lawfulBasis: "the lawful basis",
  dpia: "the impact assessment",
  "controller.name": "the responsible organisation",
  "controller.url": "the organisation's address on the web",
  "controller.address": "the organisation's postal address",
  "controller.contact": "whom to ask",
  noticeUrl: "the address of the notice, here or in the policy",
  dataAttributes: "the data that it is about",
  "policy.storageLocation": "where data is stored, in the policy",
  "policy.dataRetentionPeriodDays": "how long data is kept, in the policy",
  "policy.jurisdiction": "the jurisdiction, in the policy",
  "policy.withdrawalMethod": "how to take a yes back, in the policy",
};

const hasController = (controller) => Object.values(controller).some(said);

// Names of the members, in the order of the form.
export const gapsOf = (agreement, policy = {}) => {
  const gaps = new Set();
  const need = (name, there) => { if (!there) gaps.add(name); };
  const controller = agreement.controller ?? {};
  need("purpose", said(agreement.purpose));
  need("lawfulBasis", said(agreement.lawfulBasis));
  need("dpia", said(agreement.dpia));
  if (hasController(controller)) {
    need("controller.name", said(controller.name));
    need("controller.url", said(controller.url));
  }
  if (agreement.receiptProfile === "iso27560") {
    for (const name of ["name", "address", "contact"]) {
      need(`controller.${name}`, said(controller[name]));
    }
    need("noticeUrl", said(agreement.noticeUrl) || said(policy.url));
    need("dataAttributes", (agreement.dataAttributes ?? []).length > 0);
    need("policy.storageLocation", said(policy.storageLocation));
    need("policy.dataRetentionPeriodDays", Number.isInteger(policy.dataRetentionPeriodDays));
    need("policy.jurisdiction", said(policy.jurisdiction));
    need("policy.withdrawalMethod", said(policy.withdrawalMethod));
  }
  return [...gaps];
};

export const wordsFor = (gap) => WORDS[gap] ?? gap;
