// Shows a person's own consent records and lets them say no or yes again. The access token comes
// from the page that opened this one, behind the `#`, which no server sees; it stays in memory.
const byId = (id) => document.getElementById(id);

const token = new URLSearchParams(window.location.hash.slice(1)).get("access_token") ?? "";
if (token) window.history.replaceState(null, "", window.location.pathname);

const STATUS = {
  requested: "Not answered",
  given: "You said yes",
  refused: "You said no",
  withdrawn: "You took your yes back",
  expired: "Your yes has ended",
  superseded: "The text has changed since you said yes",
  invalidated: "The agreement has ended",
};

const BASE = "/consent/service/individual";
let offset = 0;

const call = async (method, path, body) => {
  const headers = { accept: "application/json", authorization: `Bearer ${token}` };
  const options = { method, headers, cache: "no-store" };
  if (body) {
    headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const answer = await fetch(BASE + path, options);
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(content.errorDescription ?? `code ${answer.status}`);
  return content;
};

const attempt = async (work) => {
  byId("problem").textContent = "";
  try {
    await work();
  } catch (error) {
    byId("problem").textContent = `That did not work: ${error.message}.`;
  }
};

const part = (tag, content, kind) => {
  const element = document.createElement(tag);
  element.textContent = content;
  if (kind) element.className = kind;
  return element;
};

const day = (time) => new Date(time).toLocaleDateString(document.documentElement.lang);

// Fills an item anew, so that what is shown is what the server says.
const fill = (item, record) => {
  const agreement = record.dataAgreement ?? {};
  const heading = part("h3", agreement.purpose ?? record.dataAgreementId);
  heading.tabIndex = -1;
  const status = record.effectiveStatus ?? "requested";
  const parts = [heading, part("p", STATUS[status] ?? status, status === "given" ? "good" : "")];
  if (agreement.purposeDescription) parts.push(part("p", agreement.purposeDescription));
  const names = (agreement.dataAttributes ?? []).map((one) => one.name);
  if (names.length > 0) parts.push(part("p", `Data: ${names.join(", ")}`, "hint"));
  parts.push(part("p", `Last changed on ${day(record.timestamp)}`, "hint"));
  if (record.validUntil) parts.push(part("p", `Holds until ${day(record.validUntil)}`, "hint"));
  const yes = record.optIn === true;
  if (yes || status === "withdrawn" || status === "refused") {
    const words = yes ? "Take back my yes" : "Say yes";
    const button = part("button", words, yes ? "" : "secondary");
    button.type = "button";
    button.setAttribute("aria-label", `${words}: ${heading.textContent}`);
    button.addEventListener("click", () => attempt(async () => {
      button.disabled = true;
      try {
        const path = `/record/consent-record/${encodeURIComponent(record.id)}/`;
        const answer = await call("PUT", path, { consentRecord: { optIn: !yes } });
        fill(item, answer.consentRecord);
        byId("status").textContent = yes ? "Your yes was taken back." : "Your yes was noted.";
        item.querySelector("h3").focus();
      } finally {
        button.disabled = false;
      }
    }));
    parts.push(button);
  }
  item.replaceChildren(...parts);
};

const load = async () => {
  const answer = await call("GET", `/record/consent-record/?limit=20&offset=${offset}`);
  for (const record of answer.consentRecords) {
    const item = part("li", "", "panel");
    fill(item, record);
    byId("list").append(item);
  }
  offset += answer.consentRecords.length;
  byId("none").hidden = offset > 0;
  byId("more").hidden = !answer.pagination.hasNext;
  byId("answers").hidden = false;
};

const start = async () => {
  if (!token) {
    byId("sign-in").hidden = false;
    return;
  }
  await load();
  const { enabled } = await call("GET", "/notifications/");
  byId("notify").checked = enabled;
  byId("notices").hidden = false;
};

byId("more").addEventListener("click", () => attempt(load));
byId("notify").addEventListener("change", (event) => attempt(async () => {
  const box = event.target;
  try {
    await call("PUT", "/notifications/", { enabled: box.checked });
    byId("status").textContent = "Noted.";
  } catch (error) {
    box.checked = !box.checked;
    throw error;
  }
}));
await attempt(start);
