// One graph on a canvas: pan, zoom, hit test, and a map of the whole beside it. Draws only what is in sight.

class View {
  constructor(figure, graph, { colorOf, palette, onSelect }) {
    Object.assign(this, { figure, graph, colorOf, palette, onSelect });
    [this.canvas, this.map] = figure.querySelectorAll("canvas");
    this.selected = -1;
    this.linked = new Set();
    this.matches = null;
    this.scale = 1;
    this.left = this.top = 0;
    new ResizeObserver(() => this.resize()).observe(this.canvas);
    this.listen();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    const fresh = !this.width;
    Object.assign(this, { width, height, ratio: devicePixelRatio || 1 });
    for (const one of [this.canvas, this.map]) {
      one.width = one.clientWidth * this.ratio;
      one.height = one.clientHeight * this.ratio;
    }
    if (fresh) this.home();
    this.repaint();
  }

  // All of it where that can be read, else its beginning.
  home() {
    const all = Math.min(this.width / (this.graph.right + 48), this.height / (this.graph.bottom + 48));
    if (all >= 0.45) return this.fit();
    this.scale = 0.8;
    const start = this.graph.rows[0]?.[0];
    this.left = (start === undefined ? 0 : this.graph.data.x[start]) - this.width / 2 / this.scale;
    this.top = -24;
    this.draw();
  }

  fit() {
    this.scale = Math.min(1, this.width / (this.graph.right + 48), this.height / (this.graph.bottom + 48));
    this.left = this.graph.right / 2 - this.width / 2 / this.scale;
    this.top = this.graph.bottom / 2 - this.height / 2 / this.scale;
    this.draw();
  }

  reveal(id, still = false) {
    if (!this.width || id === undefined) return;
    if (this.scale < 0.5) this.scale = 0.7;
    const { x, row } = this.graph.data;
    const goal = [x[id] - this.width / 2 / this.scale, row[id] * ROW + HEIGHT / 2 - this.height / 2 / this.scale];
    this.fly(goal, still || matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 180);
  }

  fly([left, top], time) {
    const from = [this.left, this.top], begun = performance.now(), flight = this.flight = {};
    const step = (now) => {
      if (this.flight !== flight) return;
      const done = time ? Math.min(1, Math.max(0, now - begun) / time) : 1, eased = done * (2 - done);
      this.left = from[0] + (left - from[0]) * eased;
      this.top = from[1] + (top - from[1]) * eased;
      this.paint();
      if (done < 1) requestAnimationFrame(step);
    };
    step(begun);
  }

  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const scale = Math.min(3, Math.max(Math.min(0.02, this.height / (this.graph.bottom + 48)), this.scale * factor));
    this.left += x / this.scale - x / scale;
    this.top += y / this.scale - y / scale;
    this.scale = scale;
    this.draw();
  }

  move(x, y) {
    this.flight = null;
    this.left += x / this.scale;
    this.top += y / this.scale;
    this.draw();
  }

  at(x, y) {
    const across = this.left + x / this.scale, down = this.top + y / this.scale;
    const row = Math.floor(down / ROW);
    if (down - row * ROW > HEIGHT) return -1;
    const { x: middle, width } = this.graph.data;
    return (this.graph.rows[row] ?? []).find((id) => Math.abs(middle[id] - across) <= width[id] / 2) ?? -1;
  }

  // Colors have changed, or the size: the map as well.
  repaint() {
    this.overview = null;
    this.draw();
  }

  draw() {
    this.pending ??= requestAnimationFrame(() => this.paint());
  }

  paint() {
    cancelAnimationFrame(this.pending);
    this.pending = null;
    if (!this.width) return;
    const pen = this.canvas.getContext("2d"), scale = this.scale;
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    pen.setTransform(this.ratio * scale, 0, 0, this.ratio * scale, -this.left * scale * this.ratio, -this.top * scale * this.ratio);
    const first = Math.max(0, Math.floor(this.top / ROW) - 1);
    const last = Math.min(this.graph.rows.length - 1, Math.floor((this.top + this.height / scale) / ROW));
    this.lines(pen, first, last);
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    for (let row = first; row <= last; row++) for (const id of this.graph.rows[row]) this.box(pen, id);
    this.paintMap();
  }

  lines(pen, first, last) {
    const right = this.left + this.width / this.scale, chosen = [];
    const curved = this.scale > 0.25;
    const trace = (one, row) => {
      const top = row * ROW, start = top + (one.bent ? 0 : HEIGHT), end = top + ROW;
      pen.moveTo(one.from, start);
      if (one.bent) pen.lineTo(one.from, top + HEIGHT);
      if (!curved || one.from === one.to) pen.lineTo(one.to, end);
      else {
        const middle = top + (HEIGHT + ROW) / 2;
        pen.bezierCurveTo(one.from, middle + 6, one.to, middle - 6, one.to, end);
      }
    };
    pen.strokeStyle = this.palette("edge");
    pen.lineWidth = Math.max(1.2, 0.6 / this.scale);
    pen.beginPath();
    for (let row = first; row <= last; row++) {
      for (const one of this.graph.pieces[row]) {
        if (Math.max(one.from, one.to) < this.left || Math.min(one.from, one.to) > right) continue;
        if (this.selected >= 0 && (one.start === this.selected || one.end === this.selected)) chosen.push([one, row]);
        else trace(one, row);
      }
    }
    const { row, x } = this.graph.data;
    for (const { id, other } of this.graph.far) {
      if (row[other] < first || row[id] > last) continue;
      pen.moveTo(x[id], row[id] * ROW + HEIGHT);
      pen.lineTo(x[other], row[other] * ROW);
    }
    pen.stroke();
    pen.strokeStyle = this.palette("accent");
    pen.lineWidth = Math.max(2, 1.2 / this.scale);
    pen.beginPath();
    for (const [one, at] of chosen) trace(one, at);
    pen.stroke();
  }

  box(pen, id) {
    const { x, row, width } = this.graph.data, scale = this.scale;
    const left = x[id] - width[id] / 2, top = row[id] * ROW, terminal = this.graph.node(id) < 0;
    if (left + width[id] < this.left || left > this.left + this.width / scale) return;
    pen.globalAlpha = this.matches && !this.matches.has(id) ? 0.25 : 1;
    const color = terminal ? "card" : this.colorOf(this.graph, id), wide = Math.max(width[id], 4 / scale);
    pen.fillStyle = this.palette(scale < 0.2 ? `${color}-strong` : color);
    pen.beginPath();
    if (scale < 0.2) pen.rect(x[id] - wide / 2, top, wide, Math.max(HEIGHT, 1 / scale));
    else pen.roundRect(left, top, width[id], HEIGHT, terminal ? HEIGHT / 2 : 7);
    pen.fill();
    const picked = id === this.selected, tied = this.linked.has(id);
    if (scale > 0.3 || picked || tied) {
      pen.strokeStyle = this.palette(picked || tied ? "accent" : "outline");
      pen.lineWidth = picked || tied ? Math.max(2.5, 2 / scale) : 1;
      pen.setLineDash(tied && !picked ? [6, 3] : []);
      pen.stroke();
      pen.setLineDash([]);
    }
    if (scale > 0.3) {
      pen.fillStyle = this.palette("ink");
      const shape = this.graph.shape(id);
      pen.font = '600 12px system-ui, "Segoe UI", sans-serif';
      pen.fillText(cut(this.graph.title(id), 30), x[id], top + HEIGHT / 2 - (shape ? 7 : 0), width[id] - 10);
      pen.font = '11px system-ui, "Segoe UI", sans-serif';
      if (shape) pen.fillText(cut(shape, 34), x[id], top + HEIGHT / 2 + 9, width[id] - 10);
    }
    pen.globalAlpha = 1;
  }

  // The whole graph squeezed into a strip; what stands out is drawn last.
  paintMap() {
    const pen = this.map.getContext("2d"), { width, height } = this.map;
    const across = width / (this.graph.right || 1), down = height / (this.graph.bottom || 1);
    if (!this.overview) {
      this.overview = new OffscreenCanvas(Math.max(1, width), Math.max(1, height));
      const brush = this.overview.getContext("2d"), { x, row, width: wide } = this.graph.data;
      const shades = new Map();
      for (let id = 0; id < this.graph.count; id++) {
        const color = this.graph.node(id) < 0 ? "outline" : this.colorOf(this.graph, id);
        if (!shades.has(color)) shades.set(color, []);
        shades.get(color).push(id);
      }
      for (const [color, ids] of [...shades].sort((a, b) => b[1].length - a[1].length)) {
        brush.fillStyle = this.palette(`${color}-strong`);
        for (const id of ids) {
          brush.fillRect((x[id] - wide[id] / 2) * across, row[id] * ROW * down, Math.max(2, wide[id] * across), Math.max(1.5, HEIGHT * down));
        }
      }
    }
    pen.clearRect(0, 0, width, height);
    pen.drawImage(this.overview, 0, 0);
    pen.strokeStyle = this.palette("accent");
    pen.lineWidth = 2 * this.ratio;
    const top = Math.max(0, this.top * down), end = Math.min(height, (this.top + this.height / this.scale) * down);
    pen.strokeRect(this.ratio, top, width - 2 * this.ratio, Math.max(4 * this.ratio, end - top));
    pen.fillStyle = this.palette("accent");
    for (const id of [this.selected, ...this.linked]) {
      if (id >= 0) pen.fillRect(0, this.graph.data.row[id] * ROW * down - 1, width, 3 * this.ratio);
    }
  }

  listen() {
    const { canvas, map } = this, pointers = new Map();
    let moved = 0, apart = 0;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
      moved = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) {
        canvas.style.cursor = this.at(event.offsetX, event.offsetY) < 0 ? "grab" : "pointer";
        return;
      }
      const now = [event.offsetX, event.offsetY];
      pointers.set(event.pointerId, now);
      moved += Math.abs(now[0] - before[0]) + Math.abs(now[1] - before[1]);
      this.move((before[0] - now[0]) / pointers.size, (before[1] - now[1]) / pointers.size);
      if (pointers.size === 2) {
        const [[x, y], [u, v]] = [...pointers.values()], distance = Math.hypot(x - u, y - v);
        if (apart) this.zoom(distance / apart, (x + u) / 2, (y + v) / 2);
        apart = distance;
      }
    });
    const lift = (event) => {
      pointers.delete(event.pointerId);
      apart = 0;
      if (event.type === "pointerup" && moved < 6) this.onSelect(this, this.at(event.offsetX, event.offsetY));
    };
    canvas.addEventListener("pointerup", lift);
    canvas.addEventListener("pointercancel", lift);
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    const jump = (event) => {
      if (!event.buttons) return;
      this.flight = null;
      this.top = (event.offsetY / map.clientHeight) * this.graph.bottom - this.height / 2 / this.scale;
      this.left = (event.offsetX / map.clientWidth) * this.graph.right - this.width / 2 / this.scale;
      this.draw();
    };
    map.addEventListener("pointerdown", jump);
    map.addEventListener("pointermove", jump);
    for (const button of this.figure.querySelectorAll("[data-zoom]")) {
      const act = { in: () => this.zoom(1.4), out: () => this.zoom(1 / 1.4), fit: () => this.fit() };
      button.addEventListener("click", act[button.dataset.zoom]);
    }
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowUp: [0, -60], ArrowDown: [0, 60], ArrowLeft: [-60, 0], ArrowRight: [60, 0] };
    const act = { "+": () => this.zoom(1.4), "=": () => this.zoom(1.4), "-": () => this.zoom(1 / 1.4), 0: () => this.fit() };
    if (steps[event.key] && event.shiftKey) this.move(...steps[event.key]);
    else if (steps[event.key]) this.onSelect(this, this.beside(event.key));
    else if (act[event.key]) act[event.key]();
    else return;
    event.preventDefault();
  }

  // The node that an arrow key leads to: along lines up and down, within the row left and right.
  beside(key) {
    const { above, below, rows, data } = this.graph, id = this.selected;
    if (id < 0) return rows[Math.max(0, Math.min(rows.length - 1, Math.ceil(this.top / ROW)))]?.[0] ?? -1;
    const line = { ArrowUp: above[id], ArrowDown: below[id] }[key];
    if (line) return line[0] ?? id;
    const row = [...rows[data.row[id]]].sort((a, b) => data.x[a] - data.x[b]);
    return row[row.indexOf(id) + (key === "ArrowLeft" ? -1 : 1)] ?? id;
  }
}

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
