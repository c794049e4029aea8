// What a text says, and what was chosen under it, as lists of facts.
import { day, make } from "/web/page.js";

const fact = (list, name, content) => {
  if (content) list.append(make("dt", {}, name), make("dd", {}, content));
};

const outside = (address, content) => (address
  ? make("a", { href: address, rel: "noreferrer" }, content)
  : content);

// The text that was answered, as its revision locks it. What is published now may say something
// else; nobody agreed to that here.
export const answeredText = (record) => ({
  ...(record.dataAgreement ?? {}),
  ...(record.dataAgreementRevision?.objectData ?? {}),
});

// Whether people may object to what an agreement rests on; nobody says yes to it.
export const mayBeObjected = (agreement) => ["public_task", "legitimate_interest"].includes(agreement.lawfulBasis);

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

// Facts of a text; with a record, of the answer to it as well.
export const facts = (agreement, record, left = "Left out by you") => {
  const list = make("dl", { kind: "facts" });
  const controller = agreement.controller;
  const agreed = record && !mayBeObjected(agreement);
  fact(list, agreed ? "Agreed with" : "Asked by", controller && outside(controller.url, controller.name));
  fact(list, "Contact", controller?.contact ?? controller?.email ?? controller?.phone);
  const [used, kept] = dataOf(record ?? {}, agreement);
  fact(list, "Data", used);
  fact(list, left, kept);
  const sources = (agreement.dataSources ?? []).map((one) => one.name);
  fact(list, "Comes from", sources.join(", "));
  const recipients = (agreement.recipients ?? []).map((one) => one.name ?? one.id);
  fact(list, "May be used by", recipients.join(", "));
  const policy = agreement.policy;
  fact(list, "Rules", policy && outside(policy.url, policy.name));
  if (policy?.dataRetentionPeriodDays) fact(list, "Kept for", `${policy.dataRetentionPeriodDays} days`);
  if (!record) return list;
  fact(list, "First answered", record.createdAt && day(record.createdAt));
  fact(list, "Last changed", day(record.timestamp));
  fact(list, "Holds until", record.validUntil && day(record.validUntil));
  return list;
};
