// Rows of any other form, as JSON.

import { freshId, h } from "./dom.js";

/** An editor: {element, row(), picture(), describe()}; `row` is that of a single input, or an object of rows by input. */
export function rawEditor({ examples, onchange }) {
  let row = examples[0];
  const id = freshId("row");
  const area = h("textarea", { id, rows: 12, spellcheck: "false", oninput: () => read() });
  const error = h("p", { class: "control-error", "data-field": "inputs", hidden: true });
  const load = (chosen) => {
    area.value = JSON.stringify(examples[chosen]);
    read();
  };
  const read = () => {
    try {
      row = JSON.parse(area.value);
    } catch (problem) {
      error.textContent = `This is no JSON: ${problem.message}`;
      error.hidden = false;
      return;
    }
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
  return { element, row: () => row, picture: () => null, describe: () => [] };
}
