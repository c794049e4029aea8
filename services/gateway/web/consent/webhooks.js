// Shows which systems are told of events, lets one try them, and lists what became of deliveries.
import { attempt, byId, make, moment, onceKey, tell } from "/web/page.js";

const WORDS = { delivered: "Delivered", retrying: "Tried again soon", "given up": "Given up" };
const MOST = 100;

const pathOf = (hook) => `/webhook/${encodeURIComponent(hook.id)}/`;

const button = (label, name, work) => {
  const element = make("button", { type: "button", kind: "secondary", "aria-label": `${label}: ${name}` }, label);
  element.addEventListener("click", () => attempt(work, element));
  return element;
};

const once = () => ({ "idempotency-key": onceKey() });

// Only the host: an address may hold what is nobody else's concern.
const hostOf = (hook) => {
  try {
    return new URL(hook.payloadUrl).host;
  } catch {
    return hook.id;
  }
};

const sendAgain = (ask, hook, one) => async () => {
  const id = encodeURIComponent(one.id);
  await ask("POST", `${pathOf(hook)}deliveries/${id}/redeliver/`, {}, once());
  tell(`${one.event} is sent to ${hostOf(hook)} again.`);
  await showDeliveries(ask, hook);
};

const rowOf = (ask, hook) => (one) => make("tr", {},
  make("th", { scope: "row" }, one.event),
  make("td", { "data-label": "State" }, [WORDS[one.state] ?? one.state, one.reason].filter(Boolean).join(": ")),
  make("td", { "data-label": "Attempts" }, String(one.attempts)),
  make("td", { "data-label": "Last tried" }, one.lastAttemptAt ? moment(one.lastAttemptAt) : ""),
  make("td", { "data-label": "Act" },
    one.state === "given up" ? button("Send again", one.event, sendAgain(ask, hook, one)) : null));

const showDeliveries = async (ask, hook) => {
  const answer = await ask("GET", `${pathOf(hook)}deliveries/?limit=${MOST}`);
  byId("delivery-rows").replaceChildren(...answer.deliveries.map(rowOf(ask, hook)));
  byId("delivery-table").hidden = answer.deliveries.length === 0;
  byId("delivery-none").hidden = answer.deliveries.length > 0;
  byId("deliveries-title").textContent = `Deliveries to ${hostOf(hook)}`;
  byId("deliveries").hidden = false;
  byId("deliveries-title").focus();
};

const factsOf = (hook) => [
  (hook.subscribedEvents ?? []).join(", ") || "All events",
  hook.disabled && "Switched off",
  hook.description,
].filter(Boolean);

const panelOf = (ask) => (hook) => make("li", { kind: "panel" },
  make("h3", {}, hostOf(hook)),
  ...factsOf(hook).map((text) => make("p", { kind: "hint" }, text)),
  make("div", { kind: "buttons" },
    hook.disabled ? null : button("Try it", hostOf(hook), async () => {
      await ask("POST", `${pathOf(hook)}ping/`, {}, once());
      tell(`A try is on its way to ${hostOf(hook)}.`);
    }),
    button("Deliveries", hostOf(hook), () => showDeliveries(ask, hook))));

// A token that may not see them sees that there is nothing for it here.
export const showWebhooks = async (ask, all) => {
  let hooks = [];
  try {
    hooks = await all("/webhooks/", "webhooks");
  } catch (error) {
    if (error.status !== 403) throw error;
    byId("webhooks").hidden = true;
    return;
  }
  byId("webhook-list").replaceChildren(...hooks.map(panelOf(ask)));
  byId("webhook-none").hidden = hooks.length > 0;
  byId("webhooks").hidden = false;
};

byId("deliveries-close").addEventListener("click", () => {
  byId("deliveries").hidden = true;
  byId("webhooks-title").focus();
});
