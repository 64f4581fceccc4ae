// Sorting and filtering of tables, and folding of code. Without it every page reads the same.
"use strict";
(() => {
  const FEW = 5; // rows from which a table that a notebook showed can be sorted
  const LONG = 12; // rows from which a table gets a filter
  const COLLATOR = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  // What a cell is sorted by: its value where the table gives one, else a number or text read from it.
  const keyOf = (cell) => {
    const text = (cell?.dataset.value ?? cell?.innerText ?? "").trim();
    const number = Number.parseFloat(text.replace(/[,\s]/g, "").replace("−", "-"));
    return { text, number: /^[-+−]?[\d.,]/.test(text) && Number.isFinite(number) ? number : null };
  };

  const compare = (a, b) =>
    a.number !== null && b.number !== null ? a.number - b.number : COLLATOR.compare(a.text, b.text);

  function sortBy(table, header, direction) {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => ({ row, key: keyOf(row.cells[header.cellIndex]) }));
    if (direction === "none") rows.sort((a, b) => a.row.dataset.place - b.row.dataset.place);
    else {
      const sign = direction === "ascending" ? 1 : -1;
      const known = (entry) => (/^(|–|nan|none|<na>)$/i.test(entry.key.text) ? 1 : 0); // what is missing stands last
      rows.sort((a, b) => known(a) - known(b) || sign * compare(a.key, b.key));
    }
    body.append(...rows.map(({ row }) => row));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    if (direction !== "none") header.setAttribute("aria-sort", direction);
  }

  function makeSortable(table) {
    [...table.tBodies[0].rows].forEach((row, place) => (row.dataset.place = place));
    for (const header of table.tHead.rows[0].cells) {
      if (!header.innerText.trim() || "plain" in header.dataset) continue;
      const button = make("button", { type: "button", class: "sorter" }, ...header.childNodes);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: "none" };
        sortBy(table, header, next[header.getAttribute("aria-sort")] ?? "ascending");
      });
      header.append(button);
    }
  }

  function makeFilter(table) {
    const rows = [...table.tBodies[0].rows];
    const input = make("input", { type: "search", autocomplete: "off", spellcheck: "false" });
    const said = make("output", { "aria-live": "polite" });
    const apply = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
      const left = rows.filter((row) => !row.hidden).length;
      said.textContent = words.length ? `${left} of ${rows.length} rows` : "";
    };
    input.addEventListener("input", apply);
    const place = table.closest(".table") ?? table;
    place.before(make("label", { class: "tools" }, "Filter ", input, said));
  }

  // Sortable: tables marked so, and the plain ones that notebooks showed.
  function isSortable(table) {
    const head = table.tHead?.rows;
    if (head?.length !== 1 || table.tBodies.length !== 1) return false;
    if (table.tBodies[0].rows.length < (table.matches(".sort") ? 2 : FEW)) return false;
    return [...head[0].cells].every((cell) => cell.colSpan === 1) && !table.querySelector("td[rowspan], th[rowspan]");
  }

  for (const table of document.querySelectorAll("table.sort, table.dataframe")) {
    if (!isSortable(table)) continue;
    makeSortable(table);
    if (table.tBodies[0].rows.length > LONG) makeFilter(table);
  }

  // One button for all code of a notebook.
  const folded = [...document.querySelectorAll(".notebook details.code:not([open])")];
  if (folded.length) {
    const button = make("button", { type: "button", class: "all-code", "aria-pressed": "false" }, "Show all code");
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-pressed") === "false";
      for (const part of folded) part.open = open;
      button.setAttribute("aria-pressed", String(open));
      button.textContent = open ? "Hide all code" : "Show all code";
    });
    document.querySelector(".notebook > .prose").after(button);
  }

  // Printed, everything but the code is unfolded.
  const shut = [...document.querySelectorAll("details:not(.code):not([open])")];
  addEventListener("beforeprint", () => shut.forEach((part) => (part.open = true)));
  addEventListener("afterprint", () => shut.forEach((part) => (part.open = false)));
})();
