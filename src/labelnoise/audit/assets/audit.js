"use strict";
// Decisions by key. The browser keeps them between visits; they are saved as decisions.json.
const body = document.body;
const figures = [...document.querySelectorAll("figure")];
const store = "labelnoise-audit-" + body.dataset.identity;
const words = { accept: "accepted", reject: "kept" };
let current = 0;

const remembered = () => {
  try { return JSON.parse(localStorage.getItem(store)) || {}; } catch { return {}; }
};

const show = (figure, decision) => {
  if (decision) figure.dataset.decision = decision; else delete figure.dataset.decision;
  figure.querySelector(".decision").textContent = words[decision] || "";
};

const progress = () => {
  const decided = figures.filter(figure => figure.dataset.decision);
  const accepted = decided.filter(figure => figure.dataset.decision === "accept").length;
  document.getElementById("progress").textContent =
    `${decided.length} decided: ${accepted} accepted, ${decided.length - accepted} kept.`;
};

const move = to => {
  if (!figures.length) return;
  figures[current].tabIndex = -1;
  figures[current].setAttribute("aria-selected", "false");
  current = Math.max(0, Math.min(figures.length - 1, to));
  figures[current].tabIndex = 0;
  figures[current].setAttribute("aria-selected", "true");
  figures[current].focus();
};

const decide = decision => {
  if (!figures.length) return;
  show(figures[current], decision);
  const all = Object.fromEntries(figures.filter(f => f.dataset.decision).map(f => [f.dataset.path, f.dataset.decision]));
  try { localStorage.setItem(store, JSON.stringify(all)); } catch { /* a page from disk may have no storage */ }
  progress();
  if (decision) move(current + 1);
};

const decisions = () => figures.filter(figure => figure.dataset.decision).map(figure => ({
  path: figure.dataset.path, given: figure.dataset.given, proposed: figure.dataset.proposed,
  decision: figure.dataset.decision,
}));

const save = () => {
  const link = document.createElement("a");
  const text = JSON.stringify({ audit: body.dataset.identity, decisions: decisions() }, null, 1);
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = "decisions.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};

const columns = () => figures.filter(figure => figure.offsetTop === figures[0].offsetTop).length;

const keys = {
  a: () => decide("accept"), r: () => decide("reject"), u: () => decide(""), s: save,
  arrowright: () => move(current + 1), arrowleft: () => move(current - 1),
  arrowdown: () => move(current + columns()), arrowup: () => move(current - columns()),
};
document.addEventListener("keydown", event => {
  const act = keys[event.key.toLowerCase()];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
});
document.getElementById("save").addEventListener("click", save);
figures.forEach((figure, place) => figure.addEventListener("click", () => move(place)));

const before = remembered();
figures.forEach(figure => show(figure, Object.hasOwn(before, figure.dataset.path) ? before[figure.dataset.path] : ""));
progress();
move(0);
