/* The comparison of methods: filtered by model, dataset and kind of question, as a table and, where costs are known, as
   accuracy against cost. Its points are written by docs/_ext/study_compare.py. */

"use strict";

(() => {
  const root = document.querySelector("[data-compare]");
  if (!root) return;
  const points = JSON.parse(root.dataset.compare);
  const FIELDS = ["model", "dataset", "questions"];
  const VOLUMES = [100, 10000, 1000000];
  const [WIDTH, HEIGHT, LEFT, BOTTOM] = [640, 320, 40, 40];

  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0, roundingMode: "halfEven" }); // as Python rounds
  const percent = (share) => whole.format(100 * share);
  const unique = (values) => [...new Set(values)];

  /** GFLOP of one question, what is paid once included. */
  function costOf({ cost }, volume, cached) {
    const [once, query, withoutContext, uncached] = cost;
    return cached ? once / volume + query : withoutContext / volume + uncached;
  }

  function fill(select, values) {
    const before = select.value;
    select.replaceChildren(...values.map((value) => make("option", { value }, String(value).replaceAll("_", " "))));
    select.value = values.map(String).includes(before) ? before : values[0];
  }

  function show() {
    let left = points;
    for (const name of FIELDS) {
      fill(form.elements[name], unique(left.map((point) => point[name])));
      left = left.filter((point) => point[name] === form.elements[name].value);
    }
    const volume = Number(form.elements.volume.value);
    const known = left.filter((point) => point.cost);
    const cached = form.elements.caching.checked;
    const costs = new Map(known.map((point) => [point, costOf(point, volume, cached)]));
    const dominated = (point) => known.some((other) => other.value >= point.value && costs.get(other) < costs.get(point));
    plot.replaceChildren(...(known.length ? [drawn(known, costs, dominated)] : []));
    const rows = [...left]
      .sort((one, other) => other.value - one.value)
      .map((point) =>
        make(
          "tr",
          {},
          make("th", { scope: "row" }, point.method),
          make("td", {}, `${percent(point.value)} [${percent(point.low)}, ${percent(point.high)}]`),
          make("td", {}, costs.has(point) ? costs.get(point).toPrecision(3) : ""),
          make("td", {}, costs.has(point) && !dominated(point) ? "yes" : ""),
        ),
      );
    body.replaceChildren(...rows);
    chance.textContent = `Chance is ${percent(left[0].chance)} %.`;
  }

  function drawn(known, costs, dominated) {
    const logs = known.map((point) => Math.log10(costs.get(point)));
    const [low, high] = [Math.min(...logs), Math.max(...logs)];
    const across = (point) =>
      LEFT + 20 + ((WIDTH - LEFT - 40) * (Math.log10(costs.get(point)) - low)) / Math.max(high - low, 1e-9);
    const up = (share) => HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 28) * share;
    const axis = { stroke: "currentColor" };
    const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "accuracy against cost; the table has the numbers" });
    svg.append(make("line", { x1: LEFT, x2: WIDTH, y1: up(0), y2: up(0), ...axis }));
    svg.append(make("line", { x1: LEFT, x2: LEFT, y1: up(0), y2: up(1), ...axis }));
    for (const share of [0, 0.5, 1])
      svg.append(make("text", { x: LEFT - 6, y: up(share) + 4, "text-anchor": "end" }, percent(share)));
    svg.append(make("line", { x1: LEFT, x2: WIDTH, y1: up(known[0].chance), y2: up(known[0].chance), "stroke-dasharray": "2 4", ...axis }));
    svg.append(make("text", { x: WIDTH / 2, y: HEIGHT - 8, "text-anchor": "middle" }, "GFLOP for a question, logarithmic"));
    svg.append(make("text", { x: LEFT, y: 10 }, "accuracy in %"));
    for (const [log, x] of [[low, LEFT + 20], [high, WIDTH - 20]])
      svg.append(make("text", { x, y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, (10 ** log).toPrecision(2)));
    for (const point of known) {
      const [x, y] = [across(point), up(point.value)];
      const best = !dominated(point);
      const said = `${point.method}: ${percent(point.value)} %, ${costs.get(point).toPrecision(3)} GFLOP`;
      const whisker = { x1: x, x2: x, y1: up(point.low), y2: up(point.high), class: "whisker" };
      const circle = make("circle", { cx: x, cy: y, r: 6, class: best ? "best" : "" });
      svg.append(make("g", {}, make("line", whisker), circle, make("title", {}, said)));
      if (best) svg.append(make("text", { x, y: y - 10, "text-anchor": x > WIDTH - 120 ? "end" : "middle" }, point.method));
    }
    return svg;
  }

  const select = (name, label) => make("label", {}, label, make("select", { name }));
  const form = make(
    "form",
    { "aria-label": "What to compare" },
    ...FIELDS.map((name) => select(name, name)),
    select("volume", "questions to spread costs over"),
    make("label", { class: "check" }, make("input", { name: "caching", type: "checkbox", checked: "" }), "the prefix is cached"),
  );
  fill(form.elements.volume, VOLUMES);
  form.elements.questions.replaceChildren(make("option", { value: "reversal" }, "reversal")); // shown first, where there are any
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  const HEADS = ["method", "accuracy in %", "GFLOP for a question", "no method is cheaper and as accurate"];
  const head = make("tr", {}, ...HEADS.map((text) => make("th", { scope: "col" }, text)));
  const body = make("tbody", {});
  const plot = make("div", { class: "compare-plot" });
  const chance = make("p", { role: "status" });
  const table = make("table", { class: "docutils" }, make("thead", {}, head), body);
  root.replaceChildren(form, plot, chance, make("div", { class: "table-wrapper" }, table));
  show();
})();
