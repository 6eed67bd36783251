// Viewer of held-out problems, with samples side by side. Texts come from models: they are only ever set as text, never as HTML.
"use strict";
const Viewer = (() => {
  const data = (name) => JSON.parse(document.getElementById("data-" + name).textContent);
  const reflection = data("reflection");
  const RULES = ["accuracy", "format", "language"];  // the other parts of a reward are set apart

  const make = (tag, className, ...children) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children.filter((child) => child !== null));
    return element;
  };

  // Returns a text with its reflection words in <mark>.
  const highlighted = (text) => {
    const block = make("pre", "text");
    let end = 0;
    for (const match of text.matchAll(new RegExp(reflection, "gi"))) {
      block.append(text.slice(end, match.index), make("mark", "", match[0]));
      end = match.index + match[0].length;
    }
    block.append(text.slice(end));
    block.tabIndex = 0;
    return block;
  };

  const chooser = (label, options, onchange) => {
    const select = make("select");
    for (const [value, name] of options) select.append(new Option(name, value));
    select.addEventListener("change", onchange);
    return { element: make("label", "", label, select), get value() { return select.value; }, select };
  };

  const button = (name, onclick) => {
    const element = make("button", "", name);
    element.type = "button";
    element.addEventListener("click", onclick);
    return element;
  };

  const number = (value) => String(Math.round(value * 1000) / 1000);

  // Returns "reward 2.5 = accuracy 1 + format 1 + 0.5 × language 1". Where the parts do not add up to the reward under
  // these weights (a rule may replace another part), they are listed in brackets.
  const reward = (sample, weights) => {
    if (sample.reward === null) return null;
    const parts = Object.entries(sample.parts);
    const weight = (name) => weights[name] ?? 1;
    const sum = parts.reduce((total, [name, value]) => total + weight(name) * value, 0);
    const whole = make("span", "reward", "reward " + number(sample.reward));
    if (!parts.length) return whole;
    const adds = Math.abs(sum - sample.reward) < 1e-4 * Math.max(1, Math.abs(sum));
    whole.append(adds ? " = " : " (");
    parts.forEach(([name, value], i) => {
      const factor = adds && weight(name) !== 1 ? number(weight(name)) + " × " : "";
      if (i) whole.append(adds ? " + " : ", ");
      whole.append(make("span", RULES.includes(name) ? "" : "scored", factor + name + " " + number(value).replace("-", "−")));
    });
    if (!adds) whole.append(")");
    return whole;
  };

  const status = (sample, weights) => {
    const fault = sample.fault ? ": " + sample.fault.replaceAll("_", " ") : "";
    const pieces = [sample.tokens === null ? null : number(sample.tokens) + " tokens", reward(sample, weights),
      sample.alike ? sample.alike + (sample.alike === 1 ? " sample gives this answer" : " samples give this answer") : null];
    return make("p", "status", make("b", sample.outcome, sample.outcome + fault),
      ...pieces.map((piece) => (piece === null || piece instanceof Node ? piece : make("span", "", piece))));
  };

  const body = (sample, weights = {}) => {
    if (sample.text !== null) {
      return [status(sample, weights), make("p", "label", "Response, unparsed"), highlighted(sample.text)];
    }
    return [status(sample, weights), make("p", "label", "Thought"), highlighted(sample.thought),
      make("p", "label", "Answer"), make("p", "answer " + sample.outcome, sample.answer ?? "none")];
  };

  const question = (problem) => {
    const facts = [problem.id, problem.domain, problem.language,
      problem.difficulty === null ? null : problem.difficulty + " steps"].filter(Boolean);
    return make("div", "question", make("p", "", problem.question ?? ""),
      make("p", "meta", make("span", "gold", "Gold answer: " + (problem.gold ?? "none")),
        " · " + facts.join(" · ")));
  };

  return { data, make, highlighted, chooser, button, number, status, body, question };
})();

(() => {
  const { data, make, chooser, button, body, question } = Viewer;
  const root = document.getElementById("heldout");
  if (!root) return;
  const { checkpoints, problems } = data("heldout");
  const first = checkpoints[0];
  const last = checkpoints[checkpoints.length - 1];
  const OUTCOMES = ["right", "wrong", "malformed", "truncated", "ungraded"];
  let shown = [];  // problems that match the filters
  let index = 0;  // into shown
  let selected = {};  // pane -> sample, where the reader has chosen one

  const samples = (problem, checkpoint) => problem.samples[checkpoint] ?? [];
  const occurs = (outcome, checkpoint) =>
    problems.some((problem) => samples(problem, checkpoint).some((s) => s.outcome === outcome));
  const values = (key) => [...new Set(problems.map((p) => p[key]).filter((v) => v !== null))]
    .sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));

  const outcomes = (checkpoint) => [["", "any"], ...OUTCOMES.filter((o) => occurs(o, checkpoint)).map((o) => [o, o])];
  const names = checkpoints.map((name) => [name, name]);
  const sides = checkpoints.length > 1 ? [first, last] : [last];
  const filters = sides.map((name) => chooser(name + " is", outcomes(name), refresh));
  const paneChoosers = checkpoints.length > 2 ? sides.map((_, i) => chooser(i ? "right pane" : "left pane", names, changePanes)) : [];
  if (paneChoosers.length) paneChoosers[1].select.value = last;
  const facets = [["language", "language"], ["difficulty", "steps"], ["domain", "domain"]]
    .filter(([key]) => values(key).length > 1)
    .map(([key, label]) => ({ key, control: chooser(label, [["", "any"], ...values(key).map((v) => [v, v])], refresh) }));

  const position = make("span", "position");
  position.setAttribute("aria-live", "polite");
  const back = button("← Previous", () => move(-1));
  const next = button("Next →", () => move(1));
  const stage = make("div");
  root.append(make("div", "toolbar", ...paneChoosers.map((p) => p.element), ...filters.map((f) => f.element),
    ...facets.map((f) => f.control.element), make("div", "pager", back, position, next)), stage);

  function currentNames() { return paneChoosers.length ? paneChoosers.map((p) => p.value) : sides; }

  // Adapts the filters to the checkpoints now shown; a filter keeps its value if the new checkpoint has that outcome.
  function changePanes() {
    currentNames().forEach((name, i) => {
      const label = filters[i].element;
      label.firstChild.textContent = name + " is";
      const previous = filters[i].value;
      filters[i].select.replaceChildren(...outcomes(name).map(([value, text]) => new Option(text, value)));
      filters[i].select.value = outcomes(name).some(([value]) => value === previous) ? previous : "";
    });
    refresh();
  }

  function matches(problem) {
    return facets.every(({ key, control }) => !control.value || String(problem[key]) === control.value)
      && currentNames().every((name, i) => !filters[i].value
        || samples(problem, name).some((s) => s.outcome === filters[i].value));
  }

  function refresh() { shown = problems.filter(matches); index = 0; selected = {}; draw(); }
  function move(by) { index = (index + by + shown.length) % shown.length; selected = {}; draw(); }

  function pane(problem, name, i) {
    const all = samples(problem, name);
    const matching = all.findIndex((s) => s.outcome === filters[i].value);
    const current = selected[i] ?? Math.max(0, matching);
    const tabs = make("span", "tabs", ...all.map((sample, j) => {
      const tab = button("", () => { selected[i] = j; draw(); root.querySelectorAll(".pane")[i].querySelectorAll(".tabs button")[j].focus(); });
      tab.append(make("i", sample.outcome), String(j + 1));
      tab.setAttribute("aria-pressed", String(j === current));
      tab.setAttribute("aria-label", "sample " + (j + 1) + ", " + sample.outcome);
      return tab;
    }));
    const side = currentNames().length < 2 ? "" : i === 0 ? "Before: " : "After: ";
    return make("div", "pane", make("h4", "", make("span", "", (paneChoosers.length ? "" : side) + name), tabs),
      ...(all.length ? body(all[current]) : [make("p", "status", "no sample")]));
  }

  function draw() {
    position.textContent = shown.length ? "problem " + (index + 1) + " of " + shown.length : "no problem";
    back.disabled = next.disabled = shown.length < 2;
    if (!shown.length) {
      stage.replaceChildren(make("p", "nothing", "No problem matches these filters. Set one of them to “any”."));
      return;
    }
    stage.replaceChildren(question(shown[index]),
      make("div", "panes", ...currentNames().map((name, i) => pane(shown[index], name, i))));
  }

  refresh();
})();
