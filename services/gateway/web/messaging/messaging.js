// Shows an operator which requests go on, how far one is and how fast, what failed and why, and
// lets them hold it up, let it go on, stop it, and send again what failed.
import { attempt, busy, byId, call, confirmed, make, moment, onceKey, tell } from "/web/page.js";

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

// Seconds between two looks while a request is watched.
const EVERY = 2;
const LISTED = 20;

let token = "";
let uid = "";
// What was last seen of the request: when, and how many messages were finished.
let seen = null;
let listed = "";
// Looks so far, and whether the last one saw the end.
let looks = 0;
let ended = false;

const ask = (method, path, more, body = {}) => call(
  token,
  method,
  `${BASE}/${encodeURIComponent(uid)}${path}`,
  method === "POST" ? body : undefined,
  more,
);
const once = () => ({ "idempotency-key": onceKey() });

const row = (cells) => make("tr", {}, ...cells.map(([label, content], at) => (at === 0
  ? make("th", { scope: "row" }, content)
  : make("td", { "data-label": label }, content))));

// How fast it goes, from this look and the one before.
const showRate = (over, finished) => {
  const now = performance.now();
  if (seen && !finished && now > seen.at) {
    const rate = (over - seen.over) / ((now - seen.at) / 1000);
    byId("rate-words").textContent = `${rate.toFixed(rate < 10 ? 1 : 0)} messages a second.`;
  } else {
    byId("rate-words").textContent = "";
  }
  seen = { at: now, over };
};

const showCounters = (counters) => {
  const over = OVER.reduce((sum, state) => sum + Number(counters[state]), 0);
  const total = Number(counters.total);
  byId("progress").max = Math.max(total, 1);
  byId("progress").value = over;
  byId("progress-words").textContent = `${over} of ${total} messages are finished.`;
  showRate(over, over === total);
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

// Replaces rows, unless somebody is at one of them.
const refill = (body, rows) => {
  if (!body.contains(document.activeElement)) body.replaceChildren(...rows);
};

const sendAgain = (group) => async () => {
  const answer = await ask("POST", "/redrive", once(), { reasons: [group.reason] });
  document.activeElement?.blur();
  await show();
  byId("request-title").focus();
  tell(`${answer.messages} messages are sent again.`);
};

const showDeadLetters = async () => {
  const { groups } = await ask("GET", "/dead-letters");
  refill(byId("again-rows"), groups.map((group) => {
    const act = make("button", {
      type: "button", kind: "secondary", "aria-label": `Send again: ${group.reason}`,
    }, "Send again");
    act.addEventListener("click", () => attempt(sendAgain(group), act));
    return row([
      ["Reason", group.reason], ["Messages", String(group.messages)],
      ["Until", moment(group.expireTime)], ["Act", act],
    ]);
  }));
  byId("again").hidden = groups.length === 0;
};

const look = async () => {
  looks += 1;
  const mine = looks;
  const { counters, completed, paused } = await ask("GET", "");
  // What a later look has overtaken may be older than what is shown.
  if (mine !== looks) return ended;
  const over = showCounters(counters) && completed;
  ended = over;
  byId("paused-words").hidden = !paused || over;
  byId("pause").hidden = over || paused;
  byId("resume").hidden = over || !paused;
  byId("stop").hidden = over;
  return over;
};

const show = async () => {
  const over = await look();
  await showDeadLetters();
  const { rows, cut } = await readReasons();
  const words = Object.fromEntries(STATES);
  byId("reasons").replaceChildren(...rows.map(([reason, state, count]) => row([
    ["Reason", reason], ["State", words[state]], ["Messages", String(count)],
  ])));
  byId("failures").hidden = rows.length === 0;
  byId("failures-none").hidden = rows.length > 0;
  byId("failures-cut").hidden = !cut;
  byId("list").hidden = true;
  byId("request").hidden = false;
  tell(over ? "This request is finished." : "This request goes on.");
};

const open = async (name) => {
  uid = name;
  seen = null;
  byId("uid").value = name;
  await show();
  byId("request-title").focus();
};

const stateOf = (one) => {
  if (one.paused && !one.completed) return "Held up";
  return one.completed ? "Finished" : "Goes on";
};

const listedRow = (one) => {
  const act = make("button", {
    type: "button", kind: "secondary", "aria-label": `Show ${one.requestUid}`,
  }, one.requestUid);
  act.addEventListener("click", () => attempt(() => open(one.requestUid), act));
  const { counters } = one;
  const over = OVER.reduce((sum, state) => sum + Number(counters[state]), 0);
  return row([
    ["Request", act], ["Accepted", moment(one.acceptTime)],
    ["Finished", `${over} of ${counters.total}`],
    ["Failed", String(Number(counters.bounced) + Number(counters.notSent))],
    ["State", stateOf(one)],
  ]);
};

// The first page, or the one after it.
const list = async (more) => {
  const query = new URLSearchParams({
    pageSize: LISTED, openOnly: byId("open-only").checked, ...(more ? { pageToken: listed } : {}),
  });
  const answer = await call(token, "GET", `${BASE}?${query}`);
  const rows = answer.requests.map(listedRow);
  if (more) byId("list-rows").append(...rows);
  else byId("list-rows").replaceChildren(...rows);
  listed = answer.nextPageToken;
  const none = byId("list-rows").childElementCount === 0;
  byId("list-none").hidden = !none;
  byId("list-table").hidden = none;
  byId("list-more").hidden = !listed;
  byId("list").hidden = false;
};

// Looks again by itself while somebody watches; what fails is left to the button.
setInterval(async () => {
  const watched = !byId("request").hidden && byId("live").checked && !document.hidden;
  if (!watched || busy() || byId("stop").hidden) return;
  try {
    if (await look()) await show();
    else await showDeadLetters();
  } catch {
    byId("rate-words").textContent = "";
  }
}, EVERY * 1000);

byId("entrance").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    token = byId("token").value.trim();
    byId("request").hidden = true;
    byId("list").hidden = true;
    tell("");
    const name = byId("uid").value.trim();
    if (name) {
      await open(name);
    } else {
      await list(false);
      byId("list-title").focus();
    }
  }, event.submitter);
});
byId("open-only").addEventListener("change", () => attempt(() => list(false)));
byId("list-more").addEventListener("click", (event) => {
  const pressed = event.currentTarget;
  attempt(() => list(true), pressed);
});
const change = (name, words) => byId(name).addEventListener("click", (event) => {
  const pressed = event.currentTarget;
  attempt(async () => {
    await ask("POST", `/${name}`, once());
    await show();
    byId(name === "pause" ? "resume" : "pause").focus();
    tell(words);
  }, pressed);
});
change("pause", "What was not sent yet is held up.");
change("resume", "The request goes on.");
byId("refresh").addEventListener("click", (event) => attempt(show, event.currentTarget));
byId("stop").addEventListener("click", async (event) => {
  const pressed = event.currentTarget;
  if (!await confirmed(byId("sure"))) return;
  await attempt(async () => {
    await ask("POST", "/cancel", once());
    await show();
    tell("What was not sent yet was stopped.");
  }, pressed);
});
byId("entrance").hidden = false;
