/* Of every page: tables that sort by a click on a column's name, and wide parts that the keyboard can scroll. */
"use strict";

/** An element of HTML or of a picture; the other scripts of a page use it too. */
function make(tag, attributes, ...children) {
  const svg = ["svg", "circle", "line", "text", "title", "g"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** What a cell sorts by: the number it begins with, if it begins with one, else its text. */
function sortKey(cell) {
  const text = cell.textContent.trim();
  const number = parseFloat(text.replace(/\u2212/g, "-").replace(/,(?=\d{3})/g, ""));
  return Number.isNaN(number) ? text.toLowerCase() : number;
}

function sortBy(table, column, header) {
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  const body = table.tBodies[0];
  const keyed = [...body.rows].map((row) => [sortKey(row.cells[column]), row]);
  const compare = (a, b) =>
    typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1;
  keyed.sort(([a], [b]) => (ascending ? compare(a, b) : compare(b, a)));
  body.append(...keyed.map(([, row]) => row));
  for (const other of header.parentElement.cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
}

function makeSortable(table) {
  const head = table.tHead;
  const rows = table.tBodies.length === 1 ? [...table.tBodies[0].rows] : [];
  const regular = head && head.rows.length === 1 && rows.length > 1;
  const columns = regular ? head.rows[0].cells.length : 0;
  // Rows whose first name spans several (pandas' MultiIndex) cannot be moved one by one.
  if (!regular || rows.some((row) => row.cells.length !== columns || [...row.cells].some((c) => c.rowSpan > 1))) return;
  [...head.rows[0].cells].forEach((header, column) => {
    const name = header.textContent.trim();
    if (!name) return;
    const button = document.createElement("button");
    button.className = "sort";
    button.type = "button";
    button.title = "Sort by " + name;
    button.append(...header.childNodes);
    button.addEventListener("click", () => sortBy(table, column, header));
    header.append(button);
    header.setAttribute("aria-sort", "none");
  });
}

function makeScrollable(element) {
  if (element.scrollWidth > element.clientWidth && !element.hasAttribute("tabindex")) {
    element.tabIndex = 0;
    element.setAttribute("role", "region");
    element.setAttribute("aria-label", "wide content, scrolls sideways");
  }
}

document.addEventListener("DOMContentLoaded", () => {
  // Furo calls the captions of its sidebar headings, and does not say of which level.
  document.querySelectorAll('.caption[role="heading"]').forEach((caption) => caption.setAttribute("aria-level", "2"));
  document.querySelectorAll("table.docutils, table.dataframe").forEach(makeSortable);
  const scrollable = () =>
    document.querySelectorAll(".table-wrapper, div.output.text_html, div.highlight pre").forEach(makeScrollable);
  scrollable();
  window.addEventListener("resize", scrollable);
});
