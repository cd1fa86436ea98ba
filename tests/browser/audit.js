/* What a page owes to eyes and screen readers, as a list of complaints. */
() => {
  const complaints = [];
  const shown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const brief = (element) => element.outerHTML.replace(/\s+/g, " ").slice(0, 100);
  const root = document.getElementById("content");

  for (const table of root.querySelectorAll("table")) {
    if (!table.caption || !table.caption.textContent.trim()) complaints.push(`no caption: ${brief(table)}`);
    for (const cell of table.querySelectorAll("th"))
      if (!["col", "row", "colgroup", "rowgroup"].includes(cell.scope)) complaints.push(`no scope: ${brief(cell)}`);
  }
  for (const field of root.querySelectorAll("input:not([type=hidden], [type=submit]), select, textarea"))
    if (!field.labels.length && !field.getAttribute("aria-label")) complaints.push(`no label: ${brief(field)}`);
  for (const control of root.querySelectorAll("button, a[href]"))
    if (shown(control) && !(control.textContent.trim() || control.getAttribute("aria-label") || control.title))
      complaints.push(`no name: ${brief(control)}`);
  for (const element of document.querySelectorAll("[style]"))
    if (element.closest("#content")) complaints.push(`style attribute: ${brief(element)}`);
  for (const link of document.querySelectorAll("[href], [src], [action], [formaction]"))
    for (const name of ["href", "src", "action", "formaction"])
      if (/^\s*(javascript|data|vbscript):/i.test(link.getAttribute(name) ?? "")) complaints.push(`address: ${brief(link)}`);
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids.filter((id, place) => ids.indexOf(id) !== place))) complaints.push(`id twice: ${id}`);
  if (document.querySelectorAll("h1").length > 1 + document.querySelectorAll("#site-name h1, #header h1").length)
    complaints.push("more than one h1");
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth)
    complaints.push(`sideways: ${document.documentElement.scrollWidth} of ${document.documentElement.clientWidth} px`);
  return complaints;
}
