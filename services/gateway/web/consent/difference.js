// Compares two revisions member by member.

// What changes with every revision and says nothing about the content.
const PASSING = /^(timestamp|revisionId|publishedRevisionId|policy\.(timestamp|revisionId))$/;

const flatten = (value, path, into) => {
  if (value !== null && typeof value === "object") {
    for (const [name, inner] of Object.entries(value)) {
      const step = Array.isArray(value) ? `[${Number(name) + 1}]` : `${path ? "." : ""}${name}`;
      flatten(inner, path + step, into);
    }
  } else if (value !== null && value !== undefined && value !== "") {
    into.set(path, String(value));
  }
  return into;
};

// Rows of [member, earlier, later], sorted by member.
export const difference = (earlier, later) => {
  const before = flatten(earlier ?? {}, "", new Map());
  const after = flatten(later ?? {}, "", new Map());
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((path) => !PASSING.test(path) && before.get(path) !== after.get(path))
    .sort()
    .map((path) => [path, before.get(path) ?? "", after.get(path) ?? ""]);
};
