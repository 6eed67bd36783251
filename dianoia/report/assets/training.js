// Viewer of groups in training: every sample of a problem with its reward and advantage.
"use strict";
(() => {
  const { data, make, chooser, button, number, body, question } = Viewer;
  const root = document.getElementById("training");
  if (!root) return;
  const { stages } = data("training");
  let index = 0;

  const stage = chooser("stage", stages.map((s, i) => [i, s.name]), changeStage);
  const steps = chooser("optimizer step", [], () => { index = 0; draw(); });
  const position = make("span", "position");
  position.setAttribute("aria-live", "polite");
  const back = button("← Previous", () => move(-1));
  const next = button("Next →", () => move(1));
  const shown = make("div");
  root.append(make("div", "toolbar", stages.length > 1 ? stage.element : null, steps.element,
    make("div", "pager", back, position, next)), shown);

  const weights = () => stages[Number(stage.value)].weights;
  const groups = () => stages[Number(stage.value)].steps[Number(steps.value)].groups;

  function changeStage() {
    const available = stages[Number(stage.value)].steps;
    steps.select.replaceChildren(...available.map((s, i) => new Option(s.step, i)));
    index = 0;
    draw();
  }

  function move(by) { index = (index + by + groups().length) % groups().length; draw(); }

  // Returns a bar that starts in the middle: to the right, the sample becomes more likely; to the left, less likely.
  function advantage(value, largest) {
    const bar = make("i", value < 0 ? "below" : "");
    const width = largest ? 50 * Math.abs(value) / largest : 0;
    bar.style.width = width + "%";
    bar.style.left = (value < 0 ? 50 - width : 50) + "%";
    return make("div", "advantage", bar);
  }

  function card(sample, largest) {
    const hasAdvantage = sample.advantage !== null;
    const sign = hasAdvantage && sample.advantage > 0 ? "+" : "";
    const title = hasAdvantage ? "advantage " + sign + number(sample.advantage).replace("-", "−") : "sample";
    return make("div", "pane", make("h4", "", title),
      hasAdvantage ? advantage(sample.advantage, largest) : null, ...body(sample, weights()));
  }

  function draw() {
    const group = groups()[index];
    const largest = Math.max(...group.samples.map((s) => Math.abs(s.advantage ?? 0)));
    const ordered = [...group.samples].sort((a, b) => (b.advantage ?? 0) - (a.advantage ?? 0));
    position.textContent = "group " + (index + 1) + " of " + groups().length;
    back.disabled = next.disabled = groups().length < 2;
    shown.replaceChildren(question(group), make("div", "group", ...ordered.map((s) => card(s, largest))));
  }

  changeStage();
})();
