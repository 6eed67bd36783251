// Groups of training to read: every sample of a problem with its reward and advantage.
"use strict";
(() => {
  const { data, make, chooser, button, number, body, question } = Reader;
  const place = document.getElementById("training");
  if (!place) return;
  const { stages } = data("training");
  let at = 0;

  const stage = chooser("stage", stages.map((s, i) => [i, s.name]), restage);
  const steps = chooser("optimizer step", [], () => { at = 0; draw(); });
  const where = make("span", "where");
  where.setAttribute("aria-live", "polite");
  const back = button("← Previous", () => move(-1));
  const next = button("Next →", () => move(1));
  const shown = make("div");
  place.append(make("div", "toolbar", stages.length > 1 ? stage.element : null, steps.element,
    make("div", "pager", back, where, next)), shown);

  const groups = () => stages[Number(stage.value)].steps[Number(steps.value)].groups;

  function restage() {
    const found = stages[Number(stage.value)].steps;
    steps.select.replaceChildren(...found.map((s, i) => new Option(s.step, i)));
    at = 0;
    draw();
  }

  function move(by) { at = (at + by + groups().length) % groups().length; draw(); }

  // A bar from the middle: right of it the sample is made likelier, left of it less likely.
  function advantage(value, largest) {
    const bar = make("i", value < 0 ? "below" : "");
    const width = largest ? 50 * Math.abs(value) / largest : 0;
    bar.style.width = width + "%";
    bar.style.left = (value < 0 ? 50 - width : 50) + "%";
    return make("div", "advantage", bar);
  }

  function card(sample, largest) {
    const known = sample.advantage !== null;
    const sign = known && sample.advantage > 0 ? "+" : "";
    const title = known ? "advantage " + sign + number(sample.advantage).replace("-", "−") : "sample";
    return make("div", "pane", make("h4", "", title),
      known ? advantage(sample.advantage, largest) : null, ...body(sample));
  }

  function draw() {
    const group = groups()[at];
    const largest = Math.max(...group.samples.map((s) => Math.abs(s.advantage ?? 0)));
    const ordered = [...group.samples].sort((a, b) => (b.advantage ?? 0) - (a.advantage ?? 0));
    where.textContent = "group " + (at + 1) + " of " + groups().length;
    back.disabled = next.disabled = groups().length < 2;
    shown.replaceChildren(question(group), make("div", "group", ...ordered.map((s) => card(s, largest))));
  }

  restage();
})();
