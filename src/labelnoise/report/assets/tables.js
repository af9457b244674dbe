// The tables: choosing one, sorting, filtering, moving by keyboard, and a cell's tooltip.

function shownSheet() {
  return document.querySelector(".sheet:not([hidden])");
}

function tableOf(sheet) {
  return data.tables.find((table) => table.name === sheet.dataset.table);
}

function showTable(name) {
  for (const sheet of document.querySelectorAll(".sheet")) sheet.hidden = sheet.dataset.table !== name;
  closePanel();
  filter();
}

function filter() {
  const sheet = shownSheet();
  const table = tableOf(sheet);
  const row = matcher(byId("filter-rows").value, table.rows);
  const column = matcher(byId("filter-columns").value, table.columns);
  for (const line of sheet.querySelectorAll("tbody tr")) line.hidden = !row(line.dataset.row);
  for (const cell of sheet.querySelectorAll("[data-column]")) cell.hidden = cell.dataset.column !== "" && !column(cell.dataset.column);
  const [rows, columns] = [table.rows.filter(row).length, table.columns.filter(column).length];
  const whole = rows === table.rows.length && columns === table.columns.length;
  byId("filtered").textContent = whole ? "" : `${rows} of ${table.rows.length} rows, ${columns} of ${table.columns.length} columns`;
  rove(sheet);
}

// Tab reaches one cell of a table, the arrow keys reach the others.
function rove(sheet, to = null) {
  const cells = visibleCells(sheet).flat();
  for (const cell of sheet.querySelectorAll(".cell")) cell.tabIndex = -1;
  const chosen = to ?? cells.find((cell) => cell.classList.contains("chosen")) ?? cells[0];
  if (chosen) chosen.tabIndex = 0;
}

function visibleCells(sheet) {
  return [...sheet.querySelectorAll("tbody tr:not([hidden])")].map((line) => [...line.querySelectorAll("td:not([hidden]) .cell")]);
}

function move(event) {
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -Infinity], End: [0, Infinity] };
  const step = steps[event.key];
  if (!step || !event.target.classList.contains("cell")) return;
  event.preventDefault();
  const grid = visibleCells(shownSheet()).filter((line) => line.length);
  const row = grid.findIndex((line) => line.includes(event.target));
  const within = (value, length) => Math.min(Math.max(value, 0), length - 1);
  const line = grid[within(row + step[0], grid.length)];
  const place = step[0] ? nearest(line, event.target) : line[within(line.indexOf(event.target) + step[1], line.length)];
  rove(shownSheet(), place);
  place.focus();
}

function nearest(line, cell) {
  const column = cell.closest("td").cellIndex;
  return line.reduce((a, b) => (Math.abs(b.closest("td").cellIndex - column) < Math.abs(a.closest("td").cellIndex - column) ? b : a));
}

/** Sort by a column: highest first, then lowest first, then in the table's order. Cells without a value come last. */
function sort(header) {
  const order = { none: "descending", descending: "ascending", ascending: "none" }[header.getAttribute("aria-sort")];
  const sheet = header.closest(".sheet");
  for (const other of sheet.querySelectorAll("thead th")) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", order);
  const { rows } = tableOf(sheet);
  const body = sheet.querySelector("tbody");
  const sign = order === "ascending" ? 1 : -1;
  const value = (line) => {
    if (order === "none") return rows.indexOf(line.dataset.row);
    if (header.dataset.column === "") return line.dataset.row;
    const cell = line.cells[header.cellIndex].querySelector(".cell");
    return cell ? Number(cell.dataset.mean) : null;
  };
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    if (order === "none") return x - y;
    return sign * (typeof x === "string" ? x.localeCompare(y) : x - y);
  };
  body.append(...[...body.rows].sort(compare));
}

function detailsOf(cell, table) {
  const runs = cell.runs.map((place) => data.runs[place]);
  const count = (facts) => [...new Set(facts)].join(", ");
  const line = (name, text) => make("div", {}, make("b", {}, `${name}: `), text);
  return [
    make("div", {}, make("b", {}, `${cell.row} · ${cell.column}`)),
    line("mean", `${fixed(cell.mean)}, std ${fixed(cell.std)}, n ${runs.length}`),
    cell.published && line("published", cell.published.text),
    cell.published && line("difference", `${fixed(cell.difference)} points` + (cell.p === undefined ? "" : `, Welch p ${cell.p.toPrecision(2)}`)),
    line(runs.length === 1 ? "run" : "runs", runs.map((run) => run.id).join(", ")),
    line("commit", count(runs.map(commitOf))),
    line("machine", count(runs.map(machineOf))),
  ];
}

function showTip(button) {
  const tip = byId("tip");
  const table = tableOf(button.closest(".sheet"));
  tip.replaceChildren(...detailsOf(table.cells[button.dataset.cell], table).filter(Boolean));
  tip.hidden = false;
  const place = button.getBoundingClientRect();
  const [width, height] = [tip.offsetWidth, tip.offsetHeight];
  tip.style.left = `${Math.max(8, Math.min(place.left, innerWidth - width - 8))}px`;
  tip.style.top = `${place.bottom + height + 12 < innerHeight ? place.bottom + 6 : Math.max(8, place.top - height - 6)}px`;
  button.setAttribute("aria-describedby", "tip");
}

function hideTip() {
  byId("tip").hidden = true;
  document.querySelector("[aria-describedby=tip]")?.removeAttribute("aria-describedby");
}

function startTables() {
  const sheets = document.querySelector(".sheets");
  const cellOf = (event) => event.target.closest?.(".cell");
  sheets.addEventListener("keydown", move);
  for (const name of ["mouseover", "focusin"]) sheets.addEventListener(name, (event) => (cellOf(event) ? showTip(cellOf(event)) : hideTip()));
  for (const name of ["mouseleave", "focusout"]) sheets.addEventListener(name, hideTip);
  addEventListener("scroll", hideTip, { capture: true, passive: true });
  sheets.addEventListener("click", (event) => {
    const button = cellOf(event);
    if (button) {
      rove(shownSheet(), button);
      chooseCell(tableOf(shownSheet()), Number(button.dataset.cell), event.shiftKey);
    } else if (event.target.closest(".sort")) {
      sort(event.target.closest("th"));
    }
  });
  byId("table").addEventListener("change", (event) => showTable(event.target.value));
  for (const id of ["filter-rows", "filter-columns"]) byId(id).addEventListener("input", filter);
  showTable(byId("table").value); // browsers keep the selection on reload
}
