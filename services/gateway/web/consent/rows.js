// A list within a form: each thing in it is a group of fields, added and removed by hand.
import { byId, make } from "/web/page.js";

const listOf = (text) => text.split(",").map((part) => part.trim()).filter(Boolean);

const fieldOf = (id, { kind, options }, value) => {
  if (kind === "choice") {
    const field = make("select", { id }, ...options.map(([each, words]) => make("option", { value: each }, words)));
    field.value = value ?? options[0][0];
    return field;
  }
  const field = make("input", kind === "check" ? { id, type: "checkbox" } : { id });
  if (kind === "check") field.checked = value === true;
  else field.value = kind === "list" ? (value ?? []).join(", ") : value ?? "";
  return field;
};

const labelled = (field, { kind, words }) => (kind === "check"
  ? make("label", { kind: "choice" }, field, " ", make("span", {}, words))
  : make("div", {}, make("label", { for: field.id }, words), field));

// What a row says; members without a field stay as they were.
const contentOf = (members, item, fields) => {
  const content = { ...item };
  for (const { member, kind } of members) {
    const field = fields.get(member);
    if (kind === "check") {
      if (field.checked || content[member] !== undefined) content[member] = field.checked;
      continue;
    }
    const text = field.value.trim();
    if (text === "") delete content[member];
    else content[member] = kind === "list" ? listOf(text) : text;
  }
  return content;
};

const isEmpty = (members, fields) => members
  .filter(({ kind }) => kind !== "check" && kind !== "choice")
  .every(({ member }) => fields.get(member).value.trim() === "");

// A list in `<name>-rows` with the button `<name>-add`; `words` says what one of them is, `fresh`
// what a new one holds that has no field.
export const rowsOf = (name, words, members, fresh = {}) => {
  const place = byId(`${name}-rows`);
  let rows = [];
  let made = 0;

  const renumber = () => rows.forEach((row, at) => {
    row.legend.textContent = `${words} ${at + 1}`;
    row.remove.setAttribute("aria-label", `Remove: ${words} ${at + 1}`);
  });
  const changed = () => place.dispatchEvent(new Event("input", { bubbles: true }));

  const add = (item) => {
    made += 1;
    const fields = new Map(members.map((one) => [one.member,
      fieldOf(`${name}-${made}-${one.member}`, one, item[one.member])]));
    const remove = make("button", { type: "button", kind: "secondary" }, "Remove");
    const legend = make("legend");
    const shown = members.map((one) => [one, labelled(fields.get(one.member), one)]);
    const boxes = shown.filter(([one]) => one.kind === "check").map(([, label]) => label);
    const others = shown.filter(([one]) => one.kind !== "check").map(([, label]) => label);
    const element = make("fieldset", {}, legend, make("div", { kind: "fields" }, ...others), ...boxes, remove);
    const row = { element, fields, item, legend, remove };
    remove.addEventListener("click", () => {
      element.remove();
      rows = rows.filter((one) => one !== row);
      renumber();
      byId(`${name}-add`).focus();
      changed();
    });
    rows.push(row);
    place.append(element);
    renumber();
    return row;
  };

  byId(`${name}-add`).addEventListener("click", () => {
    const row = add(fresh);
    row.fields.get(members[0].member).focus();
  });
  return {
    fill: (items) => {
      rows = [];
      made = 0;
      place.replaceChildren();
      for (const item of items ?? []) add(item);
    },
    read: () => rows.filter((row) => !isEmpty(members, row.fields))
      .map((row) => contentOf(members, row.item, row.fields)),
  };
};
