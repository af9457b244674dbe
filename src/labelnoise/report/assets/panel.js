// The panel beside a table: the curves of a cell's seeds, optionally with those of a second cell.

const shown = { table: null, cell: null, over: null };

function chooseCell(table, place, over) {
  if (over && shown.table === table && shown.cell !== null && shown.cell !== place) shown.over = shown.over === place ? null : place;
  else Object.assign(shown, { table, cell: place, over: null });
  showPanel();
}

function closePanel() {
  const open = !byId("panel").hidden;
  Object.assign(shown, { table: null, cell: null, over: null });
  byId("panel").hidden = true;
  byId("panel").replaceChildren();
  document.querySelector(".side-by-side").classList.remove("open");
  markChosen();
  if (open) shownSheet().querySelector(".cell[tabindex='0']")?.focus();
}

function markChosen() {
  for (const button of document.querySelectorAll(".cell.chosen, .cell.over")) button.classList.remove("chosen", "over");
  if (shown.table === null) return;
  const mark = (place, name) => shownSheet().querySelector(`.cell[data-cell="${place}"]`)?.classList.add(name);
  mark(shown.cell, "chosen");
  if (shown.over !== null) mark(shown.over, "over");
}

function labelOf(cell) {
  return `${cell.row} · ${cell.column}`;
}

function showPanel() {
  const { table } = shown;
  const cells = [shown.cell, shown.over].filter((place) => place !== null).map((place) => table.cells[place]);
  const groups = cells.map((cell) => ({ label: labelOf(cell), runs: cell.runs.map((place) => data.runs[place]) }));
  hideTip();
  const title = make("h2", { tabindex: "-1" }, cells.map((cell, i) => [i ? " and " : "", make("span", { class: i ? "key over" : "key" }), labelOf(cell)]));
  const close = make("button", { type: "button", class: "close", click: closePanel, "aria-label": "Close" }, "✕");
  const panel = byId("panel");
  const body = make("div");
  const runs = groups.flatMap((group) => group.runs);
  panel.replaceChildren(
    make("div", { class: "head" }, title, close),
    ...cells.map((cell) => make("p", { class: "about" }, summaryOf(cell))),
    overlayChoice(table),
    body,
  );
  fill(body, runs, () => [...curves(groups), runDetails(runs)]);
  panel.hidden = false;
  document.querySelector(".side-by-side").classList.add("open");
  markChosen();
  title.focus({ preventScroll: true });
  if (matchMedia("(max-width: 1199px)").matches) panel.scrollIntoView({ block: "start" });
}

function summaryOf(cell) {
  const published = cell.published ? `; published ${fixed(cell.published.mean)}, difference ${fixed(cell.difference)} points` : "";
  return `${labelOf(cell)}: ${fixed(cell.mean)} ± ${fixed(cell.std)}, ${cell.runs.length} ${cell.runs.length === 1 ? "run" : "runs"}${published}`;
}

/** Two lists that choose the row and column of the second cell. */
function overlayChoice(table) {
  const over = shown.over === null ? null : table.cells[shown.over];
  const cell = table.cells[shown.cell];
  const there = (row, column) => table.cells.findIndex((c) => c.row === row && c.column === column && c.runs.length);
  const labels = (name, all) => all.filter((label) => table.cells.some((c) => c[name] === label && c.runs.length)).map((label) => [label, label]);
  const choose = (row, column) => {
    const place = row === "" ? -1 : there(row, column);
    shown.over = place >= 0 && place !== shown.cell ? place : null;
    showPanel();
  };
  const rows = select([["", "nothing"], ...labels("row", table.rows)], over?.row ?? "", (row) => choose(row, over?.column ?? cell.column), "row of the second cell");
  const columns = select(labels("column", table.columns), over?.column ?? cell.column, (column) => choose(rows.value || cell.row, column), "column of the second cell");
  return make("p", { class: "overlay" }, "Compare with ", rows, " ", columns);
}

const MEMORISATION = [
  ["acc_wrong_given", "given (wrong) label"],
  ["acc_wrong_true", "true label"],
];

/** The charts of groups of runs: [{label, runs}]. */
function curves(groups) {
  const labels = groups.map((group) => group.label);
  const colour = { color: { field: "group", type: "nominal", title: null, sort: labels, scale: { domain: labels, range: PAIR }, legend: labels.length > 1 ? { symbolType: "stroke" } : null } };
  const tooltips = [{ field: "group", title: "cell" }, { field: "seed" }, { field: "run" }];
  const about = { tooltips, tickMinStep: 1 };
  const accuracy = pointsOf(groups, [["test_acc", "test accuracy"]]);
  const memorised = pointsOf(groups, MEMORISATION);
  const [first, second] = [make("div", { class: "chart", id: "chart-accuracy" }), make("div", { class: "chart", id: "chart-memorisation" })];
  draw(first, lines(accuracy, colour, { x: "epoch", y: "test accuracy, %" }, about));
  const dash = { strokeDash: { field: "kind", type: "nominal", scale: { domain: MEMORISATION.map(([, kind]) => kind), range: [[1, 0], [4, 3]] }, legend: null } };
  if (memorised.length) draw(second, lines(memorised, { ...colour, ...dash }, { x: "epoch", y: "accuracy, %" }, { ...about, tooltips: [...tooltips, { field: "kind", title: "against" }], scaleY: { domain: [0, 100] } }));
  return [
    make("h3", {}, "Test accuracy"), first,
    make("h3", {}, "Memorisation"),
    make("p", { class: "about" }, memorised.length ? "Accuracy on the mislabelled training images. Solid: against their given, wrong labels, which is memorisation; dashed: against their true labels." : "These runs have no mislabelled training images, or their true labels are unknown."),
    memorised.length ? second : "",
  ];
}

function pointsOf(groups, series) {
  return groups.flatMap(({ label, runs }) => runs.flatMap((run) => series.flatMap(([name, kind]) =>
    (run.history[name] ?? []).flatMap((value, i) => (value === null ? [] : [{ x: i + 1, y: value / 100, line: `${run.id} ${kind}`, kind, group: label, seed: run.seeds[1], run: run.id }])))));
}
