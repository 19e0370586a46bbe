"use strict";
// Tables: show all rows, sort by a column, save the whole table. Text from data is only ever set as text.
(() => {
  const SHOWN = 30;

  async function unpack(sheet) {
    if (!sheet.rows) {
      const packed = sheet.querySelector("script.rows").textContent;
      const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
      sheet.text = await new Response(stream).text();
      sheet.rows = parse(sheet.text).slice(1);
    }
    return sheet;
  }

  function parse(text) { // fields that hold a tab, a line break or a quote stand between quotes
    const rows = [[]];
    for (const [, field, end] of text.matchAll(/("(?:[^"]|"")*"|[^\t\n]*)(\t|\n|$)/g)) {
      const quoted = field.startsWith('"');
      rows[rows.length - 1].push(quoted ? field.slice(1, -1).replaceAll('""', '"') : field);
      if (end === "\n") rows.push([]);
      if (end === "") break;
    }
    return rows.filter((row) => row.length > 1 || row[0]);
  }

  function shown(value, kind) {
    if (value === "" || value === undefined) return "–";
    if (kind === "b") return value === "True" ? "yes" : "no";
    if (kind !== "n") return value;
    const number = Number(value);
    if (!Number.isFinite(number)) return value.replace("inf", "∞").replace("-", "−");
    const rounded = Number(number.toPrecision(4)), size = Math.abs(rounded);
    if (size && (size < 1e-4 || size >= 1e7)) {
      const [mantissa, exponent] = rounded.toExponential().split("e");
      const raised = [...String(Number(exponent))].map((sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]).join("");
      return `${mantissa.replace("-", "−")}×10${raised}`;
    }
    return String(rounded).replace("-", "−");
  }

  function holds(row, words) {
    return row.some((field) => field.toLowerCase().includes(words));
  }

  function fill(sheet) {
    const columns = sheet.dataset.columns.split(" ").map(Number), kinds = sheet.dataset.kinds;
    const names = { n: "number", b: "boolean", w: "words" };
    const body = document.createElement("tbody");
    const found = sheet.sought ? sheet.rows.filter((row) => holds(row, sheet.sought)) : sheet.rows;
    for (const row of found.slice(0, sheet.everything ? undefined : SHOWN)) {
      const line = body.insertRow();
      columns.forEach((column, place) => {
        const cell = line.insertCell();
        cell.className = names[kinds[place]];
        cell.textContent = shown(row[column], kinds[place]);
      });
    }
    sheet.querySelector("tbody").replaceWith(body);
  }

  function sort(sheet, place) {
    const column = Number(sheet.dataset.columns.split(" ")[place]);
    const numeric = sheet.dataset.kinds[place] === "n";
    const heads = [...sheet.querySelectorAll("th")];
    const falling = heads[place].getAttribute("aria-sort") === "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[place].setAttribute("aria-sort", falling ? "descending" : "ascending");
    const compare = numeric ? (a, b) => Number(a) - Number(b) : (a, b) => a.localeCompare(b);
    sheet.rows.sort((first, second) => {
      const a = first[column] ?? "", b = second[column] ?? "";
      if (a === "" || b === "") return (a === "") - (b === ""); // missing ones last either way
      return falling ? compare(b, a) : compare(a, b);
    });
    fill(sheet);
  }

  function save(sheet) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([sheet.text], { type: "text/tab-separated-values" }));
    link.download = sheet.dataset.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  for (const sheet of document.querySelectorAll(".sheet")) {
    sheet.querySelector(".download").onclick = async () => save(await unpack(sheet));
    const all = sheet.querySelector(".all"), find = sheet.querySelector(".find");
    if (find) {
      find.oninput = async () => {
        await unpack(sheet);
        sheet.sought = find.value.trim().toLowerCase();
        fill(sheet);
      };
    }
    if (all) {
      const words = all.textContent;
      all.onclick = async () => {
        await unpack(sheet);
        sheet.everything = !sheet.everything;
        all.textContent = sheet.everything ? `Show the first ${SHOWN} rows` : words;
        fill(sheet);
      };
    }
    sheet.querySelectorAll("th").forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.onclick = async () => { await unpack(sheet); sort(sheet, place); };
      head.replaceChildren(button);
    });
  }

  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((part) => { part.open = true; });
  });
})();
