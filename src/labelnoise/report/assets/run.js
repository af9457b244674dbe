// Details of single runs: noise, configuration and command, and the differences between two runs.

const MATRICES = {
  noise: { title: "Realised transition matrix", titles: { row: "true class", column: "noisy class" }, of: (run) => run.noise.transition },
  confusion: { title: "Confusion on the test set", titles: { row: "true class", column: "predicted class" }, of: (run) => run.confusion },
};

/** A section on one run, chosen from a list. */
function runDetails(runs) {
  const body = make("div");
  const show = (id) => body.replaceChildren(...detailsOfRun(runs.find((run) => run.id === id)));
  const list = select(runs.map((run) => [run.id, `${run.id}, ${nameOf(run)}`]), runs[0].id, show, "run");
  list.style.maxWidth = "100%";
  show(runs[0].id);
  return make("section", { class: "run" }, make("h3", {}, "One run"), list, body);

  function detailsOfRun(run) {
    return [
      make("p", { class: "about" }, factsOf(run)),
      run.command ? commandLine(run.command) : make("p", { class: "about" }, "No command is known that repeats this run; its configuration is below."),
      matrixOf(run),
      make("details", { class: "configuration" }, make("summary", {}, "Configuration and environment"), factTable({ ...configOf(run), ...prefixed("environment", environmentOf(run)) })),
      difference(run, runs),
    ];
  }
}

function nameOf(run) {
  const { names, seeds } = run;
  return `${names.dataset}, ${names.method === "ERM" ? "" : `${names.method} `}${names.loss}, ${names.noise}, seed ${seeds[1]}`;
}

function percent(value) {
  return typeof value === "number" ? `${(100 * value).toFixed(2)}` : "unknown";
}

function factsOf(run) {
  const { realised_rate: rate, label_hash: hash } = run.noise;
  const { test_acc_last: last, test_acc_best: best } = run.metrics;
  const { finished, seconds } = run.own;
  const made = finished ? ` Finished ${finished}${typeof seconds === "number" ? ` after ${Math.round(seconds).toLocaleString("en")} s` : ""}.` : "";
  return `Last epoch ${percent(last)}, best ${percent(best)} (an oracle). ${percent(rate)}${typeof rate === "number" ? "%" : ""} of the labels are wrong, label hash ${hash}. Commit ${commitOf(run)}, ${machineOf(run)}.${made}`;
}

function matrixOf(run) {
  const kinds = Object.keys(MATRICES).filter((kind) => MATRICES[kind].of(run));
  if (!kinds.length) return make("p", { class: "about" }, "The true labels are unknown: there is no transition matrix.");
  const chart = make("div", { class: "chart square", id: "chart-matrix" });
  const show = (kind) => draw(chart, () => heatMap(MATRICES[kind].of(run), MATRICES[kind].titles), MATRICES[kind].of(run).length > 20 ? "canvas" : "svg");
  show(kinds[0]);
  const choice = select(kinds.map((kind) => [kind, MATRICES[kind].title]), kinds[0], show, "matrix");
  return make("div", {}, make("p", {}, choice), chart);
}

function prefixed(prefix, facts) {
  return Object.fromEntries(Object.entries(facts).map(([name, value]) => [`${prefix}.${name}`, value]));
}

function written(value) {
  return typeof value === "string" ? value : JSON.stringify(value) ?? "–";
}

function factTable(facts) {
  const lines = Object.entries(facts).map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "mono" }, written(value))));
  return make("table", { class: "facts" }, make("tbody", {}, lines));
}

/** All values of a run that can be compared with another's. */
function allOf(run) {
  const { transition, ...noise } = run.noise;
  return { ...configOf(run), ...prefixed("noise", noise), ...prefixed("metrics", run.metrics), ...prefixed("environment", environmentOf(run)) };
}

/** The differences between a run and another, which is chosen among its neighbours or by its id. */
function difference(run, neighbours) {
  const body = make("div", { class: "difference" });
  const ids = neighbours.filter((other) => other !== run).map((other) => other.id);
  const input = make("input", { type: "text", list: "known-runs", placeholder: "run id", "aria-label": "run to compare with", spellcheck: "false", size: "14", input: () => show(input.value.trim()) });
  const known = make("datalist", { id: "known-runs" }, ids.map((id) => make("option", { value: id }, nameOf(data.runs.find((other) => other.id === id)))));
  input.value = ids[0] ?? "";
  show(input.value);
  return make("div", {}, make("h3", {}, "What differs from run ", input), known, body);

  function show(id) {
    const other = data.runs.find((candidate) => candidate.id === id);
    if (!other) {
      body.replaceChildren(make("p", { class: "about" }, id ? `There is no run ${id} on this page.` : "Give the id of another run."));
      return;
    }
    fill(body, [other], () => [tableOfDifferences(other)]);
  }

  function tableOfDifferences(other) {
    const [a, b] = [allOf(run), allOf(other)];
    const names = [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((name) => written(a[name]) !== written(b[name]));
    const cells = (tag, texts) => make("tr", {}, texts.map((text, i) => make(i ? tag : "th", { scope: i ? null : "row", class: i && tag === "td" ? "mono" : null }, text)));
    return make("table", { class: "facts" },
      make("thead", {}, cells("th", ["", run.id, other.id])),
      make("tbody", {}, names.map((name) => cells("td", [name, written(a[name]), written(b[name])]))));
  }
}
