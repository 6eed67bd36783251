/* The chat page: one conversation with one model, or with two side by side.
 *
 * In: the API of the server that the page comes from (/v1/models, /v1/chat/completions, /page/examples, /page/verdict).
 * Texts of models and people enter the document as text nodes only, never as HTML. The conversation and the settings are
 * kept in localStorage, the key of the server in sessionStorage.
 */
"use strict";

(() => {
  const STORE = "dianoia.page", KEY = "dianoia.key", VERSION = 1;
  const SHOWN_EXAMPLES = 6;
  const PARAMETERS = ["temperature", "top_p", "max_tokens", "seed"];
  const RUNNING = new Set(["waiting", "thinking", "answering"]);

  const state = { version: VERSION, models: [], comparing: false, turns: [], settings: {}, theme: null, language: null, draft: "" };
  let served = [];             // names of the models that the server has
  let examples = { single_turn: false, questions: [] };
  let firstExample = 0;
  let cleared = null;          // turns before "New", for its undo
  const views = new WeakMap(); // answer -> its elements
  const calls = new Map();     // answer -> AbortController of its request
  const $ = (id) => document.getElementById(id);

  // Storage ---------------------------------------------------------------------------------------

  function restore() {
    let stored = null;
    // A browser may forbid storage, and another version may have written it.
    try { stored = JSON.parse(localStorage.getItem(STORE)); } catch { /* begins anew */ }
    if (stored?.version !== VERSION || !Array.isArray(stored.turns)) return;
    Object.assign(state, stored);
    for (const answer of state.turns.flatMap((turn) => turn.answers)) {
      if (RUNNING.has(answer.state)) answer.state = "stopped";
    }
  }

  let saving = 0;
  function save() {
    clearTimeout(saving);
    saving = 0;
    try { localStorage.setItem(STORE, JSON.stringify(state)); } catch { /* full or forbidden: the page still works */ }
  }
  const saveSoon = () => { saving ||= setTimeout(save, 400); };

  const keyOf = () => { try { return sessionStorage.getItem(KEY) || ""; } catch { return ""; } };
  const setKey = (key) => { try { key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY); } catch { /* forbidden */ } };

  // Theme, first so that a dark page never flashes white ------------------------------------------

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const theme = () => state.theme || (dark.matches ? "dark" : "light");
  function showTheme() {
    document.documentElement.dataset.theme = theme();
    const next = theme() === "dark" ? "light" : "dark";
    $("theme")?.setAttribute("aria-label", `Use ${next} colours`);
    $("theme")?.setAttribute("title", `Use ${next} colours`);
  }
  restore();
  showTheme();
  dark.addEventListener("change", showTheme);

  // Elements --------------------------------------------------------------------------------------

  function element(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "onclick") node.addEventListener("click", value);
      else if (value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  /** Append text with `code`, **bold** and \boxed{...}; everything else stays as it was written. */
  function appendInline(parent, text) {
    const mark = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|\\boxed\s*\{/g;
    let from = 0;
    for (let match = mark.exec(text); match; match = mark.exec(text)) {
      let end = mark.lastIndex, node;
      if (match[1] !== undefined) node = element("code", {}, match[1]);
      else if (match[2] !== undefined) node = element("strong", {}, match[2]);
      else {
        const start = end;
        for (let depth = 1; depth && end < text.length; end++) depth += { "{": 1, "}": -1 }[text[end]] || 0;
        if (text[end - 1] !== "}") break; // not closed, or not yet
        node = element("span", { class: "boxed" }, text.slice(start, end - 1));
      }
      parent.append(text.slice(from, match.index), node);
      from = mark.lastIndex = end;
    }
    parent.append(text.slice(from));
  }

  /** Show an answer: paragraphs and fenced code. */
  function fillSaid(parent, text) {
    parent.replaceChildren();
    const fence = /^```[^\n]*\n([\s\S]*?)(?:^```[^\S\n]*$|(?![\s\S]))/gm;
    const paragraphs = (part) => {
      for (const paragraph of part.split(/\n{2,}/)) {
        if (!paragraph.trim()) continue;
        const node = element("p");
        appendInline(node, paragraph.replace(/^\n+|\s+$/g, ""));
        parent.append(node);
      }
    };
    let from = 0;
    for (let match = fence.exec(text); match; match = fence.exec(text)) {
      paragraphs(text.slice(from, match.index));
      parent.append(element("pre", { tabindex: "0" }, element("code", {}, match[1].replace(/\n$/, ""))));
      from = fence.lastIndex;
    }
    paragraphs(text.slice(from));
  }

  const seconds = (value) => (value < 9.95 ? `${value.toFixed(1)} s` : value < 60 ? `${Math.round(value)} s` : `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`);
  const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
  const announce = (text) => { $("status").textContent = text; };

  // One answer ------------------------------------------------------------------------------------

  function makeView(answer, turn) {
    const view = { turn, shown: null };
    view.label = element("span");
    view.text = element("div", { class: "text", tabindex: "0" });
    view.thought = element("details", { class: "thought" }, element("summary", {}, element("span", { class: "pulse", "aria-hidden": "true" }), view.label), view.text);
    // From the first click on, opening and folding is up to the reader.
    view.thought.firstChild.addEventListener("click", () => { view.touched = true; });
    view.waiting = element("p", { class: "waiting running" }, element("span", { class: "pulse", "aria-hidden": "true" }), element("span"));
    view.said = element("div", { class: "said" });
    view.ended = element("p", { class: "ended" });
    view.error = element("p", { class: "error" });
    view.verdict = element("p", { class: "verdict" });
    view.meta = element("div", { class: "meta" });
    view.root = element("article", { class: "answer", "aria-label": `Answer of ${answer.model}` },
      ...(served.length > 1 || turn.answers.length > 1 ? [element("h3", {}, answer.model)] : []),
      view.thought, view.waiting, view.said, view.ended, view.verdict, view.error, view.meta);
    views.set(answer, view);
    return view;
  }

  function thoughtLabel(answer) {
    const size = answer.thoughtTokens ? ` · ${count(answer.thoughtTokens, "token")}` : "";
    if (answer.state === "thinking") return `Thinking · ${seconds(answer.thoughtSeconds)}${size}`;
    return `Thought for ${seconds(answer.thoughtSeconds)}${size}`;
  }

  function show(answer) {
    const view = views.get(answer);
    if (!view) return;
    const running = RUNNING.has(answer.state), atEnd = nearEnd();
    view.root.setAttribute("aria-busy", String(running));
    view.thought.hidden = !answer.thought;
    view.thought.classList.toggle("running", answer.state === "thinking");
    view.thought.querySelector(".pulse").hidden = answer.state !== "thinking";
    if (!view.touched) view.thought.open = answer.state === "thinking";
    view.label.textContent = thoughtLabel(answer);
    if (view.text.textContent !== answer.thought) {
      view.text.textContent = answer.thought;
      if (answer.state === "thinking") view.text.scrollTop = view.text.scrollHeight;
    }
    view.waiting.hidden = answer.state !== "waiting";
    view.waiting.lastChild.textContent = `Waiting for ${answer.model} · ${seconds(answer.seconds)}`;
    if (view.shown !== answer.said) { fillSaid(view.said, answer.said); view.shown = answer.said; }
    view.said.hidden = !answer.said;
    const ended = endOf(answer);
    view.ended.hidden = !ended;
    view.ended.textContent = ended;
    showVerdict(view.verdict, answer.verdict);
    view.error.textContent = answer.error?.text || "";
    showMeta(view, answer, running);
    if (atEnd) toEnd();
    showLatest();
  }

  function endOf(answer) {
    if (answer.state === "stopped") return "Stopped before the end.";
    if (answer.state !== "done") return "";
    if (answer.finish === "length") return `Cut off at the limit of ${count(answer.tokens, "token")}.`;
    return answer.said ? "" : "The model ended without an answer.";
  }

  function showVerdict(node, verdict) {
    node.hidden = !verdict?.known;
    if (node.hidden) return;
    const words = { right: "✓ Right", wrong: "✗ Wrong", partly: "Partly right", ungraded: "Not graded" };
    node.className = `verdict ${verdict.verdict}`;
    node.replaceChildren(element("b", {}, words[verdict.verdict] || words.ungraded),
      element("span", {}, [verdict.reason, verdict.verdict !== "right" && verdict.expected && `expected: ${verdict.expected}`].filter(Boolean).join(" · ")));
  }

  function showMeta(view, answer, running) {
    view.meta.hidden = running;
    if (running) return;
    const copy = element("button", { type: "button", "aria-label": `Copy the answer of ${answer.model}` }, "Copy");
    copy.addEventListener("click", async () => {
      copy.textContent = (await copyText(answer.said || answer.thought)) ? "Copied" : "Not copied";
      setTimeout(() => { copy.textContent = "Copy"; }, 1600);
    });
    const buttons = answer.said || answer.thought ? [copy] : [];
    if (answer.error?.action === "key") buttons.push(element("button", { type: "button", onclick: () => openSettings("key") }, "Enter key"));
    if (view.turn === state.turns.at(-1)) {
      buttons.push(element("button", { type: "button", "aria-label": `Ask ${answer.model} again`, onclick: () => again(view.turn, answer) }, answer.error ? "Try again" : "Again"));
    }
    const facts = answer.tokens ? [element("span", {}, `${count(answer.tokens, "token")} · ${seconds(answer.seconds)}`)] : [];
    view.meta.replaceChildren(...buttons, ...facts);
  }

  async function copyText(text) {
    // Outside https and localhost a page has no clipboard API.
    try { await navigator.clipboard.writeText(text); return true; } catch { /* the old way */ }
    const area = element("textarea", { class: "hidden", readonly: "" });
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }

  // The whole conversation ------------------------------------------------------------------------

  function appendTurn(turn) {
    const answers = element("div", { class: turn.answers.length > 1 ? "answers two" : "answers" });
    for (const answer of turn.answers) answers.append(makeView(answer, turn).root);
    $("conversation").append(element("section", { class: "turn" },
      element("p", { class: "question" }, element("span", { class: "hidden" }, "You asked: "), turn.question), answers));
    turn.answers.forEach(show);
  }

  function showConversation() {
    $("conversation").replaceChildren();
    state.turns.forEach(appendTurn);
    $("welcome").hidden = state.turns.length > 0;
    showRunning();
  }

  function showRunning() {
    $("send").hidden = calls.size > 0;
    $("stop").hidden = calls.size === 0;
    $("send").disabled = !$("question").value.trim();
    // Under an empty conversation stand examples to choose from.
    $("example").hidden = calls.size > 0 || !examples.questions.length || !state.turns.length || $("question").value !== "";
  }

  const page = () => document.scrollingElement;
  const nearEnd = () => page().scrollHeight - page().scrollTop - innerHeight < 120;
  const toEnd = () => { page().scrollTop = page().scrollHeight; };
  function showLatest() { $("latest").hidden = nearEnd() || !state.turns.length; }

  // Asking ----------------------------------------------------------------------------------------

  const remembers = () => state.settings.history ?? !examples.single_turn;

  /** The messages before an answer: a column sees its own earlier answers, and another column's where it has none. */
  function messagesFor(turn, column) {
    const messages = state.settings.system?.trim() ? [{ role: "system", content: state.settings.system }] : [];
    const earlier = remembers() ? state.turns.slice(0, state.turns.indexOf(turn)) : [];
    for (const { question, answers } of earlier) {
      const said = [answers[column], ...answers].find((answer) => answer?.said)?.said;
      if (said) messages.push({ role: "user", content: question }, { role: "assistant", content: said });
    }
    return [...messages, { role: "user", content: turn.question }];
  }

  const newAnswer = (model) => ({ model, thought: "", said: "", state: "waiting", seconds: 0, thoughtSeconds: 0, tokens: 0, thoughtTokens: 0, finish: null, error: null, verdict: null });

  function ask(question) {
    if (calls.size || !question.trim() || !served.length) return;
    const models = state.comparing ? state.models.slice(0, 2) : state.models.slice(0, 1);
    const turn = { question: question.trim(), answers: models.map(newAnswer) };
    cleared = null;
    if (!$("notice").dataset.stays) hideNotice();
    state.turns.push(turn);
    // Only the last turn can be asked again.
    state.turns.at(-2)?.answers.forEach(show);
    appendTurn(turn);
    $("welcome").hidden = true;
    announce("Thinking.");
    turn.answers.forEach((answer) => answerTo(turn, answer));
    toEnd();
  }

  function again(turn, answer) {
    if (calls.has(answer)) return;
    const view = views.get(answer);
    Object.assign(answer, newAnswer(state.models.length && !served.includes(answer.model) ? state.models[0] : answer.model));
    view.touched = false;
    $("question").focus({ preventScroll: true });
    answerTo(turn, answer);
  }

  async function answerTo(turn, answer) {
    const call = new AbortController();
    calls.set(answer, call);
    showRunning();
    const began = performance.now();
    const elapsed = () => (performance.now() - began) / 1000;
    const tick = setInterval(() => {
      answer.seconds = elapsed();
      if (answer.state === "thinking") answer.thoughtSeconds = answer.seconds;
      show(answer);
    }, 100);
    try {
      const body = { model: answer.model, messages: messagesFor(turn, turn.answers.indexOf(answer)), stream: true, stream_options: { include_usage: true } };
      for (const name of PARAMETERS) if (state.settings[name] !== undefined && state.settings[name] !== "") body[name] = Number(state.settings[name]);
      const response = await request("v1/chat/completions", { body, signal: call.signal });
      for await (const chunk of events(response)) take(answer, chunk, elapsed());
      if (!answer.finish) throw { text: "The connection broke off before the end. What has come is kept." };
      answer.state = "done";
    } catch (error) {
      answer.state = call.signal.aborted ? "stopped" : "failed";
      if (!call.signal.aborted) answer.error = asError(error);
    }
    clearInterval(tick);
    answer.seconds = elapsed();
    calls.delete(answer);
    // The page may have begun a new conversation in the meantime.
    if (!state.turns.includes(turn)) return showRunning();
    show(answer);
    showRunning();
    save();
    if (answer.state === "done") await judge(turn, answer);
    announce(spoken(answer));
  }

  /** Add one chunk of the stream to an answer. */
  function take(answer, chunk, elapsed) {
    if (chunk.error) throw { text: chunk.error.message || "The server failed." };
    const choice = chunk.choices?.[0], delta = choice?.delta || {};
    const thought = delta.reasoning_content ?? delta.reasoning ?? "";
    if (thought) {
      answer.state = "thinking";
      answer.thought += thought;
      answer.thoughtTokens++;
    }
    if (thought || answer.state === "thinking") answer.thoughtSeconds = elapsed;
    if (delta.content) {
      answer.state = "answering";
      answer.said += delta.content;
    }
    if (thought || delta.content) answer.tokens++;
    if (choice?.finish_reason) answer.finish = choice.finish_reason;
    // The server counts tokens; one chunk may hold several.
    if (chunk.usage) {
      answer.tokens = chunk.usage.completion_tokens ?? answer.tokens;
      answer.thoughtTokens = chunk.usage.completion_tokens_details?.reasoning_tokens ?? answer.thoughtTokens;
    }
    saveSoon();
  }

  function spoken(answer) {
    const words = { right: "Right.", wrong: "Wrong.", partly: "Partly right." };
    return [`${answer.model}:`, answer.said.slice(0, 400), endOf(answer), answer.error?.text, words[answer.verdict?.verdict]].filter(Boolean).join(" ");
  }

  async function judge(turn, answer) {
    try {
      const response = await request("page/verdict", { body: { question: turn.question, answer: answer.said, finish_reason: answer.finish } });
      answer.verdict = await response.json();
    } catch { return; } // an answer without a verdict is still an answer
    show(answer);
    save();
  }

  const stopAll = () => calls.forEach((call) => call.abort());

  // The server ------------------------------------------------------------------------------------

  async function request(path, { body, signal } = {}) {
    const headers = body ? { "Content-Type": "application/json" } : {};
    if (keyOf()) headers.Authorization = `Bearer ${keyOf()}`;
    const response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal, cache: "no-store" });
    if (!response.ok) throw await refusal(response);
    return response;
  }

  /** What a refusal of the server means for a person. */
  async function refusal(response) {
    let said = "";
    try { said = (await response.json()).error?.message || ""; } catch { /* no JSON */ }
    const wait = Number(response.headers.get("Retry-After"));
    if (response.status === 401) {
      return { text: keyOf() ? "The server does not accept this key." : "This server asks for a key.", action: "key" };
    }
    if (response.status === 429) return { text: `The server is busy with other requests. Try again ${wait ? `in ${count(wait, "second")}` : "in a moment"}.` };
    if (response.status >= 500) return { text: `The server failed (status ${response.status})${said ? `: ${said}` : "; its terminal says why."}` };
    return { text: said ? `The server refuses the request: ${said}` : `The server refuses the request (status ${response.status}).` };
  }

  const asError = (error) => (error?.text ? error : { text: "The server cannot be reached. Is it still running?" });

  /** Yield the JSON objects of a stream of server-sent events. */
  async function* events(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const lines = (rest + part.value).split(/\r?\n/);
      rest = lines.pop();
      for (const line of lines) {
        const data = line.startsWith("data:") ? line.slice(5).trim() : "";
        if (data === "[DONE]") return;
        if (data) yield JSON.parse(data);
      }
    }
  }

  let connecting = null;       // the promise of a connection that is being made

  // Calls at the same time share one connection.
  function connect() {
    connecting ??= readServer().finally(() => { connecting = null; });
    return connecting;
  }

  async function readServer() {
    let names;
    try {
      names = (await (await request("v1/models")).json()).data.map((model) => model.id);
      hideNotice();
    } catch (error) {
      const { text, action } = asError(error);
      return showNotice(text, action === "key" ? ["Enter key", () => openSettings("key")] : ["Try again", connect]);
    }
    try { examples = await (await request("page/examples")).json(); } catch { /* a server of other models */ }
    // Only now: a question that is asked while the examples come would be drawn over by showConversation.
    served = names;
    showModels();
    showExamples();
    showConversation();
  }

  // Models and examples ---------------------------------------------------------------------------

  function showModels() {
    const fallback = examples.default && served.includes(examples.default) ? examples.default : served[0];
    if (!served.includes(state.models[0])) state.models[0] = fallback;
    if (!served.includes(state.models[1])) state.models[1] = served.find((name) => name !== state.models[0]) ?? fallback;
    if (served.length < 2) state.comparing = false;
    [0, 1].forEach((index) => {
      const select = $(`model-${index}`);
      select.replaceChildren(...served.map((name) => element("option", { value: name }, name)));
      select.value = state.models[index];
    });
    $("compare").hidden = served.length < 2;
    $("compare").setAttribute("aria-pressed", String(state.comparing));
    $("model-1").hidden = !state.comparing;
    document.body.classList.toggle("comparing", state.comparing);
    $("about").textContent = examples.about || "";
    document.title = examples.title ? `${examples.title} · Dianoia` : "Dianoia";
    saveSoon();
  }

  function exampleLanguage(languages) {
    const preferred = state.language || (navigator.language.startsWith("zh") ? "zh" : "en");
    return languages.has(preferred) ? preferred : [...languages][0];
  }

  function showExamples() {
    const languages = new Set(examples.questions.map((item) => item.language));
    const language = exampleLanguage(languages);
    const fitting = examples.questions.filter((item) => item.language === language);
    $("examples").hidden = !fitting.length;
    document.querySelectorAll("[data-language]").forEach((button) => {
      button.hidden = !languages.has(button.dataset.language);
      button.setAttribute("aria-pressed", String(button.dataset.language === language));
    });
    const shown = Array.from({ length: Math.min(SHOWN_EXAMPLES, fitting.length) }, (_, index) => fitting[(firstExample + index) % fitting.length]);
    $("others").hidden = fitting.length <= SHOWN_EXAMPLES;
    $("example-list").replaceChildren(...shown.map((item) => element("li", {},
      element("button", { type: "button", lang: item.language, onclick: () => { $("question").focus({ preventScroll: true }); ask(item.question); } }, element("small", { lang: "en" }, item.difficulty === null ? item.kind : `${item.kind}, level ${item.difficulty}`), element("span", {}, item.question)))));
  }

  /** Ask the first example that the conversation has not had. */
  function askExample() {
    const language = exampleLanguage(new Set(examples.questions.map((item) => item.language)));
    const asked = new Set(state.turns.map((turn) => turn.question));
    const fresh = examples.questions.filter((item) => item.language === language);
    ask((fresh.find((item) => !asked.has(item.question)) ?? fresh[0]).question);
    $("question").focus({ preventScroll: true });
  }

  function showNotice(text, [label, action], stays = true) {
    const notice = $("notice");
    notice.replaceChildren(element("span", {}, text), element("button", { type: "button", onclick: action }, label));
    notice.dataset.stays = stays ? "yes" : "";
    notice.hidden = false;
  }
  function hideNotice() { $("notice").hidden = true; $("notice").dataset.stays = ""; }

  // Settings --------------------------------------------------------------------------------------

  function openSettings(field) {
    const form = $("settings-form");
    for (const name of [...PARAMETERS, "system"]) form.elements[name].value = state.settings[name] ?? "";
    form.elements.history.checked = remembers();
    form.elements.key.value = keyOf();
    $("history-help").textContent = examples.single_turn ? "These models were trained on single questions and answer them best." : "Earlier thoughts are never sent.";
    $("settings-error").textContent = "";
    $("drawer").showModal();
    form.elements[field || "temperature"].focus();
  }

  function setting({ target }) {
    if (target.name === "key") return setKey(target.value.trim());
    if (target.name === "history") state.settings.history = target.checked;
    // A number that cannot be used is not kept; the field says so.
    else if (target.validity.valid) state.settings[target.name] = target.value;
    $("settings-error").textContent = target.validity.valid ? "" : `${target.closest("label").firstChild.textContent}: ${target.validationMessage}`;
    save();
  }

  function newConversation() {
    stopAll();
    const before = state.turns;
    state.turns = [];
    showConversation();
    save();
    $("question").focus();
    if (!before.length) return;
    cleared = before;
    announce("New conversation.");
    showNotice("The conversation was cleared.", ["Undo", () => {
      stopAll();
      state.turns = cleared || [];
      hideNotice();
      showConversation();
      save();
    }], false);
  }

  // Start -----------------------------------------------------------------------------------------

  function fitComposer() {
    const area = $("question");
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
    state.draft = area.value;
    showRunning();
    saveSoon();
  }

  async function submit() {
    if (calls.size || !$("question").value.trim()) return;
    // Typed before the models were known, or while the server was away.
    if (connecting || !served.length) await connect();
    const text = $("question").value;
    if (calls.size || !served.length || !text.trim()) return;
    $("question").value = "";
    fitComposer();
    ask(text);
  }

  function start() {
    showTheme();
    const area = $("question");
    area.value = state.draft || "";
    area.addEventListener("input", fitComposer);
    area.addEventListener("keydown", (event) => {
      // While a Chinese or Japanese word is being composed, Enter chooses the word.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      submit();
    });
    $("composer").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
    $("stop").addEventListener("click", () => { stopAll(); area.focus(); });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.isComposing && !$("drawer").open && calls.size) { event.preventDefault(); stopAll(); area.focus(); }
    });
    $("new").addEventListener("click", newConversation);
    $("theme").addEventListener("click", () => { state.theme = theme() === "dark" ? "light" : "dark"; showTheme(); save(); });
    $("settings").addEventListener("click", () => openSettings());
    let keyBefore = "";
    $("drawer").addEventListener("toggle", () => { if ($("drawer").open) keyBefore = keyOf(); });
    $("drawer").addEventListener("close", () => { if (!served.length || keyOf() !== keyBefore) connect(); });
    $("settings-form").addEventListener("input", setting);
    $("defaults").addEventListener("click", () => { state.settings = {}; save(); const key = keyOf(); $("drawer").close(); openSettings(); setKey(key); });
    $("compare").addEventListener("click", () => { state.comparing = !state.comparing; showModels(); });
    [0, 1].forEach((index) => $(`model-${index}`).addEventListener("change", (event) => { state.models[index] = event.target.value; save(); }));
    document.querySelectorAll("[data-language]").forEach((button) => button.addEventListener("click", () => { state.language = button.dataset.language; firstExample = 0; showExamples(); save(); }));
    $("example").addEventListener("click", askExample);
    $("others").addEventListener("click", () => { firstExample += SHOWN_EXAMPLES; showExamples(); });
    $("latest").addEventListener("click", () => { toEnd(); area.focus({ preventScroll: true }); });
    addEventListener("scroll", showLatest, { passive: true });
    addEventListener("pagehide", save);
    showConversation();
    fitComposer();
    toEnd();
    area.focus();
    connect();
  }
  document.addEventListener("DOMContentLoaded", start);
})();
