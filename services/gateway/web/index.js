// Fills the table of blocks from the gateway's own API.
const text = (tag, content, kind) => {
  const element = document.createElement(tag);
  element.textContent = content;
  if (kind) element.className = kind;
  return element;
};

const cell = (...children) => {
  const element = document.createElement("td");
  element.append(...children);
  return element;
};

const row = (block) => {
  const line = document.createElement("tr");
  const name = text("th", block.name);
  name.scope = "row";
  const link = text("a", `${block.operations} operations at ${block.path}`);
  link.href = block.description;
  const services = document.createElement("ul");
  for (const service of block.services) services.append(text("li", service));
  const healthy = block.health === "SERVING";
  line.append(
    name,
    cell(text("span", healthy ? "up" : block.health.toLowerCase(), healthy ? "good" : "bad")),
    cell(link),
    cell(services),
  );
  return line;
};

try {
  const answer = await fetch("/gateway/v1/blocks", { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(`the gateway answered ${answer.status}`);
  const { profile, blocks } = await answer.json();
  document.getElementById("profile").textContent = `Profile: ${profile}`;
  document.getElementById("blocks").replaceChildren(...blocks.map(row));
} catch (error) {
  document.getElementById("problem").textContent = `The list could not be read: ${error.message}.`;
}
