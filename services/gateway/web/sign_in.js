// Signs a person in to a page, as any client does it: authorization code with PKCE. The verifier
// waits in this tab's storage for the way back; the token lives in memory alone and ends with
// the page.
import { Refusal, call } from "/web/page.js";

const KEPT = "publica.sign-in";
const OFFER = "/gateway/v1/sign-in";

const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
  .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

// Whether people can sign in here.
export const isOffered = async () => (await call("", "GET", OFFER)).available === true;

// Sends the browser to the log-in pages.
export const begin = async () => {
  const offer = await call("", "GET", OFFER);
  if (!offer.available) throw new Refusal(404, "signing in is not set up here", []);
  const kept = { state: random(), verifier: random() };
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(kept.verifier));
  window.sessionStorage.setItem(KEPT, JSON.stringify(kept));
  const query = new URLSearchParams({
    response_type: "code",
    client_id: offer.clientId,
    redirect_uri: offer.redirectUri,
    scope: "openid",
    acr_values: offer.acrValues,
    state: kept.state,
    nonce: random(),
    code_challenge: base64url(digest),
    code_challenge_method: "S256",
    ui_locales: document.documentElement.lang,
  });
  window.location.assign(`${offer.authorizationEndpoint}?${query}`);
};

// On the way back: gives the token, or nothing if nobody came back. The code leaves the address
// and the history.
export const finish = async () => {
  const query = new URLSearchParams(window.location.search);
  const kept = JSON.parse(window.sessionStorage.getItem(KEPT) ?? "{}");
  window.sessionStorage.removeItem(KEPT);
  if (!query.has("code") && !query.has("error")) return "";
  window.history.replaceState(null, "", window.location.pathname);
  if (!kept.state || query.get("state") !== kept.state) {
    throw new Refusal(0, "this sign-in was not begun in this window", []);
  }
  if (query.has("error")) throw new Refusal(0, "the sign-in was cancelled", []);
  const exchange = { code: query.get("code"), codeVerifier: kept.verifier };
  const answer = await call("", "POST", `${OFFER}/token`, exchange);
  return answer.accessToken;
};
