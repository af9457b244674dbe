// The page of losses: their value and weight over the probability of the given label, and what they reach on digits.

const AT_FIRST = ["ce", "mae", "gce", "nce_agce"];

function startLosses() {
  const { p, classes, dataset, curves: all } = data.losses;
  const names = Object.keys(all);
  const chosen = new Set();
  const places = []; // which loss has which colour: it keeps it while others come and go
  AT_FIRST.filter((name) => names.includes(name)).forEach(choose);
  const box = (name) => make("label", { title: all[name].parameters || "no hyper-parameters" },
    make("input", { type: "checkbox", value: name, checked: chosen.has(name), change: (event) => { (event.target.checked ? choose : leave)(name); show(); } }), " ", name);
  const [value, weight, reached] = ["loss-value", "loss-weight", "loss-digits"].map((id) => make("div", { class: "chart", id }));
  const figure = (title, about, chart) => make("section", {}, make("h3", {}, title), make("p", { class: "about" }, about), chart);
  byId("page-losses").replaceChildren(
    make("fieldset", { class: "chips" }, make("legend", {}, "Losses"), names.map(box)),
    make("p", { class: "about" }, `Hyper-parameters are the cards' for ${dataset}; ${classes} classes, the others share 1 − p equally.`),
    make("div", { class: "two" },
      figure("Value", `Loss over the probability p of the given label, less its value at p = 1, scaled to 1 at p = 1/${classes}.`, value),
      figure("Weight", "How strongly an example pulls at the logit of its given label, |∂L/∂z|, scaled to a maximum of 1. What an image with a wrong label weighs is at the left, where p is small.", weight),
      figure("Accuracy on digits", "Test accuracy after the last epoch over the rate of symmetric noise, mean of the seeds.", reached)),
  );
  show();

  function choose(name) {
    chosen.add(name);
    const free = places.indexOf(null);
    places[free < 0 ? places.length : free] = name;
  }

  function leave(name) {
    chosen.delete(name);
    places[places.indexOf(name)] = null;
  }

  function show() {
    const listed = names.filter((name) => chosen.has(name));
    const scales = {
      color: { field: "line", type: "nominal", title: null, sort: names, scale: { domain: listed, range: listed.map((name) => COLOURS[places.indexOf(name) % COLOURS.length]) }, legend: { symbolType: "stroke", columns: 4 } },
      strokeDash: { field: "line", type: "nominal", title: null, sort: names, scale: { domain: listed, range: listed.map((name) => DASHES[Math.floor(places.indexOf(name) / COLOURS.length) % DASHES.length]) } },
    };
    const tooltips = [{ field: "line", title: "loss" }, { field: "raw", title: "not scaled", format: ".4g" }];
    const last = p.length - 1;
    const nearChance = p.reduce((best, x, i) => (Math.abs(x - 1 / classes) < Math.abs(p[best] - 1 / classes) ? i : best), 0);
    const points = (kind, scaled) => listed.flatMap((line) => all[line][kind].map((raw, i) => ({ x: p[i], y: scaled(raw, all[line][kind]), raw, line })));
    const about = { tooltips, height: 260, formatY: ".3f" };
    draw(value, lines(points("value", (y, ys) => (y - ys[last]) / (ys[nearChance] - ys[last] || 1)), scales, { x: "p of the given label", y: "loss, scaled" }, { ...about, scaleY: { zero: true } }));
    draw(weight, lines(points("weight", (y, ys) => y / (Math.max(...ys) || 1)), scales, { x: "p of the given label", y: "weight, scaled" }, { ...about, scaleY: { zero: true } }));
    const digits = data.tables.find((table) => table.name === "digits");
    const reachedBy = (digits?.cells ?? []).filter((cell) => chosen.has(cell.row) && cell.mean !== undefined && /^(clean|sym_)/.test(cell.column))
      .map((cell) => ({ x: cell.column === "clean" ? 0 : Number(cell.column.replace("sym_", "")), y: cell.mean, std: cell.std, line: cell.row }));
    draw(reached, lines(reachedBy, scales, { x: "rate of symmetric noise", y: "test accuracy, %" }, { tooltips: [{ field: "line", title: "loss" }, { field: "std", format: ".2f" }], height: 260, points: true, formatX: ".1f", tickMinStep: 0.2, scaleX: { padding: 8 } }));
  }
}
