/* What each method costs for a reader's own numbers. What a token of the documents leads to (generated text, passes over
   it) is the study's, written by docs/_ext/study_calculator.py; prices and volumes are the reader's. */

"use strict";

(() => {
  const root = document.querySelector("[data-calculator]");
  if (!root) return;
  const methods = JSON.parse(root.dataset.calculator);
  const FIELDS = [
    ["documents", "tokens of the documents", 100000],
    ["document", "tokens of one document", 500],
    ["question", "tokens of a question", 50],
    ["answer", "tokens of an answer", 50],
    ["questions", "questions a month", 10000],
    ["updates", "times a month that the documents change", 1],
    ["read", "$ for a million tokens read", 0.1],
    ["cached", "$ for a million tokens read from a cached prefix", 0.025],
    ["written", "$ for a million tokens generated", 0.4],
    ["trained", "$ for a million tokens trained on", 1],
    ["points", "points of accuracy that you would give up", 10],
  ];
  const money = new Intl.NumberFormat("en", { style: "currency", currency: "USD", maximumSignificantDigits: 3 });
  const whole = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });

  /** What a method costs each time the documents change, and for each question. */
  function costs(method, given, cached) {
    const { documents, document, question, answer } = given;
    const price = { read: given.read / 1e6, cached: given.cached / 1e6, written: given.written / 1e6 };
    const context = { all: documents, some: Math.min(documents, method.passages * document), none: 0 }[method.context];
    const keeps = cached && method.context === "all"; // passages differ from question to question
    const local = method.local * documents;
    const global = method.global * documents;
    // Local generation reads each statement once; global generation reads all documents for each of them.
    const again = method.global ? (documents / document) * documents : 0;
    const generation =
      (local ? documents * price.read : 0) + again * (cached ? price.cached : price.read) + (local + global) * price.written;
    const training = (method.epochs * (documents + local + global) * given.trained) / 1e6;
    return {
      update: generation + training + (keeps ? context * price.read : 0),
      each: context * (keeps ? price.cached : price.read) + question * price.read + answer * price.written,
    };
  }

  /** Questions, between two changes of the documents, after which a method has cost less than all in context. */
  function pays(mine, base) {
    if (mine.update <= base.update) return mine.each <= base.each ? "always" : "for few only";
    return mine.each < base.each ? `from ${whole.format((mine.update - base.update) / (base.each - mine.each))}` : "never";
  }

  function show() {
    const given = Object.fromEntries(FIELDS.map(([name]) => [name, Math.max(0, Number(form.elements[name].value) || 0)]));
    given.document = Math.max(1, given.document);
    const cached = form.elements.caching.checked;
    const all = methods.map((method) => [method, costs(method, given, cached)]);
    const base = all.find(([method]) => method.context === "all")?.[1];
    const totals = all.map(([, cost]) => given.updates * cost.update + given.questions * cost.each);
    const best = Math.max(...methods.map((method) => method.accuracy));
    const enough = totals.filter((_, k) => methods[k].accuracy >= best - given.points);
    const rows = all.map(([method, cost], k) =>
      make(
        "tr",
        totals[k] === Math.min(...enough) ? { class: "cheapest" } : {},
        make("th", { scope: "row" }, method.method),
        ...[
          `${method.accuracy} %`,
          money.format(cost.update),
          money.format(1000 * cost.each),
          money.format(totals[k]),
          base && cost !== base ? pays(cost, base) : "",
        ].map((text) => make("td", {}, text)),
      ),
    );
    body.replaceChildren(...rows);
  }

  const HEADS = [
    "method",
    "accuracy on inferences, in this study",
    "each change of the documents",
    "1,000 questions",
    "a month",
    "cheaper than all in context, questions between changes",
  ];
  const body = make("tbody", {});
  const head = make("tr", {}, ...HEADS.map((text) => make("th", { scope: "col" }, text)));
  const form = make(
    "form",
    { "aria-label": "Your numbers" },
    ...FIELDS.map(([name, label, value]) =>
      make("label", {}, label, make("input", { name, value, type: "number", min: 0, step: "any" })),
    ),
    make("label", { class: "check" }, make("input", { name: "caching", type: "checkbox", checked: "" }), "the prefix is cached"),
  );
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  const table = make("table", { class: "docutils" }, make("thead", {}, head), body);
  root.replaceChildren(form, make("div", { class: "table-wrapper", role: "status" }, table));
  show();
})();
