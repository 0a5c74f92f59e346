// The two graphs, out of the columns that embed.py wrote. A drawn node is an input, a node or an output of the graph.

const ROW = 78, HEIGHT = 42;

class Graph {
  constructor(side, data, texts) {
    Object.assign(this, { side, data, texts });
    this.first = data.inputs.length;
    this.nodes = data.name.length;
    this.count = data.row.length;
    this.makers = new Map();
    data.writes.forEach((values, node) => values.forEach((value) => this.makers.set(value, node + this.first)));
    data.inputs.forEach((value, id) => this.makers.set(value, id));
    this.above = Array.from({ length: this.count }, () => []);
    this.below = Array.from({ length: this.count }, () => []);
    for (let at = 0; at < data.edges.length; at += 2) {
      this.below[data.edges[at]].push(data.edges[at + 1]);
      this.above[data.edges[at + 1]].push(data.edges[at]);
    }
    this.place();
  }

  // Nodes and pieces of lines by row, so that drawing costs what is in sight.
  place() {
    const { row, x, width, lines } = this.data;
    const rows = Math.max(-1, ...unique(row)) + 1;
    this.rows = Array.from({ length: rows }, () => []);
    this.pieces = Array.from({ length: rows }, () => []);
    this.far = [];
    this.right = 0;
    for (let id = 0; id < this.count; id++) {
      this.rows[row[id]].push(id);
      this.right = Math.max(this.right, x[id] + width[id] / 2);
      const line = lines[id] ?? [];
      line.forEach((place, depth) => {
        const from = depth ? line[depth - 1] : x[id];
        this.pieces[row[id] + depth].push({ from, to: place, start: id, end: -1, bent: depth > 0 });
        this.right = Math.max(this.right, place);
      });
      for (const other of this.below[id]) {
        const depth = row[other] - row[id] - 1;
        if (depth > line.length) this.far.push({ id, other });
        else {
          const from = depth ? line[depth - 1] : x[id];
          this.pieces[row[id] + depth].push({ from, to: x[other], start: id, end: other, bent: depth > 0 });
        }
      }
    }
    this.bottom = rows * ROW - (ROW - HEIGHT);
  }

  text(position) { return this.texts[position]; }
  node(id) { const node = id - this.first; return node >= 0 && node < this.nodes ? node : -1; }
  drawn(node) { return node + this.first; }

  // The value that a terminal stands for, -1 for nodes.
  value(id) {
    if (id < this.first) return this.data.inputs[id];
    return id >= this.first + this.nodes ? this.data.outputs[id - this.first - this.nodes] : -1;
  }

  name(id) {
    const node = this.node(id);
    return this.text(node < 0 ? this.data.values[this.value(id)][0] : this.data.name[node]);
  }

  operator(id) {
    const node = this.node(id);
    return node < 0 ? (id < this.first ? "input" : "output") : this.text(this.data.op[node]);
  }

  title(id) { return this.node(id) < 0 ? this.name(id) : this.operator(id); }

  type(id) {
    const node = this.node(id);
    const value = node < 0 ? this.value(id) : this.data.writes[node][0];
    return value === undefined ? "" : this.text(this.data.values[value][1]);
  }

  shape(id) { return this.type(id).split(" ").slice(1).join(" "); }

  // Lower-case words to search in: name, operator, pass, and the names of what it writes.
  words(id, passes) {
    this.hay ??= [];
    return this.hay[id] ??= [this.name(id), this.operator(id), this.pass(id, passes),
      ...(this.data.writes[this.node(id)] ?? []).map((v) => this.text(this.data.values[v][0]))].join("\n").toLowerCase();
  }

  // The pass and its rule that made a node, or took it away.
  pass(id, passes) { return passes[this.data.by[this.node(id)]] ?? ""; }
  macs(id) { return this.data.macs[this.node(id)] ?? 0; }
  verdict(id) { return (this.data.verdict[this.node(id)] ?? []).map((at) => this.data.findings[at]); }
  metrics(id) { return this.data.layers?.[this.node(id)] ?? null; }
}

const unique = (values) => [...new Set(values)];

// A ranking of colors by what it stands for; `of` gives the class of a node, -1 for none.
function colorings(before, after, passes, supported) {
  const found = [];
  const graphs = [before, after];
  if (supported) {
    found.push({
      key: "support", label: "Support",
      classes: [{ label: "on target", color: "good" }, { label: "not on target", color: "bad" }],
      of: (graph, id) => (graph.node(id) < 0 ? -1 : graph.verdict(id).length ? 1 : 0),
    });
  }
  found.push(byPass(graphs, passes));
  const errors = (id) => after.metrics(id)?.sqnr_db;
  if (after.data.layers && Object.keys(after.data.layers).length) {
    const steps = [60, 40, 30, 20, -Infinity];
    const step = (id) => (errors(id) === undefined ? -1 : steps.findIndex((least) => errors(id) >= least));
    found.push({
      key: "error", label: "Error",
      classes: ["60 dB or more", "40 to 60 dB", "30 to 40 dB", "20 to 30 dB", "below 20 dB"]
        .map((label, at) => ({ label, color: `heat${at}` })),
      of: (graph, id) => (graph === after ? step(id) : Math.max(-1, ...linked(graph, after, id).map(step))),
    });
    if (Object.values(after.data.layers).some((metrics) => metrics.ms > 0)) {
      found.push(byShare("latency", "Latency", "time", (graph, id) => graph.metrics(id)?.ms ?? 0, graphs));
    }
  }
  found.push(byShare("macs", "MACs", "MACs", (graph, id) => graph.macs(id), graphs));
  return found;
}

function byPass([before, after], passes) {
  const counts = new Map();
  for (const graph of [before, after]) {
    for (const pass of graph.data.by) if (pass >= 0) counts.set(pass, (counts.get(pass) ?? 0) + 1);
  }
  const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 8).map(([pass]) => pass);
  return {
    key: "pass", label: "Pass",
    classes: [{ label: "as it was", color: "neutral" }, { label: "folded or removed", color: "none" },
      ...most.map((pass, at) => ({ label: passes[pass], color: `pass${at}` })), { label: "other passes", color: "other" }],
    of(graph, id) {
      const node = graph.node(id);
      if (node < 0) return -1;
      const pass = graph.data.by[node];
      if (pass < 0) return graph === before && graph.data.gone[node] ? 1 : 0;
      const at = most.indexOf(pass);
      return at < 0 ? most.length + 2 : at + 2;
    },
  };
}

function byShare(key, label, noun, amount, graphs) {
  const totals = new Map(graphs.map((graph) => {
    let total = 0;
    for (let id = 0; id < graph.count; id++) total += Math.max(0, amount(graph, id));
    return [graph, total];
  }));
  const steps = [0, 0.01, 0.03, 0.1];
  return {
    key, label,
    classes: ["none", "below 1 %", "1 to 3 %", "3 to 10 %", `10 % of the ${noun} or more`]
      .map((text, at) => ({ label: text, color: at ? `heat${at}` : "neutral" })),
    of(graph, id) {
      if (graph.node(id) < 0) return -1;
      const share = amount(graph, id) / (totals.get(graph) || 1);
      return share <= 0 ? 0 : steps.filter((least) => share >= least).length;
    },
  };
}

// What a drawn node of one graph stands for in the other: by provenance, terminals by name.
function linked(graph, other, id) {
  const node = graph.node(id);
  if (node < 0) {
    graph.twins ??= new Map();
    if (!graph.twins.has(id)) {
      const all = Array.from({ length: other.count }, (_, at) => at).filter((at) => other.node(at) < 0);
      graph.twins.set(id, all.filter((at) => other.name(at) === graph.name(id) && other.operator(at) === graph.operator(id)));
    }
    return graph.twins.get(id);
  }
  if (graph.data.from) return graph.data.from[node].map((at) => other.drawn(at));
  if (!graph.became) {
    graph.became = Array.from({ length: graph.nodes }, () => []);
    other.data.from.forEach((sources, at) => sources.forEach((source) => graph.became[source].push(other.drawn(at))));
  }
  return graph.became[node];
}
