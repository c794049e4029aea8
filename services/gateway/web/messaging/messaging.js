// Shows an operator how far a request is, what failed and why, and lets them stop it.
import { attempt, byId, call, confirmed, make, onceKey, tell } from "/web/page.js";

const BASE = "/messaging/api/v1/requests";
const PAGE = 1000;
// Steps that are read to count reasons; a request may have millions.
const MOST_PAGES = 20;

const STATES = [
  ["scheduled", "Waiting"],
  ["processing", "On their way"],
  ["deferred", "Waiting after a failure"],
  ["delivered", "Handed over"],
  ["bounced", "Refused by the receiving side"],
  ["notSent", "Not sent"],
];
const OVER = ["delivered", "bounced", "notSent"];
const FAILED = ["deferred", "bounced", "notSent"];

let token = "";
let uid = "";

const ask = (method, path, more) => call(token, method, `${BASE}/${encodeURIComponent(uid)}${path}`,
  method === "POST" ? {} : undefined, more);

const row = (cells) => make("tr", {}, ...cells.map(([label, content], at) => (at === 0
  ? make("th", { scope: "row" }, content)
  : make("td", { "data-label": label }, content))));

const showCounters = (counters) => {
  const over = OVER.reduce((sum, state) => sum + Number(counters[state]), 0);
  const total = Number(counters.total);
  byId("progress").max = Math.max(total, 1);
  byId("progress").value = over;
  byId("progress-words").textContent = `${over} of ${total} messages are finished.`;
  byId("states").replaceChildren(...STATES.map(([state, words]) => row([
    ["State", words], ["Messages", String(counters[state])],
  ])));
  return over === total;
};

// The last step of each message tells where it stands; failures are counted by their reason.
const readReasons = async () => {
  const last = new Map();
  let page = "";
  let pages = 0;
  do {
    const query = new URLSearchParams({ pageSize: PAGE, ...(page ? { pageToken: page } : {}) });
    const answer = await ask("GET", `/events?${query}`);
    for (const event of answer.events) {
      const known = last.get(event.messageId);
      if (!known || known.time <= event.time) last.set(event.messageId, event);
    }
    page = answer.nextPageToken;
    pages += 1;
  } while (page && pages < MOST_PAGES);
  const counts = new Map();
  for (const event of last.values()) {
    if (!FAILED.includes(event.state)) continue;
    const reason = [event.code || "", event.reason || ""].filter(Boolean).join(" ") || "not said";
    const key = JSON.stringify([reason, event.state]);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const rows = [...counts].map(([key, count]) => [...JSON.parse(key), count]);
  return { rows: rows.sort((a, b) => b[2] - a[2]), cut: Boolean(page) };
};

const show = async () => {
  const { counters, completed } = await ask("GET", "");
  const over = showCounters(counters) && completed;
  const { rows, cut } = await readReasons();
  const words = Object.fromEntries(STATES);
  byId("reasons").replaceChildren(...rows.map(([reason, state, count]) => row([
    ["Reason", reason], ["State", words[state]], ["Messages", String(count)],
  ])));
  byId("failures").hidden = rows.length === 0;
  byId("failures-none").hidden = rows.length > 0;
  byId("failures-cut").hidden = !cut;
  byId("stop").hidden = over;
  byId("request").hidden = false;
  tell(over ? "This request is finished." : "This request goes on.");
};

byId("entrance").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    token = byId("token").value.trim();
    uid = byId("uid").value.trim();
    byId("request").hidden = true;
    await show();
    byId("request-title").focus();
  }, event.submitter);
});
byId("refresh").addEventListener("click", (event) => attempt(show, event.currentTarget));
byId("stop").addEventListener("click", async (event) => {
  const pressed = event.currentTarget;
  if (!await confirmed(byId("sure"))) return;
  await attempt(async () => {
    await ask("POST", "/cancel", { "idempotency-key": onceKey() });
    await show();
    tell("What was not sent yet was stopped.");
  }, pressed);
});
byId("entrance").hidden = false;
