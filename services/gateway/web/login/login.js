// The log-in page: shows one question at a time and asks the interface beside it. What the page
// needs to go on with a sign-in lives in this variable alone, never in the address.
const session = { csrf: "", transaction: "", individual: "", client: "", config: {} };

const byId = (id) => document.getElementById(id);

const NAMES = {
  name: "Full name",
  given_name: "Given name",
  middle_name: "Middle name",
  family_name: "Family name",
  preferred_username: "User name",
  nickname: "Nickname",
  gender: "Gender",
  birthdate: "Date of birth",
  email: "E-mail address",
  email_verified: "Whether the e-mail address is verified",
  phone_number: "Phone number",
  phone_number_verified: "Whether the phone number is verified",
  picture: "Picture",
  address: "Address",
  locale: "Language",
  zoneinfo: "Time zone",
};

class Refusal extends Error {
  constructor(code) {
    super(code);
    this.code = code;
  }
}

// Calls the interface and gives the member `response`, or throws the code of its error.
const call = async (method, path, request) => {
  const headers = { accept: "application/json", "x-xsrf-token": session.csrf };
  if (session.transaction) headers["oauth-details-key"] = session.transaction;
  const options = { method, headers, credentials: "same-origin", cache: "no-store" };
  if (request) {
    headers["content-type"] = "application/json";
    options.body = JSON.stringify({ requestTime: new Date().toISOString(), request });
  }
  const answer = await fetch(path, options);
  if (answer.status === 429) throw new Refusal("too_many_requests");
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refusal("unknown_error");
  if (body.errors && body.errors.length > 0) throw new Refusal(body.errors[0].errorCode);
  return body.response ?? body;
};

const STEPS = ["step-identifier", "step-code", "step-consent", "step-over"];

const show = (step) => {
  for (const id of STEPS) byId(id).hidden = id !== step;
  byId("cancel-line").hidden = step === "step-over" || !session.transaction;
  clearProblem();
  byId("status").textContent = "";
  const heading = byId(step).querySelector("h1");
  document.title = heading.textContent.trim();
  const field = byId(step).querySelector("input[type=text]");
  (field ?? heading).focus();
};

const clearProblem = () => {
  byId("summary").hidden = true;
  for (const id of ["individual-id", "code"]) {
    byId(`${id}-error`).textContent = "";
    byId(id).removeAttribute("aria-invalid");
  }
  document.title = document.title.replace(/^Error: /, "");
};

const problem = (field, words) => {
  clearProblem();
  const link = byId("summary-link");
  link.textContent = words;
  link.href = `#${field}`;
  byId("summary").hidden = false;
  const own = byId(`${field}-error`);
  if (own) {
    own.textContent = words;
    byId(field).setAttribute("aria-invalid", "true");
  }
  document.title = `Error: ${document.title}`;
  byId("summary-title").focus();
};

const explain = (error, field) => {
  const code = error instanceof Refusal ? error.code : "unknown_error";
  const words = {
    invalid_identifier: "Enter your ID number, phone or e-mail",
    invalid_challenge_format: `Enter the ${session.config["otp.length"] ?? 6} numbers in the message`,
    auth_failed: "The code does not fit. Check it, or send another one",
    too_many_requests: "Too many codes were asked for. Try again in 15 minutes",
    send_otp_failed: "We cannot send codes at the moment. Try again later",
  };
  if (code === "invalid_transaction") {
    show("step-over");
    return;
  }
  problem(field, words[code] ?? "Something went wrong on our side. Try again");
};

// Runs one step; a second press while it runs does nothing.
let running = false;
const step = (field, work) => async (event) => {
  event.preventDefault();
  if (running) return;
  running = true;
  document.body.setAttribute("aria-busy", "true");
  byId("status").textContent = "One moment";
  try {
    await work();
  } catch (error) {
    byId("status").textContent = "";
    explain(error, field);
  } finally {
    running = false;
    document.body.removeAttribute("aria-busy");
    if (byId("status").textContent === "One moment") byId("status").textContent = "";
  }
};

const sendCode = async () => {
  const answer = await call("POST", "authorization/send-otp", {
    transactionId: session.transaction,
    individualId: session.individual,
    otpChannels: ["email"],
  });
  byId("masked").textContent = answer.maskedEmail;
  byId("typed").textContent = session.individual;
  byId("minutes").textContent = Math.ceil((session.config["otp.lifetime.secs"] ?? 180) / 60);
};

const askForConsent = async () => {
  const details = await call("GET", "authorization/claim-details");
  byId("consent-name").textContent = details.clientName;
  const needed = details.claimStatus.filter((claim) => claim.essential);
  const optional = details.claimStatus.filter((claim) => !claim.essential);
  byId("needed").hidden = needed.length === 0;
  byId("optional").hidden = optional.length === 0;
  byId("needed-list").replaceChildren(...needed.map((claim) => {
    const item = document.createElement("li");
    item.dataset.claim = claim.claim;
    item.dataset.available = claim.available;
    const name = NAMES[claim.claim] ?? claim.claim;
    item.textContent = claim.available ? name : `${name} (we do not have this)`;
    return item;
  }));
  byId("optional-list").replaceChildren(...optional.map((claim) => {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.value = claim.claim;
    const name = NAMES[claim.claim] ?? claim.claim;
    label.append(box, claim.available ? name : `${name} (we do not have this)`);
    return label;
  }));
  show("step-consent");
};

const finish = async (acceptedClaims) => {
  const answer = await call("POST", "authorization/auth-code", {
    transactionId: session.transaction,
    permittedAuthorizeScopes: [],
    acceptedClaims,
  });
  window.location.assign(answer.location);
};

const cancel = async () => {
  const answer = await call("POST", "authorization/cancel", {
    transactionId: session.transaction,
  });
  window.location.assign(answer.location);
};

const begin = async () => {
  const query = new URLSearchParams(window.location.search);
  const csrf = await call("GET", "csrf/token");
  session.csrf = csrf.token;
  const names = {
    clientId: "client_id",
    scope: "scope",
    responseType: "response_type",
    redirectUri: "redirect_uri",
    display: "display",
    prompt: "prompt",
    acrValues: "acr_values",
    nonce: "nonce",
    state: "state",
    claims: "claims",
    maxAge: "max_age",
    claimsLocales: "claims_locales",
    uiLocales: "ui_locales",
    codeChallenge: "code_challenge",
    codeChallengeMethod: "code_challenge_method",
  };
  const request = {};
  for (const [name, parameter] of Object.entries(names)) {
    if (query.has(parameter)) request[name] = query.get(parameter);
  }
  const details = await call("POST", "authorization/oauth-details", request);
  session.transaction = details.transactionId;
  session.client = details.clientName;
  session.config = details.configs;
  byId("client-name").textContent = details.clientName;
  byId("cancel-name").textContent = details.clientName;
  show("step-identifier");
};

const form = (id) => byId(id).querySelector("form");

form("step-identifier").addEventListener("submit", step("individual-id", async () => {
  session.individual = byId("individual-id").value.trim();
  if (!session.individual) throw new Refusal("invalid_identifier");
  await sendCode();
  show("step-code");
}));

form("step-code").addEventListener("submit", step("code", async () => {
  const answer = await call("POST", "authorization/authenticate", {
    transactionId: session.transaction,
    individualId: session.individual,
    challengeList: [{
      authFactorType: "OTP",
      challenge: byId("code").value,
      format: "alpha-numeric",
    }],
  });
  byId("code").value = "";
  if (answer.consentAction === "CAPTURE") await askForConsent();
  else await finish([]);
}));

form("step-consent").addEventListener("submit", step("summary", async () => {
  const needed = [...byId("needed-list").children]
    .filter((item) => item.dataset.available === "true")
    .map((item) => item.dataset.claim);
  const chosen = [...byId("optional-list").querySelectorAll("input:checked")]
    .map((box) => box.value);
  await finish([...needed, ...chosen]);
}));

byId("resend").addEventListener("click", step("code", async () => {
  await sendCode();
  clearProblem();
  byId("status").textContent = "We sent another code. The earlier one stays good for its own time.";
  byId("code").focus();
}));

byId("restart").addEventListener("click", () => {
  byId("code").value = "";
  show("step-identifier");
});

byId("refuse").addEventListener("click", step("summary", cancel));
byId("cancel").addEventListener("click", step("summary", cancel));

step("summary", begin)(new Event("load")).then(() => {
  if (!session.transaction) show("step-over");
});
