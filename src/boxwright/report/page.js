// Heads of sortable tables become buttons, and long tables get a filter by name. Without it the page reads as well.
"use strict";

const MANY = 20;

function valueOf(row, column) {
  return row.cells[column].textContent.trim();
}

function numberOf(row, column) {
  return parseFloat(valueOf(row, column).replaceAll(",", "").replace("−", "-"));
}

function ordered(rows, column, numeric, falling) {
  const known = numeric ? rows.filter((row) => !Number.isNaN(numberOf(row, column))) : [...rows];
  const unknown = rows.filter((row) => !known.includes(row));
  const byNumber = (a, b) => numberOf(a, column) - numberOf(b, column);
  const byName = (a, b) => valueOf(a, column).localeCompare(valueOf(b, column), undefined, { numeric: true });
  known.sort(numeric ? byNumber : byName);
  return [...(falling ? known.reverse() : known), ...unknown];
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.textContent) return;
    const numeric = head.classList.contains("n");
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const falling = now ? now === "ascending" : numeric;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      table.tBodies[0].append(...ordered([...table.tBodies[0].rows], column, numeric, falling));
    });
  });
  table.classList.add("sorts");
}

function makeFilterable(table) {
  const rows = [...table.tBodies[0].rows];
  const label = document.createElement("label");
  const input = document.createElement("input");
  const count = document.createElement("span");
  input.type = "search";
  count.setAttribute("role", "status");
  label.className = "filter";
  label.append(`${table.tHead.rows[0].cells[0].textContent} `, input, count);
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !valueOf(row, 0).toLowerCase().includes(wanted);
    count.textContent = wanted ? ` ${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
  });
  table.parentElement.before(label);
}

for (const table of document.querySelectorAll("table.sortable")) {
  if (table.tBodies[0].rows.length > MANY) makeFilterable(table);
  if (table.tBodies[0].rows.length > 1) makeSortable(table);
}
