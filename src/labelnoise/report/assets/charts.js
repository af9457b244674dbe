// Charts by Vega-Lite, which is unpacked when the first chart is drawn.

// Okabe and Ito's colours, which colour-blind readers can tell apart.
const PAIR = ["#0072b2", "#d55e00"];
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6d31", "#7f7f7f"];
const DASHES = [[1, 0], [6, 3], [2, 2]];

let library = null;
const drawn = new Map(); // element -> { spec, view }, to redraw in other colours

async function vegaEmbed(...given) {
  library ??= unpacked("library").then((code) => new Function(code)());
  await library;
  return window.vegaEmbed(...given);
}

function dark() {
  const scheme = document.documentElement.style.colorScheme || "light dark";
  return scheme === "dark" || (scheme === "light dark" && matchMedia("(prefers-color-scheme: dark)").matches);
}

function theme() {
  const [text, soft, line] = dark() ? ["#e4e6e9", "#a0a7b1", "#343a42"] : ["#1b1e23", "#5c636d", "#e3e6ea"];
  const font = "system-ui, sans-serif";
  return {
    background: null,
    font,
    view: { stroke: null },
    axis: { labelColor: soft, titleColor: soft, titleFontWeight: 400, gridColor: line, domainColor: soft, tickColor: soft },
    legend: { labelColor: text, titleColor: soft, titleFontWeight: 400, orient: "top", symbolStrokeWidth: 2, labelLimit: 260 },
    text: { color: text },
  };
}

/** Draw a Vega-Lite specification, or a function that returns one for the current colours, in an element.
 *
 * Its values may be any text: they never become markup. */
async function draw(element, spec, renderer = "svg") {
  drawn.get(element)?.view?.finalize();
  drawn.set(element, { spec, renderer });
  const options = { actions: false, renderer, config: theme(), tooltip: { theme: "custom", formatTooltip: tooltip } };
  const built = typeof spec === "function" ? spec() : spec;
  const { view } = await vegaEmbed(element, { width: "container", autosize: { type: "fit", contains: "padding" }, ...built }, options);
  if (drawn.get(element)?.spec === spec) drawn.get(element).view = view;
  else view.finalize();
  element.dataset.ready = "1";
}

function redraw() {
  for (const [element, { spec, renderer }] of drawn) {
    if (element.isConnected) draw(element, spec, renderer);
    else drawn.delete(element);
  }
}

function tooltip(value, sanitize) {
  const lines = typeof value === "object" ? Object.entries(value).map(([name, v]) => `${sanitize(name)}: ${sanitize(v)}`) : [sanitize(value)];
  return lines.join("<br>");
}

/** Lines over x; the value nearest to the pointer is shown.
 *
 * points: [{x, y, line, ...}], one line for each value of `line`; encoding: colour and dash; titles: {x, y}. */
function lines(points, encoding, titles, extra = {}) {
  const tooltips = extra.tooltips ?? [];
  return {
    height: extra.height ?? 220,
    data: { values: points },
    encoding: {
      x: { field: "x", type: "quantitative", title: titles.x, axis: { grid: false, tickMinStep: extra.tickMinStep, format: extra.formatX }, scale: { nice: false, ...extra.scaleX } },
      y: { field: "y", type: "quantitative", title: titles.y, scale: { zero: false, ...extra.scaleY } },
      detail: { field: "line" },
      ...encoding,
    },
    layer: [
      { mark: { type: "line", strokeWidth: 1.8, opacity: 0.85, clip: true, point: extra.points ? { filled: true, size: 40 } : false } },
      {
        mark: { type: "point", filled: true, size: 60, clip: true },
        params: [{ name: "near", select: { type: "point", on: "pointerover", nearest: true, clear: "pointerout" } }],
        encoding: {
          opacity: { condition: { param: "near", empty: false, value: 1 }, value: 0 },
          strokeDash: null,
          tooltip: [...tooltips, { field: "x", title: titles.x }, { field: "y", title: titles.y, format: extra.formatY ?? ".2f" }],
        },
      },
    ],
  };
}

/** A matrix of counts as a heat map of each row's shares, with numbers if there is room. */
function heatMap(matrix, titles) {
  const values = matrix.flatMap((row, i) => {
    const sum = row.reduce((a, b) => a + b, 0) || 1;
    return row.map((count, j) => ({ row: i, column: j, count, share: count / sum }));
  });
  const few = matrix.length <= 12;
  const axis = few ? { labelAngle: 0 } : { labelAngle: 0, values: [...Array(10).keys()].map((i) => Math.floor((i * matrix.length) / 10)) };
  const rect = {
    mark: "rect",
    encoding: {
      color: { field: "share", type: "quantitative", title: "share of the row", scale: { domain: [0, 1], range: dark() ? ["#1e2227", "#6cb6f0"] : ["#f7fafd", "#08519c"] }, legend: { format: ".0%", gradientLength: 140 } },
      tooltip: [{ field: "row", title: titles.row }, { field: "column", title: titles.column }, { field: "count", title: "images" }, { field: "share", title: "share of the row", format: ".2%" }],
    },
  };
  const [onPale, onStrong] = dark() ? ["#e4e6e9", "#111"] : ["#111", "#fff"];
  const numbers = {
    transform: [{ filter: "datum.count > 0" }],
    mark: { type: "text", fontSize: 9 },
    encoding: { text: { field: "share", type: "quantitative", format: ".2f" }, color: { condition: { test: "datum.share > 0.65", value: onStrong }, value: onPale } },
  };
  return {
    height: few ? 26 * matrix.length : 330,
    data: { values },
    encoding: {
      x: { field: "column", type: "ordinal", title: titles.column, axis: { ...axis, orient: "top" } },
      y: { field: "row", type: "ordinal", title: titles.row, axis },
    },
    layer: few ? [rect, numbers] : [rect],
  };
}
