// A request as a command and as a program, to copy.

import { address } from "./api.js";

/** The request for a POSIX shell; a key is read from DROPSERVE_KEY. */
export function asCurl({ path, body }, hasKey) {
  const key = hasKey ? ['  -H "X-API-Key: $DROPSERVE_KEY" \\'] : [];
  return [
    `curl -s ${quoted(address(path))} \\`,
    ...key,
    "  -H 'content-type: application/json' \\",
    `  -d ${quoted(layOut(body, JSON.stringify))}`,
  ].join("\n");
}

export function asPython({ path, body }, hasKey) {
  const key = hasKey ? ['    headers={"X-API-Key": os.environ["DROPSERVE_KEY"]},'] : [];
  return [
    ...(hasKey ? ["import os", ""] : []),
    "import httpx",
    "",
    "answer = httpx.post(",
    `    ${JSON.stringify(address(path))},`,
    ...key,
    `    json=${layOut(body, literal, "    ")},`,
    ").json()",
    'print(answer["predictions"][0])',
  ].join("\n");
}

/** Quote a text for the shell: within single quotes only the quote itself is special. */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Write an object with one field per line. */
function layOut(body, write, indent = "") {
  const lines = Object.entries(body).map(([name, value]) => `${indent}  ${write(name)}: ${write(value)}`);
  return `{\n${lines.join(",\n")}\n${indent}}`;
}

/** Write a value as a Python literal. */
function literal(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map((pair) => pair.map(literal).join(": ")).join(", ")}}`;
  return JSON.stringify(value);
}

/** Copy to the clipboard, which browsers allow on https and on localhost, and return whether it worked. */
export async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
