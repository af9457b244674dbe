// The losses page: value and weight by the probability of the given label, which noise they tolerate in theory, and
// their accuracy on digits.

const AT_FIRST = ["ce", "mae", "gce", "nce_agce"];

async function startLosses() {
  const theory = JSON.parse(await unpacked("losses"));
  const { p, classes, dataset, losses } = theory;
  const names = Object.keys(losses);
  const chosen = new Set();
  const places = []; // a loss's index gives its colour, which it keeps when others are added or removed
  AT_FIRST.filter((name) => names.includes(name)).forEach(choose);
  const box = (name) => make("label", { title: losses[name].reason ?? (losses[name].parameters || "no hyper-parameters") },
    make("input", { type: "checkbox", value: name, checked: chosen.has(name), change: (event) => { (event.target.checked ? choose : leave)(name); show(); } }), " ", name);
  const [value, weight, reached] = ["loss-value", "loss-weight", "loss-digits"].map((id) => make("div", { class: "chart", id }));
  const figure = (title, about, chart) => make("section", {}, make("h3", {}, title), make("p", { class: "about" }, about), chart);
  byId("page-losses").replaceChildren(
    make("fieldset", { class: "chips" }, make("legend", {}, "Losses in the curves"), names.map(box)),
    make("p", { class: "about" }, `Hyper-parameters are those of the losses' cards for ${dataset}. ${classes} classes; the other classes share 1 − p equally.`),
    make("div", { class: "two" },
      figure("Value", `Loss over the probability p of the given label, minus its value at p = ${p.at(-1)}, scaled to 1 at p = 1/${classes}.`, value),
      figure("Weight", "Sample weight relative to cross-entropy's, |∂L/∂z| / (1 − p), scaled to a maximum of 1. Images with wrong labels are on the left, where p is small.", weight),
      figure("Accuracy on digits", "Test accuracy after the last epoch over the rate of symmetric noise, mean of the seeds.", reached)),
    ...tolerance(theory),
  );
  drawMaps(theory);
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
    const points = (kind, scaled) => listed.flatMap((line) => (losses[line][kind] ?? []).map((raw, i) => ({ x: p[i], y: scaled(raw, losses[line][kind]), raw, line })));
    const about = { tooltips, height: 260, formatY: ".3f", scaleY: { zero: true } };
    draw(value, lines(points("value", (y, ys) => (y - ys[last]) / (ys[nearChance] - ys[last] || 1)), scales, { x: "p of the given label", y: "loss, scaled" }, about));
    draw(weight, lines(points("weight", (y, ys) => y / (Math.max(...ys) || 1)), scales, { x: "p of the given label", y: "weight, scaled" }, about));
    const digits = data.tables.find((table) => table.name === "digits");
    const reachedBy = (digits?.cells ?? []).filter((cell) => chosen.has(cell.row) && cell.mean !== undefined && /^(clean|sym_)/.test(cell.column))
      .map((cell) => ({ x: cell.column === "clean" ? 0 : Number(cell.column.replace("sym_", "")), y: cell.mean, std: cell.std, line: cell.row }));
    draw(reached, lines(reachedBy, scales, { x: "rate of symmetric noise", y: "test accuracy, %" }, { tooltips: [{ field: "line", title: "loss" }, { field: "std", format: ".2f" }], height: 260, points: true, formatX: ".1f", tickMinStep: 0.2, scaleX: { padding: 8 } }));
  }
}

/** A table of the noise that each loss tolerates in theory, and the elements for the two maps. */
function tolerance({ noises, losses, classes, maps }) {
  const cell = ([tolerant, margin]) => make("td", { class: tolerant ? "p2" : "m1", title: margin === null ? "no critical ratio" : `margin ${margin}` },
    make("span", { class: "verdict" }, tolerant ? "yes" : "no", margin === null ? "" : make("small", {}, ` ${margin > 999 ? ">999" : Number(margin.toPrecision(2))}`)));
  const lines = Object.entries(losses).map(([name, loss]) => make("tr", {}, make("th", { scope: "row", title: loss.parameters }, name),
    loss.tolerant ? loss.tolerant.map(cell) : make("td", { colspan: noises.length, class: "unjudged" }, make("small", {}, loss.reason))));
  return [
    make("h3", {}, "Tolerance"),
    make("p", { class: "about" }, `Whether theory covers a loss under a noise (${classes} classes): yes where minimising its noisy risk minimises its clean risk. The number is the margin, the noise's w_m / w_n over the critical one; 1 is the boundary. It does not say how fast a network gets there; docs/theory.md explains it.`),
    make("div", { class: "scroll" }, make("table", { class: "tolerance" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "loss"), noises.map((noise) => make("th", { scope: "col" }, noise)))), make("tbody", {}, lines))),
    make("h3", {}, "Tolerance over a and q"),
    make("p", { class: "about" }, "The hardest noise that the loss tolerates with these hyper-parameters; the legend goes from the easiest to the hardest."),
    make("div", { class: "two" }, maps.map((map) => make("section", {}, make("p", { class: "about" }, map.loss), make("div", { class: "chart square", id: `map-${map.loss}` })))),
  ];
}

/** AGCE and AUL over a and q, coloured by the hardest noise that is tolerated. */
function drawMaps({ boundaries, maps }) {
  const easiest = [...boundaries].sort((x, y) => y[1] - x[1]); // easiest first: a high w_m / w_n is easy
  const steps = ["none of these", ...easiest.map(([noise]) => noise), "all clean-dominant"];
  const colours = () => dark() ? ["#1e2227", "#1d3448", "#1b466a", "#19588c", "#3b84bd", "#8cc8f5"] : ["#f7fafd", "#d8e8f6", "#a9cdea", "#74b0de", "#3579b5", "#08407e"];
  const hardest = (critical) => (critical <= 1.0001 ? steps.length - 1 : easiest.filter(([, ratio]) => ratio >= critical).length);
  for (const { loss, a, q, critical } of maps) {
    const values = q.flatMap((y, i) => a.map((x, j) => ({ a: x, q: y, critical: critical[i][j], tolerates: steps[hardest(critical[i][j])] })));
    const ticks = (all) => all.filter((_, i) => i % 6 === 0);
    draw(byId(`map-${loss}`), () => ({
      height: 260,
      data: { values },
      mark: "rect",
      encoding: {
        x: { field: "a", type: "ordinal", axis: { values: ticks(a), labelAngle: 0, format: ".2~r" } },
        y: { field: "q", type: "ordinal", sort: "descending", axis: { values: ticks(q), format: ".2~r" } },
        color: { field: "tolerates", type: "ordinal", sort: steps, title: null, scale: { domain: steps, range: colours() }, legend: { columns: 3 } },
        tooltip: [{ field: "a" }, { field: "q" }, { field: "critical", title: "critical ratio" }, { field: "tolerates" }],
      },
    }), "canvas");
  }
}
