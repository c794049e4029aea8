// An objection where nothing was answered before. The block takes such a first answer signed, so
// the page makes a key for it, which is the person's for as long as that takes. Its private half
// never leaves this page and cannot be read out of it.
import { onceKey } from "/web/page.js";

const SERVICE = "/consent/service";

const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
  .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const bytesOf = (text) => new TextEncoder().encode(text);

const once = () => ({ "idempotency-key": onceKey() });

// A compact JWS over a text.
const jwsOf = async (key, text) => {
  // A long text as an argument list would be too much for one call.
  const payload = [];
  const bytes = bytesOf(text);
  // Three bytes are four letters, so parts of 3,000 bytes can stand side by side.
  for (let at = 0; at < bytes.length; at += 3000) payload.push(base64url(bytes.slice(at, at + 3000)));
  const input = `${base64url(bytesOf(JSON.stringify({ alg: "ES256" })))}.${payload.join("")}`;
  const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key, bytesOf(input));
  return `${input}.${base64url(signature)}`;
};

// Stores the objection; gives the record.
export const objectTo = async (ask, agreementId) => {
  const path = `${SERVICE}/individual/record/consent-record/`;
  const query = new URLSearchParams({ dataAgreementId: agreementId, optIn: "false" });
  const { consentRecord, signature } = await ask("POST", `${path}draft/?${query}`, {});
  const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  const keys = `${SERVICE}/individual/${encodeURIComponent(consentRecord.individualId)}/keys/`;
  const { key } = await ask("POST", keys, { jwk: { kty, crv, x, y } }, once());
  try {
    const signed = { ...signature, signature: await jwsOf(pair.privateKey, signature.payload) };
    // The draft names the person by another id than their token does.
    const whose = new URLSearchParams({ individualId: consentRecord.individualId });
    const answer = await ask("POST", `${path}?${whose}`, { consentRecord, signature: signed }, once());
    return answer.consentRecord;
  } finally {
    // Where that fails a key is left behind that nobody can sign with.
    await ask("DELETE", `${keys}${encodeURIComponent(key.id)}/`, undefined, once()).catch(() => {});
  }
};
