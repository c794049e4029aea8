// Fills the table of blocks from the gateway's own API.
const byId = (id) => document.getElementById(id);

const HEALTH = {
  SERVING: ["up", "good"],
  NOT_SERVING: ["not ready", "warn"],
  UNREACHABLE: ["not reachable", "bad"],
};

const text = (tag, content, kind) => {
  const element = document.createElement(tag);
  element.textContent = content;
  if (kind) element.className = kind;
  return element;
};

const link = (content, address) => {
  const element = text("a", content);
  element.href = address;
  return element;
};

const cell = (label, ...children) => {
  const element = document.createElement("td");
  element.dataset.label = label;
  element.append(...children);
  return element;
};

const row = (block) => {
  const line = document.createElement("tr");
  line.id = `block-${block.name}`;
  const name = text("th", block.name);
  name.scope = "row";
  const [words, kind] = HEALTH[block.health] ?? ["unknown", "warn"];
  const health = text("span", words, kind);
  const rest = link(`${block.operations} operations`, block.description);
  rest.setAttribute("aria-label", `${block.operations} operations of ${block.name} over REST`);
  const grpc = link(`${block.services.length} services`, block.grpcDescription);
  grpc.setAttribute("aria-label", `${block.services.length} services of ${block.name} over gRPC`);
  line.append(name, cell("Health", health), cell("REST", rest), cell("gRPC", grpc));
  return line;
};

const load = async () => {
  byId("problem").textContent = "";
  byId("status").textContent = "Asking the blocks";
  try {
    const answer = await fetch("/gateway/v1/blocks", { headers: { accept: "application/json" } });
    if (!answer.ok) throw new Error(`the gateway answered ${answer.status}`);
    const { profile, blocks } = await answer.json();
    byId("profile").textContent = `Profile: ${profile}`;
    byId("blocks").replaceChildren(...blocks.map(row));
    const down = blocks.filter((block) => block.health !== "SERVING").length;
    byId("status").textContent = down === 0
      ? "All blocks are up"
      : `${down} of ${blocks.length} blocks cannot be used at the moment`;
  } catch (error) {
    byId("status").textContent = "";
    byId("problem").textContent = `The list could not be read: ${error.message}.`;
  }
  byId("again").hidden = false;
};

byId("again").addEventListener("click", load);
await load();
