// The page's data, and elements made from text: text from records is never read as markup.
"use strict";

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

function byId(id) {
  return document.getElementById(id);
}

/** An element with attributes (functions become listeners) and children (strings become text). */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

function select(options, chosen, onchange, label) {
  const list = make("select", { "aria-label": label, change: () => onchange(list.value) });
  for (const [value, text] of options) list.append(make("option", { value, selected: value === chosen }, text));
  return list;
}

function fixed(value, digits = 2) {
  return value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−");
}

/** Whether a label matches a filter: a word is the label, or is part of it and is not itself another label. */
function matcher(text, labels) {
  const words = text.toLowerCase().split(/[\s,]+/).filter(Boolean);
  const exact = new Set(labels.map((label) => label.toLowerCase()));
  return (label) => {
    const name = label.toLowerCase();
    return !words.length || words.some((word) => (exact.has(word) ? name === word : name.includes(word)));
  };
}

/** A command with a button that copies it. */
function commandLine(command) {
  const button = make("button", { type: "button", click: () => copy(command, button) }, "Copy");
  return make("div", { class: "command" }, make("code", {}, command), button);
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // some browsers give a page from disk no clipboard
    const area = make("textarea", { class: "hidden" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
  button.focus();
}

const data = JSON.parse(await unpacked("data"));
data.runs.forEach((run, place) => { run.place = place; });
const parts = []; // promises of the details of `data.together` runs each

/** Wait until the runs have their details: configuration, noise, history. */
function detailed(runs) {
  return Promise.all(runs.map(({ place }) => {
    const part = Math.floor(place / data.together);
    return (parts[part] ??= unpacked(`details-${part}`).then((text) => {
      JSON.parse(text).forEach((details, i) => Object.assign(data.runs[part * data.together + i], details));
    }));
  }));
}

/** Replace an element's children by those made of the runs, once these have their details. */
async function fill(element, runs, children) {
  await detailed(runs);
  element.replaceChildren(...children());
}

function environmentOf(run) {
  return { ...data.environments[run.environment], ...run.own };
}

function configOf(run) {
  const [noise, init, order] = run.seeds;
  return { ...run.config, seed_noise: noise, seed_init: init, seed_data: order };
}

/** The processor or GPU that a run was made on. */
function machineOf(run) {
  const { device = "cpu", processor, precision } = data.environments[run.environment];
  return `${device === "cpu" ? processor || "unknown" : device} (${precision ?? "precision unknown"})`;
}

function commitOf(run) {
  const { commit, dirty } = data.environments[run.environment];
  return (commit ? String(commit).slice(0, 7) : "unknown") + (dirty ? " with changes" : "");
}
