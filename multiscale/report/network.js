"use strict";
// Fills Bokeh's picture of the network and connects it with the controls. Text from data is only set as text.
(async () => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const byId = (id) => document.getElementById(id);
  if (!byId("network-content")) return;
  const { nodes, edges, scales, colours } = read("network-content");
  const RAMP = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6dcd59", "#b4de2c", "#fde725"];
  const markers = Object.fromEntries(scales.map((scale) => [scale.name, scale.marker]));
  const state = { selected: null, colour: 0 };

  const view = await Bokeh.embed.embed_item(read("network-item"), "network-canvas");
  const views = [...view]; // the views of the item
  const picture = views[0].model;
  const source = (name) => picture.renderers.map((r) => r.data_source).find((s) => s.name === name);
  const dots = source("nodes"), lines = source("edges");
  let drawn = []; // numbers of the nodes that are drawn, in the order of the source

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const mix = (where) => {
    const place = where * (RAMP.length - 1), low = Math.min(Math.floor(place), RAMP.length - 2);
    const part = (colour, i) => parseInt(colour.slice(1 + 2 * i, 3 + 2 * i), 16);
    const of = (i) => Math.round(part(RAMP[low], i) + (place - low) * (part(RAMP[low + 1], i) - part(RAMP[low], i)));
    return `rgb(${of(0)},${of(1)},${of(2)})`;
  };

  function visible() {
    const on = new Set([...document.querySelectorAll("#network-tools fieldset input[value]:checked")].map((box) => box.value));
    const lonely = byId("network-lonely")?.checked ?? true;
    return nodes.map((node) => on.has(node.scale) && (node.linked || lonely));
  }

  function size() { // pixels of the picture
    const box = byId("network-canvas").getBoundingClientRect();
    return [box.width, box.height];
  }

  function font() {
    const [width, height] = size();
    const row = height / Math.abs(picture.y_range.end - picture.y_range.start);
    const column = width / (picture.x_range.end - picture.x_range.start);
    const fits = Math.min(row * 0.98, column / 13);
    return fits < 5.5 ? 0 : Math.min(13, Math.max(8, fits));
  }

  function curve(start, end) { // from marker to marker, leaving and arriving flat
    const [a, b] = start.x <= end.x ? [start, end] : [end, start];
    const bend = a.x === b.x ? 0.4 : (b.x - a.x) / 2, xs = [], ys = [];
    for (let i = 0; i <= 14; i++) {
      const t = i / 14, s = 1 - t;
      xs.push(s ** 3 * a.x + 3 * s * s * t * (a.x + bend) + 3 * s * t * t * (a.x === b.x ? b.x + bend : b.x - bend) + t ** 3 * b.x);
      ys.push(s ** 3 * a.y + 3 * s * s * t * a.y + 3 * s * t * t * b.y + t ** 3 * b.y);
    }
    return [xs, ys];
  }

  function tip(node) {
    const values = node.values.slice(0, 8).map(([name, value, interval]) => `${name}: ${value}${interval ? ` (90 %: ${interval})` : ""}`);
    const more = node.values.length > 8 ? ["…"] : [];
    return [node.name, node.scale, ...values, ...more].join("\n");
  }

  function draw() {
    const shown = visible(), ink = style("--ink"), paper = style("--paper"), faint = style("--faint"), accent = style("--accent");
    const near = new Set(state.selected === null ? [] : [state.selected]);
    for (const [a, b] of edges) {
      if (a === state.selected) near.add(b);
      if (b === state.selected) near.add(a);
    }
    const where = colours[state.colour]?.where ?? [], letters = font();
    drawn = nodes.map((_, number) => number).filter((number) => shown[number]);
    const of = (make) => drawn.map((number) => make(nodes[number], number));
    const dim = (number) => near.size && !near.has(number);
    dots.data = {
      x: of((n) => n.x), y: of((n) => n.y), marker: of((n) => markers[n.scale]),
      size: of((n, i) => (i === state.selected ? 15 : 9)),
      fill: of((n, i) => (where[i] === null || where[i] === undefined ? paper : mix(where[i]))),
      line: of((n, i) => (i === state.selected ? accent : faint)),
      line_width: of((n, i) => (i === state.selected ? 3 : 1)),
      alpha: of((n, i) => (dim(i) ? 0.25 : 1)),
      shown: of((n, i) => (letters || near.has(i) ? n.label : "")),
      align: of((n) => (n.right ? "left" : "right")), offset: of((n) => (n.right ? 10 : -10)),
      ink: of(() => ink), paper: of(() => paper), behind: of((n, i) => (dim(i) ? 0 : 0.75)),
      font: of((n, i) => `${near.has(i) ? Math.max(letters, 11) : letters || 8}px`),
      tip: of(tip),
    };
    const kept = edges.filter(([a, b]) => shown[a] && shown[b]);
    const touches = ([a, b]) => a === state.selected || b === state.selected;
    const curves = kept.map(([a, b]) => curve(nodes[a], nodes[b]));
    lines.data = {
      xs: curves.map((c) => c[0]), ys: curves.map((c) => c[1]),
      colour: kept.map((e) => (touches(e) ? accent : faint)),
      alpha: kept.map((e) => (touches(e) ? 1 : near.size ? 0.12 : 0.4)),
      width: kept.map((e) => (touches(e) ? 2 : 1)),
      dash: kept.map((e) => (e[2] ? [5, 4] : [])),
    };
    byId("network-canvas").dataset.drawn = String(drawn.length);
  }

  function legend() {
    const colour = colours[state.colour];
    byId("network-low").textContent = colour ? colour.ticks[0] : "";
    byId("network-high").textContent = colour ? colour.ticks[2] : "";
    byId("network-middle").textContent = colour ? colour.name : "";
  }

  function look(x0, x1, y0, y1) {
    picture.x_range.setv({ start: x0, end: x1 });
    picture.y_range.setv({ start: y1, end: y0 }); // rows run downwards
    draw();
  }

  function fit(readable) { // all that is shown, or at a phone's width as much as can be read
    const shown = visible(), points = nodes.filter((_, number) => shown[number]);
    if (!points.length) return draw();
    const [width, height] = size();
    const innermost = Math.min(...points.map((n) => n.x)), outermost = Math.max(...points.map((n) => n.x));
    const room = (at, right) => // pixels of the longest name
      26 + 7.4 * Math.max(0, ...points.filter((n) => n.x === at && n.right === right).map((n) => n.label.length));
    const left = Math.min(room(innermost, false), 0.3 * width), right = Math.min(room(outermost, true), 0.4 * width);
    const unit = (outermost - innermost || 1) / (width - left - right); // columns per pixel
    let x0 = innermost - left * unit, x1 = outermost + right * unit;
    let y0 = Math.min(...points.map((n) => n.y)) - 1, y1 = Math.max(...points.map((n) => n.y)) + 1;
    if (readable && width / (x1 - x0) < 110) { // complexes and what they are made of first
      x0 = Math.max(innermost, Math.min(1, outermost)) - 0.75;
      x1 = x0 + width / 150;
    }
    if (readable && height / (y1 - y0) < 9) y1 = y0 + height / 11;
    look(x0, x1, y0, y1);
  }

  function zoom(factor, dx = 0, dy = 0) {
    const ends = [picture.x_range, picture.y_range].map((range, axis) => {
      const middle = (range.start + range.end) / 2, span = range.end - range.start;
      const move = (axis ? dy : dx) * Math.abs(span);
      return [middle + move - (span * factor) / 2, middle + move + (span * factor) / 2];
    });
    look(ends[0][0], ends[0][1], ends[1][1], ends[1][0]);
  }

  function centre(number) {
    const [width, height] = size(), node = nodes[number];
    const x = Math.min(picture.x_range.end - picture.x_range.start, width / 150);
    const y = Math.min(Math.abs(picture.y_range.end - picture.y_range.start), height / 13);
    const points = nodes.filter((n) => n.linked === node.linked).map((n) => n.y);
    const top = Math.max(Math.min(...points) - 1, Math.min(node.y - y / 2, Math.max(...points) + 1 - y)); // no empty rows
    look(node.x - 0.6 * x, node.x + 0.4 * x, top, top + y);
  }

  const element = (tag, words, parent) => {
    const made = parent.appendChild(document.createElement(tag));
    if (words !== undefined) made.textContent = words;
    return made;
  };

  function details() {
    const panel = byId("network-details"), number = state.selected;
    if (number === null) return;
    const node = nodes[number];
    panel.replaceChildren();
    element("h3", node.name, panel);
    element("p", [node.scale, ...node.about].join(" · "), panel).className = "about";
    if (node.values.length) {
      const box = element("div", undefined, panel);
      box.className = "table";
      const table = element("table", undefined, box), head = element("tr", undefined, element("thead", undefined, table));
      for (const words of ["learned", "value", "90 % interval"]) element("th", words, head).scope = "col";
      const body = element("tbody", undefined, table);
      for (const line of node.values) {
        const row = element("tr", undefined, body);
        line.forEach((words, place) => { element("td", words || "–", row).className = place ? "number" : "words"; });
      }
    }
    const links = new Map();
    for (const [a, b, , says, said] of edges) {
      if (b === number) links.set(says, [...(links.get(says) ?? []), a]);
      if (a === number) links.set(said, [...(links.get(said) ?? []), b]);
    }
    for (const [words, others] of links) {
      const line = element("p", `${words} `, panel);
      for (const other of new Set(others)) {
        const button = element("button", nodes[other].name, line);
        button.type = "button";
        button.onclick = () => { select(other, true); byId("network-details").focus(); };
      }
    }
  }

  function select(number, move) {
    state.selected = number;
    if (number !== null) {
      const node = nodes[number]; // what was asked for is shown even if its scale was hidden
      const box = document.querySelectorAll("#network-tools fieldset input[value]")[scales.findIndex((s) => s.name === node.scale)];
      box.checked = true;
      if (!node.linked && byId("network-lonely")) byId("network-lonely").checked = true;
    }
    if (move && number !== null) centre(number);
    draw();
    details();
  }

  function search() {
    const words = byId("network-search").value.trim().toLowerCase();
    const names = nodes.map((node) => node.name.toLowerCase());
    const hits = [names.indexOf(words), names.findIndex((n) => n.startsWith(words)), names.findIndex((n) => n.includes(words))];
    const found = words ? hits.find((hit) => hit >= 0) : undefined;
    byId("network-found").textContent = words && found === undefined ? `No node is called “${words}”.` : "";
    if (found !== undefined) select(found, true);
  }

  byId("network-search").addEventListener("change", search);
  byId("network-search").addEventListener("keydown", (event) => { if (event.key === "Enter") search(); });
  byId("network-tools").addEventListener("submit", (event) => event.preventDefault());
  byId("network-colour").addEventListener("change", (event) => { state.colour = Number(event.target.value); legend(); draw(); });
  document.querySelector("#network-tools fieldset").addEventListener("change", (event) => {
    if (event.target.id === "network-lonely") fit(false); else draw();
  });
  const actions = { in: () => zoom(1 / 1.5), out: () => zoom(1.5), fit: () => { state.selected = null; fit(false); } };
  for (const button of document.querySelectorAll(".buttons button")) button.onclick = actions[button.dataset.do];
  const keys = {
    "+": actions.in, "=": actions.in, "-": actions.out, 0: actions.fit,
    ArrowLeft: () => zoom(1, -0.15), ArrowRight: () => zoom(1, 0.15),
    ArrowUp: () => zoom(1, 0, -0.15), ArrowDown: () => zoom(1, 0, 0.15), Escape: () => select(null, false),
  };
  byId("network-canvas").addEventListener("keydown", (event) => {
    if (keys[event.key] && !event.ctrlKey && !event.metaKey) { event.preventDefault(); keys[event.key](); }
  });
  dots.selected.change.connect(() => {
    const [hit] = dots.selected.indices;
    if (hit !== undefined) { dots.selected.indices = []; select(drawn[hit], false); }
  });
  let last = 0;
  const rescale = () => { const now = font(); if (now !== last) { last = now; draw(); } };
  picture.y_range.change.connect(rescale);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  legend();
  fit(true);
  byId("network-canvas").dataset.ready = "yes";
})();
