// What is known of one node, and the nodes as a table.

// An element with properties and children; texts stay texts.
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

// A large number in decimal steps, as "4.65 M".
function quantity(number, unit = "") {
  const step = Math.max(0, Math.min(4, Math.floor(Math.log10(Math.max(number, 1)) / 3)));
  return `${Number((number / 1000 ** step).toPrecision(3))} ${["", "k", "M", "G", "T"][step]}${unit}`.trim();
}

const link = (text, act) => element("button", { type: "button", className: "link", onclick: act }, text);

class Details {
  constructor(place, { before, after, passes, backend, supported, select }) {
    Object.assign(this, { place, before, after, passes, backend, supported, select });
  }

  show(graph, id) {
    const node = graph.node(id), { data } = graph;
    const rows = [["Name", element("span", { className: "mono" }, graph.name(id))]];
    if (node < 0) rows.push(["Type", graph.type(id)]);
    else {
      if (node in data.body) rows.push(["Inside", graph.text(data.body[node])]);
      if (this.supported) rows.push(["On target", this.verdict(graph, id)]);
      rows.push(...this.origin(graph, id));
      const attributes = data.attributes[node];
      if (attributes.length) rows.push(["Attributes", this.pairs(graph, attributes)]);
      rows.push(["Reads", this.values(graph, data.reads[node])], ["Writes", this.values(graph, data.writes[node])]);
      if (data.macs[node]) rows.push(["MACs", data.macs[node] < 0 ? "unknown: no static shapes" : quantity(data.macs[node])]);
      if (data.weights[node]) rows.push(["Weights", `${quantity(data.weights[node][0])} parameters, ${quantity(data.weights[node][1], "B")}`]);
      const metrics = Object.entries(graph.metrics(id) ?? {}).map(([name, value]) =>
        element("div", {}, `${name.replaceAll("_", " ")}: ${typeof value === "number" ? Number(value.toPrecision(4)) : value}`));
      if (metrics.length) rows.push(["Measured", metrics]);
    }
    this.place.replaceChildren(
      element("p", { className: "kicker soft" }, graph.side),
      element("h3", {}, graph.operator(id)),
      element("dl", {}, rows.flatMap(([term, said]) => [element("dt", {}, term), element("dd", {}, said)])),
    );
  }

  clear() {
    this.place.replaceChildren(element("p", { className: "soft" }, "Nothing is selected."));
  }

  verdict(graph, id) {
    const found = graph.verdict(id);
    if (!found.length) return element("span", { className: "good" }, `✓ ${this.backend} takes it`);
    return found.map(([reason, evidence, remedy]) => element("div", {},
      element("p", { className: "bad" }, `✗ ${graph.text(reason)}`),
      graph.text(evidence) ? element("p", { className: "soft" }, `Measured: ${graph.text(evidence)}`) : null,
      graph.text(remedy) ? element("p", {}, element("span", { className: "good" }, "What now: "), graph.text(remedy)) : null));
  }

  // Where it came from, or what became of it.
  origin(graph, id) {
    const node = graph.node(id), other = graph === this.after ? this.before : this.after;
    const tied = linked(graph, other, id);
    const names = tied.slice(0, 40).map((at) => element("div", {}, link(`${other.name(at)} (${other.operator(at)})`, () => this.select(other, at))));
    if (graph === this.after) {
      return [["Made by", graph.pass(id, this.passes) || "the original has it"], ["From", names.length ? names : "nothing of the original"]];
    }
    const pass = graph.pass(id, this.passes);
    const gone = graph.data.gone[node];
    return [[gone ? "Removed" : "Became", names.length ? names : pass ? `by ${pass}` : "folded into constants, or not needed"],
      ...(pass && !gone ? [["Rewritten by", pass]] : [])];
  }

  pairs(graph, texts) {
    const rows = [];
    for (let at = 0; at < texts.length; at += 2) {
      rows.push(element("div", { className: "mono" }, element("span", { className: "soft" }, `${graph.text(texts[at])} = `), graph.text(texts[at + 1])));
    }
    return rows;
  }

  values(graph, positions) {
    return positions.map((position) => {
      if (position < 0) return element("div", { className: "soft" }, "left out");
      const [name, type, constant] = graph.data.values[position];
      const maker = graph.makers.get(position);
      const told = graph.text(name) || "(no name)";
      return element("div", { className: "value" },
        maker === undefined ? element("span", { className: "mono" }, told) : link(told, () => this.select(graph, maker)),
        element("span", { className: "soft" }, ` ${graph.text(type)}${constant ? ", weights" : ""}`));
    });
  }
}

class Table {
  constructor(place, more, { graphs, passes, supported, select }) {
    Object.assign(this, { place, more, graphs, passes, supported, select });
    more.addEventListener("click", () => this.extend());
  }

  // Rows for these nodes, [graph, id] each, as many at a time as one reads.
  fill(found) {
    this.found = found;
    this.told = 0;
    const heads = ["Node", "Graph", "Operator", "Writes", "Pass", ...(this.supported ? ["On target"] : []), "MACs"];
    this.body = element("tbody");
    this.place.replaceChildren(
      element("thead", {}, element("tr", {}, heads.map((head) => element("th", { scope: "col", className: head === "MACs" ? "n" : "" }, head)))),
      this.body);
    this.extend();
  }

  extend() {
    const rows = this.found.slice(this.told, this.told + 100);
    this.told += rows.length;
    this.body.append(...rows.map(([graph, id]) => element("tr", {},
      element("th", { scope: "row" }, link(graph.name(id), () => this.select(graph, id))),
      ...[graph.side, graph.operator(id), graph.type(id), graph.pass(id, this.passes)].map((text) => element("td", {}, text)),
      ...(this.supported ? [graph.verdict(id).length ? element("td", { className: "bad" }, "no") : element("td", {}, graph.node(id) < 0 ? "" : "yes")] : []),
      element("td", { className: "n" }, graph.macs(id) > 0 ? quantity(graph.macs(id)) : ""))));
    this.more.hidden = this.told >= this.found.length;
  }
}
