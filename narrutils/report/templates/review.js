// The review queue and the sources that disagree: filters, decisions by key press, and their export.
// Narratives and names are set as text only, never as markup; decisions stay in this browser, those
// of each list by themselves, until they are exported together.
(() => {
  "use strict";
  const page = JSON.parse(document.getElementById("doubts").textContent);
  const find = (id) => document.getElementById(id);
  const make = (tag, name = "", text = "") => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== "") element.textContent = text;
    return element;
  };
  const percent = (p) => `${(100 * p).toFixed(p > 0.995 && p < 1 ? 1 : 0)} %`;
  const bar = (p) => {
    const box = make("span", "odds"), track = make("i"), filled = make("b");
    filled.style.width = `${100 * p}%`;
    track.setAttribute("aria-hidden", "true");
    track.append(filled);
    box.append(track, make("span", "", percent(p)));
    return box;
  };

  // Decisions, by what they decide: a list made again keeps those on the same label and proposal.
  const nameOf = (d) => JSON.stringify([d.uid, d.variable, d.before, d.after]);
  let keeps = true, unsaved = false;
  const modeOf = (name, items, place) => {
    const made = { name, place, decisions: new Map(), undone: [], cards: [] };
    try {
      made.decisions = new Map(JSON.parse(localStorage.getItem(place) || "[]"));
    } catch {
      keeps = false; // storage is denied, or holds what is not ours
    }
    made.cards = items.map((doubt, n) => ({ doubt, name: nameOf(doubt), element: card(doubt, n), body: null }));
    return made;
  };
  const keep = () => {
    try {
      for (const { place, decisions } of modes) localStorage.setItem(place, JSON.stringify([...decisions]));
      keeps = true;
    } catch {
      keeps = false;
    }
    // One proposal decided in two ways, or two proposals for one label accepted.
    const [first, second] = modes.map(({ cards, decisions }) => new Map(cards.filter(({ name }) => decisions.has(name))
      .map(({ doubt, name }) => [JSON.stringify([doubt.uid, doubt.variable]), [doubt, decisions.get(name)]])));
    const torn = [...first].filter(([label]) => second.has(label)).map(([label, one]) => [one, second.get(label)])
      .filter(([[doubt, said], [other, reply]]) => (doubt.after === other.after ? said !== reply
        : said === "accept" && reply === "accept"));
    find("kept").textContent = [
      keeps ? "" : "This browser keeps no decisions when the page is closed: export them before.",
      torn.length ? `Decided in two ways in the two lists, so that the next run obeys neither: ${
        torn.map(([[doubt]]) => `${doubt.variable} of ${doubt.uid}`).join(", ")}.` : "",
    ].join(" ").trim();
  };
  window.addEventListener("beforeunload", (event) => {
    if (unsaved && !keeps) event.preventDefault();
  });

  const modes = [
    modeOf("doubts", page.doubts, `narrutils review ${page.key}`),
    modeOf("sources", page.disagreements, `narrutils review ${page.key} sources`),
  ];
  let mode = modes[0], current = null;

  function card(doubt, n) {
    const element = make("li"), head = make("button", "head"), what = make("span", "what");
    head.type = "button";
    head.setAttribute("aria-expanded", "false");
    what.append(make("b", "", doubt.variable), make("span", "", `${doubt.given} → ${doubt.proposed} `));
    const uid = make("bdi", "uid", doubt.uid);
    what.append(uid);
    head.append(make("span", "rank", n + 1), what, make("span", "stamp"), bar(doubt.probability));
    head.addEventListener("click", () => (current === mode.cards[n] ? close() : open(mode.cards[n])));
    element.append(head);
    return element;
  }

  function body(doubt) {
    const box = make("div", "body"), change = make("p", "change"), about = page.variables[doubt.variable];
    change.append("Given ", make("b", "", doubt.given), ", proposed ", make("b", "", doubt.proposed), mode === modes[0]
      ? `: a ${doubt.direction}. The given label is wrong with probability ${percent(doubt.probability)}.`
      : `. ${doubt.says.map(([source, said]) => `${page.texts[source]} ${said}`).join("; ")}.`);
    box.append(make("p", "definition", about.definition), change, buttons(), readings(doubt));
    const texts = page.cases && page.cases[doubt.uid];
    if (texts) box.append(narratives(texts, doubt.marks));
    return box;
  }

  function buttons() {
    const row = make("div", "decide");
    for (const [label, act] of [["Accept", () => decide("accept")], ["Refuse", () => decide("refuse")], ["Undo", undo]]) {
      const button = make("button", "", label);
      button.type = "button";
      button.addEventListener("click", act);
      row.append(button);
    }
    return row;
  }

  // In the queue what each model gives the proposed label; else what each narrative alone gives what it speaks of.
  function readings(doubt) {
    const table = make("table", "readings"), rows = make("tbody"), queue = mode === modes[0];
    table.append(make("caption", "", queue ? "Probability of the proposed label" : doubt.caption), rows);
    const told = queue ? page.members.map((member, n) => [member, doubt.reads[n]])
      : doubt.says.map(([source, , p]) => [page.texts[source], p]);
    for (const [label, p] of told) {
      const row = make("tr"), name = make("th", "", label), cell = make("td");
      name.scope = "row";
      cell.append(bar(p));
      row.append(name, cell);
      rows.append(row);
    }
    return table;
  }

  function narratives(texts, marks) {
    const box = make("div", "narratives");
    page.texts.forEach((title, n) => {
      const part = make("section"), text = make("p");
      text.dir = "auto";
      text.tabIndex = 0;
      marked(text, texts[n], marks.filter((m) => m[0] === n));
      if (!texts[n]) text.append(make("em", "", "empty"));
      part.append(make("h3", "", title), text);
      box.append(part);
    });
    return box;
  }

  // Marks are [narrative, start, end, strength, points], in order; strength is below 0 where they speak against.
  function marked(element, text, marks) {
    let at = 0;
    for (const [, start, end, strength, points] of marks) {
      const mark = make("mark", `${strength > 0 ? "for" : "against"} s${Math.abs(strength)}`, text.slice(start, end));
      element.append(text.slice(at, start), mark, make("sup", "", points));
      at = end;
    }
    element.append(text.slice(at));
  }

  function fill(entry) {
    if (!entry.body) {
      entry.body = body(entry.doubt);
      entry.element.append(entry.body);
    }
    entry.body.hidden = false;
  }

  function close() {
    if (!current) return;
    current.element.classList.remove("open");
    current.element.firstChild.setAttribute("aria-expanded", "false");
    current.body.hidden = true;
    current = null;
  }

  function open(entry) {
    close();
    current = entry;
    fill(entry);
    entry.element.classList.add("open");
    entry.element.firstChild.setAttribute("aria-expanded", "true");
    entry.element.firstChild.focus({ preventScroll: true });
    entry.element.scrollIntoView({ block: "start" });
  }

  const visible = () => mode.cards.filter((entry) => !entry.element.hidden);
  function move(step) {
    const shown = visible();
    const at = shown.indexOf(current);
    const next = at < 0 ? shown[0] : shown[at + step];
    if (next) open(next);
  }

  function decide(decision) {
    if (!current) return;
    const decided = current, shown = visible(), next = shown[shown.indexOf(decided) + 1];
    mode.undone.push([decided, mode.decisions.get(decided.name)]);
    mode.decisions.set(decided.name, decision);
    unsaved = true;
    keep();
    show();
    if (next) open(next);
    else if (decided.element.hidden) close();
  }

  // Without a decision of this visit to take back, the open doubt's own decision is.
  function undo() {
    const [entry, before] = mode.undone.pop() || [current, undefined];
    if (!entry) return;
    if (before) mode.decisions.set(entry.name, before);
    else mode.decisions.delete(entry.name);
    unsaved = true;
    keep();
    entry.element.hidden = false;
    open(entry);
    show();
  }

  function fits({ doubt, name }) {
    const wanted = find("by-decision").value;
    return (!find("by-variable").value || doubt.variable === find("by-variable").value)
      && (!find("by-direction").value || doubt.direction === find("by-direction").value)
      && 100 * doubt.probability >= Number(find("by-probability").value)
      && (!wanted || (wanted === "done") === mode.decisions.has(name));
  }

  function show() {
    let accepted = 0, refused = 0;
    for (const entry of mode.cards) {
      const decision = mode.decisions.get(entry.name);
      entry.element.classList.toggle("accepted", decision === "accept");
      entry.element.classList.toggle("refused", decision === "refuse");
      entry.element.querySelector(".stamp").textContent = { accept: "✓ accepted", refuse: "✗ refused" }[decision] || "";
      entry.element.hidden = !fits(entry);
      accepted += decision === "accept";
      refused += decision === "refuse";
    }
    const shown = visible().length, done = accepted + refused, all = mode.cards.length;
    find("meter").max = Math.max(all, 1);
    find("meter").value = done;
    find("count").textContent = `${done} of ${all} decided: ${accepted} accepted, ${refused} refused`
      + (shown < all ? `; ${shown} shown` : "");
    find("export").disabled = !decided().length;
    find("none").hidden = shown > 0;
    if (current && current.element.hidden) close();
  }

  // A spreadsheet would run a uid that begins like a formula: it gets one apostrophe, which the
  // next run takes off again. Every text is quoted, so that the file reads back exactly.
  function cell(text) {
    const guarded = /^'*[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return `"${guarded.replaceAll('"', '""')}"`;
  }

  // The decisions of both lists that are on this page, each once.
  function decided() {
    const rows = modes.flatMap(({ cards, decisions }) => cards.filter(({ name }) => decisions.has(name))
      .map(({ doubt, name }) => [cell(doubt.uid), cell(doubt.variable), decisions.get(name), doubt.before,
        doubt.after, page.digests[doubt.uid]].join(",")));
    return [...new Set(rows)];
  }

  function exported() {
    const rows = decided();
    return ["uid,variable,decision,label_before,label_after,case", ...rows, ""].join("\r\n");
  }

  function save() {
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([exported()], { type: "text/csv;charset=utf-8" }));
    link.download = "review.csv";
    document.body.append(link);
    link.click();
    link.remove();
    unsaved = false;
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  const keys = {
    a: () => decide("accept"), r: () => decide("refuse"), u: undo,
    s: () => turn(modes[(modes.indexOf(mode) + 1) % modes.length]),
    j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
    "?": () => find("help").showModal(),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest && event.target.closest("input, select, textarea, dialog, .narratives p");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
  for (const id of ["by-variable", "by-direction", "by-probability", "by-decision"]) find(id).addEventListener("input", show);
  find("bar").addEventListener("submit", (event) => event.preventDefault());
  find("export").addEventListener("click", save);
  find("ask").addEventListener("click", keys["?"]);
  window.addEventListener("beforeprint", () => visible().forEach(fill));
  window.addEventListener("afterprint", () => mode.cards.forEach((e) => { if (e.body && e !== current) e.body.hidden = true; }));

  // Show a list: its filters, its own words above it, its cards.
  function turn(to) {
    if (!to.cards.length && to !== modes[0]) return;
    close();
    mode = to;
    for (const [id, field] of [["by-variable", "variable"], ["by-direction", "direction"]]) {
      const first = find(id).firstElementChild;
      first.selected = true;
      find(id).replaceChildren(first);
      for (const value of [...new Set(mode.cards.map(({ doubt }) => doubt[field]))].sort()) {
        const option = make("option", "", value);
        option.value = value;
        find(id).append(option);
      }
    }
    for (const part of document.querySelectorAll("[data-mode]")) part.hidden = part.dataset.mode !== mode.name;
    for (const button of document.querySelectorAll("[data-turn]"))
      button.setAttribute("aria-pressed", button.dataset.turn === mode.name);
    find("list").replaceChildren(...mode.cards.map((entry) => entry.element));
    show();
  }

  for (const button of document.querySelectorAll("[data-turn]"))
    button.addEventListener("click", () => turn(modes.find(({ name }) => name === button.dataset.turn)));
  find("modes").hidden = !modes[1].cards.length;
  find("review").hidden = false;
  keep();
  turn(modes[0]);
  if (location.hash === "#disagreements") turn(modes[1]);
})();
