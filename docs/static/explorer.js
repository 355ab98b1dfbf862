/* The explorer of questions and answers. Its data are scripts written by docs/_ext/study_explorer.py: a page opened from a
   disk may load scripts and nothing else. What is shown is in the address (#world=...&seed=...&item=...), so that a link
   leads to a question. All texts become text nodes, whatever is in them. */

"use strict";

var explorerIndex;
var explorerData = {};

(() => {
  const root = document.querySelector("[data-explorer]");
  if (!root) return;
  const form = root.querySelector("form");
  const [armLine, status, spoken, list, article] = ["arm", "status", "spoken", "list", "question"].map((name) =>
    root.querySelector(`.explorer-${name}`),
  );
  const FIELDS = ["world", "seed", "arm", "split", "show", "find", "item"];
  let state = {}; // the chosen value of each field, as in the address
  let shown = []; // the questions in the list

  /* ---- Small helpers ---- */

  function markOf(right) {
    const name = right ? "right" : "wrong";
    return make("span", { class: `explorer-${name}`, role: "img", "aria-label": `${name}:` }, right ? "✓" : "✗");
  }

  const quote = (text) => make("q", {}, text);
  const among = (values, wanted) => (values.includes(wanted) ? wanted : values[0]);
  const decimals = (value) => value.toFixed(2).replace("-", "\u2212");

  // Columns, {id: [1, 2], hops: [1, 1]}, as rows, [{id: 1, hops: 1}, {id: 2, hops: 1}].
  function rowsOf(columns) {
    const fields = Object.keys(columns);
    return fields.length
      ? columns[fields[0]].map((_, n) => Object.fromEntries(fields.map((f) => [f, columns[f][n]])))
      : [];
  }

  function fill(name, values, label = (value) => value) {
    const options = values.map((value) => make("option", { value }, label(value)));
    form.elements[name].replaceChildren(...options);
    form.elements[name].value = state[name];
  }

  /* ---- Data ---- */

  const loading = {};

  function load(file) {
    loading[file] ??= new Promise((resolve, reject) => {
      const script = make("script", { src: root.dataset.explorer + file });
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${root.dataset.explorer}${file} cannot be loaded; build the site again`));
      document.head.append(script);
    });
    return loading[file];
  }

  // The questions that an arm is asked, each with what it answered.
  function questionsOf(data, name) {
    const arm = data.arms[name];
    return rowsOf(data.places[arm.place].questions).map((question, n) => ({
      ...question,
      place: data.places[arm.place],
      text: (number) => data.texts[number],
      number: n,
      logProbs: arm.log_probs[n],
      chosen: arm.chosen[n],
      right: question.answers.includes(arm.chosen[n]),
    }));
  }

  const optionOf = (question, k) => question.text(question.options[k]);

  // Where whole statements are offered there may be nothing before them: then they are what is asked.
  function titleOf(question) {
    const query = question.text(question.query);
    return query ? query + (query.endsWith("?") ? "" : "\u00a0…") : question.options.map(question.text).join(" or ");
  }

  function wanted(question) {
    if (state.show !== "all" && question.right !== (state.show === "right")) return false;
    const texts = [question.query, ...question.options, ...question.supports].map(question.text);
    return texts.join(" ").toLowerCase().includes(state.find.toLowerCase());
  }

  /* ---- What is shown ---- */

  async function show() {
    try {
      await load("index.js");
      if (!state.world) state = { ...explorerIndex.start, ...state };
      const worlds = explorerIndex.worlds;
      state.world = among(
        worlds.map((world) => world.name),
        state.world,
      );
      const { seeds } = worlds.find((world) => world.name === state.world);
      state.seed = among(seeds.map(String), state.seed);
      const key = `${state.world}/${state.seed}`;
      await load(`${state.world}-${state.seed}.js`);
      if (key !== `${state.world}/${state.seed}`) return; // something else was chosen meanwhile
      fill(
        "world",
        worlds.map((world) => world.name),
        (name) => name.replaceAll("_", " "),
      );
      fill("seed", seeds.map(String));
      const arms = Object.keys(explorerData[key].arms);
      state.arm = among(arms, state.arm);
      fill("arm", arms);
      form.hidden = false;
      showQuestions(explorerData[key]);
    } catch (error) {
      status.textContent = error.message;
    }
  }

  function showQuestions(data) {
    const all = questionsOf(data, state.arm);
    const splits = [...new Set(all.map((question) => question.text(question.split)))];
    state.split = among(splits, state.split);
    state.show = among(["all", "right", "wrong"], state.show);
    state.find ??= "";
    fill("split", splits);
    form.elements.show.value = state.show;
    if (form.elements.find.value !== state.find) form.elements.find.value = state.find;
    const { "trains on": trained, "in context": given } = explorerIndex.arms[state.arm];
    armLine.replaceChildren(make("b", {}, state.arm), ` is fine-tuned on: ${trained}. It has in context: ${given}.`);
    const inSplit = all.filter((question) => question.text(question.split) === state.split);
    const kinds = new Set(inSplit.map((question) => question.kind)).size;
    shown = inSplit.filter(wanted);
    const right = inSplit.filter((question) => question.right).length;
    status.textContent = `${state.arm} is right on ${right} of ${inSplit.length} questions; ${shown.length} listed.`;
    list.replaceChildren(...shown.map((question) => make("li", {}, listed(question, kinds > 1, data))));
    list.hidden = article.hidden = !shown.length;
    const current = shown.find((question) => question.text(question.id) === state.item) ?? shown[0];
    if (current) choose(current, data);
    else remember();
  }

  function listed(question, withKind, data) {
    const kind = withKind ? [make("small", {}, question.text(question.kind))] : [];
    const button = make(
      "button",
      { type: "button" },
      markOf(question.right),
      make("span", {}, titleOf(question), ...kind),
    );
    button.addEventListener("click", () => choose(question, data));
    return button;
  }

  function choose(question, data) {
    state.item = question.text(question.id);
    const at = shown.indexOf(question);
    [...list.children].forEach((item, k) => {
      item.firstChild.tabIndex = k === at ? 0 : -1; // one stop for the Tab key; the arrow keys go on from there
      item.firstChild.setAttribute("aria-current", k === at);
    });
    const button = list.children[at].firstChild;
    list.scrollTop = Math.min(list.scrollTop, button.offsetTop);
    list.scrollTop = Math.max(list.scrollTop, button.offsetTop + button.offsetHeight - list.clientHeight);
    article.replaceChildren(
      make("h2", {}, titleOf(question)),
      ...sectionOfOptions(question),
      ...sectionOfReasons(question),
      ...sectionOfWriting(question, data),
      ...sectionOfArms(question, data),
    );
    spoken.textContent = `${titleOf(question)} ${article.querySelector("p").textContent}`;
    remember();
  }

  function sectionOfOptions(question) {
    const least = Math.min(...question.logProbs);
    const rows = question.options.map((number, k) => {
      const bar = make("span", { class: "explorer-bar", "aria-hidden": "true" }, make("span", {}));
      bar.firstChild.style.width = `${3 + 97 * (least < 0 ? 1 - question.logProbs[k] / least : 1)}%`;
      const marks = [];
      const isTrue = question.answers.includes(k);
      if (isTrue) marks.push(make("span", { class: "explorer-mark explorer-true" }, "true"));
      if (k === question.chosen) marks.push(make("span", { class: "explorer-mark" }, "chosen"));
      return make(
        "tr",
        isTrue ? { class: "explorer-true-row" } : {},
        make("th", { scope: "row" }, question.text(number), ...marks, bar),
        make("td", { class: "explorer-number" }, decimals(question.logProbs[k])),
        make("td", { class: "explorer-number" }, decimals(question.logProbs[k] / question.tokens[k])),
      );
    });
    const verdict = question.right ? "right" : "wrong";
    const chose = [state.arm, " chose ", quote(optionOf(question, question.chosen)), ", which is "];
    return [
      make("p", {}, ...chose, make("b", { class: `explorer-${verdict}` }, verdict), "."),
      table("Log-probability of each option; a full bar would be certainty", ["option", "sum", "per token"], rows),
    ];
  }

  function table(caption, names, rows) {
    const isNumber = (k) => rows[0].children[k].className === "explorer-number";
    const head = names.map((name, k) =>
      make("th", { scope: "col", class: isNumber(k) ? "explorer-number" : "" }, name),
    );
    return make(
      "table",
      {},
      make("caption", {}, caption),
      make("thead", {}, make("tr", {}, ...head)),
      make("tbody", {}, ...rows),
    );
  }

  function sectionOfReasons(question) {
    const supports = question.supports.map((support) => {
      const told = question.place.stated[support] ?? [];
      const said = told.map(([number, sentence]) =>
        make("li", {}, quote(question.text(sentence)), make("small", {}, `document ${number}`)),
      );
      return make("li", {}, make("b", {}, question.text(support)), make("ul", {}, ...said));
    });
    const facts = question.hops === 1 ? "one stated fact" : `${question.hops} stated facts`;
    const rule = make("b", {}, question.text(question.rule));
    const rules = question.rules.map((rule) => make("li", {}, make("code", {}, question.text(rule))));
    return [
      make("h3", {}, "Why it is true"),
      make("p", {}, "The last step is: ", rule, rules.length > 1 ? ", one of" : rules.length ? ", that is" : "."),
      ...(rules.length ? [make("ul", {}, ...rules)] : []),
      make("p", {}, `It rests on ${facts}, said in these documents:`),
      make("ul", {}, ...supports),
    ];
  }

  function sectionOfWriting(question, data) {
    const heading = make("h3", {}, "What the model had generated about it");
    if (data.arms[state.arm].place !== "here")
      return [heading, make("p", {}, "Nothing: it generated from the documents of the other dataset.")];
    const sentences = rowsOf(data.written);
    const { covered, misled } = data.arms[state.arm];
    const has = (answer) => (answer ? "has" : "does not have");
    const summary = covered
      ? `The text that ${state.arm} trains on ${has(covered[question.number])} the true answer, and it ` +
        `${has(misled[question.number])} a false one.`
      : `${state.arm} trains on none of it.`;
    const trainsOn = ({ source, rephrased }) =>
      explorerIndex.arms[state.arm].train.some(
        (own) => own === question.text(source) || (own === "rephrased" && rephrased),
      );
    const saying = (isTrue) =>
      question.said
        .flatMap((numbers, k) => (question.answers.includes(k) === isTrue ? numbers : []))
        .map((number) => sentences[number])
        .map((row) =>
          make(
            "li",
            {},
            quote(question.text(row.sentence)),
            make("span", { class: "explorer-mark" }, question.text(row.status)),
            ...(covered && trainsOn(row) ? [make("span", { class: "explorer-mark" }, "trained on")] : []),
            make("small", {}, originOf(row, question)),
          ),
        );
    const part = (title, items) => [
      make("h4", {}, `${title} (${items.length})`),
      items.length ? make("ul", { class: "explorer-written" }, ...items) : make("p", {}, "No sentence."),
    ];
    const parts = [...part("Says the true answer", saying(true)), ...part("Says a false one", saying(false))];
    return [heading, make("p", {}, summary), ...parts];
  }

  // A local text is generated from one sentence; a global one from all documents, about one of them.
  function originOf({ source, times, document }, { text }) {
    const first = times > 1 ? `${times} times, first ` : "";
    return `${text(source)}, ${first}${text(source) === "local" ? "from" : "about"}: ${text(document)}`;
  }

  function sectionOfArms(question, data) {
    const { place } = data.arms[state.arm];
    const rows = Object.keys(data.arms)
      .filter((name) => data.arms[name].place === place)
      .map((name) => {
        const { chosen, log_probs: logProbs } = data.arms[name];
        const k = chosen[question.number];
        const best = Math.max(...question.answers.map((answer) => logProbs[question.number][answer]));
        const button = make("button", { type: "button" }, name);
        button.addEventListener("click", async () => {
          await change({ arm: name }); // the table is made again
          article.querySelector("[aria-current] button")?.focus();
        });
        return make(
          "tr",
          name === state.arm ? { "aria-current": "true" } : {},
          make("th", { scope: "row" }, button),
          make("td", {}, markOf(question.answers.includes(k)), ` ${optionOf(question, k)}`),
          make("td", { class: "explorer-number" }, decimals(best)),
        );
      });
    return [
      make("h3", {}, "What every method answered"),
      table("Option chosen, and log-probability of the true one", ["method", "chose", "true option"], rows),
    ];
  }

  /* ---- The address, and what readers do ---- */

  function remember() {
    const parameters = new URLSearchParams(FIELDS.filter((f) => state[f]).map((f) => [f, state[f]]));
    history.replaceState(null, "", `#${parameters}`);
  }

  function change(values) {
    Object.assign(state, values);
    return show();
  }

  function follow() {
    state = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    return show();
  }

  form.addEventListener("input", ({ target }) => change({ [target.name]: target.value }));
  form.addEventListener("submit", (event) => event.preventDefault());
  list.addEventListener("keydown", (event) => {
    const buttons = [...list.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to === undefined || !buttons[to]) return;
    event.preventDefault();
    buttons[to].focus();
    buttons[to].click();
  });
  window.addEventListener("hashchange", follow);
  follow();
})();
