// The models part of the status page: versions, and the description of the selected one.

import { Refused, getJson, getText, modelPath } from "../api.js";
import { format } from "../charts.js";
import { h } from "../dom.js";
import { figures, table } from "./parts.js";
import { MAIN, figureName, plotCaption } from "./figure_names.js";
import { link } from "./documents.js";

const REFRESH = 10_000;
const TAGS = { ready: "good", loading: "warn", unavailable: "bad" };

export class Models {
  constructor(place) {
    this.place = place;
    this.chosen = {};
    /** {state, article, plots} of each model shown, by name. */
    this.drawn = {};
    /** Mean mutual information of the test rows by "name/version". */
    this.references = {};
  }

  /** Show the models; fetched again when other versions are loaded, and at intervals. */
  async show(loaded) {
    const key = JSON.stringify(loaded.map(({ labels }) => labels));
    if (key === this.loaded && Date.now() - this.fetched < REFRESH) return;
    await this.#refresh();
    this.loaded = key;
    this.fetched = Date.now();
  }

  async #refresh() {
    const { default_model: standard, models } = await getJson("v1/models");
    const articles = await Promise.all(models.map((model) => this.#article(model, standard)));
    if (!models.length) articles.push(h("p", { class: "card muted" }, "There is no model yet: publish one with dropserve train."));
    this.#forget(models);
    if (articles.length !== this.place.children.length || articles.some((article, i) => article !== this.place.children[i])) {
      this.place.replaceChildren(...articles);
    }
  }

  /** Remove the state of models and versions that no longer exist. */
  #forget(models) {
    const names = models.map(({ model }) => model);
    this.drawn = only(this.drawn, names);
    this.chosen = only(this.chosen, names);
    this.references = only(this.references, models.flatMap(({ model, versions }) => versions.map(({ version }) => `${model}/${version}`)));
  }

  /** The article of a model, kept without changes so that focus and scroll position stay. */
  async #article(model, standard) {
    const version = this.#version(model);
    const shown = version && (await this.#detail(model.model, version));
    const state = JSON.stringify([model, standard, shown], (name, value) => (name === "source" ? undefined : value));
    const before = this.drawn[model.model];
    if (before?.state === state) return before.article;
    const article = this.#draw(model, standard, shown);
    const unfolded = [...(before?.article.querySelectorAll("details") ?? [])].map(({ open }) => open);
    article.querySelectorAll("details").forEach((details, i) => (details.open = Boolean(unfolded[i])));
    this.drawn[model.model] = { state, article, plots: shown?.plots ?? [] };
    return article;
  }

  /** The version shown: the selected or the default one. */
  #version({ model, default_version: standard, versions }) {
    const ready = versions.filter(({ state }) => state === "ready").map(({ version }) => version);
    return ready.includes(this.chosen[model]) ? this.chosen[model] : (standard ?? ready.at(-1) ?? null);
  }

  /** A version's description and plots; null if it has just been removed. */
  async #detail(model, version) {
    try {
      const place = `models/${encodeURIComponent(model)}/versions/${version}`;
      const [manifest, files] = await Promise.all([getJson(modelPath(model, version)), getJson(`${place}/files`)]);
      this.references[`${model}/${version}`] = manifest.evaluation.mc?.mutual_information;
      const plots = await Promise.all(files.plots.map((file) => this.#plot(model, place, file, manifest.files[file])));
      return { place, manifest, files, plots: plots.filter(Boolean) };
    } catch (error) {
      if (error instanceof Refused) return null;
      throw error;
    }
  }

  /** A plot as the source of an image, fetched with the key; scripts in it do not run. */
  async #plot(model, place, file, digest) {
    const known = this.drawn[model]?.plots.find((plot) => plot.digest === digest);
    if (known) return { ...known, file };
    try {
      const text = await getText(`${place}/plots/${encodeURIComponent(file)}`);
      return { file, digest, source: `data:image/svg+xml,${encodeURIComponent(text)}` };
    } catch (error) {
      if (error instanceof Refused) return null;
      throw error;
    }
  }

  #draw(model, standard, shown) {
    const isDefault = model.model === standard;
    const head = h("div", { class: "card-head" },
      h("h3", { class: "model-name", tabindex: "-1" }, model.model, shown ? h("span", { class: "muted" }, ` version ${shown.manifest.version}`) : ""),
      h("span", { class: "tags" },
        isDefault ? h("span", { class: "tag good" }, "default model") : null,
        shown ? h("span", { class: "tag" }, shown.manifest.task) : h("span", { class: "tag bad" }, "not ready")));
    const parts = shown ? this.#parts(shown) : [];
    return h("article", { class: "card model", "aria-label": `Model ${model.model}`, "data-model": model.model },
      head, shown?.manifest.description ? h("p", {}, shown.manifest.description) : null,
      ...(shown?.manifest.warnings ?? []).map((warning) => h("p", { class: "notice warn" }, h("strong", {}, "Warning: "), `${warning}.`)),
      shown ? links(shown) : null,
      h("div", { class: "model-body" }, h("div", { class: "stack" }, this.#versions(model, shown), ...parts.slice(0, 1)), ...parts.slice(1)));
  }

  #parts({ manifest, plots }) {
    return [
      h("div", { class: "stack" }, facts(manifest), sites(manifest)),
      h("div", { class: "stack" }, ...evaluation(manifest)),
      h("div", { class: "plots" }, ...plots.map(({ file, source }) =>
        h("figure", {}, h("img", { src: source, alt: plotCaption(file) }), h("figcaption", { class: "muted small", "aria-hidden": "true" }, plotCaption(file))))),
    ];
  }

  #versions(model, shown) {
    const rows = model.versions.map(({ version, state, reason }) => [
      String(version),
      h("span", { class: `tag ${TAGS[state]}` }, state),
      h("span", {}, [version === model.default_version ? "default version" : "", reason].filter(Boolean).join("; ")),
      state === "ready" && version !== shown?.manifest.version ? this.#chooser(model.model, version) : "",
    ]);
    return table({ caption: `Versions of ${model.model}`, head: ["Version", "State", "", h("span", { class: "hidden-text" }, "Show")], rows });
  }

  #chooser(model, version) {
    const choose = async () => {
      this.chosen[model] = version;
      try {
        await this.#refresh();
        this.drawn[model].article.querySelector(".model-name").focus();
      } catch {
        this.loaded = null; // the service does not answer: the next poll shows that, or the version
      }
    };
    return h("button", { type: "button", class: "quiet", "aria-label": `Show ${model} version ${version}`, onclick: choose }, "Show");
  }
}

const only = (all, names) => Object.fromEntries(Object.entries(all).filter(([name]) => names.includes(name)));

function links({ place, manifest, files }) {
  const { name, version } = { name: place.split("/")[1], version: manifest.version };
  return h("p", { class: "links" },
    files.card ? link(`${place}/card`, "Model card") : h("span", { class: "muted" }, "no model card"),
    files.behaviour ? link(`${place}/behaviour`, "Behaviour report") : h("span", { class: "muted" }, "no behaviour report"),
    link(`v1/models/${name}/versions/${version}`, "Manifest"));
}

function facts(manifest) {
  const row = manifest.inputs.map(({ name, shape }) => `${name} ${shape.join(" × ")}`).join(", ");
  const answer = manifest.labels.length ? `${manifest.labels.length} classes` : values(manifest);
  const data = manifest.training_data;
  return figures([
    { name: "A row", value: row },
    { name: "An answer", value: answer },
    ...(data ? [{ name: "Training data", value: data.name, note: `${data.rows.toLocaleString("en")} rows` }] : []),
    ...(manifest.created ? [{ name: "Published", value: manifest.created.slice(0, 10), note: manifest.git_commit ? `commit ${manifest.git_commit.slice(0, 7)}` : null }] : []),
  ]);
}

/** The number of values of an answer; with learned noise, half of the outputs. */
function values({ output, noise }) {
  const count = noise?.learned ? output.shape[0] / 2 : output.shape[0];
  return `${count} ${count === 1 ? "value" : "values"}${noise?.learned ? " with its noise" : ""}`;
}

function sites({ sites: places }) {
  const rows = places.map(({ name, kind, p, shape }, i) => [`mask_${i}`, name, kind, format(p), shape.join(" × ")]);
  return table({ caption: "Dropout sites", head: ["Site", "Name", "Kind", "p", "Units"], rows, numbers: [3, 4] });
}

/** The main metrics of the deterministic answer, MC dropout and a constant answer, those of each class, and the rest. */
function evaluation({ evaluation: { baseline = {}, deterministic = {}, mc = {} }, labels, class_figures: classes }) {
  const keys = [...new Set([...Object.keys(deterministic), ...Object.keys(mc)])];
  if (!keys.length) return [h("p", { class: "muted" }, "Not evaluated.")];
  const main = Object.keys(MAIN).filter((key) => keys.includes(key));
  const rest = keys.filter((key) => !Object.hasOwn(MAIN, key));
  const row = (key) => [h("span", {}, figureName(key), wish(key)), value(deterministic[key]), value(mc[key])];
  const head = ["Figure", "Deterministic", "MC dropout"];
  const against = Object.keys(baseline).length ? ["Constant answer"] : []; // absent in models of earlier versions
  const compared = (key) => [...row(key), ...against.map(() => value(baseline[key]))];
  return [
    table({ caption: "Evaluation on test rows", head: [...head, ...against], rows: main.map(compared), numbers: [1, 2, 3] }),
    classes.length ? h("details", {}, h("summary", {}, "Each class"), table({ caption: "Each class", ...ofClasses(labels, classes) })) : null,
    rest.length
      ? h("details", {}, h("summary", {}, `${rest.length} more metrics`), table({ caption: "More metrics", head, rows: rest.map(row), numbers: [1, 2] }))
      : null,
  ].filter(Boolean);
}

/** The number of test rows of each class, and the recall. */
function ofClasses(labels, classes) {
  const total = classes.reduce((sum, { rows }) => sum + rows, 0);
  const rows = classes.map(({ rows: count, recall }, i) => [
    labels[i], count.toLocaleString("en"), value(count / total), value(recall.deterministic), value(recall.mc)]);
  return { head: ["Class", "Test rows", "Base rate", "Recall, deterministic", "Recall, MC dropout"], rows, numbers: [1, 2, 3, 4] };
}

/** The better direction, as an arrow and in words. */
function wish(key) {
  const better = MAIN[key]?.better;
  if (!better) return null;
  return h("span", { class: "muted", title: `${better} is better` },
    h("span", { "aria-hidden": "true" }, better === "higher" ? " ↑" : " ↓"), h("span", { class: "hidden-text" }, `, ${better} is better`));
}

function value(number) {
  return number === undefined ? "" : Math.abs(number) >= 0.01 || number === 0 ? number.toFixed(4) : number.toPrecision(4);
}
