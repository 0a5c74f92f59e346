// What holds the page together: theme, copying, and the two graphs that follow each other.

const by = (id) => document.getElementById(id);
const root = document.documentElement;

function themed(changed) {
  const dark = matchMedia("(prefers-color-scheme: dark)"), button = by("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const tell = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Use ${button.textContent.toLowerCase()} colors`);
    changed();
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    tell();
  });
  dark.addEventListener("change", tell);
  tell();
}

function copying() {
  const button = by("copy"), text = by("recipe-text");
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(text);
      button.textContent = "Selected: copy it with the keyboard";
    }
  });
}

// A color of the style sheet under the theme of the moment, as a canvas takes it.
function shade(name) {
  const probe = element("i", { style: `color: var(--${name}, var(--${name.replace("-strong", "")}))` });
  document.body.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}

// One button of several pressed; calls `act` with its key.
function choice(place, options, act) {
  const buttons = options.map(({ key, label }) => element("button", { type: "button", onclick: () => choose(key) }, label));
  const choose = (key) => {
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(options[at].key === key)));
    act(key);
  };
  place.append(...buttons);
  return choose;
}

function drawn(data) {
  const before = new Graph("before", data.before, data.texts), after = new Graph("after", data.after, data.texts);
  const passes = data.passes.map((at) => data.texts[at]);
  const schemes = colorings(before, after, passes, data.supported);
  let scheme = schemes[0], shades = {};
  const palette = (name) => (shades[name] ??= shade(name));
  const colorOf = (graph, id) => { const at = scheme.of(graph, id); return `fill-${at < 0 ? "neutral" : scheme.classes[at].color}`; };
  for (const id of ["graphs", "graph-tools"]) by(id).hidden = false;
  const onSelect = (view, id) => select(view.graph, id, view);
  const views = [...document.querySelectorAll(".graph")].map((figure) =>
    new View(figure, figure.dataset.side === "before" ? before : after, { colorOf, palette, onSelect }));
  const viewOf = (graph) => views.find((view) => view.graph === graph);
  const shared = { before, after, passes, backend: data.backend, supported: data.supported, graphs: [after, before],
    select: (graph, id) => { select(graph, id); by("details").focus({ preventScroll: true }); } };
  const details = new Details(by("details"), shared);
  const table = new Table(by("table"), by("more"), shared);

  // Select on one side: the other shows what belongs to it.
  function select(graph, id, from = null) {
    for (const view of views) Object.assign(view, { selected: -1, linked: new Set() });
    if (id >= 0) {
      const other = graph === after ? before : after, tied = linked(graph, other, id);
      viewOf(graph).selected = id;
      viewOf(other).linked = new Set(tied);
      if (!from || !visible(from, id)) viewOf(graph).reveal(id);
      viewOf(other).reveal(tied[0]);
      details.show(graph, id);
      show(graph.side);
    } else details.clear();
    views.forEach((view) => view.draw());
  }
  const visible = (view, id) => {
    const x = (view.graph.data.x[id] - view.left) * view.scale, y = (view.graph.data.row[id] * ROW - view.top) * view.scale;
    return x > 0 && x < view.width && y > 0 && y < view.height - HEIGHT * view.scale;
  };

  const legend = () => {
    const counts = scheme.classes.map(() => 0);
    for (const graph of [before, after]) {
      for (let id = 0; id < graph.count; id++) { const at = scheme.of(graph, id); if (at >= 0) counts[at]++; }
    }
    by("legend").replaceChildren(...scheme.classes.flatMap(({ label, color }, at) => (counts[at]
      ? [element("span", {}, element("i", { style: `background:var(--fill-${color})` }), `${label} ${counts[at]}`)] : [])));
  };
  const recolor = () => {
    shades = {};
    views.forEach((view) => view.repaint());
  };
  const paintBy = choice(by("colors"), schemes, (key) => {
    scheme = schemes.find((one) => one.key === key);
    legend();
    recolor();
  });
  const troubled = data.supported && [before, after].some((graph) => graph.data.verdict.some((found) => found.length));
  paintBy(troubled ? "support" : "pass");
  const show = choice(by("sides"), [{ key: "before", label: "Before" }, { key: "after", label: "After" }], (side) => {
    by("graphs").dataset.shown = side;
  });
  show("after");

  searching(views, shared, select, table);
  by("enlarge").addEventListener("click", () => enlarge(!by("graph").classList.contains("large")));
  const enlarge = (large) => {
    by("graph").classList.toggle("large", large);
    document.body.classList.toggle("still", large);
    by("enlarge").setAttribute("aria-pressed", String(large));
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, textarea");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      by("search").focus();
    } else if (event.key === "Escape" && by("graph").classList.contains("large")) enlarge(false);
    else if (event.key === "Escape" && event.target.matches("canvas")) select(after, -1);
  });
  linkNames([after, before], (graph, id) => {
    select(graph, id);
    by("graph").scrollIntoView();
  });
  return recolor;
}

function searching(views, { graphs, passes }, select, table) {
  const field = by("search"), told = by("found"), list = by("nodes");
  const everything = graphs.flatMap((graph) => Array.from({ length: graph.count }, (_, id) => [graph, id]));
  let found = everything, at = -1;
  const look = () => {
    const words = field.value.trim().toLowerCase();
    found = words ? everything.filter(([graph, id]) => graph.words(id, passes).includes(words)) : everything;
    at = -1;
    for (const view of views) {
      view.matches = words ? new Set(found.filter(([graph]) => graph === view.graph).map(([, id]) => id)) : null;
      view.draw();
    }
    told.textContent = words ? (found.length ? `${found.length} found` : "nothing found") : "";
    if (list.open) table.fill(found);
  };
  field.addEventListener("input", look);
  by("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!field.value.trim() || !found.length) return;
    at = (at + 1) % found.length;
    told.textContent = `${at + 1} of ${found.length}, ${found[at][0].side}`;
    select(...found[at]);
  });
  list.addEventListener("toggle", () => { if (list.open) table.fill(found); });
}

// Names of nodes anywhere on the page lead to them.
function linkNames(graphs, go) {
  const places = new Map();
  for (const graph of [...graphs].reverse()) {
    for (let node = 0; node < graph.nodes; node++) places.set(graph.text(graph.data.name[node]), [graph, graph.drawn(node)]);
  }
  for (const name of document.querySelectorAll("[data-node]")) {
    const place = places.get(name.dataset.node);
    if (place) name.replaceChildren(link(name.textContent, () => go(...place)));
  }
}

const source = by("graph-data");
themed(source ? drawn(JSON.parse(source.textContent)) : () => {});
copying();
