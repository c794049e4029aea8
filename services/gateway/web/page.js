// What the pages share: finding and making elements, calling an interface, telling people.
export const byId = (id) => document.getElementById(id);

// Makes an element; what stands in it is text or other elements, never markup.
export const make = (tag, options = {}, ...children) => {
  const element = document.createElement(tag);
  const { kind, ...others } = options;
  if (kind) element.className = kind;
  for (const [name, value] of Object.entries(others)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== undefined && value !== null && value !== false) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};

// A refusal of an interface, in words that can be shown.
export class Refusal extends Error {
  constructor(status, words, fields, code) {
    super(words);
    this.status = status;
    this.fields = fields;
    this.code = code;
  }
}

const words = (status, body) => {
  if (status === 401) return "the sign-in has ended, or was not accepted";
  if (status === 403) return "this sign-in may not do that";
  return body.errorDescription ?? body.detail ?? `the answer was ${status}`;
};

// The members at fault, in either shape of error that the interfaces have.
const fieldsOf = (body) => (body.errors ?? body.details ?? [])
  .map((one) => ({ field: one.pointer ?? one.path ?? "", words: one.detail ?? one.reason ?? "" }));

// Seconds after which something that could not be read for now is asked for again: a gateway that
// has just started may need half a minute until it can check who asks.
const AGAIN = [1, 2, 4, 8, 16];

const rest = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });

// Calls an interface with a token; gives the body of its answer: a document, or a file where the
// answer is none.
export const call = async (token, method, path, body, more = {}) => {
  const headers = { accept: "application/json", ...more };
  if (token) headers.authorization = `Bearer ${token}`;
  const options = { method, headers, cache: "no-store", credentials: "same-origin" };
  if (body !== undefined) {
    headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
    for (const seconds of method === "GET" ? AGAIN : []) {
      if (answer.status !== 503) break;
      await rest(seconds);
      answer = await fetch(path, options);
    }
  } catch {
    throw new Refusal(0, "the gateway cannot be reached", []);
  }
  const kind = answer.headers.get("content-type") ?? "";
  if (answer.ok && !kind.includes("json") && kind.startsWith("application/")) return answer.blob();
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new Refusal(answer.status, words(answer.status, content), fieldsOf(content), content.code);
  }
  return content;
};

// A new name for a change, under which it is done once however often it is asked for.
export const onceKey = () => crypto.randomUUID();

// Runs something a person asked for; a second press while it runs does nothing, and what goes
// wrong is said in the page's alert.
let running = false;
export const attempt = async (work, button) => {
  if (running) return false;
  running = true;
  button?.setAttribute("aria-busy", "true");
  byId("problem").textContent = "";
  try {
    await work();
    return true;
  } catch (error) {
    byId("problem").textContent = `That did not work: ${error.message}.`;
    return false;
  } finally {
    running = false;
    button?.removeAttribute("aria-busy");
  }
};

// Whether something that a person asked for is under way.
export const busy = () => running;

export const tell = (text) => { byId("status").textContent = text; };

export const day = (time) => new Date(time).toLocaleDateString(document.documentElement.lang);
export const moment = (time) => new Date(time).toLocaleString(document.documentElement.lang);

// Asks before something is done; resolves to whether the person went on. The dialog keeps the
// focus and gives it back.
export const confirmed = (dialog) => new Promise((resolve) => {
  dialog.returnValue = "";
  dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  dialog.showModal();
});

// Hands a file to the person.
export const download = (name, type, content) => {
  const address = URL.createObjectURL(new Blob([content], { type }));
  const link = make("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  URL.revokeObjectURL(address);
};
