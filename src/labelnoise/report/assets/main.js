// Tabs, colours, and start-up.

const STARTS = { "tab-runs": startRuns, "tab-losses": startLosses }; // called when the tab is first opened
const tabs = [...document.querySelectorAll("[role=tab]")];

function openTab(tab) {
  for (const other of tabs) {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
    byId(other.getAttribute("aria-controls")).hidden = other !== tab;
  }
  STARTS[tab.id]?.();
  delete STARTS[tab.id];
  hideTip();
}

for (const tab of tabs) tab.addEventListener("click", () => openTab(tab));
document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  const next = tabs[(tabs.indexOf(event.target.closest("[role=tab]")) + step + tabs.length) % tabs.length];
  openTab(next);
  next.focus();
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (!byId("tip").hidden) hideTip();
  else if (!byId("page-tables").hidden) closePanel();
});
byId("theme").addEventListener("change", (event) => { document.documentElement.style.colorScheme = event.target.value; redraw(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
startTables();
performance.mark("ready");
document.documentElement.dataset.ready = "1";
