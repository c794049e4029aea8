// A text that is published now, to be read and agreed to: nothing is ticked for anybody.
import { byId, confirmed, make } from "/web/page.js";

const part = (list, name, content) => {
  if (content) list.append(make("dt", {}, name), make("dd", {}, content));
};

const datum = (one) => (one.description ? `${one.name} (${one.description})` : one.name);

const choice = (one) => make("label", { kind: "choice" },
  make("input", { type: "checkbox", name: "datum", value: one.id ?? one.name }),
  " ", make("span", {}, datum(one)));

// Shows a text; resolves to the choices of whoever agrees, and to nothing for everybody else.
export const readAndAgree = async (agreement) => {
  const list = make("dl", { kind: "facts" });
  const all = agreement.dataAttributes ?? [];
  const needed = all.filter((one) => one.necessity !== "optional");
  const optional = all.filter((one) => one.necessity === "optional");
  part(list, "Asked by", agreement.controller?.name);
  part(list, "Data that is needed", needed.map(datum).join(", "));
  part(list, "May be used by", (agreement.recipients ?? []).map((one) => one.name ?? one.id).join(", "));
  part(list, "Rules", agreement.policy?.name);
  if (agreement.validityDays) part(list, "Holds for", `${agreement.validityDays} days`);
  const choices = make("fieldset", {}, make("legend", {}, "Data that you may add"), ...optional.map(choice));
  byId("text-body").replaceChildren(
    make("p", {}, make("strong", {}, agreement.purpose)),
    ...(agreement.purposeDescription ? [make("p", {}, agreement.purposeDescription)] : []),
    list,
    ...(optional.length > 0 ? [choices] : []),
  );
  if (!await confirmed(byId("text"))) return undefined;
  const ticked = new Set([...choices.querySelectorAll("input:checked")].map((box) => box.value));
  return optional.map((one) => {
    const attribute = one.id ?? one.name;
    return { attribute, granted: ticked.has(attribute) };
  });
};
