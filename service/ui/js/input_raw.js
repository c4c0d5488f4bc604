// An editor of rows of any other form, as JSON.

import { freshId, h } from "./dom.js";
import { check, errorLine } from "./errors.js";
import { outside } from "./kinds.js";

/** An editor: {element, row(), picture(), describe(), outside(), altered()}; `row` is that of a single input, or an object of rows by input. */
export function rawEditor({ manifest, examples, onchange }) {
  let row = examples[0];
  const id = freshId("row");
  const area = h("textarea", { id, rows: 12, spellcheck: "false", oninput: () => read() });
  const error = errorLine("inputs", area);
  const altered = () => JSON.stringify(row) !== JSON.stringify(examples[Number(select.value)]);
  const load = (chosen) => {
    area.value = JSON.stringify(examples[chosen]);
    read();
  };
  const read = () => {
    try {
      row = JSON.parse(area.value);
    } catch (problem) {
      check(error, `This is not JSON: ${problem.message}`);
      return;
    }
    check(error, null);
    onchange();
  };
  const pickId = freshId("example");
  const options = examples.map((_, i) => h("option", { value: i }, `Row ${i + 1}`));
  const select = h("select", { id: pickId, onchange: () => load(Number(select.value)) }, ...options);
  const element = h(
    "div",
    { class: "editor" },
    h("div", { class: "buttons from" }, h("label", { for: pickId }, "Example"), select),
    h("label", { for: id }, "The row, as JSON"),
    area,
    error,
  );
  load(0);
  return { element, row: () => row, picture: () => null, describe: () => [], outside: () => outside(manifest, row), altered };
}
