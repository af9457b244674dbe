// The runs page: every record of the folder, whether or not it belongs to a table.

const COLUMNS = [
  ["run", (run) => run.id],
  ["dataset", (run) => run.names.dataset],
  ["method", (run) => run.names.method],
  ["loss", (run) => run.names.loss],
  ["noise", (run) => run.names.noise],
  ["network", (run) => run.names.network],
  ["epochs", (run) => Number(run.names.epochs)],
  ["seed", (run) => run.seeds[1]],
  ["last", (run) => accuracyOf(run, "test_acc_last")],
  ["best (oracle)", (run) => accuracyOf(run, "test_acc_best")],
  ["commit", commitOf],
  ["finished", (run) => String(run.own.finished ?? "")],
];
const SHOWN_AT_ONCE = 200; // rows; a filter or the button shows the rest

function accuracyOf(run, name) {
  const value = run.metrics[name];
  return typeof value === "number" ? 100 * value : null;
}

function startRuns() {
  const page = byId("page-runs");
  const state = { by: 11, sign: -1, limit: SHOWN_AT_ONCE, text: "" };
  const body = make("tbody");
  const count = make("output");
  const more = make("button", { type: "button", click: () => { state.limit = Infinity; show(); } }, "Show all");
  const single = make("div", { class: "single" });
  const input = make("input", { type: "search", id: "filter-runs", placeholder: "all, or: nce_agce seed=2", autocomplete: "off", input: () => { Object.assign(state, { text: input.value, limit: SHOWN_AT_ONCE }); show(); } });
  const heads = COLUMNS.map(([name, of], i) => make("th", { scope: "col", "aria-sort": "none", class: data.runs.some((run) => typeof of(run) === "number") ? "number" : null }, make("button", { type: "button", class: "sort", click: () => sortBy(i) }, name)));
  page.replaceChildren(
    make("div", { class: "controls" }, make("label", {}, "Search ", input), count),
    make("div", { class: "list-scroll" }, make("table", { class: "list" }, make("thead", {}, make("tr", {}, heads)), body)),
    make("p", {}, more),
    single,
  );
  show();

  function sortBy(i) {
    state.sign = state.by === i ? -state.sign : 1;
    state.by = i;
    show();
  }

  function show() {
    const words = state.text.toLowerCase().split(/[\s,]+/).filter(Boolean);
    const value = COLUMNS[state.by][1];
    const all = data.runs.filter((run) => { const text = textOf(run); return words.every((word) => text.includes(word)); });
    all.sort((a, b) => state.sign * compared(value(a), value(b)));
    heads.forEach((head, i) => head.setAttribute("aria-sort", i !== state.by ? "none" : state.sign > 0 ? "ascending" : "descending"));
    body.replaceChildren(...all.slice(0, state.limit).map(line));
    count.textContent = `${all.length.toLocaleString("en")} of ${data.runs.length.toLocaleString("en")} runs`;
    more.hidden = all.length <= state.limit;
  }

  function textOf(run) {
    const values = COLUMNS.map(([name, of]) => [name, of(run)]);
    return values.map(([name, value]) => (typeof value === "string" ? value : `${name}=${value}`)).join(" ").toLowerCase();
  }

  function compared(x, y) {
    if (x === null || y === null) return (x === null) - (y === null);
    return typeof x === "string" ? x.localeCompare(y) : x - y;
  }

  function line(run) {
    return make("tr", {}, COLUMNS.map(([name, of], i) => {
      const value = of(run);
      if (i === 0) return make("td", {}, make("button", { type: "button", class: "open", click: () => open(run) }, value));
      const number = typeof value === "number" || value === null;
      return make("td", { class: number ? "number" : null }, name === "last" || name.startsWith("best") ? fixed(value) : String(value ?? "–"));
    }));
  }

  function open(run) {
    const title = make("h2", { tabindex: "-1" }, `Run ${run.id}`);
    const body = make("div", { class: "two" });
    single.replaceChildren(title, body);
    fill(body, [run], () => [make("div", {}, ...curves([{ label: nameOf(run), runs: [run] }])), runDetails([run])]);
    title.focus({ preventScroll: true });
    title.scrollIntoView({ block: "start" });
  }
}
